//! Signed requests and client certificates: who is let in, and who is not.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use bridge_core::ports::Clock;
use bridge_core::seal::SealKeys;
use ring::hmac;

use super::*;
use crate::signed::sha256;

const KEY_ID: &str = "0707070707070707";
const KEY: &str = "the-secret-with-which-d1-signs-its-requests";
const TELEMETRY: &str = "/v1/devices/d1/telemetry";

/// What a signature is made of, and where it may be wrong.
#[derive(Clone)]
struct Signature {
    key_id: &'static str,
    key: &'static str,
    method: &'static str,
    path: &'static str,
    at: i64,
    nonce: String,
    body: &'static str,
}

impl Signature {
    fn authorization(&self) -> String {
        let Self { key_id, key, method, path, at, nonce, body } = self;
        let digest = hex(&sha256(body.as_bytes()));
        let text = format!("{method}\n{path}\n{at}\n{nonce}\n{digest}");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
        let signature = hex(signature.as_ref());
        format!("HMAC-SHA256 keyId={key_id}, ts={at}, nonce={nonce}, body={digest}, signature={signature}")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seal_keys() -> SealKeys {
    SealKeys::new([&b"a key for secrets at rest, of tests"[..]]).unwrap()
}

fn with_keys() -> Settings {
    Settings { seal_keys: Some(Arc::new(seal_keys())), ..settings(Register::Auto) }
}

async fn enrol(world: &World, device: &str, digest: TokenDigest, proof: Proof) {
    let device = DeviceId::parse(device).unwrap();
    let credential = Credential { digest, proof, device, created: Timestamp::EPOCH };
    assert!(Credentials::insert(&*world.store, &credential).await.unwrap());
}

/// With a key for `d1`.
async fn signing_world(settings: Settings) -> (World, Signature) {
    let world = World::new(settings).await;
    let digest = TokenDigest::of_signing_key([7; 8]);
    let owner = Credential::owner(&digest, &DeviceId::parse("d1").unwrap());
    let sealed = seal_keys().seal(KEY.as_bytes(), &owner, [1; 12]).unwrap();
    enrol(&world, "d1", digest, Proof::SigningKey(sealed)).await;
    let at = world.clock.wall().as_millis() / 1000;
    let signature = Signature {
        key_id: KEY_ID,
        key: KEY,
        method: "POST",
        path: TELEMETRY,
        at,
        nonce: "nonce-0000".into(),
        body: r#"{"a":1}"#,
    };
    (world, signature)
}

async fn send_signed(world: &World, signature: &Signature) -> StatusCode {
    let authorization = signature.authorization();
    world.send(request("POST", TELEMETRY, &authorization, "application/json", r#"{"a":1}"#)).await.status
}

#[tokio::test]
async fn a_signed_request_is_taken_once() {
    let (world, good) = signing_world(with_keys()).await;
    assert_eq!(send_signed(&world, &good).await, 204);
    assert_eq!(send_signed(&world, &good).await, 401, "it was there already");
    let next = Signature { nonce: "nonce-0001".into(), ..good.clone() };
    assert_eq!(send_signed(&world, &next).await, 204);
    // A path without a body, and without its digest in the header.
    let commands = Signature {
        method: "GET",
        path: "/v1/devices/d1/commands?wait=0",
        body: "",
        nonce: "nonce-0002".into(),
        ..good.clone()
    };
    let authorization = commands.authorization().replace(&format!(" body={},", hex(&sha256(b""))), "");
    let answer = world.send(request("GET", commands.path, &authorization, "", Body::empty())).await;
    assert_eq!(answer.status, 204);
    // It speaks for itself alone.
    let other = Signature { path: "/v1/devices/plant-1/telemetry", nonce: "nonce-0003".into(), ..good };
    let answer = world.post(other.path, &other.authorization(), "application/json", other.body).await;
    assert_eq!((answer.status.as_u16(), answer.kind().as_str()), (403, "out-of-scope"));
    assert_eq!(world.messages().await.len(), 2);
}

#[tokio::test]
async fn what_is_signed_otherwise_is_refused_without_a_reason() {
    let (world, good) = signing_world(with_keys()).await;
    let number = std::cell::Cell::new(0);
    let fresh = || {
        number.set(number.get() + 1);
        Signature { nonce: format!("nonce-{:04}", number.get()), ..good.clone() }
    };
    let bad = [
        Signature { key: "another", ..fresh() },
        Signature { key_id: "0707070707070708", ..fresh() },
        Signature { key_id: "d1", ..fresh() },
        Signature { method: "PATCH", ..fresh() },
        Signature { path: "/v1/devices/d1/telemetry?x=1", ..fresh() },
        Signature { at: good.at - 301, ..fresh() },
        Signature { at: good.at + 301, ..fresh() },
        Signature { body: r#"{"a":2}"#, ..fresh() },
    ];
    let mut answers = Vec::new();
    for signature in bad {
        let authorization = signature.authorization();
        let answer = world.post(TELEMETRY, &authorization, "application/json", r#"{"a":1}"#).await;
        assert_eq!(answer.status, 401, "{authorization}");
        answers.push(answer.body);
    }
    for (from, to) in
        [("ts=", "ts=1"), ("nonce=nonce", "nonce=nonse"), ("keyId=", "key="), ("signature=", "signature=0")]
    {
        let authorization = fresh().authorization().replace(from, to);
        let answer = world.post(TELEMETRY, &authorization, "application/json", r#"{"a":1}"#).await;
        assert_eq!(answer.status, 401, "{authorization}");
        assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().contains("HMAC-SHA256"));
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the reason is for the log alone");
    assert!(world.messages().await.is_empty());
    assert_eq!(send_signed(&world, &fresh()).await, 204);
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_proves_nothing() {
    let (world, good) = signing_world(settings(Register::Off)).await;
    assert_eq!(send_signed(&world, &good).await, 401);
    let other = SealKeys::new([&b"another key for secrets at rest, of tests"[..]]).unwrap();
    world.api.replace(Settings { seal_keys: Some(Arc::new(other)), ..settings(Register::Off) });
    assert_eq!(send_signed(&world, &good).await, 401);
    world.api.replace(with_keys());
    assert_eq!(send_signed(&world, &good).await, 204);
    // A sealed key of one device is no key of another: it was sealed for its owner.
    let sealed = seal_keys().seal(KEY.as_bytes(), "somebody", [2; 12]).unwrap();
    enrol(&world, "d1", TokenDigest::of_signing_key([8; 8]), Proof::SigningKey(sealed)).await;
    let moved = Signature { key_id: "0808080808080808", nonce: "nonce-0009".into(), ..good };
    assert_eq!(send_signed(&world, &moved).await, 401);
}

#[tokio::test]
async fn a_gateway_signs_with_its_secret() {
    let (world, good) = signing_world(settings(Register::Auto)).await;
    let path = "/v1/devices/plant-1/telemetry";
    let signature = Signature { key_id: "plant", key: SECRET, path, ..good };
    let post = async |signature: &Signature| {
        let authorization = signature.authorization();
        world.post(signature.path, &authorization, "application/json", signature.body).await.status
    };
    assert_eq!(post(&signature).await, 204);
    let wrong = Signature { key: KEY, nonce: "nonce-0001".into(), ..signature.clone() };
    assert_eq!(post(&wrong).await, 401);
    let elsewhere = Signature { path: TELEMETRY, nonce: "nonce-0002".into(), ..signature };
    assert_eq!(post(&elsewhere).await, 403);
}

fn with_certificates(form: CertificateForm, device: CertificateDevice) -> Settings {
    let certificates = ClientCertificates {
        is_trusted_proxy: Box::new(|ip| ip.is_loopback()),
        header: header::HeaderName::from_static("x-client"),
        form,
        device,
    };
    let rate = Settings::limits(Some(2));
    Settings { certificates: Some(certificates), rate, ..settings(Register::Auto) }
}

async fn shown(world: &World, path: &str, peer: &str, value: &str, credentials: &str) -> Answer {
    let mut request = request("POST", path, credentials, "application/json", r#"{"a":1}"#);
    request.headers_mut().insert("x-client", value.parse().unwrap());
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    world.send(request).await
}

#[tokio::test]
async fn a_certificate_counts_when_a_believed_proxy_tells_of_it() {
    let world = World::new(with_certificates(CertificateForm::Plain, CertificateDevice::Fingerprint)).await;
    enrol(&world, "d1", TokenDigest::from_bytes([1; 32]), Proof::Certificate).await;
    let (proxy, stranger) = ("127.0.0.1:9", "10.0.0.1:9");
    let own = "01".repeat(32);
    assert_eq!(shown(&world, TELEMETRY, proxy, &own, "").await.status, 204);
    assert_eq!(shown(&world, "/v1/devices/plant-1/telemetry", proxy, &own, "").await.status, 403);
    assert_eq!(shown(&world, TELEMETRY, stranger, &own, "").await.status, 401);
    assert_eq!(world.api.certificates_ignored(), 1);
    for bad in ["03".repeat(32), hex(&sha256(token("d1").as_bytes())), "xx".into()] {
        assert_eq!(shown(&world, TELEMETRY, proxy, &bad, "").await.status, 401, "{bad}");
    }
    // Who says something else says it instead.
    assert_eq!(shown(&world, TELEMETRY, proxy, &own, "Bearer wrong").await.status, 401);
    assert_eq!(shown(&world, TELEMETRY, stranger, &own, &bearer(&token("d1"))).await.status, 204);
    assert_eq!(world.api.certificates_ignored(), 2);
    assert_eq!(shown(&world, TELEMETRY, stranger, &own, "HMAC-SHA256 keyId=x").await.status, 401);
    assert_eq!(world.api.certificates_ignored(), 3);
    let limited = shown(&world, TELEMETRY, proxy, &own, "").await;
    assert_eq!(limited.status, 429);
    assert!(limited.headers.contains_key(header::RETRY_AFTER));
    let gateway = "02".repeat(32);
    assert_eq!(shown(&world, "/v1/devices/plant-1/telemetry", proxy, &gateway, "").await.status, 204);
    assert_eq!(shown(&world, "/v1/devices/d2/telemetry", proxy, &gateway, "").await.status, 403);
}

#[tokio::test]
async fn a_common_name_is_a_device_s_id() {
    let world = World::new(with_certificates(CertificateForm::Xfcc, CertificateDevice::CommonName)).await;
    let send = async |value: &str| shown(&world, TELEMETRY, "127.0.0.1:9", value, "").await.status;
    assert_eq!(send("Hash=ff;Subject=\"CN=d1,O=Acme\"").await, 204);
    assert_eq!(send("Subject=\"CN=d1\",Subject=\"CN=d2\"").await, 403);
    assert_eq!(send("Subject=\"O=Acme\"").await, 401);
    let answer = shown(&world, "/v1/devices/new/telemetry", "127.0.0.1:9", "Subject=\"CN=new\"", "").await;
    assert_eq!(answer.status, 404, "a certificate registers nobody");
}
