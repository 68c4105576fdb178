//! The API with its parts in memory, and a device that speaks to it. Not here: what is asserted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bridge_core::commands::Dispatcher;
use bridge_core::dedup::{DedupConfig, Deduplicator};
use bridge_core::delivery::Delivery;
use bridge_core::keyring::Keyring;
use bridge_core::mux::{MuxConfig, Strategy};
use bridge_core::payload::{Outcome, Sample};
use bridge_core::pipeline::{Pipeline, States};
use bridge_core::ports::{
    Clock, Credential, Credentials, DeviceRecord, DeviceState, NoCodecs, Outbox, Proof, Registry, Token,
    TokenDigest,
};
use bridge_core::registrar::Registrar;
use bridge_core::testing::{FakeHub, Faulty, ManualClock, MemoryStore, mailboxes};
use bridge_core::trace::Traces;
use bridge_core::{DeviceId, ExternalId, IntegrationName, Measurement, Message, MessageId, Timestamp};
use coap_proto::{Config, Endpoint, Event, Handle, Request, Response, Type};
use edge::{Format, Formats, Tasks};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::certificate::CertificateDevice;
use crate::{Closing, CoapApi, Parts, SOURCE, Settings, random, serve};

/// The longest that anything may take.
const BOUND: Duration = Duration::from_secs(20);

/// `{"a": n}` for each byte, at its second.
struct Bytes;

impl Formats for Bytes {
    fn decode(&self, _: Format, bytes: &[u8], _: Timestamp) -> Outcome {
        if bytes == b"broken" {
            return Outcome::error("it is broken");
        }
        let sample = |byte: &u8| Sample {
            time: Timestamp::from_seconds(i64::from(*byte)),
            measurements: vec![Measurement::new("a", *byte)],
            ..Sample::default()
        };
        Outcome { samples: bytes.iter().map(sample).collect(), ..Outcome::default() }
    }
}

pub(super) struct World {
    pub(super) api: CoapApi,
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Faulty<MemoryStore>>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) dispatcher: Arc<Dispatcher>,
    hub: Arc<FakeHub>,
    pub(super) clock: Arc<ManualClock>,
    closing: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
}

/// 43 characters, as a token has them.
pub(super) fn token(device: &str) -> String {
    format!("{device:_<43}")
}

/// A path with the token of `d1`.
pub(super) fn uri(path: &str) -> String {
    format!("{path}?t={}", token("d1"))
}

impl World {
    /// With the devices `d1` and `parked` (which waits), and a token of `gone`, which is not there.
    pub(super) async fn new() -> Self {
        Self::with(CertificateDevice::default()).await
    }

