//! A server and its devices on a network that loses, repeats, delays and so reorders, and changes the addresses of devices;
//! all of it from one seed, in virtual time. Not here: what they say to each other (`network`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls::client::{Client, Seen, Settings};
use dtls::{Config, Event, Psk, RequestId, Server};

use super::bench::{KEY, UNIX, random};

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// The part of datagrams that is lost in each direction.
    pub(crate) loss: f64,
    /// The part that comes twice.
    pub(crate) twice: f64,
    /// The longest delay in milliseconds; the shortest is 10.
    pub(crate) delay: u64,
    /// The longest time that a key takes, in milliseconds.
    pub(crate) lookup: u64,
}

enum Thing {
    ToServer(SocketAddr, Vec<u8>),
    ToDevice(SocketAddr, Vec<u8>),
    Key(RequestId, Vec<u8>),
    Verdict(RequestId),
}

pub(crate) struct Device {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) seen: Vec<Seen>,
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) devices: Vec<Device>,
    pub(crate) events: Vec<Event>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) weather: Weather,
    things: BTreeMap<(Instant, u64), Thing>,
    next: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, weather: Weather, config: Config) -> Net {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(seed);
        let server = Server::new(config, now, UNIX, random(rng.u64(..))).unwrap();
        let (devices, events, things) = (Vec::new(), Vec::new(), BTreeMap::new());
        Net { now, server, devices, events, rng, weather, things, next: 0 }
    }

    /// Begins a device's handshake, or begins it anew.
    pub(crate) fn connect(&mut self, device: usize, settings: Settings, address: SocketAddr) {
        let client = Client::connect(settings, self.now, random(self.rng.u64(..)));
        let device_now = Device { client, address, seen: Vec::new() };
        if device == self.devices.len() {
            self.devices.push(device_now);
        } else {
            self.devices[device] = device_now;
        }
    }

    /// Lets everything happen for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        while let Some(at) = self.next_time().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
            self.drain();
        }
        self.now = end;
    }

    fn next_time(&self) -> Option<Instant> {
        let thing = self.things.keys().next().map(|(at, _)| *at);
        let devices = self.devices.iter().map(|device| device.client.next_timeout());
        devices.chain([thing, self.server.next_timeout()]).flatten().min()
    }

    fn step(&mut self) {
        while let Some(first) = self.things.first_entry().filter(|first| first.key().0 <= self.now) {
            match first.remove() {
                Thing::ToServer(from, bytes) => self.server.handle_datagram(self.now, from, &bytes),
                Thing::ToDevice(to, bytes) => {
                    if let Some(device) = self.devices.iter_mut().find(|device| device.address == to) {
                        device.client.handle_datagram(self.now, &bytes);
                    }
                }
                Thing::Key(request, identity) => {
                    let key = Psk::new(KEY).filter(|_| !identity.starts_with(b"unknown"));
                    self.server.provide_key(self.now, request, key.as_ref());
                }
                Thing::Verdict(request) => self.server.provide_verdict(self.now, request, true),
            }
        }
        self.server.handle_timeout(self.now);
        self.devices.iter_mut().for_each(|device| device.client.handle_timeout(self.now));
    }

    fn drain(&mut self) {
        while let Some(event) = self.server.poll_event() {
            if let Event::KeyRequest { request, identity } = &event {
                let after = self.rng.u64(0..=self.weather.lookup);
                self.later(after, Thing::Key(*request, identity.to_vec()));
            }
            if let Event::VerdictRequest { request, .. } = &event {
                let after = self.rng.u64(0..=self.weather.lookup);
                self.later(after, Thing::Verdict(*request));
            }
            self.events.push(event);
        }
        while let Some(transmit) = self.server.poll_transmit() {
            self.send(|| Thing::ToDevice(transmit.peer, transmit.payload.to_vec()));
        }
        for index in 0..self.devices.len() {
            let address = self.devices[index].address;
            while let Some(datagram) = self.devices[index].client.poll_transmit() {
                self.send(|| Thing::ToServer(address, datagram.clone()));
            }
            while let Some(seen) = self.devices[index].client.poll_seen() {
                self.devices[index].seen.push(seen);
            }
        }
    }

    fn send(&mut self, thing: impl Fn() -> Thing) {
        if self.rng.f64() < self.weather.loss {
            return;
        }
        let copies = if self.rng.f64() < self.weather.twice { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.rng.u64(10..=self.weather.delay.max(10));
            self.later(delay, thing());
        }
    }

    fn later(&mut self, milliseconds: u64, thing: Thing) {
        self.next += 1;
        self.things.insert((self.now + Duration::from_millis(milliseconds), self.next), thing);
    }
}
