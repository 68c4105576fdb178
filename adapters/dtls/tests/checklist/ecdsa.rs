//! Devices that prove themselves by raw public key. Not here: X.509, which real clients prove (`interop`).

use dtls::client::Settings;
use dtls::{CipherSuite, Config, Credential, CredentialError, Event, Identity, RequestId};

use super::bench::{Bench, address};

/// A P-256 private key in PKCS#8: this, and 32 bytes.
const PKCS8: [u8; 35] = [
    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
];

pub(crate) fn credential() -> Credential {
    Credential::new(&[&PKCS8[..], &[9; 32]].concat()).unwrap().with_raw_public_keys()
}

/// A device with the private key of 32 such bytes.
pub(crate) fn device(key: u8) -> Settings {
    let suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8.code()];
    Settings { suites, raw_key: Some([key; 32]), ..Settings::new("", b"") }
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
            assert_eq!(ours.alert(), (!accepted).then_some(49));
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
}
