//! The floor: a bare axum server, a bare MQTT publish, the answer after its PUBACK. One connection, MQTT 3.1.1, a window that
//! is no limit. Not here: the floor of CoAP, which publishes the same way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};
use tokio::sync::oneshot;

type Queue = Arc<Mutex<VecDeque<oneshot::Sender<()>>>>;

/// A connection to the broker.
#[derive(Clone)]
pub(crate) struct Publisher {
    client: AsyncClient,
    queue: Queue,
}

impl Publisher {
    /// Connects, for ever.
    pub(crate) fn connect(mqtt: u16) -> Self {
        let mut options = MqttOptions::new("floor", "127.0.0.1", mqtt);
        options.set_inflight(60_000).set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = AsyncClient::new(options, 60_000);
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(true);
        connection.network_options = network;
        let queue = Queue::default();
        let publisher = Self { client, queue: queue.clone() };
        tokio::spawn(async move {
            let mut in_flight = HashMap::new();
            loop {
                match connection.poll().await.unwrap() {
                    Event::Outgoing(Outgoing::Publish(pkid)) => {
                        let waiter = queue.lock().unwrap().pop_front().unwrap();
                        in_flight.insert(pkid, waiter);
                    }
                    Event::Incoming(Packet::PubAck(ack)) => {
                        let _ = in_flight.remove(&ack.pkid).unwrap().send(());
                    }
                    _ => {}
                }
            }
        });
        publisher
    }

    /// Publishes and awaits the PUBACK.
    pub(crate) async fn publish(&self, body: Bytes) {
        let (sender, acknowledged) = oneshot::channel();
        {
            let mut queue = self.queue.lock().unwrap();
            queue.push_back(sender);
            self.client.try_publish("floor/telemetry", QoS::AtLeastOnce, false, body).unwrap();
        }
        acknowledged.await.unwrap();
    }
}

/// Serves for ever.
pub(crate) async fn run(http: u16, mqtt: u16) {
    let publisher = Publisher::connect(mqtt);
    let router = Router::new().route("/webhooks/farm", post(publish)).with_state(publisher);
    let listener = tokio::net::TcpListener::bind(crate::address(http)).await.unwrap();
    axum::serve(listener, router).await.unwrap();
}

async fn publish(State(publisher): State<Publisher>, body: Bytes) -> StatusCode {
    publisher.publish(body).await;
    StatusCode::OK
}
