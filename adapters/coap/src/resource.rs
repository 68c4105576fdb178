//! What a request is about: its path, and the parameters of its query. Not here: what is done there.

use bridge_core::DeviceId;
use bridge_core::command::CommandId;
use coap_proto::link_format::Link;
use coap_proto::{Code, Request};

/// `text/plain;charset=utf-8`, and the other content formats of this API (registry "CoAP Content-Formats").
pub(crate) const TEXT: u16 = 0;
const OCTETS: u16 = 42;
/// `application/json`.
pub(crate) const JSON: u16 = 50;
/// `application/cbor`.
pub(crate) const CBOR: u16 = 60;

/// Content formats, and the media types that they stand for.
const TELEMETRY: &[(u16, &str)] = &[
    (TEXT, "text/plain"),
    (OCTETS, "application/octet-stream"),
    (JSON, "application/json"),
    (CBOR, "application/cbor"),
    (110, "application/senml+json"),
    (112, "application/senml+cbor"),
];
const PROPERTIES: &[(u16, &str)] = &[(JSON, "application/json"), (52, "application/merge-patch+json")];

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    /// What devices say.
    Upload(Topic, Target),
    /// What they are asked to do.
    Commands(Target),
    /// What became of a command; none when no command can have that id.
    Report(Target, Option<CommandId>),
    /// What time it is.
    Time,
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Telemetry,
    Properties,
}

/// About which device it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that proves itself.
    Own,
    /// The one in the path; none when no device can have that id.
    Named(Option<DeviceId>),
}

impl Resource {
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let path: Vec<&str> = request.path().take(3).collect();
        let named = |id: &str| Target::Named(DeviceId::parse(id).ok());
        match path[..] {
            ["t", id] => Some(Self::Upload(Topic::Telemetry, named(id))),
            ["telemetry"] => Some(Self::Upload(Topic::Telemetry, Target::Own)),
            ["p", id] => Some(Self::Upload(Topic::Properties, named(id))),
            ["properties"] => Some(Self::Upload(Topic::Properties, Target::Own)),
            ["commands"] => Some(Self::Commands(Target::Own)),
            ["c", id] => Some(Self::Commands(named(id))),
            ["commands", command] => Some(Self::Report(Target::Own, CommandId::parse(command).ok())),
            ["c", id, command] => Some(Self::Report(named(id), CommandId::parse(command).ok())),
            ["time"] => Some(Self::Time),
            _ => None,
        }
    }
}

impl Topic {
    /// The methods that it takes. PUT is there for devices that know no other.
    pub(crate) fn takes(self, method: Code) -> bool {
        match self {
            Self::Telemetry => matches!(method, Code::POST | Code::PUT),
            Self::Properties => matches!(method, Code::POST | Code::PUT | Code::PATCH | Code::IPATCH),
        }
    }

    /// The media type of a body. Telemetry without a content format is bytes for the device's codec; properties are JSON.
    pub(crate) fn media_type(self, format: Option<u16>) -> Option<&'static str> {
        let (taken, default) = match self {
            Self::Telemetry => (TELEMETRY, OCTETS),
            Self::Properties => (PROPERTIES, JSON),
        };
        let format = format.unwrap_or(default);
        taken.iter().find(|(number, _)| *number == format).map(|(_, media_type)| *media_type)
    }
}

/// The value of a parameter that stands once in the query, such as `t=TOKEN`.
pub(crate) fn parameter<'r>(request: &'r Request, name: char) -> Parameter<'r> {
    let mut values = request.query().filter_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    match (values.next(), values.next()) {
        (None, _) => Parameter::None,
        (Some(value), None) => Parameter::One(value),
        (Some(_), Some(_)) => Parameter::Several,
    }
}

/// See [`parameter`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parameter<'r> {
    None,
    One(&'r str),
    Several,
}

/// What `/.well-known/core` shows (RFC 6690). Paths with a device in them are left out: they have no end.
pub(crate) fn links() -> Vec<Link> {
    let formats = |taken: &[(u16, &str)]| taken.iter().map(|(number, _)| *number).collect();
    vec![
        Link { ct: formats(TELEMETRY), ..Link::new("/telemetry") },
        Link { ct: formats(PROPERTIES), ..Link::new("/properties") },
        Link { ct: vec![JSON], observable: true, ..Link::new("/commands") },
        Link { ct: vec![TEXT, CBOR], ..Link::new("/time") },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let upload = |topic, target| Some(Resource::Upload(topic, target));
        let named = |id| Target::Named(DeviceId::parse(id).ok());
        let command = CommandId::from_bytes([10; 16]);
        for (path, resource) in [
            ("/t/d1", upload(Topic::Telemetry, named("d1"))),
            ("/t/a b", upload(Topic::Telemetry, Target::Named(None))),
            ("/telemetry", upload(Topic::Telemetry, Target::Own)),
            ("/p/d1", upload(Topic::Properties, named("d1"))),
            ("/properties", upload(Topic::Properties, Target::Own)),
            ("/commands", Some(Resource::Commands(Target::Own))),
            ("/c/d1", Some(Resource::Commands(named("d1")))),
            ("/commands/17", Some(Resource::Report(Target::Own, None))),
            (&format!("/c/d1/{}", "0a".repeat(16)), Some(Resource::Report(named("d1"), Some(command)))),
            ("/time", Some(Resource::Time)),
            ("/t", None),
            ("/t/d1/x", None),
            ("/T/d1", None),
            ("/", None),
        ] {
            assert_eq!(Resource::of(&Request::new(Code::POST, path)), resource, "{path}");
        }
    }

    #[test]
    fn parameters_stand_once() {
        let request = Request::new(Code::POST, "/t/d1?t=a=b&i=1&i=2&x&tt=3");
        assert_eq!(parameter(&request, 't'), Parameter::One("a=b"));
        assert_eq!(parameter(&request, 'i'), Parameter::Several);
        assert_eq!(parameter(&request, 'x'), Parameter::None);
    }

    #[test]
    fn every_format_is_one_that_bodies_are_read_in() {
        assert_eq!(TELEMETRY.len(), edge::body::MEDIA_TYPES.len());
        assert!(TELEMETRY.iter().all(|(_, media_type)| edge::body::MEDIA_TYPES.contains(media_type)));
        assert_eq!(Topic::Telemetry.media_type(None), Some("application/octet-stream"));
        assert_eq!(Topic::Properties.media_type(Some(CBOR)), None);
    }
}
