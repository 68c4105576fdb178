//! `[coap]`: devices that speak CoAP over UDP or DTLS. Not here: tokens and keys of devices, which are in the store; codecs of raw payloads,
//! which are those of `[devices_api]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::delivery::rate;
use super::http::parse_listen;
use super::reader::{Field, Section};
use super::sheet::{Sheet, quoted};
use super::units::{format_size, size_range};

const BODY: RangeInclusive<u64> = 1024..=1 << 20;
const NODE: RangeInclusive<u64> = 0..=255;
/// What the template shows: the port that belongs to `coaps` (RFC 7252 section 6.2).
const DTLS: &str = "{ listen = \"0.0.0.0:5684\", node = 0 }";

/// `[coap]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coap {
    /// Whether it is served over plain UDP.
    pub enabled: bool,
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// The longest body, bytes; blocks are put together first.
    pub body_limit: usize,
    /// Requests per second of each device; none for no limit.
    pub rate: Option<u32>,
    /// Over DTLS, beside plain UDP or without it; none: not served.
    pub dtls: Option<Dtls>,
}

/// `coap.dtls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtls {
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// The first byte of its Connection IDs.
    pub node: u8,
}

impl Default for Coap {
    /// Off: over plain UDP everybody on the way can read a token, and whoever wants that must say so.
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::from(([0, 0, 0, 0], 5683)),
            body_limit: 64 * 1024,
            rate: None,
            dtls: None,
        }
    }
}

impl Coap {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let coap = Self {
            enabled: section.or("enabled", default.enabled, Field::flag),
            listen: section.or("listen", default.listen, |field| field.parse(parse_listen)),
            body_limit: section
                .or("body_limit", default.body_limit, |field| usize::try_from(field.size(&BODY)?).ok()),
            rate: rate(&section, "rate"),
            dtls: section.optional("dtls", |field| Dtls::read(field.section()?)),
        };
        if coap.enabled && coap.dtls.as_ref().is_some_and(|dtls| dtls.listen == coap.listen) {
            section.refuse("dtls", "coap.listen and coap.dtls.listen cannot be the same address");
        }
        section.finish();
        coap
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table(
            "coap",
            "Devices that speak CoAP over UDP (POST /t/ID?t=TOKEN) or DTLS. They and their tokens are those of devices_api (integration \
             \"http\"). UDP is not encrypted: use it in networks that you trust, or DTLS.",
        );
        sheet.explained("enabled", &default.enabled.to_string(), "Whether it is served over plain UDP.");
        sheet.explained(
            "listen",
            &quoted(&default.listen.to_string()),
            "IP address and UDP port. On a host with several addresses name the one that devices send to: answers leave from it.",
        );
        sheet.explained(
            "body_limit",
            &quoted(&format_size(default.body_limit as u64)),
            &format!("The largest body, in blocks or not: {}.", size_range(&BODY)),
        );
        sheet.explained("rate", "0", "Requests per second of each device; 0 for no limit.");
        sheet.explained(
            "dtls",
            DTLS,
            "Over DTLS with pre-shared keys (device-bridge devices token add ID --psk), also when enabled is false. Needs [secrets] \
             keys. node is the first byte of its Connection IDs: another one for each bridge behind one address. Default: not \
             served.",
        );
    }
}

impl Dtls {
    fn read(section: Section<'_>) -> Option<Self> {
        let listen =
            section.required("listen", "IP address and UDP port, such as \"0.0.0.0:5684\"", |field| {
                field.parse(parse_listen)
            });
        let node = section.or("node", 0, |field| field.number(&NODE));
        section.finish();
        Some(Self { listen: listen?, node })
    }
}
