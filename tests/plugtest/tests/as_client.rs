//! The plugtest cases from the other side: the endpoint as a client of libcoap's server. Not here: the endpoint as a server,
//! which the cases in Python ask.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coap_proto::{Code, Config, Endpoint, Event, Handle, Request, Response, Szx, Transmission, number};

/// The longest that a case may take.
const BOUND: Duration = Duration::from_secs(20);
const TEXT: u16 = 0;

/// libcoap's example server, and the endpoint that asks it.
struct World {
    server: Child,
    to: SocketAddr,
    socket: UdpSocket,
    endpoint: Endpoint<SocketAddr>,
    /// Every so many datagrams one is lost, both ways; 0: none.
    lose: u32,
    carried: u32,
}

impl World {
    fn new() -> Self {
        Self::with_block(Szx::MAX)
    }

    fn with_block(size: Szx) -> Self {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = free.local_addr().unwrap();
        drop(free);
        let mut command = Command::new("coap-server-notls");
        command.args(["-A", "127.0.0.1", "-p", &to.port().to_string(), "-d", "10"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("install the Debian package libcoap3-bin");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        // The server may not listen yet: what is sent then is sent again.
        let ack_timeout = Duration::from_millis(200);
        let mut config = Config {
            transmission: Transmission { ack_timeout, ..Transmission::default() },
            ..Config::default()
        };
        config.blockwise.size = size;
        // Each has keys of its own.
        let numbers = || RandomState::new().hash_one(0);
        let endpoint = Endpoint::new(config, Instant::now(), numbers);
        let (lose, carried) = (0, 0);
        Self { server, to, socket, endpoint, lose, carried }
    }

    /// Whether that datagram gets through.
    fn passes(&mut self) -> bool {
        self.carried += 1;
        self.lose == 0 || !self.carried.is_multiple_of(self.lose)
    }

    fn event(&mut self) -> Event<SocketAddr> {
        let (end, mut buffer) = (Instant::now() + BOUND, [0; 2048]);
        while Instant::now() < end {
            if let Some(event) = self.endpoint.poll_event() {
                return event;
            }
            while let Some(message) = self.endpoint.poll_transmit() {
                if self.passes() {
                    // Nobody listens yet, or any more.
                    let _ = self.socket.send_to(&message.payload, message.peer);
                }
            }
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer)
                && self.passes()
            {
                self.endpoint.handle_datagram(Instant::now(), from, &buffer[..length]);
            }
            self.endpoint.handle_timeout(Instant::now());
        }
        panic!("nothing happens");
    }

    fn begin(&mut self, request: Request) -> Handle {
        self.endpoint.request(Instant::now(), self.to, request).unwrap()
    }

    /// The answer to a request, and whether states follow.
    fn ask(&mut self, request: Request) -> (Response, bool) {
        let asked = self.begin(request);
        match self.event() {
            Event::Response { handle, response, observing, .. } if handle == asked => (response, observing),
            other => panic!("no answer, but {other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn get(path: &str) -> Request {
    Request::new(Code::GET, path)
}

#[test]
fn methods_and_codes() {
    let mut world = World::new();
    for lose in [0, 3, 5] {
        world.lose = lose;
        assert_eq!(world.ask(get("/time")).0.code, Code::CONTENT, "TD_COAP_CORE_01");
        let new = Request::new(Code::PUT, "/made").with_body(TEXT, "new");
        assert!(matches!(world.ask(new).0.code, Code::CREATED | Code::CHANGED), "TD_COAP_CORE_03");
        assert_eq!(world.ask(get("/made")).0.body, "new");
        let gone = Request::new(Code::DELETE, "/made");
        assert_eq!(world.ask(gone).0.code, Code::DELETED, "TD_COAP_CORE_02");
        assert_eq!(world.ask(get("/made")).0.code, Code::NOT_FOUND);
    }
    world.lose = 0;
    assert_eq!(
        world.ask(get("/time?ticks").non_confirmable()).0.code,
        Code::CONTENT,
        "TD_COAP_CORE_05 and 14"
    );
}

#[test]
fn separate_responses_also_when_datagrams_are_lost() {
    let mut world = World::new();
    for lose in [0, 3] {
        world.lose = lose;
        assert_eq!(world.ask(get("/async?1")).0.body, "done", "TD_COAP_CORE_09 and 16");
    }
    world.lose = 0;
    assert_eq!(world.ask(get("/async?1").non_confirmable()).0.body, "done", "TD_COAP_CORE_17");
}

#[test]
fn long_bodies_both_ways() {
    for (size, lose) in [(Szx::MAX, 0), (Szx::fitting(64), 0), (Szx::MAX, 3)] {
        let mut world = World::with_block(size);
        world.lose = lose;
        let body: Vec<u8> = (0..5000u32).map(|n| b'a' + (n % 23) as u8).collect();
        let update = Request::new(Code::PUT, "/example_data").with_body(TEXT, body.clone());
        assert!(world.ask(update).0.code.is_success(), "TD_COAP_BLOCK_03");
        assert_eq!(world.ask(get("/example_data")).0.body, body, "TD_COAP_BLOCK_01 and 02");
    }
}

#[test]
fn links_are_found() {
    let (found, _) = World::new().ask(get("/.well-known/core"));
    assert_eq!(found.content_format(), Some(coap_proto::link_format::LINK_FORMAT), "TD_COAP_LINK_01");
    assert!(String::from_utf8_lossy(&found.body).contains("</time>"));
}

#[test]
fn a_ping_is_answered() {
    let mut world = World::new();
    world.ask(get("/time"));
    let (now, to) = (Instant::now(), world.to);
    let ping = world.endpoint.ping(now, &to).unwrap();
    assert_eq!(world.event(), Event::Pong { handle: ping }, "TD_COAP_CORE_31");
}

#[test]
fn a_resource_is_observed_until_its_server_is_gone() {
    let mut world = World::new();
    let (first, observing) = world.ask(get("/time").observe());
    assert!(observing && first.options.has(number::OBSERVE), "TD_COAP_OBS_01");
    let mut states = HashSet::from([first.body]);
    while states.len() < 3 {
        match world.event() {
            Event::Notification { response, observing: true, .. } => drop(states.insert(response.body)),
            other => panic!("TD_COAP_OBS_01: {other:?}"),
        }
    }
    world.server.kill().unwrap();
    // Max-Age, and MAX_LATENCY (RFC 7252 section 4.8.2), later.
    world.endpoint.handle_timeout(Instant::now() + Duration::from_secs(120));
    let stale =
        std::iter::from_fn(|| world.endpoint.poll_event()).any(|event| matches!(event, Event::Stale { .. }));
    assert!(stale, "TD_COAP_OBS_04");
}
