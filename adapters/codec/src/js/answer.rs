//! What the functions of a script answer. Not here: reading it from the engine ([`super::read`]).

use serde_json::{Map, Value};

/// The answer of one call; which one follows from the function.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Of `decodeUplink` and `decodeDownlink`.
    Decoded(Decoded),
    /// Of `normalizeUplink`.
    Normalized(Normalized),
    /// Of `encodeDownlink`.
    Encoded(Encoded),
}

/// A decoded payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// As the script named it; empty when there are errors only. Whole numbers are JSON integers.
    pub data: Map<String, Value>,
    /// The script's, and what was left out of its data.
    pub warnings: Vec<String>,
    /// The script's. Whether to use the data in spite of them is the caller's choice.
    pub errors: Vec<String>,
}

/// Measurements in the vocabulary of the normalised payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalized {
    /// One for each moment.
    pub data: Vec<Map<String, Value>>,
    /// The script's, and what was left out of its data.
    pub warnings: Vec<String>,
    /// The script's.
    pub errors: Vec<String>,
}

/// An encoded downlink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// What to send.
    pub bytes: Vec<u8>,
    /// LoRaWAN port, where the script names one.
    pub port: Option<u8>,
    /// The script's.
    pub warnings: Vec<String>,
    /// The script's; then nothing is to be sent.
    pub errors: Vec<String>,
}

impl Answer {
    /// The decoded payload, when it is one.
    pub fn into_decoded(self) -> Option<Decoded> {
        match self {
            Self::Decoded(decoded) => Some(decoded),
            _ => None,
        }
    }

    /// The normalised payload, when it is one.
    pub fn into_normalized(self) -> Option<Normalized> {
        match self {
            Self::Normalized(normalized) => Some(normalized),
            _ => None,
        }
    }

    /// The encoded downlink, when it is one.
    pub fn into_encoded(self) -> Option<Encoded> {
        match self {
            Self::Encoded(encoded) => Some(encoded),
            _ => None,
        }
    }
}
