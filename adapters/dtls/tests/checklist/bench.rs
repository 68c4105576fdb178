//! A server and devices on a network without faults, in virtual time, for tests about single datagrams. Not here: bad
//! networks (`net`).

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dtls::client::{Client, Seen, Settings};
use dtls::{Closed, Config, Event, Identity, Psk, RequestId, Server, SessionId};

pub(crate) const KEY: &[u8] = b"sesame";
/// 2026-11-21.
pub(crate) const UNIX: Duration = Duration::from_secs(1_795_000_000);

/// Randomness from a seed: for tests only.
pub(crate) fn random(seed: u64) -> impl FnMut(&mut [u8]) + Send + 'static {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |bytes| rng.fill(bytes)
}

pub(crate) fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), port))
}

/// A device as most are.
pub(crate) fn device(identity: &str) -> Settings {
    Settings::new(identity, KEY)
}

/// A device that wants that Connection ID.
pub(crate) fn device_with_cid(identity: &str, cid: &[u8]) -> Settings {
    Settings { connection_id: Some(cid.into()), ..device(identity) }
}

pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) keys: HashMap<Vec<u8>, Psk>,
    /// Questions that nobody answers by itself.
    pub(crate) asked: Vec<(RequestId, Vec<u8>)>,
    pub(crate) answers: bool,
    pub(crate) events: Vec<Event>,
    /// What the server sent to addresses without a device.
    pub(crate) stray: Vec<(SocketAddr, Vec<u8>)>,
    seed: u64,
}

pub(crate) struct Device {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) seen: Vec<Seen>,
    /// What it sent since the last look, and what the server sent to it.
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) got: Vec<Vec<u8>>,
}

impl Device {
    pub(crate) fn data(&mut self) -> Vec<Vec<u8>> {
        let seen = std::mem::take(&mut self.seen);
        seen.into_iter()
            .filter_map(|seen| match seen {
                Seen::Data(data) => Some(data),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn server_cid(&self) -> Option<Vec<u8>> {
        self.seen.iter().find_map(|seen| match seen {
            Seen::Connected { server_cid, .. } => server_cid.clone(),
            _ => None,
        })
    }

    pub(crate) fn resumed(&self) -> bool {
        self.seen.iter().any(|seen| matches!(seen, Seen::Connected { resumed: true, .. }))
    }

    pub(crate) fn alert(&self) -> Option<u8> {
        self.seen.iter().find_map(|seen| match seen {
            Seen::Alert(number, _) => Some(*number),
            _ => None,
        })
    }

    /// The datagrams that wait to leave.
    pub(crate) fn leaving(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.client.poll_transmit()).collect()
    }
}

impl Bench {
    pub(crate) fn new(config: Config) -> Bench {
        let now = Instant::now() + Duration::from_secs(1_000_000);
        let server = Server::new(config, now, UNIX, random(1)).unwrap();
        let keys =
            ["a", "b", "c"].iter().map(|name| (name.as_bytes().to_vec(), Psk::new(KEY).unwrap())).collect();
        let (asked, events, stray) = (Vec::new(), Vec::new(), Vec::new());
        Bench { now, server, keys, asked, answers: true, events, stray, seed: 100 }
    }

    /// A device that begins its handshake; nothing is delivered yet.
    pub(crate) fn device(&mut self, settings: Settings, address: SocketAddr) -> Device {
        self.seed += 1;
        let client = Client::connect(settings, self.now, random(self.seed));
        Device { client, address, seen: Vec::new(), sent: Vec::new(), got: Vec::new() }
    }

    /// A device whose handshake has come to its end, good or bad.
    pub(crate) fn connect(&mut self, settings: Settings, address: SocketAddr) -> Device {
        let mut device = self.device(settings, address);
        self.run(&mut [&mut device]);
        device
    }

    /// Delivers until nobody has anything to say.
    pub(crate) fn run(&mut self, devices: &mut [&mut Device]) {
        loop {
            let mut datagrams: VecDeque<(SocketAddr, Vec<u8>)> = VecDeque::new();
            for device in devices.iter_mut() {
                for datagram in device.leaving() {
                    device.sent.push(datagram.clone());
                    datagrams.push_back((device.address, datagram));
                }
            }
            let mut quiet = datagrams.is_empty();
            for (from, datagram) in datagrams {
                self.server.handle_datagram(self.now, from, &datagram);
                self.events();
            }
            self.events();
            while let Some(transmit) = self.server.poll_transmit() {
                quiet = false;
                match devices.iter_mut().find(|device| device.address == transmit.peer) {
                    Some(device) => {
                        device.got.push(transmit.payload.to_vec());
                        device.client.handle_datagram(self.now, &transmit.payload);
                        device.seen.extend(std::iter::from_fn(|| device.client.poll_seen()));
                    }
                    None => self.stray.push((transmit.peer, transmit.payload.to_vec())),
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Hands a datagram in and gives what the server says to it, without delivering that.
    pub(crate) fn inject(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.server.handle_datagram(self.now, from, datagram);
        self.events();
        self.replies()
    }

    pub(crate) fn replies(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::iter::from_fn(|| self.server.poll_transmit())
            .map(|transmit| (transmit.peer, transmit.payload.to_vec()))
            .collect()
    }

    /// Lets time pass for the server alone.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.server.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.events();
        }
        self.now = end;
    }

    pub(crate) fn answer(&mut self, request: RequestId, identity: &[u8]) {
        self.server.provide_key(self.now, request, self.keys.get(identity));
        self.events();
    }

    pub(crate) fn session(&self) -> SessionId {
        self.sessions().last().copied().unwrap()
    }

    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        let connected = self.events.iter().filter_map(|event| match event {
            Event::Connected { session, .. } => Some(*session),
            _ => None,
        });
        connected.collect()
    }

    pub(crate) fn identities(&self) -> Vec<Identity> {
        let connected = self.events.iter().filter_map(|event| match event {
            Event::Connected { identity, .. } => Some(identity.clone()),
            _ => None,
        });
        connected.collect()
    }

    pub(crate) fn data(&mut self) -> Vec<Vec<u8>> {
        let data = self.events.iter().filter_map(|event| match event {
            Event::Data { data, .. } => Some(data.to_vec()),
            _ => None,
        });
        let data = data.collect();
        self.events.retain(|event| !matches!(event, Event::Data { .. }));
        data
    }

    pub(crate) fn closed(&self) -> Vec<Closed> {
        let closed = self.events.iter().filter_map(|event| match event {
            Event::Closed { reason, .. } => Some(*reason),
            _ => None,
        });
        closed.collect()
    }

    fn events(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::KeyRequest { request, identity } => {
                    self.asked.push((request, identity.to_vec()));
                    if self.answers {
                        self.answer(request, &identity);
                    }
                }
                event => self.events.push(event),
            }
        }
    }
}
