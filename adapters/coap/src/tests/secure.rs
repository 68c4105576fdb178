//! Devices behind DTLS with Connection IDs: moved by their NAT, over a restart of the server, without a key any more. Those with
//! certificates and raw public keys are in [`proofs`], what handshakes prove in [`handshakes`]. Not here:
//! handshakes and what can go wrong in them (`dtls`), real clients (`tests/tests/coap_dtls.rs`).

mod handshakes;
mod proofs;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::ports::{Credential, Credentials, Proof, TokenDigest};
use bridge_core::seal::SealKeys;
use bridge_core::{DeviceId, Timestamp};
use coap_proto::{Code, Config, Endpoint, Message, Request, Transmit, Type};
use dtls::client::{Client, Seen, Settings as Offer};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::world::World;
use super::{JSON, decode, post};
use crate::carrier::{Carrier, Datagrams};
use crate::secure as carrier;
use crate::{Associations, Closing, DtlsKey, DtlsPem, Settings, random, serve_secure};

const BOUND: Duration = Duration::from_secs(20);
const KEY: &[u8] = b"a pre-shared key";
/// The authority of devices' certificates.
const CA: &str = include_str!("../../../../tests/fixtures/x509/ca.pem");

fn seal_keys(text: &str) -> Option<Arc<SealKeys>> {
    SealKeys::new([text.as_bytes()]).map(Arc::new)
}

fn settings() -> Settings {
    Settings { seal_keys: seal_keys("one"), ..Settings::default() }
}

/// The API behind DTLS.
struct Secure {
    world: World,
    address: SocketAddr,
    closing: watch::Sender<bool>,
    server: JoinHandle<Option<Vec<u8>>>,
}

impl Secure {
    /// `d1` has a key.
    async fn new() -> Self {
        Self::of(World::new().await).await
    }

    async fn of(world: World) -> Self {
        world.api.replace(settings());
        enrol(&world, 1).await;
        let (address, closing, server) = start(&world, "127.0.0.1:0".parse().unwrap(), None, key()).await;
        Self { world, address, closing, server }
    }

    /// Ends the server and starts another one in its place; what was saved is changed on the way.
    async fn restart(&mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.restart_with(key(), change).await;
    }

    /// The same with another key of the bridge's own.
    async fn restart_with(&mut self, key: DtlsKey, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.closing.send_replace(true);
        let saved = timeout(BOUND, &mut self.server).await.unwrap().unwrap().unwrap();
        let (_, closing, server) = start(&self.world, self.address, Some(change(saved)), key).await;
        (self.closing, self.server) = (closing, server);
    }
}

async fn start(
    world: &World,
    address: SocketAddr,
    saved: Option<Vec<u8>>,
    key: DtlsKey,
) -> (SocketAddr, watch::Sender<bool>, JoinHandle<Option<Vec<u8>>>) {
    let socket = UdpSocket::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    let (closing, begins) = watch::channel(false);
    let seed = [2 + u8::from(saved.is_some()); 32];
    let made_of = Associations { node: 7, seed, saved, key: Some(key) };
    let server = serve_secure(socket, world.api.clone(), made_of, Closing { begins, grace: BOUND });
    (address, closing, tokio::spawn(server))
}

/// The bridge's own, with a certificate, for all kinds of devices.
fn key() -> DtlsKey {
    key_and(Some(CA))
}

/// The same with these authorities of devices' certificates.
fn key_and(client_authorities: Option<&str>) -> DtlsKey {
    let pem = DtlsPem {
        key: include_str!("../../../../tests/fixtures/x509/bridge.key"),
        certificates: Some(include_str!("../../../../tests/fixtures/x509/bridge.pem")),
        client_authorities,
    };
    DtlsKey::new(&pem).unwrap()
}

/// The pre-shared key of `d1`, made in that second.
async fn enrol(world: &World, second: i64) {
    let digest = TokenDigest::of_psk_identity(b"identity");
    let owner = Credential::psk_owner(&digest, &DeviceId::parse("d1").unwrap());
    let sealed = seal_keys("one").unwrap().seal(KEY, &owner, [7; 12]).unwrap();
    enrol_as(world, digest, Proof::Psk(sealed), second).await;
}

/// A credential of `d1`, made in that second.
async fn enrol_as(world: &World, digest: TokenDigest, proof: Proof, second: i64) {
    let device = DeviceId::parse("d1").unwrap();
    let created = Timestamp::from_seconds(second).unwrap();
    let credential = Credential { digest, proof, device, created };
    assert!(Credentials::insert(&*world.store, &credential).await.unwrap());
    world.api.keyring().refresh().await.unwrap();
}

/// A device with a Connection ID.
struct Device {
    socket: UdpSocket,
    bridge: SocketAddr,
    dtls: Client,
}

impl Device {
    async fn connect(bridge: SocketAddr) -> Self {
        let (device, seen) = Self::offer(bridge, Offer::new("identity", KEY)).await;
        assert!(matches!(seen, Seen::Connected { .. }));
        device
    }

