//! The configuration becomes a CoAP API, and its endpoints' counters become metrics. Not here: what it is.

use std::fmt::Write;
use std::sync::Arc;

use ::coap::{
    CarriedStats, CoapApi, Fate, Framing, Parts, SecureStats, Settings, StreamStats, Tls, TlsError, TlsPem,
};
use anyhow::Context;
use bridge_core::IntegrationName;
use bridge_core::keyring::Keyring;
use bridge_core::pipeline::Pipeline;
use edge::Mailbox;
use http_api::Formats;
use webhook::receiver::Tasks;

use crate::config::{CoapTls, Config};
use crate::device_api;

/// What the API shall do.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings { seal_keys: config.secrets.seal_keys(), ..Settings::limited_to(config.coap.rate) }
}

/// The API, when it is wanted.
///
/// # Errors
/// When the system gives no random numbers.
pub(crate) fn api(
    config: &Config,
    (pipeline, keyring, formats, mailbox): (&Arc<Pipeline>, &Arc<Keyring>, &Arc<dyn Formats>, &Arc<Mailbox>),
    tasks: &Tasks,
) -> anyhow::Result<Option<CoapApi>> {
    if !config.coap.is_served() {
        return Ok(None);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("no random bytes")?;
    let parts = Parts {
        name: IntegrationName::parse(http_api::INTEGRATION)?,
        source: IntegrationName::parse(::coap::SOURCE)?,
        pipeline: pipeline.clone(),
        keyring: keyring.clone(),
        mailbox: mailbox.clone(),
        formats: formats.clone(),
        unique: device_api::unique_keys()?,
        seed,
        tasks: tasks.clone(),
        body_limit: config.coap.body_limit,
        certificate_device: config.coap.certificate_device,
    };
    Ok(Some(CoapApi::new(parts, settings(config))))
}

/// What the endpoints have counted, as Prometheus text.
pub(crate) fn metrics(api: &CoapApi) -> String {
    let secure = api.secure_stats();
    let streams = api.stream_stats();
    let mut page = coap_metrics(&[&[api.stats(), secure.coap][..], &streams.coap].concat());
    page += &dtls_metrics(&secure);
    page += &stream_metrics(&streams);
    page
}

/// TLS of `coap.tls` or `coap.wss`, for connections with that framing.
///
/// # Errors
/// When its files cannot be used.
pub fn tls(tls: &CoapTls, framing: Framing) -> Result<Tls, TlsError> {
    let pem = TlsPem {
        certificates: tls.certificate.pem.expose(),
        key: tls.key.pem.expose(),
        client_authorities: tls.client_authorities.as_ref().map(|file| file.pem.expose()),
    };
    Tls::new(&pem, framing)
}

fn stream_metrics(streams: &StreamStats) -> String {
    let fates = Fate::ALL.map(Fate::as_str).into_iter().zip(streams.fates);
    counter(
        "bridge_coap_connections_total",
        "CoAP connections over TCP, TLS and WebSocket, by what became of them.",
        fates,
    ) + &gauge(
        "bridge_coap_connections",
        "CoAP connections over TCP, TLS and WebSocket.",
        streams.connections,
    )
}

fn coap_metrics(carried: &[CarriedStats]) -> String {
    let observers: usize = carried.iter().map(|carried| carried.observers).sum();
    let counts = |CarriedStats { endpoint: stats, .. }: &CarriedStats| {
        [
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
        ]
    };
    let counted: Vec<_> = carried.iter().map(counts).collect();
    let sum = |at: usize| -> u64 { counted.iter().map(|counts| counts[at].1).sum() };
    let sums = counted[0].iter().enumerate().map(|(at, (kind, _))| (*kind, sum(at)));
    counter("bridge_coap_messages_total", "CoAP messages, by what became of them; some count twice.", sums)
        + &gauge("bridge_coap_observers", "Devices that observe their commands over CoAP.", observers)
}

fn dtls_metrics(secure: &SecureStats) -> String {
    let SecureStats { dtls, held, unconfirmed, unsent, crowded, .. } = secure;
    let mut page = counter(
        "bridge_dtls_total",
        "What happened to DTLS datagrams, handshakes and associations, by kind.",
        [
            ("datagram-received", dtls.received),
            ("datagram-sent", dtls.sent),
            ("malformed", dtls.malformed),
            ("cookie-sent", dtls.cookies_sent),
            ("cookie-refused", dtls.cookies_refused),
            ("hello-fragmented", dtls.fragmented_hellos),
            ("handshake-begun", dtls.handshakes),
            ("handshake-completed", dtls.completed),
            ("handshake-refused", dtls.handshakes_refused),
            ("handshake-refused-address", dtls.handshakes_refused_address),
            ("handshake-aborted", dtls.aborted),
            ("handshake-timed-out", dtls.timed_out),
            ("no-common-suite", dtls.no_common_ground),
            ("wrong-key-or-identity", dtls.wrong_keys),
            ("certificate-or-raw-key-refused", dtls.certificates_refused),
            ("protocol-error", dtls.protocol_errors + dtls.fragments_refused),
            ("lookup-timed-out", dtls.lookups_timed_out),
            ("retransmitted", dtls.retransmitted),
            ("stale", dtls.stale),
            ("unknown-address", dtls.unknown_address),
            ("unknown-connection-id", dtls.unknown_cid),
            ("other-node", dtls.other_node),
            ("not-authentic", dtls.not_authentic),
            ("replayed", dtls.replayed),
            ("unexpected", dtls.unexpected),
            ("rebound", dtls.rebound),
            ("rebind-limited", dtls.rebinds_limited),
            ("address-unconfirmed", *unconfirmed),
            ("unsent", *unsent),
            ("association-replaced", dtls.replaced),
            ("association-evicted", dtls.evicted),
            ("association-crowded", *crowded),
            ("association-idle", dtls.idle),
            ("association-closed", dtls.closed),
        ],
    );
    for (name, help, held) in [
        ("bridge_dtls_associations", "DTLS associations.", held.sessions),
        ("bridge_dtls_handshakes", "DTLS handshakes under way.", held.handshakes),
    ] {
        page += &gauge(name, help, held);
    }
    page
}

fn gauge(name: &str, help: &str, held: usize) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {held}\n")
}

fn counter(name: &str, help: &str, kinds: impl IntoIterator<Item = (&'static str, u64)>) -> String {
    let mut page = format!("# HELP {name} {help}\n# TYPE {name} counter\n");
    for (kind, count) in kinds {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{name}{{kind=\"{kind}\"}} {count}");
    }
    page
}
