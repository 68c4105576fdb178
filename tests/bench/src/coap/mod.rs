//! Devices that speak CoAP: 64 that post 100 bytes each, confirmable, over UDP and over DTLS, beside a floor that publishes every
//! datagram, awaits its PUBACK and echoes it; and what DTLS associations cost. Not here: one device ([`device`]), associations
//! without a bridge ([`handshakes`]).

mod device;
pub(crate) mod floor;
mod handshakes;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use app::SystemClock;
use bridge_core::ports::{
    Clock, Credential, Credentials, DeviceRecord, DeviceState, Proof, Registry, TokenDigest,
};
use bridge_core::seal::SealKeys;
use bridge_core::{DeviceId, ExternalId, IntegrationName};
use store_embedded::{EmbeddedStore, Mode};

use crate::process::{Bridge, Server, start_datagram_floor};
use crate::turns::beside;
use crate::verdict;
use device::Device;

/// Devices that post at the same time.
const DEVICES: usize = 64;
/// Devices with idle associations, and how many each has: the bridge keeps no more of one identity.
const IDLE_DEVICES: usize = 2_500;
const IDLE_EACH: usize = 8;
/// What encrypts the keys of devices in the store; the processes of a run end with it.
pub(crate) const SEAL_KEY: &str = "a-sealing-key-of-the-benchmark-0123456789ab";
pub(crate) const PSK: &[u8] = b"a-key-of-the-benchmark";

/// Measures and prints.
pub(crate) async fn run(mqtt: u16, time: Duration) {
    posts(mqtt, time).await;
    idle(mqtt).await;
    handshakes::run();
}

async fn posts(mqtt: u16, time: Duration) {
    let floor = start_datagram_floor(mqtt);
    // Two, so that each has its own CPU.
    let [plain, secure] = [start(mqtt, DEVICES).await, start(mqtt, DEVICES).await];
    let mut clients = [const { Vec::new() }; 3];
    for n in 0..DEVICES {
        clients[0].push(Device::plain(floor.http(), &name(n), &token(n), true).await);
        clients[1].push(Device::plain(plain.plain, &name(n), &token(n), false).await);
        clients[2].push(Device::secure(secure.secure, Ipv4Addr::LOCALHOST, &name(n)).await);
    }
    let [mut floor, mut plain, secure] =
        beside([&floor, &plain.process, &secure.process], clients, time).await;
    println!("CoAP, {DEVICES} devices, confirmable posts of 100 bytes");
    println!("  {:<36} {:>8.0} per second", "the floor", floor.rate());
    verdict("rate, of the floor's", plain.rate() / floor.rate(), ">=", 0.6);
    println!("  {:<36} {:>8.2}", "p99, of the floor's", plain.p99() / floor.p99());
    println!("  {:<36} {:>8.2}", "CPU per message, of the floor's", plain.cpu() / floor.cpu());
    verdict("DTLS: CPU per message, of that without", secure.cpu() / plain.cpu(), "<=", 1.4);
    println!("  {:<36} {:>8.2}", "DTLS: rate, of that without", secure.rate() / plain.rate());
}

/// Associations that say nothing: what each keeps in memory.
async fn idle(mqtt: u16) {
    let bridge = start(mqtt, IDLE_DEVICES).await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut memory = Vec::new();
    let total = IDLE_DEVICES * IDLE_EACH;
    for until in [total / 5, total] {
        let tasks: Vec<_> = (0..DEVICES)
            .map(|_| {
                let (next, to) = (next.clone(), bridge.secure);
                tokio::spawn(async move {
                    while let Ok(n) = next.fetch_update(Relaxed, Relaxed, |n| (n < until).then_some(n + 1)) {
                        // One address may not begin more than some handshakes in a minute.
                        let [.., high, low] = n.to_be_bytes();
                        let from = Ipv4Addr::new(127, 7, high, low);
                        // It is gone without a word, as a device that sleeps.
                        drop(Device::secure(to, from, &name(n % IDLE_DEVICES)).await);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        memory.push(bridge.process.memory_mib() * 1024.0);
    }
    let slope = (memory[1] - memory[0]) / (total - total / 5) as f64;
    println!("{total} idle DTLS associations of the bridge, {} to {total}", total / 5);
    verdict("resident memory of each, KiB", slope, "<=", 4.0);
}

/// A bridge that serves CoAP.
struct Started {
    process: Bridge,
    plain: SocketAddr,
    secure: SocketAddr,
}

async fn start(mqtt: u16, devices: usize) -> Started {
    let folder = tempfile::tempdir().unwrap();
    enrol(&folder.path().join("data"), devices).await;
    let [plain, secure] = [(); 2].map(|()| {
        let socket = UdpSocket::bind(crate::address(0)).unwrap();
        socket.local_addr().unwrap()
    });
    let sections = format!(
        "[secrets]\nkeys = [{{ env = \"SEAL_KEY\" }}]\n[coap]\nenabled = true\nlisten = \"{plain}\"\n\
         dtls = {{ listen = \"{secure}\" }}\n"
    );
    Started { process: Bridge::start_in(folder, mqtt, &sections).await, plain, secure }
}

/// Puts devices with a token and a key each into the store.
async fn enrol(folder: &Path, devices: usize) {
    let store = EmbeddedStore::open(folder, Mode::Tool, 1 << 30).unwrap();
    let keys = SealKeys::new([SEAL_KEY.as_bytes()]).unwrap();
    let (integration, now) = (IntegrationName::parse("http").unwrap(), SystemClock.wall());
    for n in 0..devices {
        let device = DeviceId::parse(&name(n)).unwrap();
        let record = DeviceRecord {
            id: device.clone(),
            integration: integration.clone(),
            external: ExternalId::parse(&name(n)).unwrap(),
            scope: None,
            name: None,
            hub_id: None,
            codec: None,
            tags: Vec::new(),
            state: DeviceState::Active,
            first_seen: now,
            last_seen: None,
        };
        Registry::insert(&store, &record).await.unwrap();
        let digest = TokenDigest::of(token(n).as_bytes());
        let by_token = Credential { digest, proof: Proof::Token, device: device.clone(), created: now };
        Credentials::insert(&store, &by_token).await.unwrap();
        let digest = TokenDigest::of_psk_identity(name(n).as_bytes());
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        let sealed = keys.seal(PSK, &Credential::psk_owner(&digest, &device), nonce).unwrap();
        let by_key = Credential { digest, proof: Proof::Psk(sealed), device, created: now };
        Credentials::insert(&store, &by_key).await.unwrap();
    }
}

fn name(n: usize) -> String {
    format!("device-{n}")
}

/// 43 characters, as a token has them.
fn token(n: usize) -> String {
    format!("{n:a>43}")
}
