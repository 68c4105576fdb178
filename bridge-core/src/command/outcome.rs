//! What transports tell about an attempt: their answer, and their reports. Not here: what follows from it (`report`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cause, Reference};

/// How an attempt travels. Decided by its way before it begins, and kept with the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Whether it may be sent again when nobody knows whether it ran.
    pub resend: Resend,
    /// What ends it once the transport took it.
    pub awaits: Awaits,
    /// How long to wait for that.
    pub within: Duration,
    /// After how long an attempt without outcome is taken for lost: the way's own time-outs and a margin.
    pub patience: Duration,
}

/// Whether an attempt may be repeated when nobody knows whether it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resend {
    /// The receiver recognises a copy, or running it twice is as good as once.
    Safe,
    /// It could run twice.
    Never,
}

/// What is awaited of a transport after it took a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaits {
    /// Nothing: `sent` is the end.
    Nothing,
    /// That it was transmitted; then `sent` is the end.
    Transmission,
    /// That the device has it.
    Acknowledgement,
}

/// How an attempt ended, as far as the transport's own answer tells.
#[derive(Debug, Clone, PartialEq)]
pub enum SendOutcome {
    /// The transport took responsibility, and calls it so.
    Accepted {
        /// Names that its reports may carry; empty when they carry the [`super::AttemptId`].
        references: Vec<Reference>,
    },
    /// It ran.
    Delivered {
        /// What the device answered.
        result: Option<Value>,
    },
    /// It did not run, for certain.
    Refused {
        /// Why.
        cause: Cause,
        /// Whether another attempt may go better.
        again: Again,
    },
    /// It may have run.
    Unknown {
        /// Why nobody can tell.
        cause: Cause,
    },
}

/// Whether another attempt may go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// No.
    Never,
    /// After this long (`Retry-After`), or after the usual pause.
    Later(Option<Duration>),
    /// When the device comes online ([`super::Command::wake`]). Does not count as an attempt that was refused.
    WhenReachable,
}

/// What a transport reports after its answer, or before it arrived.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It left for the device.
    Transmitted,
    /// The device has it, or did it.
    Acknowledged {
        /// What the device answered.
        result: Option<Value>,
    },
    /// This attempt did not work, for certain.
    Failed {
        /// Why.
        cause: Cause,
        /// Whether another attempt may go better.
        again: Again,
    },
    /// The transport gave it back unsent, as it was asked to.
    Withdrawn,
    /// The transport dropped it unsent because its time was over.
    Expired,
    /// The transport lost track of it.
    Lost {
        /// How.
        cause: Cause,
    },
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It changed the command.
    Applied,
    /// The command knew it already, or is over.
    Late,
    /// It is about an attempt that does not count any more, or that never was.
    Stale,
}
