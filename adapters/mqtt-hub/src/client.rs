//! One connection epoch of the MQTT library, for both protocol versions: from CONNECT to the first error, and not a moment
//! longer. (As it comes the library resends by itself after an error and loses messages on the way; the outbox is the
//! only resender here.) Not here: what an acknowledgement means to anyone.

use std::sync::Arc;

use bridge_core::ports::HubRefusal;
use rumqttc::{Outgoing, TlsConfiguration, Transport, v5};
use rustls::ClientConfig;

use crate::config::{HubConfig, Protocol};
use crate::dialect::Publication;

/// Hands publishes to the connection. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Client {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// Drives the connection.
pub(crate) enum Connection {
    V311(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// What happens on a connection.
#[derive(Debug)]
pub(crate) enum Happening {
    /// CONNACK; with what the broker grants.
    Connected { receive_maximum: Option<u16>, maximum_packet: Option<u32> },
    /// A publish was written, with this packet identifier. In the order of the calls to [`Client::publish`].
    Sent(u16),
    /// The broker has answered a publish.
    Answered(u16, Result<(), HubRefusal>),
    /// DISCONNECT was written.
    Disconnected,
    /// Nothing that matters here.
    Other,
}

/// Room for the bridge's own birth and death beside the window.
pub(crate) const OWN_PUBLISHES: u16 = 2;

/// Opens an epoch; nothing is sent before the first [`Connection::next`].
pub(crate) fn open(
    config: &HubConfig,
    tls: Option<&Arc<ClientConfig>>,
    client_id: String,
    will: Option<Publication>,
) -> (Client, Connection) {
    let window = config.window.saturating_add(OWN_PUBLISHES);
    let queue = usize::from(window) + 1;
    let transport = match tls {
        Some(tls) => Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())),
        None => Transport::tcp(),
    };
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(config.connect_timeout.as_secs().max(1));
    let (host, port) = (config.address.host.clone(), config.address.port);
    match config.protocol {
        Protocol::V311 => {
            let mut options = rumqttc::MqttOptions::new(client_id, host, port);
            options
                .set_keep_alive(config.keep_alive)
                .set_clean_session(true)
                .set_inflight(window)
                .set_max_packet_size(config.max_packet as usize, config.max_packet as usize)
                .set_transport(transport);
            if let Some(credentials) = &config.credentials {
                options.set_credentials(&credentials.user, credentials.password.reveal());
            }
            if let Some(will) = will {
                let qos = rumqttc::QoS::AtLeastOnce;
                options.set_last_will(rumqttc::LastWill::new(will.topic, will.payload, qos, will.retain));
            }
            let (client, mut connection) = rumqttc::AsyncClient::new(options, queue);
            connection.network_options = network;
            (Client::V311(client), Connection::V311(Box::new(connection)))
        }
        Protocol::V5 => {
            let mut options = v5::MqttOptions::new(client_id, host, port);
            options
                .set_keep_alive(config.keep_alive)
                .set_clean_start(true)
                .set_outgoing_inflight_upper_limit(window)
                .set_connection_timeout(config.connect_timeout.as_secs().max(1))
                .set_max_packet_size(Some(config.max_packet))
                .set_network_options(network)
                .set_transport(transport);
            if let Some(credentials) = &config.credentials {
                options.set_credentials(&credentials.user, credentials.password.reveal());
            }
            if let Some(will) = will {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let payload = will.payload.to_vec();
                options.set_last_will(v5::mqttbytes::v5::LastWill::new(
                    will.topic,
                    payload,
                    qos,
                    will.retain,
                    None,
                ));
            }
            let (client, connection) = v5::AsyncClient::new(options, queue);
            (Client::V5(client), Connection::V5(Box::new(connection)))
        }
    }
}

impl Client {
    /// Queues a publish, QoS 1. False when it cannot be queued: the connection has ended, or the window was not kept.
    pub(crate) fn publish(&self, publication: Publication) -> bool {
        let Publication { topic, payload, retain, content_type, properties } = publication;
        match self {
            Self::V311(client) => {
                client.try_publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload).is_ok()
            }
            Self::V5(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    payload_format_indicator: Some(1),
                    content_type: Some(content_type.to_owned()),
                    user_properties: properties,
                    ..Default::default()
                };
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.try_publish_with_properties(topic, qos, retain, payload, properties).is_ok()
            }
        }
    }

    /// Queues a DISCONNECT behind all publishes.
    pub(crate) fn disconnect(&self) -> bool {
        match self {
            Self::V311(client) => client.try_disconnect().is_ok(),
            Self::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Connection {
    /// The next happening.
    ///
    /// # Errors
    /// Any error ends the epoch; the text says why.
    pub(crate) async fn next(&mut self) -> Result<Happening, String> {
        match self {
            Self::V311(connection) => {
                Ok(match connection.poll().await.map_err(|error| describe(&error))? {
                    rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(_)) => {
                        Happening::Connected { receive_maximum: None, maximum_packet: None }
                    }
                    rumqttc::Event::Incoming(rumqttc::Packet::PubAck(ack)) => {
                        Happening::Answered(ack.pkid, Ok(()))
                    }
                    rumqttc::Event::Outgoing(outgoing) => sent(&outgoing),
                    rumqttc::Event::Incoming(_) => Happening::Other,
                })
            }
            Self::V5(connection) => Ok(match connection.poll().await.map_err(|error| describe(&error))? {
                v5::Event::Incoming(v5::Incoming::ConnAck(connack)) => {
                    let granted = connack.properties.as_ref();
                    Happening::Connected {
                        // Absent means 65,535 (MQTT 5 section 3.2.2.3.3).
                        receive_maximum: granted.and_then(|granted| granted.receive_max),
                        maximum_packet: granted.and_then(|granted| granted.max_packet_size),
                    }
                }
                v5::Event::Incoming(v5::Incoming::PubAck(ack)) => {
                    Happening::Answered(ack.pkid, answer(ack.reason))
                }
                v5::Event::Outgoing(outgoing) => sent(&outgoing),
                v5::Event::Incoming(_) => Happening::Other,
            }),
        }
    }
}

fn sent(outgoing: &Outgoing) -> Happening {
    match outgoing {
        Outgoing::Publish(pkid) => Happening::Sent(*pkid),
        Outgoing::Disconnect => Happening::Disconnected,
        _ => Happening::Other,
    }
}

/// MQTT 5 section 3.4.2.1.
fn answer(reason: v5::mqttbytes::v5::PubAckReason) -> Result<(), HubRefusal> {
    use v5::mqttbytes::v5::PubAckReason as Reason;
    match reason {
        Reason::Success | Reason::NoMatchingSubscribers => Ok(()),
        Reason::NotAuthorized => {
            Err(HubRefusal::Never("the hub does not allow publishing to this topic".into()))
        }
        Reason::TopicNameInvalid => Err(HubRefusal::Never("the hub does not take this topic name".into())),
        Reason::PayloadFormatInvalid => {
            Err(HubRefusal::Never("the hub says that the payload is malformed".into()))
        }
        Reason::UnspecifiedError
        | Reason::ImplementationSpecificError
        | Reason::PacketIdentifierInUse
        | Reason::QuotaExceeded => Err(HubRefusal::Later(format!("the hub answered {reason:?}"))),
    }
}

/// The library's errors name addresses and codes, never payloads or passwords.
fn describe(error: &impl std::fmt::Display) -> String {
    error.to_string()
}