    /// What becomes of its handshake.
    async fn offer(bridge: SocketAddr, mut offer: Offer) -> (Self, Seen) {
        offer.connection_id = Some(vec![9; 4]);
        let dtls = Client::connect(offer, Instant::now(), random::bytes([9; 32]));
        let mut device = Self { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(), bridge, dtls };
        let seen = device.seen().await;
        (device, seen)
    }

    /// Its NAT gives it another address.
    async fn rebind(&mut self) {
        self.socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    }

    async fn seen(&mut self) -> Seen {
        let next = async {
            let mut buffer = [0; 4096];
            loop {
                while let Some(datagram) = self.dtls.poll_transmit() {
                    self.socket.send_to(&datagram, self.bridge).await.unwrap();
                }
                if let Some(seen) = self.dtls.poll_seen() {
                    return seen;
                }
                let due = self.dtls.next_timeout().unwrap_or_else(|| Instant::now() + BOUND);
                match tokio::time::timeout_at(due.into(), self.socket.recv(&mut buffer)).await {
                    Ok(length) => self.dtls.handle_datagram(Instant::now(), &buffer[..length.unwrap()]),
                    Err(_) => self.dtls.handle_timeout(Instant::now()),
                }
            }
        };
        timeout(BOUND, next).await.unwrap()
    }

    /// Sends a message in a record of its own; what comes back.
    async fn ask(&mut self, message: &Message) -> Message {
        self.dtls.send(&message.encode());
        self.answer().await
    }

    async fn answer(&mut self) -> Message {
        match self.seen().await {
            Seen::Data(data) => decode(&data),
            other => panic!("{other:?}"),
        }
    }
}

fn message(mid: u16, request: &Request) -> Message {
    Message {
        kind: Type::Confirmable,
        code: request.code,
        mid,
        token: coap_proto::Token::new(&mid.to_be_bytes()),
        options: request.options.clone(),
        payload: request.body.clone(),
    }
}

