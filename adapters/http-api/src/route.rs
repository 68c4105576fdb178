//! What a path names. Not here: what is done there.

use bridge_core::DeviceId;
use bridge_core::command::CommandId;
use http::Method;
use percent_encoding::percent_decode_str;

use crate::stateful::{Place, Resource};

/// Below it are the devices.
const DEVICES: &str = "/v1/devices/";
/// Where Azure's stateless bridge listens: the name of its function, in which Azure does not look at case.
const AZURE: &str = "/api/IoTCIntegration";

/// A path of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v1/devices/{id}/telemetry`; none when no device can have that id.
    Telemetry(Option<DeviceId>),
    /// `/v1/devices/{id}/properties`; the same.
    Properties(Option<DeviceId>),
    /// `/v1/devices/{id}/properties/desired`; the same.
    Desired(Option<DeviceId>),
    /// `/v1/devices/{id}/commands`; the same.
    Commands(Option<DeviceId>),
    /// `/v1/devices/{id}/commands/{command}/result`; the same, and none when no command can have that id.
    CommandResult(Option<DeviceId>, Option<CommandId>),
    /// Azure's: the device is in the body.
    Azure,
    /// One of Azure's stateful bridge.
    Stateful(Place),
}

impl Route {
    /// Whether a path is one of the API's; what it names is seen later.
    pub(crate) fn is_ours(path: &str) -> bool {
        path.starts_with(DEVICES) || path.eq_ignore_ascii_case(AZURE)
    }

    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.eq_ignore_ascii_case(AZURE) {
            return Some(Self::Azure);
        }
        if let Some(place) = Place::of(path) {
            return Some(Self::Stateful(place));
        }
        let (device, resource) = path.strip_prefix(DEVICES)?.split_once('/')?;
        let device = percent_decode_str(device).decode_utf8().ok();
        let device = device.and_then(|device| DeviceId::parse(&device).ok());
        match resource {
            "telemetry" => Some(Self::Telemetry(device)),
            "properties" => Some(Self::Properties(device)),
            "properties/desired" => Some(Self::Desired(device)),
            "commands" => Some(Self::Commands(device)),
            _ => {
                let command = resource.strip_prefix("commands/")?.strip_suffix("/result")?;
                let is_one = !command.is_empty() && !command.contains('/');
                is_one.then(|| Self::CommandResult(device, CommandId::parse(command).ok()))
            }
        }
    }

    /// The same from its parts.
    pub(crate) fn stateful(device: Option<DeviceId>, resource: Resource) -> Self {
        Self::Stateful(Place { device, resource })
    }

    /// The device that the path names.
    pub(crate) fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Telemetry(device)
            | Self::Properties(device)
            | Self::Desired(device)
            | Self::Commands(device)
            | Self::CommandResult(device, _) => device.as_ref(),
            Self::Stateful(place) => place.device.as_ref(),
            Self::Azure => None,
        }
    }

    /// Whether it is about commands: nothing comes from the device but reports.
    pub(crate) fn is_of_commands(&self) -> bool {
        matches!(self, Self::Commands(_) | Self::CommandResult(..))
    }

    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Telemetry(_) | Self::CommandResult(..) | Self::Azure => Method::POST,
            Self::Desired(_) | Self::Commands(_) => Method::GET,
            Self::Properties(_) => Method::PATCH,
            Self::Stateful(place) => place.resource.methods().first().cloned().unwrap_or_default(),
        }
    }

    /// The media types that it takes. None at all counts as the first.
    pub(crate) fn media_types(&self) -> &'static [&'static str] {
        match self {
            Self::Telemetry(_) => edge::body::MEDIA_TYPES,
            Self::Properties(_) => &["application/json", "application/merge-patch+json"],
            Self::Commands(_) | Self::CommandResult(..) | Self::Azure | Self::Stateful(_) => {
                &["application/json"]
            }
            Self::Desired(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_devices() {
        let id = |text| DeviceId::parse(text).ok();
        let command = CommandId::from_bytes([7; 16]);
        let result = format!("/v1/devices/d1/commands/{command}/result");
        for (path, route) in [
            ("/v1/devices/d1/telemetry", Some(Route::Telemetry(id("d1")))),
            ("/v1/devices/eui-7%3A0/properties", Some(Route::Properties(id("eui-7:0")))),
            ("/v1/devices/d1/properties/desired", Some(Route::Desired(id("d1")))),
            ("/v1/devices/a%2Fb/telemetry", Some(Route::Telemetry(None))),
            ("/v1/devices//telemetry", Some(Route::Telemetry(None))),
            ("/v1/devices/d1/telemetry/", None),
            ("/v1/devices/d1/commands", Some(Route::Commands(id("d1")))),
            (&result, Some(Route::CommandResult(id("d1"), Some(command)))),
            ("/v1/devices/d1/commands/7/result", Some(Route::CommandResult(id("d1"), None))),
            ("/v1/devices/d1/commands//result", None),
            ("/v1/devices/d1/commands/1/2/result", None),
            ("/v1/devices/d1/commands/7", None),
            ("/v1/devices/d1", None),
            ("/api/IoTCIntegration", Some(Route::Azure)),
            ("/api/iotcintegration", Some(Route::Azure)),
            ("/api/IoTCIntegration/", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
        assert!(Route::is_ours("/v1/devices/d1") && !Route::is_ours("/v1/device"));
    }
}
