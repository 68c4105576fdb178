//! Takes credentials out of a JSON body before it is stored, byte for byte: everything else stays as it was sent, and
//! a body that is cut off or not quite JSON is redacted as far as it goes. Not here: which fields are credentials for a cloud.

use std::borrow::Cow;

/// What to do with the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redaction {
    /// Leave it.
    Keep,
    /// Put `"redacted"` in its place. The field stays: that a key came along can matter.
    Replace,
    /// It is a URL: cut it off at its query.
    CutQuery,
}

/// Names that mean a credential in any cloud. Codecs give names too, so only those that can hardly be a measurement.
pub(super) fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "authorization",
        "password",
        "secret",
        "access_token",
        "api_key",
        "apikey",
        "client_secret",
        "x-downlink-apikey",
    ];
    NAMES.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

const REDACTED: &[u8] = b"\"redacted\"";

/// The body without the values of the fields that `rule` names. The rule is asked with the unescaped name of each
/// field, at any depth. Only texts and structures are replaced; numbers and flags are no credentials.
pub(super) fn json_fields(body: &[u8], rule: impl Fn(&str) -> Redaction) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = 0;
    while at < body.len() {
        if body[at] != b'"' {
            at += 1;
            continue;
        }
        let name = at;
        let end = end_of_text(body, name);
        let Some(start) = start_of_value(body, end) else {
            at = end;
            continue;
        };
        at = start;
        if !can_be_credential(body, start) {
            continue;
        }
        let redaction = rule(&unescape(&body[name..end]));
        if redaction == Redaction::Keep {
            continue;
        }
        let stop = end_of_value(body, start);
        let query = body[start..stop].iter().position(|byte| *byte == b'?');
        let (kept, put) = match (redaction, query) {
            (Redaction::CutQuery, Some(query)) if body[start] == b'"' => (query, &b"\""[..]),
            (Redaction::CutQuery, None) => continue,
            _ => (0, REDACTED),
        };
        let out = out.get_or_insert_with(Vec::new);
        out.extend_from_slice(&body[copied..start + kept]);
        out.extend_from_slice(put);
        (at, copied) = (stop, stop);
    }
    match out {
        Some(mut out) => {
            out.extend_from_slice(&body[copied..]);
            Cow::Owned(out)
        }
        None => Cow::Borrowed(body),
    }
}

/// Just after the closing quote of the text that opens at `open`, or the end of the body.
fn end_of_text(body: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < body.len() {
        match body[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    body.len()
}

/// Where the value begins, if a colon follows: then the text before it is the name of a field.
fn start_of_value(body: &[u8], end_of_name: usize) -> Option<usize> {
    let not_space =
        |from: usize| body[from..].iter().position(|b| !b.is_ascii_whitespace()).map(|skip| from + skip);
    let colon = not_space(end_of_name).filter(|at| body[*at] == b':')?;
    not_space(colon + 1)
}

/// Numbers, flags and null are none.
fn can_be_credential(body: &[u8], start: usize) -> bool {
    matches!(body[start], b'"' | b'{' | b'[')
}

/// Just after a text, object or array.
fn end_of_value(body: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < body.len() {
        match body[at] {
            b'"' => at = end_of_text(body, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    body.len()
}

/// The name between the quotes. One that cannot be read is taken as it stands.
fn unescape(quoted: &[u8]) -> Cow<'_, str> {
    if quoted.contains(&b'\\')
        && let Ok(name) = serde_json::from_slice::<String>(quoted)
    {
        return Cow::Owned(name);
    }
    String::from_utf8_lossy(quoted.strip_prefix(b"\"").and_then(|q| q.strip_suffix(b"\"")).unwrap_or(quoted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redact(body: &str) -> String {
        let rule = |name: &str| match name {
            "key" => Redaction::Replace,
            "url" => Redaction::CutQuery,
            _ => Redaction::Keep,
        };
        String::from_utf8(json_fields(body.as_bytes(), rule).into_owned()).unwrap()
    }

    #[test]
    fn only_the_values_of_named_fields_change() {
        for (body, want) in [
            (r#"{"a": "key", "b":1.50}"#, r#"{"a": "key", "b":1.50}"#),
            (r#"{"key" : "s\"ecret", "b":1.50}"#, r#"{"key" : "redacted", "b":1.50}"#),
            (r#"[{"x":{"key":{"key":["s"],"t":"}"}},"y":2}]"#, r#"[{"x":{"key":"redacted"},"y":2}]"#),
            (r#"{"\u006bey":"s","key":7,"key":null}"#, r#"{"\u006bey":"redacted","key":7,"key":null}"#),
            (r#"{"url":"https://x/y?key=s","b":"z"}"#, r#"{"url":"https://x/y","b":"z"}"#),
            (r#"{"url":"https://x/y","url":["?"]}"#, r#"{"url":"https://x/y","url":"redacted"}"#),
            (r#"{"key":"s"#, r#"{"key":"redacted""#),
            (r#"{"key":{"k":"s"#, r#"{"key":"redacted""#),
            (r#""key"#, r#""key"#),
        ] {
            assert_eq!(redact(body), want, "{body}");
        }
        assert!(matches!(json_fields(b"{}", |_| Redaction::Replace), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b':'), Just(b'{'), Just(b'\\'), any::<u8>()], 0..64)) {
            json_fields(&bytes, |_| Redaction::CutQuery);
            prop_assert_eq!(&*json_fields(&bytes, |_| Redaction::Keep), &bytes[..]);
        }
    }
}
