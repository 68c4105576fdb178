//! The configuration: TOML in, plain structs out, or every mistake at once. Nothing else in the project reads it, the
//! environment, or files with secrets. Not here: acting on it.
//!
//! One module per section, each with its struct, its defaults, its reader and its part of the template.

mod admin;
mod auth;
mod azure_bridge;
mod bridge;
mod broker;
mod choice;
mod cidr;
mod client_certificates;
mod coap;
mod codecs;
mod commands;
mod connector;
mod delivery;
mod devices_api;
mod downlink;
mod dynamodb;
mod http;
mod hub;
mod init;
mod integration;
mod log;
mod mistakes;
mod reader;
mod retention;
mod secret;
mod secrets;
mod sheet;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
pub mod units;

use std::path::Path;

use bridge_core::IntegrationName;
use bridge_core::naming::NamingRule;
use toml::de::DeTable;

pub use admin::{Admin, AdminToken, LOCAL, Scope};
pub use auth::{Auth, AuthScheme, DEFAULT_HEADER, DEFAULT_PARAMETER, Proof};
pub use azure_bridge::AzureBridge;
pub use bridge::{Bridge, StoreKind};
pub use broker::{Broker, ClientCertificate, Credentials, Remote, Tls};
pub use cidr::{Cidr, CidrError};
pub use client_certificates::ClientCertificates;
pub use coap::{Coap, CoapTls, Dtls};
pub use codecs::CodecConfig;
pub use commands::Commands;
pub use connector::{
    CheckSettings, CheckWayDown, ConnectorInfo, SettingMistake, Settings, WayDownInfo, WayManner,
};
pub use delivery::{Delivery, Durability, OutboxBounds};
pub use devices_api::{DevicesApi, Gateway};
pub use downlink::{Access, Downlink};
pub use dynamodb::DynamoDb;
pub use http::Http;
pub use hub::{Connections, Dialect, Encoding, Hub, Protocol};
pub use init::{CONFIG_FILE, InitError, InitOutput, fresh_secret, init};
pub use integration::Integration;
pub use log::{Log, LogFormat};
pub use mistakes::{Mistake, Mistakes};
pub use retention::{Archive, DeadLetters, Dedup, Trace};
pub use secret::{PemFile, Secret, Surroundings};
pub use secrets::Secrets;
pub use template::template;

use mistakes::Report;
use reader::Section;

/// The largest configuration, bytes. Room for a table of 100,000 devices.
const MAX_TEXT: usize = 8 * 1024 * 1024;

/// The configuration of the bridge. Debug output holds no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The bridge itself.
    pub bridge: Bridge,
    /// `[dynamodb]`.
    pub dynamodb: DynamoDb,
    /// Where requests are received.
    pub http: Http,
    /// Where operators are served.
    pub admin: Admin,
    /// The hub.
    pub hub: Hub,
    /// How messages get there.
    pub delivery: Delivery,
    /// How duplicates are found.
    pub dedup: Dedup,
    /// What cannot be delivered.
    pub dead_letters: DeadLetters,
    /// `[archive]`.
    pub archive: Archive,
    /// `[commands]`.
    pub commands: Commands,
    /// What happened to messages.
    pub trace: Trace,
    /// The log.
    pub log: Log,
    /// Keys for secrets at rest.
    pub secrets: Secrets,
    /// Payload codecs, in order of their names.
    pub codecs: Vec<CodecConfig>,
    /// The sources, in order of their names.
    pub integrations: Vec<Integration>,
    /// Devices that speak HTTP.
    pub devices_api: DevicesApi,
    /// Devices that speak CoAP.
    pub coap: Coap,
    /// Who speaks for several of them, in order of their names.
    pub gateways: Vec<Gateway>,
    /// The drop-in for Azure's stateful bridge; none: nobody has a key.
    pub azure_bridge: Option<AzureBridge>,
}

impl Config {
    /// The configuration without a file: everything by default, with the embedded broker and without integrations.
    pub fn builtin() -> Self {
        let bridge = Bridge::default();
        Self {
            dynamodb: DynamoDb::default(),
            http: Http::default(),
            admin: Admin::default(),
            hub: Hub::of_bridge(&bridge.name),
            delivery: Delivery::default(),
            dedup: Dedup::default(),
            dead_letters: DeadLetters::default(),
            archive: Archive::default(),
            commands: Commands::default(),
            trace: Trace::default(),
            log: Log::default(),
            secrets: Secrets::default(),
            codecs: Vec::new(),
            integrations: Vec::new(),
            devices_api: DevicesApi::default(),
            coap: Coap::default(),
            gateways: Vec::new(),
            azure_bridge: None,
            bridge,
        }
    }

    /// How an integration names its devices; none when it is not configured.
    pub fn naming(&self, integration: &IntegrationName) -> Option<NamingRule> {
        if integration.as_str() == http_api::INTEGRATION {
            return Some(DevicesApi::naming());
        }
        let configured = self.integrations.iter().find(|configured| configured.name == *integration);
        configured.map(|configured| configured.devices.naming.clone())
    }

