//! Which Sigfox service a callback belongs to. A callback does not say it: the URL, a constant in its template, or the
//! variables that it has must tell. Not here: what a service's variables mean.

use super::record::Record;
use super::variables::Variable as V;

/// What a callback reports. UPLINK and BIDIR are one: both report the same message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// DATA/UPLINK and DATA/BIDIR: a message.
    Data,
    /// SERVICE/STATUS: battery and temperature.
    Status,
    /// SERVICE/ACKNOWLEDGE: what became of a downlink.
    Acknowledge,
    /// SERVICE/REPEATER: what a repeater did.
    Repeater,
    /// SERVICE/DATA_ADVANCED: position and reception, about 25 s after the message.
    DataAdvanced,
    /// SERVICE/GEOLOC, deprecated: a position.
    Geoloc,
    /// ERROR: a silent device, or an outage.
    Error,
    /// EVENT: of a device, device type or group.
    Event,
}

impl Service {
    const ALL: [Self; 8] = [
        Self::Data,
        Self::Status,
        Self::Acknowledge,
        Self::Repeater,
        Self::DataAdvanced,
        Self::Geoloc,
        Self::Error,
        Self::Event,
    ];

    /// The name in settings, URLs and keys. None of them is hex, so that none can be a device id.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Status => "status",
            Self::Acknowledge => "acknowledge",
            Self::Repeater => "repeater",
            Self::DataAdvanced => "data-advanced",
            Self::Geoloc => "geoloc",
            Self::Error => "error",
            Self::Event => "event",
        }
    }

    /// Whether its callbacks have the payload of a message.
    pub(super) fn has_payload(self) -> bool {
        matches!(self, Self::Data | Self::DataAdvanced)
    }

    /// Every name, for people.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Reads a name, also as the Sigfox backend writes it: `DATA/BIDIR`, `SERVICE_DATA_ADVANCED`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase().replace(['_', '/', ' '], "-");
        let text = text.strip_prefix("service-").unwrap_or(&text);
        match text {
            "uplink" | "bidir" | "data-uplink" | "data-bidir" => Some(Self::Data),
            "ack" => Some(Self::Acknowledge),
            "advanced" => Some(Self::DataAdvanced),
            _ => Self::ALL.into_iter().find(|service| service.as_str() == text),
        }
    }

    /// The service whose variables these are. Only messages have a payload, also one of no bytes; beside it, a name
    /// like `temp` is the user's own.
    pub(super) fn detect(record: &Record) -> Option<Self> {
        let has = |variable| record.has(variable);
        let advanced = has(V::ComputedLocation) || has(V::LinkQuality) && has(V::Lqi);
        if has(V::Data) {
            return Some(if advanced { Self::DataAdvanced } else { Self::Data });
        }
        let of_a_message =
            [V::SeqNumber, V::Ack, V::LongPolling, V::Duplicate, V::Rssi, V::Snr].into_iter().any(has);
        if has(V::InfoCode) {
            Some(Self::Acknowledge)
        } else if has(V::WhitelistDevices) || has(V::RepeatedMsg) {
            Some(Self::Repeater)
        } else if advanced {
            Some(Self::DataAdvanced)
        } else if has(V::Batt) || has(V::Temp) {
            Some(Self::Status)
        } else if has(V::Lat) && has(V::Lng) && has(V::Radius) {
            Some(Self::Geoloc)
        } else if has(V::EventType) {
            Some(Self::Event)
        } else if has(V::Severity) && has(V::Info) {
            Some(Self::Error)
        } else {
            (of_a_message || record.has_custom()).then_some(Self::Data)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_in_every_spelling() {
        for service in Service::ALL {
            assert_eq!(Service::parse(service.as_str()), Some(service));
            assert!(!service.as_str().bytes().all(|b| b.is_ascii_hexdigit()), "{}", service.as_str());
        }
        assert_eq!(Service::parse("DATA/BIDIR"), Some(Service::Data));
        assert_eq!(Service::parse("SERVICE_DATA_ADVANCED"), Some(Service::DataAdvanced));
        assert_eq!(Service::parse("temperature"), None);
    }
}
