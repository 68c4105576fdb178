//! How long a request asks to wait. Not here: who waits (`edge`), and for what.

use std::time::Duration;

use http_edge::auth;

/// The longest that a request may wait.
const LONGEST: Duration = Duration::from_secs(60);
/// What is wrong with a `wait` that [`asked`] does not take.
pub(crate) const BAD_WAIT: &str = "\"wait\" is a number of seconds from 0 to 60, such as 30s.";

/// How long a request asks to wait: `wait=30s` or `wait=30`; not at all without.
pub(crate) fn asked(query: &str) -> Option<Duration> {
    let (values, _) = auth::take_parameter(query, "wait");
    let Some(value) = values.first() else { return Some(Duration::ZERO) };
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.strip_suffix('s').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let wait = Duration::from_secs(digits.parse().ok().filter(|_| is_number)?);
    (values.len() == 1 && wait <= LONGEST).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds() {
        for (query, wanted) in [
            ("", Some(0)),
            ("wait=30s", Some(30)),
            ("wait=5&x=1", Some(5)),
            ("wait=60s", Some(60)),
            ("wait=61s", None),
            ("wait=", None),
            ("wait=s", None),
            ("wait=-1", None),
            ("wait=+1", None),
            ("wait=1m", None),
            ("wait=1&wait=2", None),
            ("wait=99999999999999999999", None),
        ] {
            assert_eq!(asked(query), wanted.map(Duration::from_secs), "{query}");
        }
    }
}
