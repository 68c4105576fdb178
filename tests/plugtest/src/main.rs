//! A server for plugtests: `plugtest coap TIMEOUT` or `plugtest coaps TIMEOUT [KEY SPKI]` serves on a free port of 127.0.0.1, says
//! which on its standard output, then what happens, and ends with its standard input. TIMEOUT is its ACK_TIMEOUT in milliseconds,
//! KEY its raw key (PKCS #8) and SPKI the only public one that it takes, both in DER. All other settings of endpoint and DTLS
//! are the bridge's. Not here: resources, cases, clients.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this is its server"
)]

mod resources;
mod wire;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use coap_proto::{
    Code, Config, Endpoint, Event, Instead, ObservationId, RequestId, Response, Transmission, Unverified,
};

use resources::{Reply, Resources, links};
use wire::{Peer, Wire};

/// How often what is observed changes by itself.
const TICK: Duration = Duration::from_secs(1);
/// How often it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);
/// No run takes longer.
const LIFE: Duration = Duration::from_secs(300);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ack_timeout = Duration::from_millis(arguments[1].parse().unwrap());
    let transmission = Transmission { ack_timeout, ..Transmission::default() };
    let config = Config { transmission, ..Config::default() };
    let (wire, config) = match arguments[0].as_str() {
        // As `coap::serve` does it.
        "coap" => {
            let unverified = Unverified { instead: Instead::SmallBlocks, ..Unverified::default() };
            (Wire::plain(), Config { unverified: Some(unverified), ..config })
        }
        _ => (Wire::secure(arguments.get(2).zip(arguments.get(3))), config),
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    println!("ready {}", socket.local_addr().unwrap().port());
    let mut endpoint = Endpoint::new(config, Instant::now(), numbers());
    endpoint.set_links(links());
    Server {
        socket,
        wire,
        endpoint,
        resources: Resources::new(),
        later: Vec::new(),
        observations: Vec::new(),
    }
    .run();
}

fn method(code: Code) -> &'static str {
    match code {
        Code::GET => "GET",
        Code::POST => "POST",
        Code::PUT => "PUT",
        Code::DELETE => "DELETE",
        _ => "another",
    }
}

/// Numbers that nobody can guess.
fn numbers() -> impl FnMut() -> u64 + Send + 'static {
    let mut urandom = File::open("/dev/urandom").unwrap();
    move || {
        let mut number = [0; 8];
        urandom.read_exact(&mut number).unwrap();
        u64::from_be_bytes(number)
    }
}

struct Server {
    socket: UdpSocket,
    wire: Wire,
    endpoint: Endpoint<Peer>,
    resources: Resources,
    /// Answers that are sent when their time comes.
    later: Vec<(Instant, RequestId, Response)>,
    observations: Vec<(ObservationId, String)>,
}

impl Server {
    fn run(mut self) {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            told.store(true, Relaxed);
        });
        let (end, mut tick, mut buffer) = (Instant::now() + LIFE, Instant::now() + TICK, vec![0; 65_536]);
        while !over.load(Relaxed) && Instant::now() < end {
            self.receive(tick, &mut buffer);
            let now = Instant::now();
            if tick <= now {
                tick += TICK;
                for path in self.resources.tick() {
                    self.changed(path);
                }
            }
            self.endpoint.handle_timeout(now);
            self.wire.handle_timeout(now);
            self.settle();
        }
        println!("duplicates {}", self.endpoint.stats().duplicates);
    }

    fn receive(&mut self, tick: Instant, buffer: &mut [u8]) {
        let later = self.later.iter().map(|(at, ..)| *at).min();
        let due = [self.endpoint.next_timeout(), self.wire.next_timeout(), later, Some(tick)];
        let wait = due.into_iter().flatten().map(|due| due.saturating_duration_since(Instant::now()));
        let wait = wait.min().unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK);
        self.socket.set_read_timeout(Some(wait)).unwrap();
        match self.socket.recv_from(buffer) {
            Ok((length, from)) => {
                self.wire.take(Instant::now(), &mut self.endpoint, from, &buffer[..length]);
            }
            // Nothing came; or a client that has gone refused what was sent.
            Err(error) => {
                let expected = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::ConnectionRefused];
                assert!(expected.contains(&error.kind()), "{error}");
            }
        }
    }

    fn settle(&mut self) {
        let now = Instant::now();
        self.wire.settle(now, &mut self.endpoint);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { id, request, observe, .. } => {
                    let path = request.path().collect::<Vec<_>>().join("/");
                    println!("request {} /{path}", method(request.code));
                    let Reply { response, wait, changed } = self.resources.answer(&path, &request);
                    match wait {
                        Some(wait) => self.later.push((now + wait, id, response)),
                        None if observe && Resources::is_observable(&path) => {
                            self.observe(id, response, path);
                        }
                        // It may have been taken back.
                        None => drop(self.endpoint.respond(now, id, response)),
                    }
                    if let Some(path) = changed {
                        self.changed(&path);
                    }
                }
                Event::ObservationEnded { id, reason, .. } => {
                    println!("observation ended {reason:?}");
                    self.observations.retain(|(other, _)| *other != id);
                }
                _ => {}
            }
        }
        for (_, id, response) in self.later.extract_if(.., |(at, ..)| *at <= now) {
            let _ = self.endpoint.respond(now, id, response);
        }
        while let Some(message) = self.endpoint.poll_transmit() {
            self.wire.carry(message);
        }
        while let Some((to, datagram)) = self.wire.poll_transmit() {
            // The client may have gone.
            let _ = self.socket.send_to(&datagram, to);
        }
    }

    fn observe(&mut self, id: RequestId, response: Response, path: String) {
        if let Ok(Some(observation)) = self.endpoint.respond_observing(Instant::now(), id, response) {
            println!("observation begun /{path}");
            self.observations.push((observation, path));
        }
    }

    fn changed(&mut self, path: &str) {
        for (id, observed) in &self.observations {
            if observed == path {
                let (state, confirmable) = self.resources.state(path);
                // It ends with an event of its own.
                let _ = self.endpoint.notify(Instant::now(), *id, state, confirmable);
            }
        }
    }
}
