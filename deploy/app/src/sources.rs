//! Integrations of the configuration become sources of the receiver. Not here: what either of them is.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use bridge_core::counters::IntegrationCounters;
use bridge_core::pipeline::Integration as CoreIntegration;
use webhook::connector::{AuthKind, Connector, Setting, SettingError, WayDown};
use webhook::connectors;
use webhook::receiver::{Auth, LogGate, SecretDigest, Source, SourceTable};

use crate::config::{
    Auth as AuthConfig, AuthScheme, Cidr, Config, ConnectorInfo, Integration, Proof, SettingMistake,
    WayDownInfo, WayManner,
};

/// What the configuration must know of every connector.
pub fn connector_infos() -> Vec<ConnectorInfo<'static>> {
    connectors::ALL.iter().map(|connector| info(*connector)).collect()
}

fn info(connector: &'static dyn Connector) -> ConnectorInfo<'static> {
    let scheme = |kind: &AuthKind| match kind {
        AuthKind::Header => AuthScheme::Header,
        AuthKind::Basic => AuthScheme::Basic,
        AuthKind::Bearer => AuthScheme::Bearer,
        AuthKind::UrlToken => AuthScheme::UrlToken,
    };
    ConnectorInfo {
        name: connector.name(),
        title: connector.title(),
        default_prefix: connector.default_prefix(),
        auth: connector.auth().iter().map(scheme).collect(),
        settings: connector.settings().iter().map(|setting| (setting.key, setting.help)).collect(),
        downlink: connector.downlink().map(way_down),
        check: Some(Box::new(|settings| mistakes(connector.configure(settings).err()))),
    }
}

fn way_down(way: &'static WayDown) -> WayDownInfo<'static> {
    let known = |settings: &'static [Setting]| settings.iter().map(|setting| (setting.key, setting.help));
    match way {
        WayDown::Api(api) => WayDownInfo {
            manner: WayManner::Api {
                default_url: api.default_url,
                token: api.token,
                announces: api.announced.as_ref().map(|announces| announces.settings),
            },
            settings: known(api.settings).collect(),
            check: Box::new(|url, settings| mistakes((api.make)(url, settings).err())),
        },
        WayDown::Mailbox(mailbox) => WayDownInfo {
            manner: WayManner::Mailbox { example: mailbox.example },
            settings: known(mailbox.settings).collect(),
            check: Box::new(|_, settings| mistakes((mailbox.make)(settings).err())),
        },
    }
}

fn mistakes(errors: Option<Vec<SettingError>>) -> Vec<SettingMistake> {
    let errors = errors.unwrap_or_default().into_iter();
    errors.map(|error| SettingMistake { key: error.key.to_owned(), message: error.message }).collect()
}

/// The table of sources. Counters of integrations that were there before go on.
///
/// # Errors
/// When an integration does not fit its connector; a configuration that was read has been checked for that.
pub(crate) fn table(config: &Config, before: Option<&SourceTable>) -> anyhow::Result<SourceTable> {
    let enabled = config.integrations.iter().filter(|integration| integration.enabled);
    enabled.map(|integration| source(integration, before)).collect()
}

fn source(integration: &Integration, before: Option<&SourceTable>) -> anyhow::Result<Source> {
    let connector = connectors::find(integration.connector)
        .with_context(|| format!("there is no connector {}", integration.connector))?;
    let decode = connector.configure(&integration.settings).map_err(|errors| {
        let all: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.key, error.message)).collect();
        anyhow!("{}: {}", integration.name, all.join("; "))
    })?;
    let counters = match before.and_then(|table| table.find(integration.name.as_str())) {
        Some(source) => source.integration.counters.clone(),
        None => Arc::new(IntegrationCounters::default()),
    };
    Ok(Source {
        integration: CoreIntegration {
            name: integration.name.clone(),
            source: connector.name(),
            devices: integration.devices.clone(),
            counters,
        },
        connector,
        decode,
        auth: auth(&integration.auth),
        body_limit: integration.body_limit.unwrap_or_else(|| connector.body_limit()),
        allows: allows(&integration.sources),
        rate: integration
            .rate
            .and_then(std::num::NonZeroU32::new)
            .map(webhook::receiver::RateLimit::per_second),
        device_rate: integration
            .device_rate
            .and_then(std::num::NonZeroU32::new)
            .map(webhook::receiver::RateLimits::per_second),
        refusal_log: LogGate::default(),
    })
}

fn auth(auth: &AuthConfig) -> Auth {
    let digests = |prefix: &str| {
        let digest = |secret: &crate::config::Secret| {
            SecretDigest::of(format!("{prefix}{}", secret.expose()).as_bytes())
        };
        auth.secrets.iter().map(digest).collect::<Vec<_>>()
    };
    match &auth.proof {
        Proof::Header(name) => Auth::Header(name.clone(), digests("")),
        Proof::Basic { user } => Auth::Basic(digests(&format!("{user}:"))),
        Proof::Bearer => Auth::Bearer(digests("")),
        Proof::UrlToken { parameter } => Auth::UrlToken(parameter.clone(), digests("")),
    }
}

type Allows = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Whether an address is in one of the ranges; none when there are no ranges.
fn allows(ranges: &[Cidr]) -> Option<Allows> {
    (!ranges.is_empty()).then(|| contains(ranges))
}

/// Whether an address is in one of the ranges.
pub(crate) fn contains(ranges: &[Cidr]) -> Allows {
    let ranges = ranges.to_vec();
    Box::new(move |address| ranges.iter().any(|range| range.contains(address)))
}
