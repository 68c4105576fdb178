//! `[devices_api]` and `[gateways.NAME]`: devices that speak HTTP to the bridge themselves, and gateways that speak for
//! several. Not here: tokens of devices, which are in the store.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use bridge_core::IntegrationName;
use bridge_core::naming::{Case, NamingRule};
use bridge_core::registrar::Register;
use http_api::{DevicePattern, fingerprint};

use super::auth::{AuthScheme, read_secrets, variable};
use super::client_certificates::ClientCertificates;
use super::codecs::CodecConfig;
use super::delivery::rate;
use super::integration::{REGISTER, read_codec};
use super::reader::{Field, Section};
use super::secret::{Secret, Surroundings};
use super::sheet::{Sheet, quoted, words};
use super::units::{format_size, size_range};

const BODY: RangeInclusive<u64> = 1024..=16 << 20;

/// `[devices_api]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicesApi {
    /// Whether it is served.
    pub enabled: bool,
    /// What happens to a device that a gateway speaks for and nobody has registered.
    pub register: Register,
    /// The largest body, bytes.
    pub body_limit: usize,
    /// Requests per second of each device; none for no limit.
    pub rate: Option<u32>,
    /// Decodes what is neither JSON, SenML nor CBOR; none leaves it as it is.
    pub codec: Option<String>,
    /// What is believed about client certificates; none for nothing.
    pub client_certificates: Option<ClientCertificates>,
}

/// `[gateways.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// One to eight secrets; several while one is being rotated. Each has at least 16 bytes.
    pub secrets: Vec<Secret>,
    /// SHA-256 fingerprints of its client certificates.
    pub certificates: Vec<[u8; 32]>,
    /// Which devices it may speak for.
    pub devices: Vec<DevicePattern>,
    /// Requests per second; none for no limit.
    pub rate: Option<u32>,
}

impl Default for DevicesApi {
    /// Registers by itself: without a gateway nobody can make it, and whoever writes a gateway's patterns has said which
    /// devices there may be.
    fn default() -> Self {
        Self {
            enabled: true,
            register: Register::Auto,
            body_limit: 256 * 1024,
            rate: None,
            codec: None,
            client_certificates: None,
        }
    }
}

impl DevicesApi {
    /// How its devices are named: the id in the path is the id in the hub.
    pub fn naming() -> NamingRule {
        NamingRule { case: Case::Keep, ..NamingRule::default() }
    }

    pub(super) fn read(section: Section<'_>, codecs: &[CodecConfig]) -> Self {
        let default = Self::default();
        let api = Self {
            enabled: section.or("enabled", default.enabled, Field::flag),
            register: section.or("register", default.register, |field| field.one_of(REGISTER)),
            body_limit: section
                .or("body_limit", default.body_limit, |field| usize::try_from(field.size(&BODY)?).ok()),
            rate: rate(&section, "rate"),
            codec: section.optional("codec", |field| read_codec(field, codecs)),
            client_certificates: section.optional("client_certificates", ClientCertificates::read),
        };
        section.finish();
        api
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        let register =
            REGISTER.iter().find(|(_, this)| *this == default.register).map_or("", |(word, _)| word);
        sheet.table(
            "devices_api",
            "Devices that speak HTTP themselves: POST /v1/devices/ID/telemetry, PATCH /v1/devices/ID/properties, and for \
             their commands GET /v1/devices/ID/commands. A device proves itself with a token: device-bridge devices token add ID; with --signing it gets a key \
             to sign its requests with.",
        );
        sheet.explained("enabled", &default.enabled.to_string(), "Whether it is served.");
        sheet.explained(
            "register",
            &quoted(register),
            &format!(
                "What happens to a device that a gateway (below) speaks for and nobody has registered: {}: it is registered; \
                 it is refused; or it is refused until you approve it. A device's own token never registers it.",
                words(REGISTER)
            ),
        );
        sheet.explained(
            "body_limit",
            &quoted(&format_size(default.body_limit as u64)),
            &format!("The largest body: {}.", size_range(&BODY)),
        );
        sheet.explained("rate", "0", "Requests per second of each device; 0 for no limit.");
        sheet.explained(
            "codec",
            &quoted("cayenne"),
            "Decodes bodies of text/plain and application/octet-stream, unless the device has a codec of its own. Default: none.",
        );
    }
}

impl Gateway {
    /// Reads all gateways, in order of their names.
    pub(super) fn read_all(section: &Section<'_>, surroundings: &Surroundings<'_>) -> Vec<Self> {
        let entries = section.entries();
        let mut owners: HashMap<String, &str> = HashMap::new();
        let mut gateways = Vec::new();
        let mut holders: HashMap<[u8; 32], &str> = HashMap::new();
        for (name, field) in &entries {
            if let Err(error) = IntegrationName::parse(name) {
                field.mistake(format!("the name {error}; it stands in the log"));
            }
            let Some(gateway) = field.section().and_then(|section| Self::read(section, name, surroundings))
            else {
                continue;
            };
            for secret in &gateway.secrets {
                if let Some(other) = owners.insert(secret.expose().to_owned(), name)
                    && other != *name
                {
                    field.mistake(format!("has a secret of gateway {other}: nobody could tell them apart"));
                }
            }
            for certificate in &gateway.certificates {
                if let Some(other) = holders.insert(*certificate, name)
                    && other != *name
                {
                    field.mistake(format!(
                        "has a certificate of gateway {other}: nobody could tell them apart"
                    ));
                }
            }
            gateways.push(gateway);
        }
        gateways
    }

    fn read(section: Section<'_>, name: &str, surroundings: &Surroundings<'_>) -> Option<Self> {
        let help = format!("a list such as [{{ env = {} }}]", quoted(&variable(name)));
        let secrets = section
            .required("secrets", &help, |field| read_secrets(field, Some(AuthScheme::Bearer), surroundings));
        let help = "the devices that it may speak for, such as [\"plant-7-*\"]";
        let devices = section.required("devices", help, |field| {
            let patterns = field.parse_items(DevicePattern::parse)?;
            if field.items().is_some_and(|items| items.is_empty()) {
                field.mistake("must name a device or a pattern; [\"*\"] stands for all devices");
            }
            Some(patterns)
        });
        let rate = rate(&section, "rate");
        let certificates =
            section.optional("certificates", |field| field.parse_items(fingerprint)).unwrap_or_default();
        section.finish();
        Some(Self { name: name.to_owned(), secrets: secrets?, certificates, devices: devices?, rate })
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        const NAME: &str = "my-gateway";
        sheet.example(
            &format!("gateways.{NAME}"),
            "Something that speaks for several devices over HTTP: on the paths above with Authorization: Bearer SECRET, and as \
             a drop-in for Azure's stateless device bridge: POST /api/IoTCIntegration?code=SECRET.",
        );
        sheet.explained(
            "secrets",
            &format!("[{{ env = {} }}]", quoted(&variable(NAME))),
            "One of these it must prove; several while one is being rotated.",
        );
        sheet.explained(
            "devices",
            "[\"plant-7-*\"]",
            "The devices that it may speak for; * stands for any characters.",
        );
        sheet.explained("rate", "0", "Requests per second that it may send; 0 for no limit.");
        sheet.explained(
            "certificates",
            "[]",
            "SHA-256 fingerprints of its client certificates: see devices_api.client_certificates.",
        );
    }
}
