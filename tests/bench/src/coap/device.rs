//! One device with a socket of its own: a post after the other, over UDP or DTLS. Not here: how many there are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coap_proto::{Code, Message, Request, Token, Type};
use dtls::client::{Client, Seen, Settings};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::PSK;
use crate::load;

/// Content format of JSON.
const JSON: u16 = 50;
/// When what is not answered is sent again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often before it is given up.
const TRIES: usize = 20;
/// Readings are never sent twice in one run, and no two clients draw the same random bytes.
static COUNTER: AtomicU64 = AtomicU64::new(1);

pub(super) struct Device {
    socket: UdpSocket,
    /// None: over UDP.
    line: Option<Box<Client>>,
    message: Message,
    /// Whether the answer is the request.
    echoed: bool,
}

impl Device {
    /// One with a token, towards the bridge or the floor.
    pub(super) async fn plain(to: SocketAddr, name: &str, token: &str, echoed: bool) -> Self {
        let socket = connected(to, Ipv4Addr::LOCALHOST).await;
        Self { socket, line: None, message: message(&format!("/t/{name}?t={token}")), echoed }
    }

    /// One with a key, at that address, after its handshake.
    pub(super) async fn secure(to: SocketAddr, from: Ipv4Addr, name: &str) -> Self {
        let settings = Settings { timeout: AGAIN, ..Settings::new(name, PSK) };
        let client = Client::connect(settings, Instant::now(), random());
        let socket = connected(to, from).await;
        let mut device =
            Self { socket, line: Some(Box::new(client)), message: message("/telemetry"), echoed: false };
        let seen = device.seen().await;
        assert!(matches!(seen, Seen::Connected { .. }), "{name}: {seen:?}");
        device
    }

    async fn send(&mut self, message: &[u8]) {
        let Some(client) = &mut self.line else {
            self.datagram(message).await;
            return;
        };
        client.send(message);
        self.flush().await;
    }

    async fn flush(&mut self) {
        while let Some(datagram) = self.line.as_mut().and_then(|client| client.poll_transmit()) {
            self.datagram(&datagram).await;
        }
    }

    /// What does not arrive is sent again: a connected socket hears that nobody listens yet.
    async fn datagram(&mut self, datagram: &[u8]) {
        let _ = self.socket.send(datagram).await;
    }

    /// The next message of the server.
    async fn receive(&mut self) -> Bytes {
        if self.line.is_some() {
            match self.seen().await {
                Seen::Data(data) => return data.into(),
                other => panic!("{other:?}"),
            }
        }
        let mut buffer = [0; 2048];
        loop {
            if let Ok(length) = self.socket.recv(&mut buffer).await {
                return Bytes::copy_from_slice(&buffer[..length]);
            }
        }
    }

    /// What the DTLS client sees next.
    async fn seen(&mut self) -> Seen {
        let mut buffer = [0; 2048];
        loop {
            self.flush().await;
            let client = self.line.as_mut().unwrap();
            if let Some(seen) = client.poll_seen() {
                return seen;
            }
            let due = client.next_timeout().unwrap_or_else(|| Instant::now() + AGAIN);
            match tokio::time::timeout_at(due.into(), self.socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => client.handle_datagram(Instant::now(), &buffer[..length]),
                Ok(Err(_)) => {}
                Err(_) => client.handle_timeout(Instant::now()),
            }
        }
    }
}

impl load::Client for Device {
    /// Sends a reading until it is answered: 2.04, or the same again by the floor.
    async fn post(&mut self) {
        let counter = COUNTER.fetch_add(1, Relaxed);
        self.message.mid = self.message.mid.wrapping_add(1);
        self.message.token = Token::new(&counter.to_be_bytes());
        self.message.payload = reading(counter);
        let datagram = self.message.encode();
        for _ in 0..TRIES {
            self.send(&datagram).await;
            while let Ok(answer) = timeout(AGAIN, self.receive()).await {
                if self.echoed && answer == datagram {
                    return;
                }
                let answer = Message::decode(&answer, 8).unwrap();
                if answer.token != self.message.token {
                    // Of an earlier one, or empty: the response comes later.
                    continue;
                }
                assert_eq!(answer.code, Code::CHANGED);
                if answer.kind == Type::Confirmable {
                    self.send(&Message::empty(Type::Acknowledgement, answer.mid).encode()).await;
                }
                return;
            }
        }
        panic!("nobody answers");
    }
}

async fn connected(to: SocketAddr, from: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

fn message(uri: &str) -> Message {
    let request = Request::new(Code::POST, uri).with_body(JSON, Bytes::new());
    let mid = COUNTER.fetch_add(1, Relaxed) as u16;
    Message {
        kind: Type::Confirmable,
        code: request.code,
        mid,
        token: Token::new(b"tokn"),
        options: request.options,
        payload: request.body,
    }
}

/// 100 bytes that nobody sent before.
fn reading(counter: u64) -> Bytes {
    let head = format!(r#"{{"n":{counter},"temperature":21.5,"humidity":48.5,"note":""#);
    let body = format!("{head:x<98}\"}}");
    assert_eq!(body.len(), 100);
    body.into()
}

/// Random enough for a benchmark.
pub(super) fn random() -> impl FnMut(&mut [u8]) + Send + 'static {
    let mut state = COUNTER.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move |bytes| {
        for byte in bytes {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
    }
}
