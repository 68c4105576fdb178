//! Devices that prove themselves by certificate or raw public key. Not here: what a proof is (`dtls`), real clients
//! (`tests/tests/coap_dtls.rs`).

use bridge_core::testing::Fault;
use dtls::CipherSuite;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

use super::*;
use crate::certificate::CertificateDevice;
use crate::saved;

const DEVICE: &str = include_str!("../../../../../tests/fixtures/x509/device.pem");
const EXPIRED: &str = include_str!("../../../../../tests/fixtures/x509/expired.pem");
/// Of another authority.
const STRANGER: &str = include_str!("../../../../../tests/fixtures/x509/stranger.pem");
/// The raw public key of [`DEVICE`].
const PUBLIC_KEY: &str = include_str!("../../../../../tests/fixtures/x509/device.pub");
/// What the bridge says to whoever it does not believe: certificate_unknown.
const REFUSED: Seen = Seen::Alert(46, false);

fn der(certificate: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap().to_vec()
}

fn raw_digest() -> TokenDigest {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(PUBLIC_KEY.as_bytes()).unwrap();
    TokenDigest::from_bytes(Sha256::digest(key).into())
}

fn digest(certificate: &str) -> TokenDigest {
    TokenDigest::from_bytes(Sha256::digest(der(certificate)).into())
}

/// A device with the private key of 32 such bytes, which shows a certificate or that raw public key.
fn shows(certificate: Option<&str>, key: u8) -> Offer {
    let suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8.code()];
    let chain = certificate.map(der).into_iter().collect();
    Offer { suites, chain, raw_key: Some([key; 32]), ..Offer::new("", b"") }
}

