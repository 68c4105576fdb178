//! `[integrations.NAME]`: the sources of messages. Not here: their secrets ([`super::auth`]), what a connector makes of
//! its settings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bridge_core::command::CommandName;
use bridge_core::naming::{Case, NamingRule};
use bridge_core::registrar::{DeviceRule, Register};
use bridge_core::{DeviceId, ExternalId, IntegrationName};
use codec::Assignment;

use super::auth::Auth;
use super::cidr::Cidr;
use super::codecs::{self, BUILT_IN, CodecConfig};
use super::connector::{ConnectorInfo, Settings};
use super::delivery::rate;
use super::downlink::{Access, Downlink};
use super::reader::{Field, Section};
use super::secret::Surroundings;
use super::sheet::{Sheet, quoted, words};
use super::units::size_range;

const BODY: RangeInclusive<u64> = 1024..=64 << 20;
/// What happens to a device that is heard for the first time.
pub(super) const REGISTER: &[(&str, Register)] =
    &[("auto", Register::Auto), ("off", Register::Off), ("park", Register::Park)];
const CASE: &[(&str, Case)] = &[("keep", Case::Keep), ("lower", Case::Lower), ("upper", Case::Upper)];
/// The longest prefix, bytes: half of an id is left for the device.
const MAX_PREFIX: usize = DeviceId::MAX / 2;

/// `[integrations.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Its name, also in the webhook URL.
    pub name: IntegrationName,
    /// The name of its connector.
    pub connector: &'static str,
    /// Whether it takes requests.
    pub enabled: bool,
    /// The largest body, bytes; none for the connector's own limit.
    pub body_limit: Option<usize>,
    /// Messages per second; none for no limit.
    pub rate: Option<u32>,
    /// Requests per second of each device; none for no limit.
    pub device_rate: Option<u32>,
    /// Which addresses may send; empty for all.
    pub sources: Vec<Cidr>,
    /// How requests prove the secret.
    pub auth: Auth,
    /// How it treats its devices.
    pub devices: DeviceRule,
    /// The codecs of its payloads.
    pub codecs: Assignment,
    /// The settings of the connector.
    pub settings: Settings,
    /// How commands go down to its devices.
    pub downlink: Option<Downlink>,
    /// The command that carries what is wanted of a device down to it; none when nothing does.
    pub desired_command: Option<CommandName>,
}

