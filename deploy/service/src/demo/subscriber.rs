//! The demo's own MQTT client: what it prints has been to the broker and back. Not here: the bridge's connections.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

/// A subscription to everything of devices.
pub(super) struct Subscriber {
    connection: EventLoop,
    /// Dropping it would end the connection.
    _client: AsyncClient,
}

/// A message as it came.
pub(super) struct Received {
    pub(super) topic: String,
    pub(super) payload: String,
}

impl Subscriber {
    /// Connects and subscribes; the subscription stands when this returns.
    pub(super) async fn connect(broker: SocketAddr) -> anyhow::Result<Self> {
        let client_id = format!("device-bridge-demo-{}", std::process::id());
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1024 * 1024, 1024 * 1024);
        let (client, mut connection) = AsyncClient::new(options, 10);
        client.subscribe("devices/#", QoS::AtLeastOnce).await?;
        for _ in 0..50 {
            match connection.poll().await {
                Ok(Event::Incoming(Packet::SubAck(_))) => return Ok(Self { connection, _client: client }),
                Ok(_) => {}
                Err(error) => return Err(error).context("the demo's subscriber cannot connect"),
            }
        }
        bail!("the broker does not confirm the subscription")
    }

    /// The next message on the topic that came by the integration, retained ones of earlier runs left aside.
    pub(super) async fn wait_for(
        &mut self,
        topic: &str,
        source: &str,
        patience: Duration,
    ) -> Option<Received> {
        let matching = async {
            loop {
                match self.connection.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish)))
                        if publish.topic == topic && !publish.retain =>
                    {
                        let payload = String::from_utf8_lossy(&publish.payload).into_owned();
                        if payload.contains(source) {
                            return Some(Received { topic: publish.topic, payload });
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(patience, matching).await.ok().flatten()
    }
}