    /// Reads a configuration and the secret files that it refers to. `base_dir` is the folder of its file, where
    /// relative paths start.
    ///
    /// # Errors
    /// Everything that is wrong with it; the operator's to mend.
    pub fn parse(
        text: &str,
        base_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        connectors: &[ConnectorInfo<'_>],
    ) -> Result<Self, Mistakes> {
        let surroundings = Surroundings { base_dir, env, file: &secret::read_at_most };
        Self::parse_in(text, &surroundings, connectors)
    }

    /// Like [`parse`](Self::parse) with any surroundings.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_in(
        text: &str,
        surroundings: &Surroundings<'_>,
        connectors: &[ConnectorInfo<'_>],
    ) -> Result<Self, Mistakes> {
        let report = Report::about(text);
        if text.len() > MAX_TEXT {
            report.add("", None, format!("the text is larger than {}", units::format_size(MAX_TEXT as u64)));
            return report.conclude(Self::builtin());
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What a broken text seems to say is not worth a mistake.
            report.not_toml(&errors);
            return report.conclude(Self::builtin());
        }
        let config = Self::read(Section::root(&report, document.get_ref()), surroundings, connectors);
        report.conclude(config)
    }

    fn read(root: Section<'_>, surroundings: &Surroundings<'_>, connectors: &[ConnectorInfo<'_>]) -> Self {
        let bridge = Bridge::read(root.section("bridge"), surroundings.base_dir);
        let codecs = codecs::read_all(&root.section("codecs"), surroundings);
        let config = Self {
            dynamodb: DynamoDb::read(root.section("dynamodb")),
            http: Http::read(root.section("http")),
            admin: Admin::read(root.section("admin"), surroundings),
            hub: Hub::read(root.section("hub"), &bridge.name, surroundings),
            delivery: Delivery::read(root.section("delivery")),
            dedup: Dedup::read(root.section("dedup")),
            dead_letters: DeadLetters::read(root.section("dead_letters")),
            archive: Archive::read(root.section("archive")),
            commands: Commands::read(root.section("commands")),
            trace: Trace::read(root.section("trace")),
            log: Log::read(root.section("log")),
            secrets: Secrets::read(root.section("secrets"), surroundings),
            integrations: integration::read_all(
                &root.section("integrations"),
                connectors,
                surroundings,
                &codecs,
            ),
            devices_api: DevicesApi::read(root.section("devices_api"), &codecs),
            coap: Coap::read(root.section("coap"), surroundings),
            gateways: Gateway::read_all(&root.section("gateways"), surroundings),
            azure_bridge: AzureBridge::read(root.section("azure_bridge"), surroundings),
            codecs,
            bridge,
        };
        let mut listeners = vec![("http", "http.listen", config.http.listen)];
        listeners.push(("admin", "admin.listen", config.admin.listen));
        if let Broker::Embedded { listen } = config.hub.broker {
            listeners.push(("hub", "hub.embedded.listen", listen));
        }
        listeners.extend(config.coap.tcp.map(|listen| ("coap", "coap.tcp", listen)));
        listeners.extend(config.coap.tls.as_ref().map(|tls| ("coap", "coap.tls.listen", tls.listen)));
        listeners.extend(config.coap.ws.map(|listen| ("coap", "coap.ws", listen)));
        listeners.extend(config.coap.wss.as_ref().map(|tls| ("coap", "coap.wss.listen", tls.listen)));
        for (index, (section, name, address)) in listeners.iter().enumerate() {
            for (other_section, other, same) in &listeners[..index] {
                if address == same && address.port() != 0 {
                    // One of them is not the default, so one of the sections is there.
                    let key = if root.section(other_section).is_present() { other_section } else { section };
                    root.refuse(key, &format!("{other} and {name} cannot be the same address"));
                }
            }
        }
        if config.secrets.keys.is_empty()
            && let Some(integration) = config.integrations.iter().find(|one| one.takes_announcements())
        {
            let why = format!(
                "{}.downlink.announced needs a key under which the announced ones are kept: set [secrets] keys",
                integration.name
            );
            root.refuse("integrations", &why);
        }
        if config.coap.dtls.is_some() && config.secrets.keys.is_empty() {
            let why = "needs a key under which those of devices are kept: set [secrets] keys";
            root.section("coap").refuse("dtls", why);
        }
        if config.azure_bridge.is_some() && !config.devices_api.enabled {
            root.refuse("azure_bridge", "needs devices_api.enabled: its devices are those of that API");
        }
        if config.azure_bridge.is_some() && config.secrets.keys.is_empty() {
            let why = "needs a key under which the URLs of callbacks are kept: set [secrets] keys";
            root.refuse("azure_bridge", why);
        }
        root.finish();
        config
    }
}