/// Reads all integrations, in order of their names.
pub(super) fn read_all(
    section: &Section<'_>,
    connectors: &[ConnectorInfo<'_>],
    surroundings: &Surroundings<'_>,
    codecs: &[CodecConfig],
) -> Vec<Integration> {
    let entries = section.entries();
    entries
        .iter()
        .filter_map(|(name, field)| {
            let parsed = IntegrationName::parse(name);
            if let Err(error) = &parsed {
                field.mistake(format!("the name {error}; it stands in the webhook URL"));
            }
            if *name == http_api::INTEGRATION {
                field.mistake("the name is that of the devices of devices_api; choose another");
            }
            if *name == ::coap::SOURCE {
                field.mistake("the name is that of the counters of coap; choose another");
            }
            let integration = Integration::read(field.section()?, name, connectors, surroundings, codecs);
            integration.zip(parsed.ok()).map(|(integration, name)| integration(name))
        })
        .collect()
}

impl Integration {
    /// Whether API keys that its cloud announces are kept.
    pub(super) fn takes_announcements(&self) -> bool {
        let api = self.downlink.as_ref().and_then(|downlink| downlink.api.as_ref());
        api.is_some_and(|api| matches!(api.access, Access::Announced(_)))
    }

    /// Reads everything but the name.
    fn read(
        section: Section<'_>,
        name: &str,
        connectors: &[ConnectorInfo<'_>],
        surroundings: &Surroundings<'_>,
        known_codecs: &[CodecConfig],
    ) -> Option<impl FnOnce(IntegrationName) -> Self + use<>> {
        let choices: Vec<(&'static str, &ConnectorInfo<'_>)> =
            connectors.iter().map(|connector| (connector.name, connector)).collect();
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let help = format!("one of {}", names.join(", "));
        let connector = section.required("connector", &help, |field| field.one_of(&choices));
        let enabled = section.or("enabled", true, Field::flag);
        let body_limit = section.optional("body_limit", |field| usize::try_from(field.size(&BODY)?).ok());
        let device_rate = rate(&section, "device_rate");
        let rate = rate(&section, "rate");
        let sources = section.or("sources", Vec::new(), |field| field.parse_items(str::parse));
        let auth = Auth::read(&section, name, connector, surroundings);
        let prefix = connector.map_or("", |connector| connector.default_prefix);
        let devices = read_devices(section.section("devices"), prefix);
        let codecs = read_codecs(&section, known_codecs);
        let settings = read_settings(&section, connector);
        let downlink = Downlink::read(&section, connector, surroundings);
        let desired_command = section.optional("desired_command", |field| field.parse(CommandName::parse));
        section.finish();
        let (auth, connector) = (auth?, connector?.name);
        Some(move |name| Self {
            name,
            connector,
            enabled,
            body_limit,
            rate,
            device_rate,
            sources,
            auth,
            devices,
            codecs,
            settings,
            downlink,
            desired_command,
        })
    }

    /// Writes an example with every key, explained.
    pub(super) fn describe(sheet: &mut Sheet, connector: &ConnectorInfo<'_>) {
        let name = begin_example(sheet, connector);
        Auth::describe(sheet, &name, &connector.auth);
        sheet.explained("enabled", "true", "Whether it takes requests.");
        sheet.explained(
            "sources",
            "[]",
            "Which addresses may send, such as [\"185.110.96.0/22\"] for Sigfox; empty for all.",
        );
        sheet.explained(
            "body_limit",
            &quoted("256KiB"),
            &format!("The largest body: {}. Default: what the cloud needs.", size_range(&BODY)),
        );
        sheet.explained(
            "codec",
            &quoted("cayenne"),
            &format!("Decodes its payloads: a name below codecs, or {}. Default: none.", BUILT_IN.join(", ")),
        );
        sheet.explained(
            "profiles",
            "{ \"dragino/lht65\" = \"cayenne\" }",
            "The codec of a device profile, as the cloud names it: brand and model, or the profile's name. Default: none.",
        );
        sheet.explained("rate", "0", "Messages per second that it may bring; 0 for no limit.");
        sheet.explained(
            "device_rate",
            "0",
            "Requests per second of each of its devices; 0 for no limit. What is over it is answered with 429 and Retry-After: \
             a cloud that does not send again loses it.",
        );
        Downlink::describe(sheet, &name, connector.downlink.as_ref());
        sheet.explained(
            "desired_command",
            &quoted("set"),
            "The command that carries what is wanted of a device down to it; its arguments are what it has not reported yet. Default: none.",
        );
        describe_devices(sheet, &name, connector.default_prefix);
        describe_settings(sheet, &name, connector);
    }

    /// Writes an example with what every integration needs, and what is its connector's own.
    pub(super) fn describe_in_short(sheet: &mut Sheet, connector: &ConnectorInfo<'_>) {
        let name = begin_example(sheet, connector);
        Auth::describe_in_short(sheet, &name, &connector.auth);
        sheet.key("devices", &format!("{{ prefix = {} }}", quoted(connector.default_prefix)));
        Downlink::describe(sheet, &name, connector.downlink.as_ref());
        describe_settings(sheet, &name, connector);
    }
}

/// Writes header and connector of an example; its name.
fn begin_example(sheet: &mut Sheet, connector: &ConnectorInfo<'_>) -> String {
    let name = format!("my-{}", connector.name);
    let about = format!("A source: webhooks of {} go to /webhooks/{name}.", connector.title);
    sheet.example(&format!("integrations.{name}"), &about);
    sheet.key("connector", &quoted(connector.name));
    name
}

fn describe_settings(sheet: &mut Sheet, name: &str, connector: &ConnectorInfo<'_>) {
    if connector.settings.is_empty() {
        return;
    }
    let about = format!("Settings of the connector {}, all optional:", connector.name);
    sheet.example(&format!("integrations.{name}.settings"), &about);
    for (key, help) in &connector.settings {
        sheet.prose(&format!("{key}: {help}"));
    }
}

fn describe_devices(sheet: &mut Sheet, name: &str, prefix: &str) {
    let default = DeviceRule::default();
    let word = |choices: &[(&'static str, Case)], choice| {
        quoted(choices.iter().find(|(_, this)| *this == choice).map_or("", |(word, _)| word))
    };
    let register = REGISTER.iter().find(|(_, this)| *this == default.register).map_or("", |(word, _)| word);
    sheet.example(
        &format!("integrations.{name}.devices"),
        "Its devices, and what they are called in the hub.",
    );
    sheet.explained(
        "register",
        &quoted(register),
        &format!(
            "What happens to a device that is heard for the first time: {}: it is registered; its messages become dead \
             letters; or they wait until you approve the device.",
            words(REGISTER)
        ),
    );
    sheet.explained("prefix", &quoted(prefix), "What its device ids begin with.");
    sheet.explained(
        "case",
        &word(CASE, default.naming.case),
        &format!("What happens to the letters of an external id: {}.", words(CASE)),
    );
    sheet.explained(
        "map",
        "{ \"1A2B3C\" = \"tank-7\" }",
        "External id to device id, for devices that have a name of their own. Default: none.",
    );
}

fn read_devices(section: Section<'_>, default_prefix: &str) -> DeviceRule {
    let default = DeviceRule::default();
    let rule = DeviceRule {
        register: section.or("register", default.register, |field| field.one_of(REGISTER)),
        naming: NamingRule {
            prefix: section.or("prefix", default_prefix.to_owned(), |field| field.parse(parse_prefix)),
            case: section.or("case", default.naming.case, |field| field.one_of(CASE)),
            table: section.or("map", default.naming.table, |field| Some(read_map(&field.section()?))),
        },
    };
    section.finish();
    rule
}

fn read_codecs(section: &Section<'_>, known: &[CodecConfig]) -> Assignment {
    Assignment {
        default: section.optional("codec", |field| read_codec(field, known)),
        profiles: section.or("profiles", BTreeMap::new(), |field| {
            let section = field.section()?;
            let named =
                |(profile, field): (&str, Field<'_>)| Some((profile.to_owned(), read_codec(&field, known)?));
            Some(section.entries().into_iter().filter_map(named).collect())
        }),
    }
}

/// Reads the name of a codec.
pub(super) fn read_codec(field: &Field<'_>, known: &[CodecConfig]) -> Option<String> {
    let name = field.text()?;
    if !codecs::is_known(name, known) {
        let names = known.iter().map(|codec| codec.spec.name.as_str()).chain(BUILT_IN.iter().copied());
        field.mistake(format!(
            "there is no codec {name:?}; there are {}",
            names.collect::<Vec<_>>().join(", ")
        ));
    }
    Some(name.to_owned())
}

fn read_map(section: &Section<'_>) -> BTreeMap<String, DeviceId> {
    let mut map = BTreeMap::new();
    let mut owners: BTreeMap<DeviceId, &str> = BTreeMap::new();
    for (external, field) in section.entries() {
        if let Err(error) = ExternalId::parse(external) {
            field.mistake(format!("the external id {error}"));
        }
        let Some(id) = field.parse(DeviceId::parse) else { continue };
        if let Some(other) = owners.insert(id.clone(), external) {
            field.mistake(format!(
                "two devices cannot share one id: \"{}\" has it already",
                other.escape_debug()
            ));
        }
        map.insert(external.to_owned(), id);
    }
    map
}

fn read_settings(integration: &Section<'_>, connector: Option<&ConnectorInfo<'_>>) -> Settings {
    let section = integration.section("settings");
    let Some(connector) = connector else { return Settings::new() };
    let mut settings = Settings::new();
    let mut is_complete = true;
    let entries = section.entries();
    for (key, field) in &entries {
        if !connector.settings.iter().any(|(known, _)| known == key) {
            field.unknown_among(key, connector.settings.iter().map(|(known, _)| *known));
        }
        match field.scalars() {
            Some(values) => drop(settings.insert((*key).to_owned(), values)),
            None => is_complete = false,
        }
    }
    // A check of half the settings would find mistakes that are none.
    let found = connector.check.as_ref().filter(|_| is_complete).map(|check| check(&settings));
    for mistake in found.unwrap_or_default() {
        match entries.iter().find(|(key, _)| *key == mistake.key) {
            Some((_, field)) => field.mistake(mistake.message),
            None => section.missing(&mistake.key, &mistake.message),
        }
    }
    settings
}

fn parse_prefix(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !DeviceId::allows(*c)) {
        Some(c) => Err(format!("holds {c:?}; allowed are letters, digits and - . _ :")),
        None if text.len() > MAX_PREFIX => Err(format!("must be at most {MAX_PREFIX} bytes long")),
        None => Ok(text.to_owned()),
    }
}
