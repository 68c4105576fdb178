//! Devices over TCP and WebSocket on loopback: good ones, slow ones, too many, and what goes on for the others. Not here: the protocol
//! (`coap-proto`), what is wrong with frames alone (`websocket.rs`), clients of others (`tests/tests/coap_streams.rs`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bridge_core::DeviceId;
use bridge_core::command::{CommandName, Draft};
use bridge_core::commands::Submitted;
use bridge_core::ports::{HubEvents, LinkId};
use coap_proto::stream::{Link, LinkConfig, LinkEvent, StreamLimits, signal};
use coap_proto::{Code, Message, Request, Token, Type, number};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::wire::Wire;
use super::world::{World, uri};
use super::{JSON, post};
use crate::{Closing, Fate, Framing, serve_streams};

pub(super) const BOUND: Duration = Duration::from_secs(20);
const BOTH: [Framing; 2] = [Framing::Length, Framing::Carrier];

/// The API behind a TCP listener.
pub(super) struct Served {
    world: World,
    pub(super) address: SocketAddr,
    framing: Framing,
    closing: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        Self::over(Framing::Length).await
    }

    pub(super) async fn over(framing: Framing) -> Self {
        let world = World::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (closing, begins) = watch::channel(false);
        let server =
            serve_streams(listener, None, framing, world.api.clone(), Closing { begins, grace: BOUND });
        Self { world, address, framing, closing, server: tokio::spawn(server) }
    }

    /// How many observe over its connections.
    fn observers(&self) -> usize {
        let [tcp, _, socket, _] = self.world.api.stream_stats().coap;
        if self.framing == Framing::Length { tcp.observers } else { socket.observers }
    }

    fn fate(&self, fate: Fate) -> u64 {
        self.world.api.stream_stats().fates[fate as usize]
    }

    /// Waits until that many connections had that fate.
    pub(super) async fn had(&self, fate: Fate, count: u64) {
        let counted = async {
            while self.fate(fate) < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, counted).await.unwrap_or_else(|_| panic!("{:?}", self.world.api.stream_stats()));
    }
}

/// A device with a connection of its own.
pub(super) struct Device {
    pub(super) wire: Wire,
    framing: Framing,
    link: Link,
    next: u8,
}

impl Device {
    /// After the settings of both.
    pub(super) async fn new(bridge: &Served) -> Self {
        let framing = bridge.framing;
        let wire = Wire::connect(bridge.address, framing).await;
        let config = LinkConfig { framing, max_message: 100_000, ..LinkConfig::default() };
        let mut device = Self { wire, framing, link: Link::new(Instant::now(), config), next: 0 };
        // A message of 2,048 bytes, and its options.
        let limits = StreamLimits { max_message: 2048 + 4096, bert: true };
        assert_eq!(device.event().await, LinkEvent::Settled(limits));
        device
    }

    async fn send(&mut self, message: &Message) {
        self.wire.write(self.framing.encode(message)).await;
    }

    async fn event(&mut self) -> LinkEvent {
        let event = async {
            loop {
                while let Some(bytes) = self.link.poll_transmit() {
                    self.wire.write(bytes).await;
                }
                if let Some(event) = self.link.poll_event() {
                    return event;
                }
                let bytes = self.wire.read().await.expect("the bridge has closed the connection");
                match self.framing {
                    Framing::Length => self.link.handle_bytes(Instant::now(), &bytes),
                    Framing::Carrier => self.link.handle_frame(Instant::now(), &bytes),
                }
            }
        };
        timeout(BOUND, event).await.unwrap()
    }

