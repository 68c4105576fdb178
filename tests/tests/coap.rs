//! Devices that speak CoAP against the real binary with mosquitto: by datagrams of the test, and by libcoap's client. Not
//! here: every refusal (`adapters/coap`), the protocol (`adapters/coap-proto`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use coap_proto::{Code, Message, Options, Token, Type, number};
use serde_json::{Value, json};
use tests::world::{BOUND, World, free_port, wait_until};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const JSON: u16 = 50;

/// A bridge to be, with CoAP and the device `pump-1`.
struct Bridge {
    world: World,
    coap: SocketAddr,
    token: String,
}

impl Bridge {
    /// The store must be there for the device; the bridge is started by the caller.
    async fn new() -> Self {
        let world = World::new("5");
        let coap = SocketAddr::from(([127, 0, 0, 1], free_port()));
        world.configure(&format!(
            "[coap]\nenabled = true\nlisten = \"{coap}\"\n[devices_api]\ncodec = \"auto\"\n"
        ));
        let mut bridge = world.start_bridge().await;
        let token = world.enrol("pump-1");
        assert_eq!(bridge.terminate().await, Some(0));
        Self { coap, token, world }
    }

    /// One datagram: a reading, with further parts of the query.
    fn reading(&self, mid: u16, query: &[&str], body: &Value) -> Vec<u8> {
        let mut options = Options::new();
        for segment in ["t", "pump-1"] {
            options.push(number::URI_PATH, segment.to_owned());
        }
        options.push(number::URI_QUERY, format!("t={}", self.token));
        for part in query {
            options.push(number::URI_QUERY, (*part).to_owned());
        }
        options.push_uint(number::CONTENT_FORMAT, JSON.into());
        let message = Message {
            kind: Type::Confirmable,
            code: Code::POST,
            mid,
            token: Token::new(&mid.to_be_bytes()),
            options,
            payload: body.to_string().into(),
        };
        message.encode().to_vec()
    }

    /// How many messages have been accepted since the bridge began; all of them are at the hub.
    async fn accepted(&self) -> f64 {
        let mut accepted = 0.0;
        wait_until("the outbox is empty", async || {
            accepted = self.world.metric("bridge_uplinks_delivered_total").await
                + self.world.metric("bridge_uplinks_stored_total").await;
            self.world.outbox() == 0
        })
        .await;
        accepted
    }
}

/// Sends a datagram until it is answered, as a device does; the code of its answer.
async fn ask(socket: &UdpSocket, datagram: &[u8]) -> Code {
    let mid = Message::decode(datagram, 8).unwrap().mid;
    let exchange = async {
        let mut buffer = [0; 2048];
        loop {
            // A connected socket hears that nobody listens yet.
            let _ = socket.send(datagram).await;
            let answer = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
            let Ok(Ok(length)) = answer else { continue };
            let answer = Message::decode(&buffer[..length], 8).unwrap();
            let is_its = answer.token == Token::new(&mid.to_be_bytes());
            if is_its && answer.code != Code::EMPTY {
                return answer.code;
            }
        }
    };
    timeout(BOUND, exchange).await.unwrap()
}

async fn device(bridge: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(bridge).await.unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_arrives_once() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let mut process = bridge.world.start_bridge().await;
    let socket = device(bridge.coap).await;

    let plain = bridge.reading(1, &[], &json!({ "level": 1 }));
    socket.send(&plain).await.unwrap();
    socket.send(&plain).await.unwrap();
    assert_eq!(ask(&socket, &plain).await, Code::CHANGED);
    assert_eq!(bridge.accepted().await, 1.0, "the same datagram three times");
    assert!(bridge.world.metric("bridge_coap_messages_total{kind=\"duplicate\"}").await >= 2.0);

    let keyed = bridge.reading(2, &["i=boot-7.2"], &json!({ "level": 2 }));
    assert_eq!(ask(&socket, &keyed).await, Code::CHANGED);
    assert_eq!(bridge.accepted().await, 2.0);
    assert_eq!(process.terminate().await, Some(0));
    let mut process = bridge.world.start_bridge().await;
    // The device did not get the answer, it believes: over the restart nobody knows its message id.
    assert_eq!(ask(&socket, &keyed).await, Code::CHANGED);
    let other = device(bridge.coap).await;
    assert_eq!(ask(&other, &bridge.reading(9, &["i=boot-7.2"], &json!({ "level": 2 }))).await, Code::CHANGED);
    assert_eq!(bridge.accepted().await, 0.0, "both are duplicates");
    assert_eq!(bridge.world.metric("bridge_uplinks_duplicate_total").await, 2.0);
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_down_does_not_lose_what_was_acknowledged() {
    let bridge = Bridge::new().await;
    let process = bridge.world.start_bridge().await;
    let socket = device(bridge.coap).await;
    for mid in 1..=5 {
        assert_eq!(ask(&socket, &bridge.reading(mid, &[], &json!({ "n": mid }))).await, Code::CHANGED);
    }
    assert_eq!(bridge.world.outbox(), 5);
    drop(process);
    assert_eq!(bridge.world.outbox(), 5, "it was killed, and they are on disk");
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.world.start_bridge().await;
    wait_until("all of it is at the hub", async || bridge.world.outbox() == 0).await;
}

/// With its talk at that level: 0 for the body alone, 7 for every datagram.
fn coap_client(level: &str, arguments: &[&str]) -> Output {
    let found = ["coap-client-notls", "coap-client"].into_iter().find(|name| {
        let folders = std::env::var("PATH").unwrap_or_default();
        folders.split(':').any(|folder| Path::new(folder).join(name).exists())
    });
    let program = found.expect("install the Debian package libcoap3-bin");
    Command::new(program).args(["-v", level, "-B", "20"]).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libcoap_s_client_is_served() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.world.start_bridge().await;
    let base = format!("coap://{}", bridge.coap);
    let telemetry = format!("{base}/t/pump-1?t={}", bridge.token);
    let file = bridge.world.folder.path().join("long.json");
    std::fs::write(&file, json!({ "note": "x".repeat(5000) }).to_string()).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["-m", "post", "-t", "50", "-e", r#"{"temperature":21.5}"#][..],
        &["-m", "put", "-t", "50", "-e", r#"{"temperature":22}"#],
        &["-m", "post", "-N", "-t", "110", "-e", r#"[{"n":"temperature","u":"Cel","v":23}]"#],
        &["-m", "post", "-e", "humidity=48.5"],
        &["-m", "post", "-t", "50", "-b", "64", "-f", file],
        // The first datagram gets lost.
        &["-m", "post", "-l", "1", "-t", "50", "-e", r#"{"temperature":24}"#],
    ] {
        let output = said(&coap_client("7", &[arguments, &[&telemetry]].concat()));
        assert!(output.contains("2.04"), "{arguments:?}: {output}");
    }
    assert_eq!(bridge.accepted().await, 6.0);
    let refused =
        said(&coap_client("7", &["-m", "post", "-t", "50", "-e", "{}", &format!("{base}/t/pump-1?t=x")]));
    assert!(refused.contains("4.01") && refused.contains("TOKEN"), "{refused}");
    let links = said(&coap_client("0", &["-m", "get", &format!("{base}/.well-known/core")]));
    assert!(links.contains("</telemetry>") && links.contains("</time>"), "{links}");
    let time = said(&coap_client("7", &["-m", "get", &format!("{base}/time")]));
    assert!(time.contains("2.05"), "{time}");
}
