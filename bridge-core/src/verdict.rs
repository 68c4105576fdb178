//! The only answer an adapter sees. Not here: which status code that is (each edge maps it once).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What became of an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The hub acknowledged it.
    Delivered,
    /// It is on disk and will be delivered.
    Stored,
    /// It was accepted before.
    Duplicate,
    /// It cannot be delivered; it is kept as a dead letter.
    Rejected(Reason),
    /// It was not taken; the source may try again after this long.
    Retry(Duration),
}

impl Verdict {
    /// How bad it is: of several messages of one uplink, the worst verdict is the uplink's.
    pub(crate) fn severity(&self) -> u8 {
        match self {
            Self::Duplicate => 0,
            Self::Delivered => 1,
            Self::Stored => 2,
            Self::Rejected(_) => 3,
            Self::Retry(_) => 4,
        }
    }
}

/// Why something is a dead letter. The names are stable: they are metric labels and stand in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Parsed, but none of the forms that the connector knows.
    Unmappable,
    /// An event kind that the connector does not know.
    UnknownEvent,
    /// Nothing says which device it is about.
    NoDevice,
    /// The external id cannot become a device id.
    InvalidDeviceId,
    /// The device is not registered and the integration does not register devices by itself.
    UnknownDevice,
    /// The device waits for approval.
    Parked,
    /// Two devices would share one device id.
    DeviceIdCollision,
    /// The hub will never take it.
    RefusedByHub,
    /// The state of its device would be larger than is kept.
    StateTooLarge,
    /// A stored record could not be read back.
    Unreadable,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Unmappable,
        Self::UnknownEvent,
        Self::NoDevice,
        Self::InvalidDeviceId,
        Self::UnknownDevice,
        Self::Parked,
        Self::DeviceIdCollision,
        Self::RefusedByHub,
        Self::StateTooLarge,
        Self::Unreadable,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unmappable => "unmappable",
            Self::UnknownEvent => "unknown-event",
            Self::NoDevice => "no-device",
            Self::InvalidDeviceId => "invalid-device-id",
            Self::UnknownDevice => "unknown-device",
            Self::Parked => "parked",
            Self::DeviceIdCollision => "device-id-collision",
            Self::RefusedByHub => "refused-by-hub",
            Self::StateTooLarge => "state-too-large",
            Self::Unreadable => "unreadable",
        }
    }

    /// Reads the stable name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
