//! The paths of Azure's stateful device bridge (reference, section 2.1). They are not sensitive to case, device ids are. Not
//! here: what is done there, and `/swagger`, in whose place stands `/openapi.json`.

use bridge_core::DeviceId;
use bridge_core::subscription::SubscriptionKind;
use http::Method;
use percent_encoding::percent_decode_str;

/// Below it are the devices.
const DEVICES: &str = "/devices/";
/// Whether the bridge is well, for everybody.
const HEALTH: &str = "/health";

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// None when no device can have the id that stands there.
    pub(crate) device: Option<DeviceId>,
    pub(crate) resource: Resource,
}

/// What of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Events,
    Twin,
    Reported,
    Status,
    Registration,
    Resync,
    Subscription(SubscriptionKind),
}

/// What stands after the id of a device, and the methods that it takes.
const RESOURCES: [(&str, Resource, &[Method]); 10] = [
    ("messages/events", Resource::Events, &[Method::POST]),
    ("twin", Resource::Twin, &[Method::GET]),
    ("twin/properties/reported", Resource::Reported, &[Method::PATCH]),
    (
        "twin/properties/desired/sub",
        Resource::Subscription(SubscriptionKind::DesiredProperties),
        SUBSCRIPTION,
    ),
    ("methods/sub", Resource::Subscription(SubscriptionKind::Methods), SUBSCRIPTION),
    ("devicebound/sub", Resource::Subscription(SubscriptionKind::C2dMessages), SUBSCRIPTION),
    ("connectionstatus/sub", Resource::Subscription(SubscriptionKind::ConnectionStatus), SUBSCRIPTION),
    ("connectionstatus", Resource::Status, &[Method::GET]),
    ("registration", Resource::Registration, &[Method::POST]),
    ("resync", Resource::Resync, &[Method::POST]),
];
const SUBSCRIPTION: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];

impl Place {
    /// Whether a path is one of these; what it names is seen later.
    pub(crate) fn is_ours(path: &str) -> bool {
        below_devices(path).is_some() || Self::is_health(path)
    }

    /// Whether it is the path of the bridge's own health.
    pub(crate) fn is_health(path: &str) -> bool {
        path.strip_suffix('/').unwrap_or(path).eq_ignore_ascii_case(HEALTH)
    }

    pub(crate) fn of(path: &str) -> Option<Self> {
        let (device, resource) = below_devices(path)?.split_once('/')?;
        let resource = resource.strip_suffix('/').unwrap_or(resource);
        let (_, resource, _) = RESOURCES.iter().find(|(name, ..)| resource.eq_ignore_ascii_case(name))?;
        let device = percent_decode_str(device).decode_utf8().ok();
        Some(Self { device: device.and_then(|device| DeviceId::parse(&device).ok()), resource: *resource })
    }
}

impl Resource {
    /// The methods that it takes.
    pub(crate) fn methods(self) -> &'static [Method] {
        RESOURCES.iter().find(|(_, resource, _)| *resource == self).map_or(&[], |(_, _, methods)| methods)
    }
}

fn below_devices(path: &str) -> Option<&str> {
    let (start, rest) = path.split_at_checked(DEVICES.len())?;
    start.eq_ignore_ascii_case(DEVICES).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_counts_in_ids_alone() {
        let place =
            |path: &str| Place::of(path).map(|place| (place.device.map(|id| id.to_string()), place.resource));
        let id = |id: &str| Some(id.to_owned());
        for (path, wanted) in [
            ("/devices/D1/messages/events", Some((id("D1"), Resource::Events))),
            ("/DEVICES/d%3A1/Twin/Properties/REPORTED/", Some((id("d:1"), Resource::Reported))),
            (
                "/devices/d1/DeviceBound/Sub",
                Some((id("d1"), Resource::Subscription(SubscriptionKind::C2dMessages))),
            ),
            ("/devices/a%2Fb/twin", Some((None, Resource::Twin))),
            ("/devices/d1/twin/properties/desired", None),
            ("/devices/d1", None),
            ("/devices/d1/messages/events//", None),
            ("/v1/devices/d1/twin", None),
        ] {
            assert_eq!(place(path), wanted, "{path}");
        }
        assert!(Place::is_ours("/Health") && Place::is_ours("/Devices/x") && !Place::is_ours("/healthz"));
        for (_, resource, methods) in RESOURCES {
            assert_eq!(resource.methods(), methods);
        }
    }
}
