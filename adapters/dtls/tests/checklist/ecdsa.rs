//! Devices that prove themselves by raw public key or certificate. Not here: chains of real clients (`interop`).

use std::time::Duration;

use bytes::Bytes;
use dtls::client::Settings;
use dtls::{CipherSuite, Config, Credential, CredentialError, Event, Identity, RequestId, is_public_key};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::bench::{Bench, address};

/// A P-256 private key in PKCS#8: this, and 32 bytes.
const PKCS8: [u8; 35] = [
    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
];

/// Certificates, of which [`DEVICE`] ends in 2040 and [`EXPIRED`] has ended.
const CA: &str = include_str!("../../../../tests/fixtures/x509/ca.pem");
const BRIDGE: &str = include_str!("../../../../tests/fixtures/x509/bridge.pem");
const DEVICE: &str = include_str!("../../../../tests/fixtures/x509/device.pem");
const EXPIRED: &str = include_str!("../../../../tests/fixtures/x509/expired.pem");
/// Of another authority.
const STRANGER: &str = include_str!("../../../../tests/fixtures/x509/stranger.pem");

pub(crate) fn credential() -> Credential {
    Credential::new(&[&PKCS8[..], &[9; 32]].concat()).unwrap().with_raw_public_keys()
}

/// A device with the private key of 32 such bytes.
pub(crate) fn device(key: u8) -> Settings {
    let suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8.code()];
    Settings { suites, raw_key: Some([key; 32]), ..Settings::new("", b"") }
}

/// What of it is in PEM form.
fn der(pem: &str) -> Bytes {
    Bytes::from(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec())
}

fn with_certificates() -> Credential {
    credential().with_chain(vec![der(BRIDGE)]).unwrap().with_trust_anchors(&[der(CA)]).unwrap()
}

fn bench() -> Bench {
    let mut bench = Bench::new(Config::default());
    bench.server.set_credential(Some(credential()));
    bench
}

/// What the server asks about, taken from its events.
fn asked(bench: &mut Bench) -> (RequestId, Identity) {
    match bench.events.pop() {
        Some(Event::VerdictRequest { request, identity }) => (request, identity),
        other => panic!("{other:?} is no question"),
    }
}

#[test]
fn a_device_proves_its_public_key_and_the_application_decides() {
    for suite in [CipherSuite::EcdheEcdsaAes128Ccm8, CipherSuite::EcdheEcdsaAes128GcmSha256] {
        for accepted in [true, false] {
            let mut bench = bench();
            let settings =
                Settings { suites: vec![suite.code()], connection_id: Some(b"me".to_vec()), ..device(7) };
            let mut ours = bench.connect(settings, address(1, 1));
            let (request, identity) = asked(&mut bench);
            assert!(matches!(&identity, Identity::PublicKey(key) if key.len() == 91));
            bench.server.provide_verdict(bench.now, request, accepted);
            bench.run(&mut [&mut ours]);
            assert_eq!(ours.client.is_connected(), accepted);
            assert_eq!(ours.alert(), (!accepted).then_some(46));
            assert_eq!(bench.server.stats().certificates_refused, u64::from(!accepted));
        }
    }
}

#[test]
fn who_does_not_hold_the_private_key_is_not_asked_about() {
    let mut bench = bench();
    let mut thief = bench.device(device(7), address(1, 1));
    for _ in 0..3 {
        for mut datagram in thief.leaving() {
            // The key exchange, not the proof: the transcripts differ then.
            if datagram[13] == 16 {
                datagram[40] ^= 1;
            }
            for (_, reply) in bench.inject(thief.address, &datagram) {
                thief.client.handle_datagram(bench.now, &reply);
            }
        }
    }
    assert!(bench.events.is_empty());
    assert_eq!((bench.server.held().handshakes, bench.server.stats().completed), (0, 0));
}

#[test]
fn a_certificate_is_verified_at_the_time_of_its_handshake() {
    let year = Duration::from_secs(365 * 24 * 3600);
    for (later, chain, key, taken) in [
        (Duration::ZERO, DEVICE, 7, true),
        (9 * year, DEVICE, 7, true),
        (20 * year, DEVICE, 7, false),
        (Duration::ZERO, EXPIRED, 7, false),
        (Duration::ZERO, STRANGER, 8, false),
        // Somebody else's certificate.
        (Duration::ZERO, DEVICE, 8, false),
    ] {
        let mut bench = Bench::new(Config::default());
        bench.server.set_credential(Some(with_certificates()));
        bench.now += later;
        let mut ours =
            bench.connect(Settings { chain: vec![der(chain).to_vec()], ..device(key) }, address(1, 1));
        if let Some(Event::VerdictRequest { request, identity }) = bench.events.pop() {
            assert_eq!(identity, Identity::Certificate(der(chain)));
            bench.server.provide_verdict(bench.now, request, true);
            bench.run(&mut [&mut ours]);
        }
        assert_eq!((ours.client.is_connected(), ours.alert()), (taken, (!taken).then_some(46)), "{later:?}");
        assert_eq!(bench.server.stats().certificates_refused, u64::from(!taken));
    }
}

#[test]
fn a_session_with_a_public_key_is_resumed_as_it() {
    let mut bench = bench();
    let mut first = bench.connect(device(7), address(1, 1));
    let (request, identity) = asked(&mut bench);
    bench.server.provide_verdict(bench.now, request, true);
    bench.run(&mut [&mut first]);
    let second = bench.connect(Settings { resume: first.client.session(), ..device(7) }, address(2, 2));
    assert!(second.resumed());
    assert_eq!(bench.identities(), [identity.clone(), identity]);
}

#[test]
fn without_a_credential_these_suites_are_not_chosen() {
    let mut bench = Bench::new(Config::default());
    assert_eq!(bench.connect(device(7), address(1, 1)).alert(), Some(40));
    // Raw public keys were not allowed.
    let bare = Credential::new(&[&PKCS8[..], &[9; 32]].concat()).unwrap();
    bench.server.set_credential(Some(bare));
    assert_eq!(bench.connect(device(7), address(1, 1)).alert(), Some(40));
    let mut both = device(7);
    both.suites.push(CipherSuite::PskAes128Ccm8.code());
    both.identity = b"a".to_vec();
    both.key = super::bench::KEY.to_vec();
    assert!(bench.connect(both, address(1, 1)).client.is_connected());
}

#[test]
fn a_credential_is_checked() {
    assert_eq!(Credential::new(b"no key").err(), Some(CredentialError::PrivateKey));
    assert_eq!(credential().with_chain(vec!["no certificate".into()]).err(), Some(CredentialError::Chain));
    assert_eq!(credential().with_chain(Vec::new()).err(), Some(CredentialError::Chain));
    assert_eq!(credential().with_trust_anchors(&["none".into()]).err(), Some(CredentialError::TrustAnchor));
    assert_eq!(credential().public_key().len(), 91);
    for key in [
        include_str!("../../../../tests/fixtures/x509/bridge.key"),
        include_str!("../../../../tests/fixtures/x509/device.key"),
    ] {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        assert_eq!(Credential::new(key.secret_der()).unwrap().public_key().len(), 91);
    }
    assert!(is_public_key(credential().public_key()) && !is_public_key(&der(DEVICE)));
}
