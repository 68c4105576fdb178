//! A small MQTT broker (5 and 3.1.1, on one port) that tests command: it notes every message before it acknowledges it, so
//! that nothing acknowledged can go unseen, and dies as a killed process does: its connections are reset, what it had not
//! read is gone, and no session outlives it. Not here: forwarding anything to subscribers, retained messages, QoS 2.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of the messages of one life, in the order in which they are read. Publishes without an `id` (the bridge's own) are
/// answered and not counted.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// So many are noted and acknowledged.
    pub acknowledge: usize,
    /// So many more are noted and not acknowledged; what comes then is neither.
    pub note: usize,
}

impl Script {
    /// Notes and acknowledges everything.
    pub const WELL: Self = Self { acknowledge: usize::MAX, note: 0 };
}

/// One sighting of a message.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// On which connection, counted over all lives.
    pub connection: usize,
    /// Its topic.
    pub topic: String,
    /// The `id` of its payload.
    pub id: String,
    /// Its payload.
    pub message: Value,
    /// Its PUBACK was written.
    pub acknowledged: bool,
}

/// See the module.
pub struct Broker {
    address: SocketAddr,
    /// Keeps the port while nobody listens.
    reserved: Option<TcpSocket>,
    life: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    notes: Arc<Mutex<Notes>>,
}

struct Notes {
    script: Script,
    sightings: Vec<Sighting>,
    connections: usize,
    /// Messages read in this life.
    read: usize,
    /// Those of them whose PUBACK was written.
    acknowledged: usize,
}

impl Broker {
    /// Takes a free port; nobody listens there yet.
    pub fn new() -> Self {
        let reserved = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        let notes =
            Notes { script: Script::WELL, sightings: Vec::new(), connections: 0, read: 0, acknowledged: 0 };
        Self {
            address: reserved.local_addr().unwrap(),
            reserved: Some(reserved),
            life: None,
            notes: Arc::new(Mutex::new(notes)),
        }
    }

    /// Its port, the same in every life.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Listens.
    pub fn start(&mut self, script: Script) {
        let listener = self.reserved.take().expect("it is dead").listen(1024).unwrap();
        let mut notes = self.notes.lock().unwrap();
        (notes.script, notes.read, notes.acknowledged) = (script, 0, 0);
        let (sender, death) = oneshot::channel();
        self.life = Some((sender, tokio::spawn(live(listener, self.notes.clone(), death))));
    }

    /// Dies on the spot; nothing of it is left when this returns but its notes.
    pub async fn kill(&mut self) {
        let (death, life) = self.life.take().expect("it lives");
        // A life that has ended already has panicked; the next line says why.
        let _ = death.send(());
        life.await.unwrap();
        self.reserved = Some(reserve(self.address));
    }