    async fn message(&mut self) -> Message {
        match self.event().await {
            LinkEvent::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn frame(&mut self, request: Request) -> Message {
        self.next = self.next.wrapping_add(1);
        Message {
            kind: Type::NonConfirmable,
            code: request.code,
            mid: 0,
            token: Token::new(&[self.next]),
            options: request.options,
            payload: request.body,
        }
    }

    pub(super) async fn ask(&mut self, request: Request) -> Message {
        let frame = self.frame(request);
        self.send(&frame).await;
        let answer = self.message().await;
        assert_eq!(answer.token, frame.token);
        answer
    }

    /// Reads until the bridge has closed the connection.
    pub(super) async fn end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        while let Some(bytes) = timeout(BOUND, self.wire.read()).await.unwrap() {
            rest.extend_from_slice(&bytes);
        }
        rest
    }
}

pub(super) fn reading() -> Request {
    post(&uri("/t/d1"), JSON, br#"{"a":1}"#)
}

#[tokio::test]
async fn a_connection_is_as_good_as_datagrams() {
    for framing in BOTH {
        let served = Served::over(framing).await;
        let mut device = Device::new(&served).await;
        assert_eq!(device.ask(reading()).await.code, Code::CHANGED);
        let keyed = post(&format!("{}&i=7.1", uri("/t/d1")), JSON, br#"{"a":2}"#);
        assert_eq!(device.ask(keyed.clone()).await.code, Code::CHANGED);
        // Over another connection, and over UDP.
        let mut other = Device::new(&served).await;
        assert_eq!(other.ask(keyed.clone()).await.code, Code::CHANGED);
        let mut datagrams = super::world::Device::new(served.world.address).await;
        assert_eq!(datagrams.ask(keyed).await.code, Code::CHANGED);
        assert_eq!(served.world.messages().await.len(), 2);
        for (request, code) in [
            (post("/t/d1?t=wrong", JSON, b"{}"), Code::UNAUTHORIZED),
            (post(&uri("/t/d2"), JSON, b"{}"), Code::FORBIDDEN),
            (post(&uri("/t/d1"), JSON, b"{"), Code::BAD_REQUEST),
            (post(&uri("/t/d1"), JSON, &[b'1'; 3000]), Code::REQUEST_ENTITY_TOO_LARGE),
            (reading().with(9999, "x"), Code::BAD_OPTION),
            (Request::new(Code::GET, "/time"), Code::CONTENT),
            (Request::new(Code::GET, "/.well-known/core"), Code::CONTENT),
            (Request::new(Code::GET, "/nothing"), Code::NOT_FOUND),
        ] {
            assert_eq!(device.ask(request.clone()).await.code, code, "{request:?}");
        }
        drop(device);
        served.had(Fate::Closed, 1).await;
    }
}

#[tokio::test]
async fn an_observer_is_told_until_it_goes() {
    for framing in BOTH {
        let served = Served::over(framing).await;
        let mut device = Device::new(&served).await;
        let registration = device.frame(Request::new(Code::GET, &uri("/commands")).observe());
        device.send(&registration).await;
        assert!(device.message().await.options.has(number::OBSERVE));
        for name in ["a", "b"] {
            let draft = Draft::new(CommandName::parse(name).unwrap());
            let submitted =
                served.world.dispatcher.submit(&DeviceId::parse("d1").unwrap(), draft).await.unwrap();
            assert!(matches!(submitted, Submitted::New(_)));
            let told = device.message().await;
            assert_eq!((told.code, &told.token), (Code::CONTENT, &registration.token));
            let body: serde_json::Value = serde_json::from_slice(&told.payload).unwrap();
            let commands = body["commands"].as_array().unwrap();
            assert_eq!((commands.len(), &commands[0]["name"]), (1, &serde_json::json!(name)));
        }
        assert_eq!(served.observers(), 1);
        drop(device);
        let gone = async {
            while served.observers() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, gone).await.unwrap();
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_release_waits_for_answers() {
    for framing in BOTH {
        let served = Served::over(framing).await;
        served.world.delivery.link_up(LinkId(0), 10);
        let mut device = Device::new(&served).await;
        let custody = Message { options: [(2, "")].into_iter().collect(), ..signal::ping(Token::new(b"p")) };
        let pong = async |device: &mut Device| {
            device.send(&custody).await;
            let bytes = timeout(BOUND, device.wire.read()).await.unwrap().unwrap();
            served.framing.decode(&bytes, 8).unwrap()
        };
        let answered = pong(&mut device).await;
        assert_eq!((answered.code, answered.options.has(2)), (signal::PONG, true));
        let frame = device.frame(reading());
        device.send(&frame).await;
        let published = served.world.published().await;
        let answered = pong(&mut device).await;
        assert_eq!((answered.code, answered.options.has(2)), (signal::PONG, false), "one is under way");
        device.send(&signal::release()).await;
        assert_eq!(pong(&mut device).await.code, signal::PONG, "it is still there");
        served.world.delivery.acknowledged(&[published]);
        assert_eq!(device.message().await.code, Code::CHANGED);
        assert!(device.end().await.is_empty());
        served.had(Fate::HungUp, 1).await;
    }
}

#[tokio::test]
async fn what_is_wrong_ends_its_own_connection_alone() {
    let served = Served::new().await;
    let mut good = Device::new(&served).await;
    for (bytes, fate) in [
        (&[0x0f, 0x01][..], Fate::Malformed),
        (&[0xf0, 0x00, 0xff, 0xff, 0xff, 0x02], Fate::TooLong),
        (&[0x10, 0xe1, 0x90], Fate::NotUnderstood),
        (&[0x00, 0xe5], Fate::Aborted),
    ] {
        let mut bad = Device::new(&served).await;
        bad.wire.write(bytes.into()).await;
        let last = bad.end().await;
        if fate != Fate::Aborted {
            assert_eq!(Message::decode_stream(&last, 8).unwrap().code, signal::ABORT, "{fate:?}");
        }
        served.had(fate, 1).await;
        assert_eq!(good.ask(reading()).await.code, Code::CHANGED);
    }
    let mut other = TcpStream::connect(served.address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(BOUND, other.read_to_end(&mut rest)).await.unwrap();
    drop(other);
    served.had(Fate::Malformed, 2).await;
    assert_eq!(good.ask(reading()).await.code, Code::CHANGED);
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    for framing in BOTH {
        let served = Served::over(framing).await;
        let mut devices = Vec::new();
        for _ in 0..100 {
            devices.push(Device::new(&served).await);
        }
        let mut refused = TcpStream::connect(served.address).await.unwrap();
        let read = timeout(BOUND, refused.read(&mut [0; 10])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)));
        assert_eq!((served.fate(Fate::RefusedAddress), served.fate(Fate::Opened)), (1, 100));
        assert_eq!(devices[50].ask(reading()).await.code, Code::CHANGED);
        devices.pop();
        served.had(Fate::Closed, 1).await;
        assert_eq!(Device::new(&served).await.ask(reading()).await.code, Code::CHANGED);
    }
}

#[tokio::test]
async fn who_does_not_read_loses_its_connection_and_nobody_else_waits() {
    let served = Served::new().await;
    let mut good = Device::new(&served).await;
    let mut bad = Device::new(&served).await;
    let flood: Vec<u8> = std::iter::repeat_with(|| bad.frame(Request::new(Code::GET, "/.well-known/core")))
        .take(1000)
        .flat_map(|frame| frame.encode_stream())
        .collect();
    let Wire::Stream(stream) = bad.wire else { panic!("it is TCP") };
    let (reader, mut writer) = stream.into_split();
    let flooding = tokio::spawn(async move { while writer.write_all(&flood).await.is_ok() {} });
    while served.fate(Fate::SlowReader) == 0 {
        let asked = Instant::now();
        assert_eq!(good.ask(Request::new(Code::GET, "/time")).await.code, Code::CONTENT);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    drop(reader);
    timeout(BOUND, flooding).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_is_in_order() {
    for framing in BOTH {
        let served = Served::over(framing).await;
        served.world.delivery.link_up(LinkId(0), 10);
        let mut device = Device::new(&served).await;
        let idle = Device::new(&served).await;
        let mut observer = Device::new(&served).await;
        let registration = observer.frame(Request::new(Code::GET, &uri("/commands")).observe());
        observer.send(&registration).await;
        assert_eq!(observer.message().await.code, Code::CONTENT);
        let frame = device.frame(reading());
        device.send(&frame).await;
        let published = served.world.published().await;
        served.closing.send_replace(true);
        assert_eq!(observer.message().await.code, Code::SERVICE_UNAVAILABLE);
        assert_eq!(observer.event().await, LinkEvent::Released);
        assert_eq!(device.event().await, LinkEvent::Released);
        assert_eq!(device.ask(reading()).await.code, Code::SERVICE_UNAVAILABLE, "no more is begun");
        served.world.delivery.acknowledged(&[published]);
        assert_eq!(device.message().await.code, Code::CHANGED);
        timeout(BOUND, served.server).await.unwrap().unwrap();
        assert_eq!(framing.decode(&idle.end().await, 8).unwrap().code, signal::RELEASE);
        assert!(device.end().await.is_empty());
        assert!(TcpStream::connect(served.address).await.is_err());
    }
}
