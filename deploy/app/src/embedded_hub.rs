//! An MQTT 3.1.1 broker inside the process: for trying out, and for installations of one box. It keeps retained messages
//! and undelivered ones in memory only, and a subscriber that falls far behind loses the oldest. Not here: the bridge's
//! connection to it, which is an ordinary one.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Bytes of a filter's log segment, and how many are kept: what a subscriber may fall behind.
const SEGMENT: (usize, usize) = (1024 * 1024, 8);
/// The largest payload, bytes.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// How long the broker may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the broker; it listens when this returns, and lives as long as the process.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn start(listen: SocketAddr) -> anyhow::Result<()> {
    // The broker only logs when it cannot bind: try first.
    drop(
        TcpListener::bind(listen)
            .with_context(|| format!("the embedded MQTT broker cannot listen on {listen}"))?,
    );
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: MAX_PAYLOAD,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: false,
    };
    let server = ServerSettings {
        name: "embedded-hub".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let config = Config {
        router: RouterConfig {
            max_connections: 1000,
            max_outgoing_packet_count: 200,
            max_segment_size: SEGMENT.0,
            max_segment_count: SEGMENT.1,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    };
    let mut broker = Broker::new(config);
    std::thread::Builder::new().name("embedded-hub".into()).spawn(move || {
        if let Err(error) = broker.start() {
            tracing::error!(%error, "the embedded MQTT broker has ended");
        }
    })?;
    tokio::time::timeout(PATIENCE, listens(listen)).await.context("the embedded MQTT broker does not listen")
}

/// The broker does not tell when it listens: ask it.
async fn listens(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