    /// The same, where that says which device has a certificate.
    pub(super) async fn with(certificate_device: CertificateDevice) -> Self {
        let (clock, hub) = (Arc::new(ManualClock::default()), Arc::new(FakeHub::default()));
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let name = IntegrationName::parse("http").unwrap();
        for (id, state) in [("d1", DeviceState::Active), ("parked", DeviceState::Parked)] {
            let record = DeviceRecord {
                id: DeviceId::parse(id).unwrap(),
                integration: name.clone(),
                external: ExternalId::parse(id).unwrap(),
                scope: None,
                name: None,
                hub_id: None,
                codec: None,
                tags: Vec::new(),
                state,
                first_seen: Timestamp::EPOCH,
                last_seen: None,
            };
            Registry::insert(&*store, &record).await.unwrap();
        }
        for device in ["d1", "parked", "gone"] {
            let digest = TokenDigest::of(token(device).as_bytes());
            let device = DeviceId::parse(device).unwrap();
            let credential = Credential { digest, device, created: Timestamp::EPOCH, proof: Proof::Token };
            Credentials::insert(&*store, &credential).await.unwrap();
        }
        let config = DedupConfig { window: Duration::from_hours(2), max_in_memory: 1000 };
        let dedup = Arc::new(Deduplicator::open(config, store.clone(), clock.clone()).await.unwrap());
        let mux = MuxConfig {
            strategy: Strategy::Shared { min: 1, max: 1 },
            ack_wait: Duration::from_secs(2),
            disk_first: false,
            max_waiting: 100,
            max_stored: 100,
            drain_rate: None,
        };
        let late: Box<dyn Fn(MessageId) + Send + Sync> = Box::new(|_| {});
        let delivery = Delivery::open(mux, hub.clone(), store.clone(), store.clone(), clock.clone(), late);
        let delivery = Arc::new(delivery.await.unwrap());
        let pipeline = Arc::new(Pipeline {
            registrar: Registrar::open(store.clone()).await.unwrap(),
            dedup,
            codecs: Arc::new(NoCodecs),
            delivery: delivery.clone(),
            dead_letters: store.clone(),
            archive: None,
            listener: None,
            twins: None,
            traces: Arc::new(Traces::new(100)),
            clock: clock.clone(),
            states: States::default(),
        });
        delivery.start();
        let storing = delivery.clone();
        tokio::spawn(async move { storing.run_store().await });
        let counter = AtomicU8::new(0);
        let dispatcher = mailboxes(&name, store.clone(), clock.clone());
        let parts = Parts {
            name,
            source: IntegrationName::parse(SOURCE).unwrap(),
            pipeline,
            keyring: Arc::new(Keyring::open(store.clone()).await.unwrap()),
            mailbox: Arc::new(edge::Mailbox::new(dispatcher.clone())),
            formats: Arc::new(Bytes),
            unique: Box::new(move || [counter.fetch_add(1, Relaxed); 16]),
            seed: [1; 32],
            tasks: Tasks::default(),
            body_limit: 2048,
            certificate_device,
        };
        let api = CoapApi::new(parts, Settings::default());
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (closing, begins) = watch::channel(false);
        let server = serve(socket, api.clone(), Closing { begins, grace: BOUND });
        let server = Some(tokio::spawn(server));
        Self { api, address, store, delivery, dispatcher, hub, clock, closing, server }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    pub(super) async fn messages(&self) -> Vec<Message> {
        let entries = self.store.load(0, 100).await.unwrap();
        entries.iter().map(|entry| Message::from_record(&entry.record).unwrap()).collect()
    }

    /// Waits until something is published, and does not acknowledge it.
    pub(super) async fn published(&self) -> Token {
        let published = async {
            loop {
                if let Some(published) = self.hub.take().pop() {
                    return published.1;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, published).await.unwrap()
    }

    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(super) async fn ended(&mut self) {
        timeout(BOUND, self.server.take().unwrap()).await.unwrap().unwrap();
    }
}

/// A device with a socket of its own.
pub(super) struct Device {
    socket: UdpSocket,
    endpoint: Endpoint<()>,
}

impl Device {
    pub(super) async fn new(bridge: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(bridge).await.unwrap();
        let seed = socket.local_addr().unwrap().port() as u8;
        let endpoint = Endpoint::new(Config::default(), Instant::now(), random::numbers([seed; 32]));
        Self { socket, endpoint }
    }

    /// A request by the rules: retransmitted, in blocks, acknowledged.
    pub(super) async fn ask(&mut self, request: Request) -> Response {
        self.begin(request);
        match self.event().await {
            Event::Response { response, .. } => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn begin(&mut self, request: Request) -> Handle {
        self.endpoint.request(Instant::now(), (), request).unwrap()
    }

    /// It does not observe any more, and says so.
    pub(super) fn deregister(&mut self, handle: Handle) {
        self.endpoint.deregister(Instant::now(), handle).unwrap();
    }

    /// The next thing that happens, with everything that the rules want on the way.
    pub(super) async fn event(&mut self) -> Event<()> {
        timeout(BOUND, self.go_on()).await.unwrap()
    }

    async fn go_on(&mut self) -> Event<()> {
        let mut buffer = [0; 4096];
        loop {
            while let Some(transmit) = self.endpoint.poll_transmit() {
                self.send(&transmit.payload).await;
            }
            if let Some(event) = self.endpoint.poll_event() {
                return event;
            }
            let due = self.endpoint.next_timeout().unwrap_or_else(|| Instant::now() + BOUND);
            match tokio::time::timeout_at(due.into(), self.socket.recv(&mut buffer)).await {
                Ok(length) => {
                    self.endpoint.handle_datagram(Instant::now(), (), &buffer[..length.unwrap()]);
                }
                Err(_) => self.endpoint.handle_timeout(Instant::now()),
            }
        }
    }

    /// A request as one datagram.
    pub(super) fn datagram(&self, kind: Type, mid: u16, request: &Request) -> Vec<u8> {
        let message = coap_proto::Message {
            kind,
            code: request.code,
            mid,
            token: coap_proto::Token::new(&mid.to_be_bytes()),
            options: request.options.clone(),
            payload: request.body.clone(),
        };
        message.encode().to_vec()
    }

    pub(super) async fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).await.unwrap();
    }

    pub(super) async fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        let length = timeout(BOUND, self.socket.recv(&mut buffer)).await.unwrap().unwrap();
        buffer[..length].to_vec()
    }

    /// Lets go of all that comes before the answer to a ping.
    pub(super) async fn drain(&self) {
        let ping = coap_proto::Message::empty(Type::Confirmable, 0xabcd).encode();
        self.send(&ping).await;
        let wanted = coap_proto::Message::empty(Type::Reset, 0xabcd).encode();
        while self.receive().await != wanted {}
    }
}