#[tokio::test]
async fn a_certificate_or_raw_public_key_says_which_device_it_is() {
    for (certificate, digest, proof) in
        [(Some(DEVICE), digest(DEVICE), Proof::Certificate), (None, raw_digest(), Proof::RawPublicKey)]
    {
        let mut secure = Secure::new().await;
        let connect = async |bridge| Device::offer(bridge, shows(certificate, 7)).await;
        assert_eq!(connect(secure.address).await.1, REFUSED, "it is nobody's");
        enrol_as(&secure.world, digest, proof.clone(), 3).await;
        let (mut device, seen) = connect(secure.address).await;
        assert!(matches!(seen, Seen::Connected { .. }), "{seen:?}");
        assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
        let named = |path| message(2, &post(path, JSON, br#"{"a":1}"#));
        assert_eq!(device.ask(&named("/t/d2")).await.code, Code::FORBIDDEN);
        secure.restart(|saved| saved).await;
        assert_eq!(device.ask(&reading(3)).await.code, Code::CHANGED);
        let stats = secure.world.api.secure_stats();
        assert_eq!((stats.dtls.handshakes, stats.held.sessions), (0, 1));
        assert!(Credentials::remove(&*secure.world.store, &digest).await.unwrap());
        secure.world.api.keyring().refresh().await.unwrap();
        assert_eq!(device.ask(&reading(4)).await.code, Code::UNAUTHORIZED);
        assert_eq!(device.seen().await, Seen::Alert(0, true));
        assert_eq!(connect(secure.address).await.1, REFUSED);
        assert_eq!(secure.world.messages().await.len(), 2);
        enrol_as(&secure.world, digest, proof, 4).await;
        secure.world.api.keyring().refresh().await.unwrap();
        assert!(matches!(connect(secure.address).await.1, Seen::Connected { .. }));
    }
}

#[tokio::test]
async fn a_common_name_says_which_device_it_is_when_that_is_wanted() {
    let mut secure = Secure::of(World::with(CertificateDevice::CommonName).await).await;
    let (mut device, seen) = Device::offer(secure.address, shows(Some(DEVICE), 7)).await;
    assert!(matches!(seen, Seen::Connected { .. }), "{seen:?}");
    assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
    let other = message(2, &post("/t/d2", JSON, br#"{"a":1}"#));
    assert_eq!(device.ask(&other).await.code, Code::FORBIDDEN);
    secure.restart(|saved| saved).await;
    assert_eq!(device.ask(&reading(3)).await.code, Code::CHANGED);
    for offer in [shows(Some(EXPIRED), 7), shows(Some(STRANGER), 8), shows(Some(DEVICE), 8)] {
        assert_eq!(Device::offer(secure.address, offer).await.1, REFUSED);
    }
    secure.world.api.replace(settings());
    assert_eq!(device.ask(&reading(4)).await.code, Code::CHANGED, "other settings change nothing of it");
    assert_eq!(secure.world.messages().await.len(), 3);
    // After a restart where that is not wanted any more, what it was known by counts no more.
    let other = World::new().await;
    other.api.replace(settings());
    let _before = std::mem::replace(&mut secure.world, other);
    secure.restart(|saved| saved).await;
    assert_eq!(device.ask(&reading(5)).await.code, Code::UNAUTHORIZED);
}

#[tokio::test]
async fn certificates_of_authorities_that_were_changed_are_shown_again() {
    for (authorities, is_older) in [(None, false), (Some(STRANGER), false), (Some(CA), true)] {
        let mut secure = Secure::new().await;
        enrol_as(&secure.world, digest(DEVICE), Proof::Certificate, 3).await;
        enrol_as(&secure.world, raw_digest(), Proof::RawPublicKey, 3).await;
        let mut certified = Device::offer(secure.address, shows(Some(DEVICE), 7)).await.0;
        let mut raw = Device::offer(secure.address, shows(None, 7)).await.0;
        for device in [&mut certified, &mut raw] {
            assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
        }
        let older = |saved: Vec<u8>| saved::older(&saved, &seal_keys("one").unwrap());
        let change = |saved| if is_older { older(saved) } else { saved };
        secure.restart_with(key_and(authorities), change).await;
        assert_eq!(certified.seen().await, Seen::Alert(0, true));
        assert_eq!(raw.ask(&reading(2)).await.code, Code::CHANGED);
        assert_eq!(secure.world.api.secure_stats().held.sessions, 1);
    }
}

#[tokio::test]
async fn who_is_not_believed_looks_like_one_who_is_nobody() {
    let secure = Secure::new().await;
    // An expired one, one of another authority, and one that is enrolled as something else.
    for certificate in [EXPIRED, STRANGER] {
        enrol_as(&secure.world, digest(certificate), Proof::Certificate, 3).await;
    }
    enrol_as(&secure.world, digest(DEVICE), Proof::RawPublicKey, 3).await;
    enrol_as(&secure.world, raw_digest(), Proof::Certificate, 3).await;
    let offers = [
        shows(Some(EXPIRED), 7),
        shows(Some(STRANGER), 8),
        shows(Some(DEVICE), 7),
        shows(Some(DEVICE), 8),
        shows(None, 7),
        shows(None, 8),
    ];
    let count = offers.len() as u64;
    for offer in offers {
        assert_eq!(Device::offer(secure.address, offer).await.1, REFUSED);
    }
    // What is counted is told with the next datagram.
    let mut device = Device::connect(secure.address).await;
    assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
    let stats = secure.world.api.secure_stats();
    assert_eq!((stats.dtls.certificates_refused, stats.dtls.completed), (count, 1));
    assert_eq!((stats.held.handshakes, stats.held.sessions), (0, 1));
}

#[tokio::test]
async fn a_certificate_is_held_against_the_clock_of_now() {
    let secure = Secure::new().await;
    enrol_as(&secure.world, digest(DEVICE), Proof::Certificate, 3).await;
    let (mut device, seen) = Device::offer(secure.address, shows(Some(DEVICE), 7)).await;
    assert!(matches!(seen, Seen::Connected { .. }), "{seen:?}");
    secure.world.clock.advance(Duration::from_hours(15 * 365 * 24));
    assert_eq!(Device::offer(secure.address, shows(Some(DEVICE), 7)).await.1, REFUSED);
    assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED, "what it made goes on");
}

#[tokio::test]
async fn who_offers_a_pre_shared_key_is_asked_for_it() {
    let secure = Secure::new().await;
    let suites = CipherSuite::ALL.map(CipherSuite::code).to_vec();
    let (mut device, seen) =
        Device::offer(secure.address, Offer { suites, ..Offer::new("identity", KEY) }).await;
    assert!(matches!(seen, Seen::Connected { .. }), "{seen:?}");
    assert_eq!(device.ask(&reading(1)).await.code, Code::CHANGED);
}

#[tokio::test]
async fn without_an_answer_of_the_store_there_is_none_to_the_device() {
    let secure = Secure::new().await;
    enrol_as(&secure.world, raw_digest(), Proof::RawPublicKey, 3).await;
    secure.world.store.set(Fault::Before);
    let offer = Offer { timeout: Duration::from_millis(10), ..shows(None, 7) };
    assert_eq!(Device::offer(secure.address, offer).await.1, Seen::TimedOut);
    secure.world.store.set(Fault::None);
    let (_, seen) = Device::offer(secure.address, shows(None, 7)).await;
    assert!(matches!(seen, Seen::Connected { .. }), "{seen:?}");
}