    /// Everything noted in all lives, in order.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.notes.lock().unwrap().sightings.clone()
    }

    /// Whether all is acknowledged and noted that this life's script allows. Nothing is acknowledged any more then.
    pub fn is_spent(&self) -> bool {
        let notes = self.notes.lock().unwrap();
        let Script { acknowledge, note } = notes.script;
        notes.acknowledged == acknowledge && notes.read >= acknowledge + note
    }

    /// Messages that were read in this life and not acknowledged.
    pub fn unanswered(&self) -> usize {
        let notes = self.notes.lock().unwrap();
        notes.read - notes.acknowledged
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

fn reserve(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn live(listener: TcpListener, notes: Arc<Mutex<Notes>>, mut death: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut death => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                // Closing is a reset.
                stream.set_zero_linger().unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream, notes.clone()));
            }
            Some(ended) = connections.join_next() => drop(ended.unwrap()),
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// One connection, to its end.
async fn serve(mut stream: TcpStream, notes: Arc<Mutex<Notes>>) -> Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let connection = {
        let mut notes = notes.lock().unwrap();
        notes.connections += 1;
        notes.connections
    };
    let (0x10, mut connect) = packet(&mut read).await? else { return Err(ErrorKind::InvalidData.into()) };
    text(&mut connect)?;
    let five = match connect.try_get_u8().map_err(Error::other)? {
        4 => false,
        5 => true,
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    // No session, success; MQTT 5 adds the length of its properties (section 3.2 of both specifications).
    write.write_all(if five { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] }).await?;
    loop {
        let (kind, mut body) = packet(&mut read).await?;
        match kind >> 4 {
            // PUBLISH (3.3)
            3 => {
                let topic = text(&mut body)?;
                let packet_id = match kind >> 1 & 3 {
                    0 => None,
                    1 => Some(body.try_get_u16().map_err(Error::other)?),
                    _ => return Err(ErrorKind::InvalidData.into()),
                };
                if five {
                    skip_properties(&mut body)?;
                }
                let (answer, place) = note(&notes, connection, topic, &body);
                if let Some(packet_id) = packet_id.filter(|_| answer) {
                    let [high, low] = packet_id.to_be_bytes();
                    write.write_all(&[0x40, 2, high, low]).await?;
                }
                if let Some(place) = place.filter(|_| answer) {
                    let mut notes = notes.lock().unwrap();
                    notes.sightings[place].acknowledged = true;
                    notes.acknowledged += 1;
                }
            }
            // SUBSCRIBE (3.8): granted as asked for.
            8 => {
                let mut answer = body.try_get_u16().map_err(Error::other)?.to_be_bytes().to_vec();
                if five {
                    skip_properties(&mut body)?;
                    answer.push(0);
                }
                while body.has_remaining() {
                    text(&mut body)?;
                    answer.push(body.try_get_u8().map_err(Error::other)? & 1);
                }
                let length = u8::try_from(answer.len()).map_err(Error::other)?;
                write.write_all(&[&[0x90, length], &answer[..]].concat()).await?;
            }
            // PINGREQ (3.12)
            12 => write.write_all(&[0xD0, 0]).await?,
            // DISCONNECT (3.14)
            14 => return Ok(()),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Whether to answer, and the place of the note.
fn note(notes: &Mutex<Notes>, connection: usize, topic: String, payload: &[u8]) -> (bool, Option<usize>) {
    let message: Value = serde_json::from_slice(payload).unwrap_or_default();
    let Some(id) = message["id"].as_str().map(str::to_owned) else { return (true, None) };
    let mut notes = notes.lock().unwrap();
    let Script { acknowledge, note } = notes.script;
    let nth = notes.read;
    notes.read += 1;
    if nth >= acknowledge.saturating_add(note) {
        return (false, None);
    }
    notes.sightings.push(Sighting { connection, topic, id, message, acknowledged: false });
    (nth < acknowledge, Some(notes.sightings.len() - 1))
}

/// The first byte of a packet, and what follows its length (section 2.1).
async fn packet(read: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Bytes)> {
    let first = read.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = read.read_u8().await?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 21 {
            break;
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await?;
    Ok((first, body.into()))
}

fn text(body: &mut Bytes) -> Result<String> {
    let length = usize::from(body.try_get_u16().map_err(Error::other)?);
    if length > body.len() {
        return Err(ErrorKind::InvalidData.into());
    }
    String::from_utf8(body.split_to(length).into()).map_err(Error::other)
}

/// MQTT 5, section 2.2.2. Their length takes one byte or two here.
fn skip_properties(body: &mut Bytes) -> Result<()> {
    let low = usize::from(body.try_get_u8().map_err(Error::other)?);
    let high = if low < 0x80 { 0 } else { usize::from(body.try_get_u8().map_err(Error::other)?) };
    let length = (low & 0x7F) | high << 7;
    if high >= 0x80 || length > body.len() {
        return Err(ErrorKind::InvalidData.into());
    }
    body.advance(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, v5};

    use super::*;
    use crate::world::wait_until;

    fn payload(id: &str) -> String {
        serde_json::json!({ "id": id }).to_string()
    }

    fn noted(broker: &Broker) -> Vec<(String, bool)> {
        broker.sightings().into_iter().map(|sighting| (sighting.id, sighting.acknowledged)).collect()
    }

    #[tokio::test]
    async fn follows_its_script_dies_and_comes_back_on_its_port() {
        let mut broker = Broker::new();
        broker.start(Script { acknowledge: 1, note: 1 });
        let (client, mut connection) =
            AsyncClient::new(MqttOptions::new("c", "127.0.0.1", broker.port()), 10);
        client.subscribe("devices/#", QoS::AtLeastOnce).await.unwrap();
        for id in ["a", "b", "c"] {
            client.publish("devices/d", QoS::AtLeastOnce, false, payload(id)).await.unwrap();
        }
        let client = tokio::spawn(async move {
            let (mut acknowledged, mut granted) = (Vec::new(), 0);
            while let Ok(event) = connection.poll().await {
                match event {
                    Event::Incoming(Packet::PubAck(ack)) => acknowledged.push(ack.pkid),
                    Event::Incoming(Packet::SubAck(ack)) => granted += ack.return_codes.len(),
                    _ => {}
                }
            }
            (acknowledged.len(), granted)
        });
        wait_until("all are read", async || broker.is_spent() && broker.unanswered() == 2).await;
        broker.kill().await;
        assert_eq!(client.await.unwrap(), (1, 1));
        assert!(TcpStream::connect(broker.address).await.is_err());
        assert_eq!(noted(&broker), [("a".into(), true), ("b".into(), false)]);
        broker.start(Script::WELL);
        assert_eq!(broker.unanswered(), 0);
        TcpStream::connect(broker.address).await.unwrap();
    }

    #[tokio::test]
    async fn speaks_mqtt_5() {
        let mut broker = Broker::new();
        broker.start(Script::WELL);
        let options = v5::MqttOptions::new("c", "127.0.0.1", broker.port());
        let (client, mut connection) = v5::AsyncClient::new(options, 10);
        let properties = v5::mqttbytes::v5::PublishProperties {
            user_properties: vec![("long".into(), "x".repeat(200))],
            ..Default::default()
        };
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        client.subscribe("devices/#", qos).await.unwrap();
        client.publish_with_properties("devices/d", qos, false, payload("a"), properties).await.unwrap();
        let mut subscribed = false;
        loop {
            match connection.poll().await.unwrap() {
                v5::Event::Incoming(v5::Incoming::SubAck(_)) => subscribed = true,
                v5::Event::Incoming(v5::Incoming::PubAck(_)) => break,
                _ => {}
            }
        }
        assert!(subscribed);
        wait_until("it is noted", async || noted(&broker) == [("a".into(), true)]).await;
    }
}
