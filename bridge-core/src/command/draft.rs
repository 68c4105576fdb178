//! What somebody asks of a device, before it is a command. Not here: encoders and what a way can carry
//! ([`crate::commands::Way::prepare`]).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CommandName, ReplaceKey, RequestKey};
use crate::time::Timestamp;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// What to do.
    pub name: CommandName,
    /// With what; `null` for nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
    /// What only its way understands (`fPort`, class B/C times, the name of an encoder, ...).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// When it is of no use any more; none for the configured time to live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Before which others of its device it goes.
    #[serde(default)]
    pub priority: Priority,
    /// Makes asking twice one command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RequestKey>,
    /// Supersedes queued older ones with the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<ReplaceKey>,
    /// The device is to confirm it, where the transport knows that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
    /// Running it twice is as good as once: a way may send it again when an answer got lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// How many attempts may be refused; 1 for no retry.
    pub max_attempts: u32,
    /// The bytes for the device, once encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Where its asker waits for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

impl Draft {
    /// The attempts that a draft may ask for.
    pub const MAX_ATTEMPTS: u32 = 10;

    /// A command without arguments and with up to five attempts.
    pub fn new(name: CommandName) -> Self {
        Self {
            name,
            arguments: Value::Null,
            options: Map::new(),
            expires: None,
            priority: Priority::default(),
            key: None,
            replace: None,
            confirmed: false,
            idempotent: false,
            max_attempts: 5,
            payload: None,
            reply: None,
        }
    }

    /// Whether both ask for the same, apart from when and to whom the answer goes.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let asked =
            |draft: &Self| (draft.name.clone(), draft.confirmed, draft.idempotent, draft.replace.clone());
        asked(self) == asked(other) && self.arguments == other.arguments && self.options == other.options
    }

    /// Checks what needs no knowledge of the way.
    ///
    /// # Errors
    /// See [`DraftError`]: the asker's fault.
    pub fn check(&self, now: Timestamp, limits: &DraftLimits) -> Result<(), DraftError> {
        let too_large = |what: &'static str, bytes: usize, max: usize| {
            if bytes > max { Err(DraftError::TooLarge { what, bytes, max }) } else { Ok(()) }
        };
        too_large("arguments", self.arguments.to_string().len(), limits.arguments)?;
        let options: usize =
            self.options.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
        too_large("options", options, limits.arguments)?;
        too_large("payload", self.payload.as_ref().map_or(0, |payload| payload.data.len()), limits.payload)?;
        if let Some(reply) = &self.reply {
            too_large("response topic", reply.topic.len(), Reply::MAX_TOPIC)?;
            too_large("correlation data", reply.correlation.len(), Reply::MAX_CORRELATION)?;
            if !reply.is_publishable() {
                return Err(DraftError::ResponseTopic);
            }
        }
        if self.expires.is_some_and(|at| at <= now) {
            return Err(DraftError::Expired);
        }
        if !(1..=Self::MAX_ATTEMPTS).contains(&self.max_attempts) {
            return Err(DraftError::Attempts(self.max_attempts));
        }
        Ok(())
    }
}

/// What the device gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The bytes.
    pub data: Vec<u8>,
    /// LoRaWAN port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u8>,
}

/// Where the asker waits for an answer (MQTT 5, section 4.10: response topic and correlation data).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The topic.
    pub topic: String,
    /// What makes the answer belong to the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correlation: Vec<u8>,
}

impl Reply {
    /// Whether an answer can be published there (MQTT 5, section 4.7): a hub hangs up on whoever tries what cannot be.
    fn is_publishable(&self) -> bool {
        let topic = &self.topic;
        !topic.is_empty() && !topic.starts_with('$') && !topic.contains(['+', '#', '\0'])
    }

    const MAX_TOPIC: usize = 1024;
    const MAX_CORRELATION: usize = 256;
}

/// How large a draft may be, bytes.
#[derive(Debug, Clone, Copy)]
pub struct DraftLimits {
    /// Arguments as JSON; options too.
    pub arguments: usize,
    /// The encoded payload.
    pub payload: usize,
}

impl Default for DraftLimits {
    fn default() -> Self {
        Self { arguments: 64 * 1024, payload: 16 * 1024 }
    }
}

/// Which goes first; the seven of The Things Stack (`reference/webhooks.md` 3.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// After all others.
    Lowest,
    /// Between.
    Low,
    /// Between.
    BelowNormal,
    /// Unless asked otherwise.
    #[default]
    Normal,
    /// Between.
    AboveNormal,
    /// Between.
    High,
    /// Before all others.
    Highest,
}

impl Priority {
    /// 0 for the lowest to 6 for the highest.
    pub fn rank(self) -> u8 {
        self as u8
    }
}

/// Why a draft cannot become a command. The asker's fault; asking again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Too much of something.
    #[error("the {what} of {bytes} bytes is longer than {max}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Nothing can be published there.
    #[error("the response topic is none that can be published to")]
    ResponseTopic,
    /// Its time is over already.
    #[error("the command expires before it exists")]
    Expired,
    /// Not a number of attempts.
    #[error("{0} is not a number of attempts; allowed are 1 to {max}", max = Draft::MAX_ATTEMPTS)]
    Attempts(u32),
}
