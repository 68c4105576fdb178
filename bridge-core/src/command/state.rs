//! The states of a command, what is happening to it, and why. Not here: who changes them (`life`, `report`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What is known of a command. See the table of the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandState {
    /// Nothing of it is known to have left.
    Queued,
    /// A transport took it.
    Sent,
    /// It ran.
    Acknowledged,
    /// Refused for good.
    Failed,
    /// It never ran; its time is over.
    Expired,
    /// It never ran; somebody took it back.
    Cancelled,
    /// It may have run.
    Unknown,
}

impl CommandState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Sent,
        Self::Acknowledged,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Acknowledged => "acknowledged",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the stable name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for CommandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is happening to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It is in its device's queue.
    #[serde(rename_all = "camelCase")]
    Waiting {
        /// Not to be tried before.
        not_before: Timestamp,
        /// The bridge sends it by itself; else it waits until the device asks or comes online.
        pushed: bool,
    },
    /// An attempt is recorded, and its outcome is not.
    Sending {
        /// When the outcome is taken for lost.
        until: Timestamp,
    },
    /// The transport has it, and reports are awaited.
    Awaiting {
        /// When they are taken for lost.
        until: Timestamp,
    },
    /// It is over.
    Done,
}

/// One entry of a command's history. Each is published as an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// 1 for the first.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// The state from then on; the same as before when only something is to be told.
    pub state: CommandState,
    /// Attempts begun until then.
    pub attempts: u32,
    /// Nothing more will be tried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// Why something happened to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// For programs and counting.
    pub code: CauseCode,
    /// For people; at most [`Cause::MAX_DETAIL`] bytes, no secret, no payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Cause {
    /// The longest detail, bytes; what is longer is cut.
    pub const MAX_DETAIL: usize = 256;

    /// A cause with a detail.
    pub fn new(code: CauseCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(Self::MAX_DETAIL));
        Self { code, detail: Some(detail) }
    }

    /// Cut to size, wherever it came from.
    pub(super) fn bounded(self) -> Self {
        match self.detail {
            Some(detail) => Self::new(self.code, detail),
            None => self,
        }
    }
}

impl From<CauseCode> for Cause {
    fn from(code: CauseCode) -> Self {
        Self { code, detail: None }
    }
}

/// See [`Cause`]. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseCode {
    /// The transport says that it will never take it.
    Refused,
    /// The device says no, or that it failed.
    Rejected,
    /// A budget is spent: downlinks a day, air time, requests.
    Quota,
    /// The transport is busy or out of order.
    Unavailable,
    /// The device cannot be reached now.
    Unreachable,
    /// The transport did not answer in time: it may have taken it.
    NoAnswer,
    /// The bridge was stopped in the middle of an attempt.
    Interrupted,
    /// The transport took it, and the awaited report did not come.
    NoReport,
    /// The network reports that it left.
    Transmitted,
    /// Its time was over.
    Expired,
    /// Somebody took it back.
    Withdrawn,
    /// A newer one with the same replace key came.
    Superseded,
    /// The device is not known any more.
    UnknownDevice,
    /// It was done, but the answer was too large to be kept.
    ResultTooLarge,
}

impl CauseCode {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Quota => "quota",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no-answer",
            Self::Interrupted => "interrupted",
            Self::NoReport => "no-report",
            Self::Transmitted => "transmitted",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
            Self::UnknownDevice => "unknown-device",
            Self::ResultTooLarge => "result-too-large",
        }
    }
}
