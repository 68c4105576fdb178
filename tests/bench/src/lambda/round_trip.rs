//! The round trip to the hub alone: a publish of the size of an uplink's message, until its PUBACK.

use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS};

/// About what the hub gets of an uplink of the benchmark.
const BYTES: usize = 400;

/// A connection of its own, one publish at a time.
pub(crate) struct Publisher {
    client: AsyncClient,
    connection: EventLoop,
}

impl Publisher {
    pub(crate) async fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("round-trip", "127.0.0.1", port);
        // It is only polled while something is measured.
        options.set_keep_alive(Duration::from_secs(600));
        let (client, mut connection) = AsyncClient::new(options, 1);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        connection.network_options = network;
        while !matches!(connection.poll().await.unwrap(), Event::Incoming(Packet::ConnAck(_))) {}
        Self { client, connection }
    }

    /// Milliseconds.
    pub(crate) async fn round_trip(&mut self) -> f64 {
        let begun = Instant::now();
        self.client.try_publish("floor/telemetry", QoS::AtLeastOnce, false, vec![b'x'; BYTES]).unwrap();
        while !matches!(self.connection.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
        begun.elapsed().as_secs_f64() * 1000.0
    }
}
