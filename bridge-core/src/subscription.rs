//! Callbacks of devices: where the events of a device are sent, by kind of event, and what of its state was told there last.
//! Not here: where subscriptions are kept ([`crate::ports::Subscriptions`]), the calls, and who may subscribe.
//!
//! What a callback of state is still to be told follows from that state and [`Told`]: nothing waits in a queue of its own,
//! and what changed while nobody could be called is told as one change. Commands are told by their own life
//! ([`crate::command`]).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::id::DeviceId;
use crate::ports::DeviceState;
use crate::time::Timestamp;

/// A kind of event. Its names are those of Azure's stateful device bridge (reference, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubscriptionKind {
    /// What is wanted of the device has changed.
    DesiredProperties,
    /// The device is asked to do something, and answers.
    Methods,
    /// A message for the device.
    C2dMessages,
    /// Whether the device can be reached from the hub has changed.
    ConnectionStatus,
}

impl SubscriptionKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::DesiredProperties, Self::Methods, Self::C2dMessages, Self::ConnectionStatus];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DesiredProperties => "DesiredProperties",
            Self::Methods => "Methods",
            Self::C2dMessages => "C2DMessages",
            Self::ConnectionStatus => "ConnectionStatus",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A callback. There is at most one for each device and kind. Its debug output does not hold the URL.
#[derive(Clone, PartialEq)]
pub struct Subscription {
    /// Of which device.
    pub device: DeviceId,
    /// For which events.
    pub kind: SubscriptionKind,
    /// Where they are sent. May hold a secret: it stands in no log.
    pub callback_url: String,
    /// When it was made, or made anew.
    pub created: Timestamp,
    /// What was told.
    pub told: Told,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, kind, callback_url: _, created, told } = self;
        f.debug_struct("Subscription")
            .field("device", device)
            .field("kind", kind)
            .field("created", created)
            .field("told", told)
            .finish_non_exhaustive()
    }
}

/// What of a state the callback has confirmed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Grows with each change that is told: the version of what is wanted, or a count.
    pub number: u64,
    /// The state itself.
    pub state: Map<String, Value>,
}

/// Whether a device can be reached from the hub, in the words of Azure's device SDK (reference, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// It can.
    Connected,
    /// The bridge has lost the hub, and tries.
    DisconnectedRetrying,
    /// The device waits for approval.
    Disabled,
}

impl ConnectionStatus {
    /// What follows from the bridge's connection and the device's state.
    pub fn of(is_hub_up: bool, device: DeviceState) -> Self {
        match (device, is_hub_up) {
            (DeviceState::Parked, _) => Self::Disabled,
            (DeviceState::Active, true) => Self::Connected,
            (DeviceState::Active, false) => Self::DisconnectedRetrying,
        }
    }

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::DisconnectedRetrying => "Disconnected_Retrying",
            Self::Disabled => "Disabled",
        }
    }

    /// Why.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connected => "Connection_Ok",
            Self::DisconnectedRetrying => "Communication_Error",
            Self::Disabled => "Device_Disabled",
        }
    }

    /// What a subscription to it is called then.
    pub fn of_subscription(self) -> &'static str {
        match self {
            Self::Connected => "Running",
            Self::DisconnectedRetrying => "Starting",
            Self::Disabled => "Stopped",
        }
    }

    /// `{"status": ..., "reason": ...}`.
    pub fn to_members(self) -> Map<String, Value> {
        match json!({ "status": self.as_str(), "reason": self.reason() }) {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        for kind in SubscriptionKind::ALL {
            assert_eq!(SubscriptionKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(SubscriptionKind::parse("methods"), None);
    }

    #[test]
    fn a_status_follows_from_hub_and_device() {
        for (up, device, status, of_subscription) in [
            (true, DeviceState::Active, "Connected", "Running"),
            (false, DeviceState::Active, "Disconnected_Retrying", "Starting"),
            (true, DeviceState::Parked, "Disabled", "Stopped"),
            (false, DeviceState::Parked, "Disabled", "Stopped"),
        ] {
            let is = ConnectionStatus::of(up, device);
            assert_eq!(
                (is.to_members()["status"].as_str(), is.of_subscription()),
                (Some(status), of_subscription)
            );
        }
    }
}
