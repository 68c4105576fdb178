//! Which device ids a gateway may speak for. Not here: the gateway ([`crate::settings`]).

use bridge_core::DeviceId;

/// A device id in which `*` stands for any characters, also none: `plant-7-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing there.
    Empty,
    /// Longer than any device id.
    TooLong,
    /// A character that no device id holds.
    Character(char),
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty; \"*\" stands for all devices"),
            Self::TooLong => write!(f, "must be at most {} bytes long", DeviceId::MAX),
            Self::Character(c) => {
                write!(f, "holds {c:?}; allowed are letters, digits and - . _ :, and * for any of them")
            }
        }
    }
}

impl std::error::Error for PatternError {}

impl DevicePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When no device id can look like it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match text.chars().find(|c| *c != '*' && !DeviceId::allows(*c)) {
            Some(c) => Err(PatternError::Character(c)),
            None if text.is_empty() => Err(PatternError::Empty),
            None if text.len() > DeviceId::MAX => Err(PatternError::TooLong),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Whether a device id looks like it. Letters count as they are.
    pub fn matches(&self, device: &DeviceId) -> bool {
        let mut parts = self.0.split('*');
        // invariant: a split has at least one part.
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = device.as_str().strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            // The first place is as good as any later one: more is left for what follows.
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, good, bad) in [
            ("plant-7-*", &["plant-7-", "plant-7-a.b:c"][..], &["plant-70", "Plant-7-a", "a-plant-7-b"][..]),
            ("exact", &["exact"], &["exact1", "xexact"]),
            ("*", &["anything"], &[]),
            ("*-north", &["a-north", "-north"], &["north", "a-north-b"]),
            ("a*b*c", &["abc", "a-b-b-c", "abbc"], &["ac", "acb", "abcd"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("a**b", &["ab", "a-b"], &["a"]),
        ] {
            let pattern = DevicePattern::parse(pattern).unwrap();
            for (ids, wanted) in [(good, true), (bad, false)] {
                for id in ids {
                    assert_eq!(pattern.matches(&DeviceId::parse(id).unwrap()), wanted, "{pattern:?} {id}");
                }
            }
        }
        assert_eq!(DevicePattern::parse("a/*"), Err(PatternError::Character('/')));
        assert_eq!(DevicePattern::parse(""), Err(PatternError::Empty));
        assert!(DevicePattern::parse(&"x".repeat(129)).is_err());
    }
}
