//! `[azure_bridge]`: the drop-in for Azure's stateful device bridge. Without the section nobody has a key, and nothing is
//! called. Not here: what it answers (`http-api`), what it calls (`crate::callbacks`).

use std::ops::RangeInclusive;
use std::time::Duration;

use http_api::DevicePattern;
use http_caller::Signer;

use super::auth::{AuthScheme, read_secrets};
use super::delivery::rate;
use super::reader::{Field, Section};
use super::secret::{Secret, Surroundings};
use super::sheet::{Sheet, quoted};
use super::units::{duration_range, format_duration};

/// `[azure_bridge]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureBridge {
    /// Good in `x-api-key`: one to eight.
    pub secrets: Vec<Secret>,
    /// Which devices they are for.
    pub devices: Vec<DevicePattern>,
    /// Requests per second; none for no limit.
    pub rate: Option<u32>,
    /// What callbacks are signed with: one to eight, each with 24 to 64 bytes.
    pub signing_secrets: Vec<Secret>,
    /// How long a callback may take for its answer.
    pub call_timeout: Duration,
    /// Whether callbacks may go to addresses that are not public.
    pub allow_private_addresses: bool,
}

const CALL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(25);

impl AzureBridge {
    pub(super) fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Option<Self> {
        if !section.is_present() {
            return None;
        }
        let help = "what clients send as x-api-key, such as [{ env = \"AZURE_BRIDGE_KEY\" }]";
        let secrets = section
            .required("secrets", help, |field| read_secrets(field, Some(AuthScheme::Header), surroundings));
        let help = "what callbacks are signed with, such as [{ env = \"AZURE_BRIDGE_SIGNING\" }]; make one with: \
                    echo whsec_$(openssl rand -base64 32)";
        let signing_secrets = section.required("signing_secrets", help, |field| {
            let secrets = read_secrets(field, Some(AuthScheme::Header), surroundings)?;
            match Signer::new(secrets.iter().map(Secret::expose)) {
                Ok(_) => Some(secrets),
                Err(error) => {
                    field.mistake(error.to_string());
                    None
                }
            }
        });
        let devices = section.optional("devices", |field| field.parse_items(DevicePattern::parse));
        let all = || DevicePattern::parse("*").into_iter().collect();
        let allow_private_addresses = section.or("allow_private_addresses", false, Field::flag);
        let (rate, call_timeout) =
            (rate(&section, "rate"), section.or("call_timeout", TIMEOUT, |field| field.duration(&CALL)));
        section.finish();
        Some(Self {
            secrets: secrets?,
            devices: devices.unwrap_or_else(all),
            rate,
            signing_secrets: signing_secrets?,
            call_timeout,
            allow_private_addresses,
        })
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.example(
            "azure_bridge",
            "A drop-in for Azure's stateful (bidirectional) device bridge: /devices/ID/messages/events and the like, with \
             x-api-key, and signed callbacks. Its devices are those of [devices_api]; it needs [secrets] keys. See \
             docs/azure-bridge.md.",
        );
        sheet.explained(
            "secrets",
            "[{ env = \"AZURE_BRIDGE_KEY\" }]",
            "What clients send as x-api-key; several while one is being rotated.",
        );
        sheet.explained("devices", "[\"*\"]", "The devices that they are for; * stands for any characters.");
        sheet.explained("rate", "0", "Requests per second that are taken; 0 for no limit.");
        sheet.explained(
            "signing_secrets",
            "[{ env = \"AZURE_BRIDGE_SIGNING\" }]",
            "What callbacks are signed with, as of Standard Webhooks: whsec_ and base64. Each call has a signature of each.",
        );
        sheet.explained(
            "call_timeout",
            &quoted(&format_duration(TIMEOUT)),
            &format!("How long a callback may take for its answer: {}.", duration_range(&CALL)),
        );
        sheet.explained(
            "allow_private_addresses",
            "false",
            "Whether callbacks may go to addresses in a private network, or to this machine.",
        );
    }
}