fn reading(mid: u16) -> Message {
    message(mid, &post("/telemetry", JSON, br#"{"a":1}"#))
}

#[tokio::test]
async fn a_new_address_is_the_same_device() {
    let secure = Secure::new().await;
    let mut device = Device::connect(secure.address).await;
    let first = device.ask(&reading(1)).await;
    assert_eq!((first.code, first.mid), (Code::CHANGED, 1));
    device.rebind().await;
    assert_eq!(device.ask(&reading(1)).await, first, "answered from memory");
    assert_eq!(secure.world.messages().await.len(), 1);
    assert_eq!(device.ask(&reading(2)).await.code, Code::CHANGED);
    assert_eq!(secure.world.messages().await.len(), 2);
    let named = |path| message(3, &post(path, JSON, br#"{"a":1}"#));
    assert_eq!(device.ask(&named("/t/d2")).await.code, Code::FORBIDDEN);
    let stats = secure.world.api.secure_stats();
    assert_eq!((stats.dtls.completed, stats.dtls.rebound, stats.coap.endpoint.duplicates), (1, 1, 1));
    assert_eq!((stats.held.sessions, stats.unconfirmed, stats.unsent), (1, 0, 0));
}

/// The bridge's message goes as far as an address that nobody has confirmed may be sent to.
#[tokio::test]
async fn an_acknowledgement_confirms_a_new_address() {
    let world = World::new().await;
    world.api.replace(settings());
    enrol(&world, 1).await;
    let (now, [from, to]) =
        (Instant::now(), [5000, 5001].map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
    let made_of = Associations { node: 7, seed: [2; 32], saved: None, key: None };
    let mut bridge = carrier::Secure::new(now, world.api.clone(), made_of);
    let mut endpoint = Endpoint::new(Config::default(), now, random::numbers([3; 32]));
    let mut offer = Offer::new("identity", KEY);
    offer.connection_id = Some(vec![9; 4]);
    let mut device = Client::connect(offer, now, random::bytes([9; 32]));
    let mut exchange = |bridge: &mut carrier::Secure, device: &mut Client, from| {
        while let Some(datagram) = device.poll_transmit() {
            bridge.take(now, &mut endpoint, from, &datagram);
        }
        bridge.settle(now, &mut endpoint);
        while let Some((_, datagram)) = bridge.poll_transmit() {
            device.handle_datagram(now, &datagram);
        }
    };
    // Hello and cookie, then the key.
    for _ in 0..3 {
        exchange(&mut bridge, &mut device, from);
    }
    timeout(BOUND, bridge.answered()).await.unwrap();
    for _ in 0..3 {
        exchange(&mut bridge, &mut device, from);
    }
    assert!(device.is_connected());
    device.send(&Message::empty(Type::Acknowledgement, 1).encode());
    exchange(&mut bridge, &mut device, to);
    let session = bridge.only_session();
    let carry = |bridge: &mut carrier::Secure, mid, length| {
        let payload = vec![1; length].into();
        let payload =
            Message { code: Code::POST, payload, ..Message::empty(Type::Confirmable, mid) }.encode();
        let before = bridge.not_sent();
        bridge.carry(Transmit { peer: session, payload });
        bridge.not_sent() == before
    };
    assert!(!carry(&mut bridge, 70, 1000), "many bytes for few");
    assert!(carry(&mut bridge, 77, 10));
    for (mid, confirms) in [(70, false), (78, false), (77, true)] {
        device.send(&Message::empty(Type::Acknowledgement, mid).encode());
        exchange(&mut bridge, &mut device, to);
        assert_eq!(carry(&mut bridge, 79, 1000), confirms, "{mid}");
    }
}

#[tokio::test]
async fn associations_outlive_the_server_once() {
    let mut secure = Secure::new().await;
    let mut device = Device::connect(secure.address).await;
    assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
    secure.restart(|saved| saved).await;
    assert_eq!(device.ask(&reading(2)).await.code, Code::CHANGED);
    assert_eq!(secure.world.messages().await.len(), 2);
    let stats = secure.world.api.secure_stats();
    assert_eq!((stats.dtls.handshakes, stats.held.sessions), (0, 1));
    let spoils: [fn(&mut Vec<u8>); 3] =
        [|saved| saved[40] ^= 1, |saved| saved.truncate(3), |saved| saved[200] ^= 1];
    for spoil in spoils {
        secure
            .restart(|mut saved| {
                spoil(&mut saved);
                saved
            })
            .await;
        device = Device::connect(secure.address).await;
        assert_eq!(device.ask(&reading(3)).await.code, Code::CHANGED);
        assert_eq!(secure.world.api.secure_stats().dtls.handshakes, 1);
    }
}

#[tokio::test]
async fn a_key_that_was_taken_away_or_replaced_is_good_for_nothing() {
    for replaced in [false, true] {
        let mut secure = Secure::new().await;
        let mut device = Device::connect(secure.address).await;
        assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
        let digest = TokenDigest::of_psk_identity(b"identity");
        assert!(Credentials::remove(&*secure.world.store, &digest).await.unwrap());
        match replaced {
            false => secure.world.api.keyring().refresh().await.unwrap(),
            true => enrol(&secure.world, 2).await,
        }
        // Also when nobody noticed before the server ended.
        secure.restart(|saved| saved).await;
        assert_eq!(device.ask(&reading(2)).await.code, Code::UNAUTHORIZED);
        assert_eq!(device.seen().await, Seen::Alert(0, true));
        assert_eq!(secure.world.messages().await.len(), 1);
        if replaced {
            let mut device = Device::connect(secure.address).await;
            assert_eq!(device.ask(&reading(3)).await.code, Code::CHANGED);
        }
    }
}

#[tokio::test]
async fn hellos_of_nobody_and_rubbish_hold_nothing() {
    let secure = Secure::new().await;
    let mut device = Device::connect(secure.address).await;
    let mut bytes = random::bytes([5; 32]);
    for round in 0..200 {
        // From addresses that never return their cookie.
        let mut hello =
            Client::connect(Offer::new("identity", KEY), Instant::now(), random::bytes([round; 32]));
        let hello = hello.poll_transmit().unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.send_to(&hello, secure.address).await.unwrap();
        let mut rubbish = vec![0; usize::from(round)];
        bytes(&mut rubbish);
        stranger.send_to(&rubbish, secure.address).await.unwrap();
        if round % 50 == 49 {
            // Or the system's buffer overflows.
            assert_eq!(device.ask(&reading(round.into())).await.code, Code::CHANGED);
        }
    }
    assert_eq!(secure.world.messages().await.len(), 4);
    let stats = secure.world.api.secure_stats();
    assert_eq!((stats.dtls.handshakes, stats.held.handshakes, stats.held.sessions), (1, 0, 1));
    assert_eq!(stats.dtls.cookies_sent, 201);
    assert!(stats.dtls.malformed > 0);
}

#[tokio::test]
async fn one_device_cannot_push_out_the_others() {
    let mut secure = Secure::new().await;
    let mut devices = Vec::new();
    for mid in 0..10 {
        let mut device = Device::connect(secure.address).await;
        assert_eq!(device.ask(&reading(mid)).await.code, Code::CHANGED);
        devices.push(device);
    }
    let stats = secure.world.api.secure_stats();
    assert_eq!((stats.dtls.completed, stats.held.sessions, stats.crowded), (10, 8, 2));
    assert_eq!(devices[0].seen().await, Seen::Alert(0, true));
    assert_eq!(devices[2].ask(&reading(20)).await.code, Code::CHANGED);
    secure.restart(|saved| saved).await;
    assert_eq!(devices[9].ask(&reading(21)).await.code, Code::CHANGED);
    assert_eq!(secure.world.api.secure_stats().held.sessions, 8);
}
