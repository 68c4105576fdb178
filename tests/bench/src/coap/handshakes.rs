//! DTLS without a network: handshakes per second and core beside OpenSSL's primitives, and how long a server takes to go on
//! with associations of before. Not here: the bridge's tables around them.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dtls::client::{Client, Settings};
use dtls::{CipherSuite, Config, Credential, Event, Limits, Psk, Server};

use super::PSK;
use super::device::random;

/// Associations that are restored; the last figure is what is reported.
const RESTORED: [u32; 3] = [25_000, 50_000, 100_000];
const BY_PUBLIC_KEY: u32 = 500;
/// A P-256 private key in PKCS#8: this, and 32 bytes.
const PKCS8: [u8; 35] = [
    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
];

/// Measures and prints.
pub(super) fn run() {
    let mut by_key = 0.0;
    println!("DTLS associations restored");
    for count in RESTORED {
        let mut server = new_server();
        by_key = f64::from(count) / shake(&mut server, count, |_| Settings::new("device", PSK)).as_secs_f64();
        let (key, now) = ([7; 32], Instant::now());
        let saved = server.shutdown(now, &key);
        let (mut server, begun) = (new_server(), Instant::now());
        let restored = server.restore(now, &key, &saved).unwrap().len();
        let took = begun.elapsed();
        assert_eq!(restored, count as usize);
        let each = took.as_secs_f64() * 1e6 / f64::from(count);
        println!(
            "  {count:<36} {:>8.0} ms, {each:.2} µs each, {} bytes each",
            took.as_secs_f64() * 1e3,
            saved.len() / restored
        );
    }
    let mut server = new_server();
    let credential = Credential::new(&[&PKCS8[..], &[9; 32]].concat()).unwrap();
    server.set_credential(Some(credential.with_raw_public_keys()));
    let suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8.code()];
    let device = |_| Settings { suites: suites.clone(), raw_key: Some([7; 32]), ..Settings::new("", b"") };
    let by_public_key = f64::from(BY_PUBLIC_KEY) / shake(&mut server, BY_PUBLIC_KEY, device).as_secs_f64();
    println!("handshakes of the server per second and core");
    println!("  {:<36} {by_key:>8.0}", "with a pre-shared key");
    println!("  {:<36} {by_public_key:>8.0}", "with raw public keys, P-256");
    let Some([derive, sign, verify, hash]) = openssl() else {
        println!("  openssl speed says nothing: install the Debian package openssl");
        return;
    };
    println!("  {:<36} {hash:>8.0}", "openssl: SHA-256 of 64 bytes");
    for (name, figure) in [("ECDH", derive), ("ECDSA sign", sign), ("ECDSA verify", verify)] {
        println!("  {:<36} {figure:>8.0}", format!("openssl: {name}, P-256"));
    }
    // Two products of the key exchange, its key and its secret, and a signature each way.
    let least = 1.0 / (2.0 / derive + 1.0 / sign + 1.0 / verify);
    println!("  {:<36} {:>8.2}", "with raw keys, of these four alone", by_public_key / least);
}

fn new_server() -> Server {
    let limits = Limits {
        handshakes_per_address_minute: u32::MAX,
        handshakes_per_second: 1_000_000,
        resumable: 0,
        ..Limits::default()
    };
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Server::new(Config { limits, ..Config::default() }, Instant::now(), unix, random()).unwrap()
}

/// So many whole handshakes; the time that the server took for its part.
fn shake(server: &mut Server, count: u32, device: impl Fn(u32) -> Settings) -> Duration {
    let psk = Psk::new(PSK).unwrap();
    let mut ours = Duration::ZERO;
    for n in 0..count {
        let [a, b, c, d] = n.to_be_bytes();
        let peer = SocketAddr::from(([10, b, c, d], 40_000 + u16::from(a)));
        let mut client = Client::connect(device(n), Instant::now(), random());
        while !client.is_connected() {
            let sent: Vec<_> = std::iter::from_fn(|| client.poll_transmit()).collect();
            assert!(!sent.is_empty(), "the handshake stands still: {:?}", client.poll_seen());
            let begun = Instant::now();
            for datagram in &sent {
                server.handle_datagram(begun, peer, datagram);
            }
            while let Some(event) = server.poll_event() {
                match event {
                    Event::KeyRequest { request, .. } => server.provide_key(begun, request, Some(&psk)),
                    Event::VerdictRequest { request, .. } => server.provide_verdict(begun, request, true),
                    _ => {}
                }
            }
            let answers: Vec<_> = std::iter::from_fn(|| server.poll_transmit()).collect();
            ours += begun.elapsed();
            for answer in answers {
                client.handle_datagram(begun, &answer.payload);
            }
        }
    }
    ours
}

/// Derivations, signatures, verifications and digests per second of one core, as `openssl speed -mr` says them.
fn openssl() -> Option<[f64; 4]> {
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(["speed", "-mr", "-seconds", "1"]).args(arguments).output();
        String::from_utf8(output.ok()?.stdout).ok()
    };
    let public = run(&["ecdhp256", "ecdsap256"])?;
    let line = |text: &str, begin: &str| {
        let line = text.lines().find(|line| line.starts_with(begin))?;
        Some(line.split(':').map(str::to_owned).collect::<Vec<_>>())
    };
    // Operations per second, or seconds per operation: the versions differ.
    let rate =
        |text: &str| text.parse::<f64>().ok().map(|figure| if figure < 1.0 { 1.0 / figure } else { figure });
    let [signing, deriving] = [line(&public, "+F4:")?, line(&public, "+F5:")?];
    let bytes = line(&run(&["-bytes", "64", "-evp", "sha256"])?, "+F:")?.last()?.parse::<f64>().ok()?;
    Some([rate(deriving.get(3)?)?, rate(signing.get(3)?)?, rate(signing.get(4)?)?, bytes / 64.0])
}
