//! `[coap]`: devices that speak CoAP over UDP. Not here: tokens of devices, which are in the store; codecs of raw payloads,
//! which are those of `[devices_api]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::delivery::rate;
use super::http::parse_listen;
use super::reader::{Field, Section};
use super::sheet::{Sheet, quoted};
use super::units::{format_size, size_range};

const BODY: RangeInclusive<u64> = 1024..=1 << 20;

/// `[coap]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coap {
    /// Whether it is served.
    pub enabled: bool,
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// The longest body, bytes; blocks are put together first.
    pub body_limit: usize,
    /// Requests per second of each device; none for no limit.
    pub rate: Option<u32>,
}

impl Default for Coap {
    /// Off: over plain UDP everybody on the way can read a token, and whoever wants that must say so.
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::from(([0, 0, 0, 0], 5683)),
            body_limit: 64 * 1024,
            rate: None,
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
        };
        section.finish();
        coap
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table(
            "coap",
            "Devices that speak CoAP over UDP: POST /t/ID?t=TOKEN. They and their tokens are those of devices_api (integration \
             \"http\"). UDP is not encrypted: use it in networks that you trust.",
        );
        sheet.explained("enabled", &default.enabled.to_string(), "Whether it is served.");
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
    }
}
