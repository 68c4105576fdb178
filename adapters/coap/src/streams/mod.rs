//! CoAP over TCP, TLS and WebSocket (RFC 8323): connections around one endpoint for streams. [`serve_streams`] is one task that
//! takes what connections hand it, and a task for each connection. Not here: bytes ([`connection`]), who may connect ([`door`]),
//! TLS ([`tls`]), WebSocket ([`handshake`], [`frames`]).

mod connection;
mod door;
mod fate;
mod frames;
mod handshake;
pub(crate) mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bridge_core::ports::BoxFuture;
use bytes::Bytes;
use coap_proto::stream::{Framing, StreamLimits, signal};
use coap_proto::{Config, Endpoint, Message, Token, Transmit};
use edge::Tasks;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::door::Door;
pub(crate) use self::fate::Fates;
pub use self::fate::{Fate, StreamStats};
use self::tls::Tls;
use crate::api::{CarriedStats, CoapApi};
use crate::carrier::{Caller, Carrier};
use crate::certificate::Shown;
use crate::random;
use crate::server::{Closing, config};
use crate::tick::Tick;
use crate::work::{BATCH, Work};

/// What connections have handed over and nobody has taken yet.
const WAITING: usize = 1024;
/// Requests that wait for their answers: each may be as long as a body may be, and comes in one piece.
const PENDING: usize = 4096;

/// Names a connection of one listener.
type ConnectionId = u64;

/// What a connection hands over.
struct Incoming {
    connection: ConnectionId,
    what: What,
}

enum What {
    /// It is there. What is put into `outgoing` is written; without it the connection ends.
    Opened {
        outgoing: mpsc::Sender<Bytes>,
        certificate: Option<Shown>,
    },
    /// What its peer takes.
    Settled(StreamLimits),
    Message(Message),
    Ping {
        token: Token,
        custody: bool,
    },
    /// Its peer wants to end once it has its answers.
    Released,
    /// It is over.
    Closed,
}

/// Serves on a listener until `closing` begins, then until every request has its answer or the grace is over. With TLS, when it
/// is given, and over WebSocket when that is the framing.
pub async fn serve_streams(
    listener: TcpListener,
    tls: Option<Tls>,
    framing: Framing,
    api: CoapApi,
    mut closing: Closing,
) {
    let (kind, purpose) = match (framing, tls.is_some()) {
        (Framing::Length, false) => (0, b't'),
        (Framing::Length, true) => (1, b'T'),
        (Framing::Carrier, false) => (2, b'w'),
        (Framing::Carrier, true) => (3, b'W'),
    };
    let seed = random::derive(api.seed(), purpose);
    let mut config = Config { stream: Some(framing), ..config(&api) };
    config.limits.pending = PENDING;
    let endpoint = Endpoint::new(config, Instant::now(), random::numbers(seed));
    let carrier = Streams {
        connections: HashMap::new(),
        leaving: Vec::new(),
        gone: Vec::new(),
        framing,
        kind,
        api: api.clone(),
    };
    let (mut work, mut finished) = Work::new(api.clone(), endpoint, carrier);
    let mut tick = Tick::default();
    let (incoming, mut handed) = mpsc::channel(WAITING);
    let connections = Tasks::default();
    let door = Arc::new(Door::new((tls, framing), api, incoming));
    let accepting = tokio::spawn(door.accept(listener, connections.clone()));
    loop {
        work.go_on();
        if work.is_over() {
            break;
        }
        tick.set(work.next_timeout());
        let is_closing = work.is_closing();
        tokio::select! {
            Some(first) = handed.recv() => take(&mut work, first, &mut handed),
            Some(done) = finished.recv() => work.finish(done, &mut finished),
            () = tick.fired() => work.pass(),
            () = closing.begun(), if !is_closing => {
                accepting.abort();
                work.close(closing.grace);
                work.carrier.release_all();
            }
        }
    }
    // What was put into the connections is still written.
    drop(work.end());
    drop(handed);
    if timeout(closing.grace, connections.idle()).await.is_err() {
        tracing::warn!("some CoAP connections did not end in time");
    }
}

