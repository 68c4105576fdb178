//! The names of commands and what belongs to them. Not here: ids of devices and messages ([`crate::id`]).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{IdError, MessageId, check};
use crate::time::Timestamp;

/// The id of a command: 48 bits of milliseconds since 1970, 80 bits that are unique; 32 hex digits. Ordered by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId([u8; 16]);

impl CommandId {
    /// From its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses 32 hex digits.
    ///
    /// # Errors
    /// When the text is not exactly that.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        MessageId::parse(text).map(|id| Self(*id.as_bytes()))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MessageId::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({self})")
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for CommandId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

/// Gives ids out, each above the one before, also within a millisecond and when the clock goes back.
#[derive(Debug, Default)]
pub struct CommandIds(u128);

impl CommandIds {
    /// The next id. Of `random`, the lower 80 bits count.
    pub fn next(&mut self, now: Timestamp, random: u128) -> CommandId {
        const UNIQUE: u32 = 80;
        let ms = u128::try_from(now.as_millis()).unwrap_or(0);
        let fresh = (ms << UNIQUE) | (random & ((1 << UNIQUE) - 1));
        self.0 = fresh.max(self.0 + 1);
        CommandId(self.0.to_be_bytes())
    }
}

/// Names one attempt to send a command: `cmd-ID-NUMBER`, 38 to 47 characters. What goes along as correlation id where a
/// transport takes one, so that its reports say which attempt they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The command.
    pub command: CommandId,
    /// 1 for the first.
    pub number: u32,
}

impl AttemptId {
    /// Parses `cmd-ID-NUMBER`; none when the text is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, number) = text.strip_prefix("cmd-")?.split_once('-')?;
        let ours = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number| ours && *number > 0)?;
        Some(Self { command: CommandId::parse(id).ok()?, number })
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cmd-{}-{}", self.command, self.number)
    }
}

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident, $max:literal, $allowed:expr, $set:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest, in bytes.
            pub const MAX: usize = $max;

            /// Parses it.
            ///
            /// # Errors
            /// When it is empty, too long, or holds a character outside the set.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, Self::MAX, $allowed, $set)?;
                Ok(Self(text.into()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }
    )*};
}

text! {
    /// What a command is called: 1 to 64 of `A-Z a-z 0-9 - . _ : *`. A level of an MQTT topic, a function of Particle, a
    /// method of Azure (`component*command`).
    CommandName, 64, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '*'), "- . _ : *";
    /// Makes asking twice one command: the same key for the same device is the same command. 1 to 128 bytes.
    RequestKey, 128, |c| !c.is_control(), "everything but control characters";
    /// What a command is about: of two with the same key, the newer supersedes the queued older. 1 to 64 bytes.
    ReplaceKey, 64, |c| !c.is_control(), "everything but control characters";
    /// What a transport calls an attempt, or the exchange that carried it; unique within the device. 1 to 128 bytes.
    Reference, 128, |c| !c.is_control(), "everything but control characters";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_does() {
        let mut ids = CommandIds::default();
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let steps = [(5, u128::MAX), (5, 0), (5, 7), (4, u128::MAX), (6, 0), (6, 0)];
        let made: Vec<CommandId> = steps.iter().map(|(ms, random)| ids.next(at(*ms), *random)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
        assert_eq!(CommandId::parse(&made[0].to_string()), Ok(made[0]));
    }

    #[test]
    fn an_attempt_is_recognised_and_nothing_else_is() {
        let attempt = AttemptId { command: CommandIds::default().next(Timestamp::EPOCH, 77), number: 12 };
        let text = attempt.to_string();
        assert_eq!(AttemptId::parse(&text), Some(attempt));
        for bad in
            ["", "cmd-", "cmd-1-1", &text[1..], &format!("{text}x"), &text.replace("-12", "-0"), "as:up:01"]
        {
            assert_eq!(AttemptId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_cannot_carry_topic_syntax() {
        for bad in ["", "a/b", "+", "#", "a b", &"x".repeat(65)] {
            assert!(CommandName::parse(bad).is_err(), "{bad}");
        }
        assert!(CommandName::parse("thermostat*reboot").is_ok());
    }
}
