//! The configuration becomes a CoAP API, and its endpoint's counters become metrics. Not here: what it is.

use std::fmt::Write;
use std::sync::Arc;

use ::coap::{CoapApi, Parts, Settings, Stats};
use anyhow::Context;
use bridge_core::IntegrationName;
use bridge_core::keyring::Keyring;
use bridge_core::pipeline::Pipeline;
use http_api::Formats;
use webhook::receiver::Tasks;

use crate::config::Config;
use crate::device_api;

/// What the API shall do.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings::limited_to(config.coap.rate)
}

/// The API, when it is wanted.
///
/// # Errors
/// When the system gives no random numbers.
pub(crate) fn api(
    config: &Config,
    (pipeline, keyring, formats): (&Arc<Pipeline>, &Arc<Keyring>, &Arc<dyn Formats>),
    tasks: &Tasks,
) -> anyhow::Result<Option<CoapApi>> {
    if !config.coap.enabled {
        return Ok(None);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("no random bytes")?;
    let parts = Parts {
        name: IntegrationName::parse(http_api::INTEGRATION)?,
        source: IntegrationName::parse(::coap::SOURCE)?,
        pipeline: pipeline.clone(),
        keyring: keyring.clone(),
        formats: formats.clone(),
        unique: device_api::unique_keys()?,
        seed,
        tasks: tasks.clone(),
        body_limit: config.coap.body_limit,
    };
    Ok(Some(CoapApi::new(parts, settings(config))))
}

/// What the endpoint has counted, as Prometheus text.
pub(crate) fn metrics(stats: &Stats) -> String {
    let mut page = String::new();
    let name = "bridge_coap_messages_total";
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "# HELP {name} Datagrams, by what became of them; some count twice.\n# TYPE {name} counter"
    );
    for (kind, count) in [
        ("received", stats.received),
        ("sent", stats.sent),
        ("not-coap", stats.not_coap),
        ("malformed", stats.malformed),
        ("ping", stats.pings),
        ("duplicate", stats.duplicates),
        ("forgotten-early", stats.dedup_evicted),
        ("unexpected", stats.unexpected + stats.unmatched),
        ("retransmitted", stats.retransmitted),
        ("given-up", stats.timed_out),
        ("dropped", stats.dropped),
        ("bad-option", stats.bad_options),
        ("overloaded", stats.overloaded),
        ("unanswered", stats.unanswered),
        ("transfer-lost", stats.transfers_lost),
    ] {
        let _ = writeln!(page, "{name}{{kind=\"{kind}\"}} {count}");
    }
    page
}