/// What a connection handed over, and what waits behind that.
fn take(work: &mut Work<Streams>, first: Incoming, handed: &mut mpsc::Receiver<Incoming>) {
    take_one(work, first);
    for _ in 1..BATCH {
        match handed.try_recv() {
            Ok(next) => take_one(work, next),
            Err(_) => return,
        }
    }
}

fn take_one(work: &mut Work<Streams>, Incoming { connection: id, what }: Incoming) {
    let now = Instant::now();
    if let What::Opened { outgoing, certificate } = what {
        work.carrier.connections.insert(id, Connection { outgoing, certificate });
        if work.is_closing() {
            work.carrier.put(id, &signal::release());
        }
        return;
    }
    if !work.carrier.connections.contains_key(&id) {
        // It was hung up on.
        return;
    }
    match what {
        What::Opened { .. } => {}
        What::Settled(limits) => work.endpoint.set_stream_limits(id, limits),
        What::Message(message) => work.endpoint.handle_message(now, id, message),
        What::Ping { token, custody } => {
            let custody = custody && !work.endpoint.has_pending(&id);
            work.carrier.put(id, &signal::pong(token, custody));
        }
        What::Released => work.carrier.leaving.push(id),
        What::Closed => work.carrier.drop_connection(id),
    }
}

/// All connections of a listener.
struct Streams {
    connections: HashMap<ConnectionId, Connection>,
    /// Those whose peers want to end once they have their answers.
    leaving: Vec<ConnectionId>,
    /// Those that are no more, and that the endpoint has still to forget.
    gone: Vec<ConnectionId>,
    framing: Framing,
    /// Which of the [`StreamStats`] are theirs.
    kind: usize,
    api: CoapApi,
}

struct Connection {
    outgoing: mpsc::Sender<Bytes>,
    /// The fingerprint of the certificate that its peer has shown: one that the listener's authority has signed.
    certificate: Option<Shown>,
}

impl Streams {
    fn put(&mut self, id: ConnectionId, message: &Message) {
        self.carry(Transmit { peer: id, payload: self.framing.encode(message) });
    }

    fn drop_connection(&mut self, id: ConnectionId) {
        if self.connections.remove(&id).is_some() {
            self.gone.push(id);
        }
    }

    fn release_all(&mut self) {
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in all {
            self.put(id, &signal::release());
        }
    }
}

impl Carrier for Streams {
    type Peer = ConnectionId;

    fn carry(&mut self, message: Transmit<ConnectionId>) {
        let Some(connection) = self.connections.get(&message.peer) else { return };
        let bytes = frames::on_wire(self.framing, message.payload);
        if let Err(mpsc::error::TrySendError::Full(_)) = connection.outgoing.try_send(bytes) {
            // Its peer asks and does not read.
            self.api.fates().count(Fate::SlowReader);
            self.drop_connection(message.peer);
        }
    }

    fn settle(&mut self, now: Instant, endpoint: &mut Endpoint<ConnectionId>) {
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain(|id| {
            let waits = endpoint.has_pending(id);
            if !waits {
                self.drop_connection(*id);
            }
            waits
        });
        self.leaving = leaving;
        for id in self.gone.drain(..) {
            endpoint.forget_peer(now, &id);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn caller(&self, peer: &ConnectionId) -> BoxFuture<'static, Caller> {
        let shown = self.connections.get(peer).and_then(|connection| connection.certificate.clone());
        let Some(shown) = shown else { return Box::pin(std::future::ready(Caller::Unproven)) };
        let api = self.api.clone();
        Box::pin(async move {
            match shown.credential(&api).await {
                Ok(Some(credential)) => Caller::Device(credential.device.clone()),
                // Nobody's: its token may still say who it is.
                Ok(None) => Caller::Unproven,
                Err(error) => {
                    tracing::warn!(%error, "a device could not be looked up");
                    Caller::Unknown
                }
            }
        })
    }

    fn revoke(&mut self, now: Instant, endpoint: &mut Endpoint<ConnectionId>, peer: &ConnectionId) {
        self.connections.remove(peer);
        endpoint.forget_peer(now, peer);
    }

    fn report(&self, api: &CoapApi, endpoint: &Endpoint<ConnectionId>, observers: usize) {
        api.set_streamed_stats(self.kind, CarriedStats { endpoint: endpoint.stats(), observers });
    }
}
