//! A server and its devices on a network that loses, repeats, delays and so reorders, and changes the addresses of devices;
//! all of it from one seed, in virtual time. Not here: what they say to each other (`network`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coap_proto::{Config, Endpoint, Event};

use super::bench::random;

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// The part of datagrams that is lost in each direction.
    pub(crate) loss: f64,
    /// The part that comes twice.
    pub(crate) twice: f64,
    /// The longest delay in milliseconds; the shortest is 10.
    pub(crate) delay: u64,
    /// Seconds between two changes of a device's address, on average; 0 for never.
    pub(crate) rebind: f64,
}

/// Who gets a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Server,
    /// A device, at an address that may no longer be its own.
    Device(u32),
}

struct Packet {
    device: usize,
    from: u32,
    to: To,
    bytes: Bytes,
}

pub(crate) struct Device {
    pub(crate) endpoint: Endpoint<()>,
    address: u32,
    rebind: Option<Instant>,
}

/// What the two sides do with events.
pub(crate) trait Story {
    /// An event at the server; the peer is the device's session, whatever its address.
    fn at_server(&mut self, net: &mut Net, event: Event<usize>);
    /// An event at a device.
    fn at_device(&mut self, net: &mut Net, device: usize, event: Event<()>);
    /// Something that was asked for with [`Net::remind`].
    fn reminded(&mut self, net: &mut Net, reminder: u64);
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) server: Endpoint<usize>,
    pub(crate) devices: Vec<Device>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) lost: u64,
    pub(crate) rebound: u64,
    weather: Weather,
    /// The newest address of each device that the server knows.
    known: Vec<u32>,
    wire: BTreeMap<(Instant, u64), Packet>,
    reminders: BTreeMap<(Instant, u64), u64>,
    next: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, weather: Weather, devices: usize, config: &Config) -> Net {
        let start = Instant::now();
        let mut rng = fastrand::Rng::with_seed(seed);
        let server = Endpoint::new(config.clone(), start, random(rng.u64(..)));
        let mut net = Net {
            now: start,
            start,
            server,
            devices: Vec::new(),
            rng,
            lost: 0,
            rebound: 0,
            weather,
            known: vec![0; devices],
            wire: BTreeMap::new(),
            reminders: BTreeMap::new(),
            next: 0,
        };
        for _ in 0..devices {
            let endpoint = Endpoint::new(config.clone(), start, random(net.rng.u64(..)));
            let rebind = net.next_rebind();
            net.devices.push(Device { endpoint, address: 0, rebind });
        }
        net
    }

    /// The device restarts: it forgets everything and keeps its address.
    pub(crate) fn restart(&mut self, device: usize, config: &Config) {
        self.devices[device].endpoint = Endpoint::new(config.clone(), self.now, random(self.rng.u64(..)));
    }

    /// Calls the story back in so many seconds.
    pub(crate) fn remind(&mut self, seconds: f64, reminder: u64) {
        self.next += 1;
        self.reminders.insert((self.now + Duration::from_secs_f64(seconds), self.next), reminder);
    }

    /// Lets everything happen up to that many seconds from the begin.
    pub(crate) fn run(&mut self, story: &mut impl Story, seconds: f64) {
        let end = self.start + Duration::from_secs_f64(seconds);
        self.drain(story);
        while let Some(at) = self.next_time().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(story);
            self.drain(story);
        }
        self.now = end;
    }

    /// No more bad weather, and no more new addresses.
    pub(crate) fn calm(&mut self) {
        self.weather = Weather { loss: 0.0, twice: 0.0, delay: 20, rebind: 0.0 };
        for device in &mut self.devices {
            device.rebind = None;
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let wire = self.wire.keys().next().map(|(at, _)| *at);
        let reminder = self.reminders.keys().next().map(|(at, _)| *at);
        let devices = self.devices.iter().flat_map(|device| [device.endpoint.next_timeout(), device.rebind]);
        devices.chain([wire, reminder, self.server.next_timeout()]).flatten().min()
    }

    fn step(&mut self, story: &mut impl Story) {
        let now = self.now;
        while let Some(packet) = self.wire.first_entry().filter(|first| first.key().0 <= now) {
            let packet = packet.remove();
            self.deliver(&packet);
        }
        while let Some(reminder) = self.reminders.first_entry().filter(|first| first.key().0 <= now) {
            let reminder = reminder.remove();
            story.reminded(self, reminder);
        }
        self.server.handle_timeout(now);
        for index in 0..self.devices.len() {
            if self.devices[index].rebind.is_some_and(|at| at <= now) {
                self.devices[index].address += 1;
                self.devices[index].rebind = self.next_rebind();
                self.rebound += 1;
            }
            self.devices[index].endpoint.handle_timeout(now);
        }
    }

    fn deliver(&mut self, packet: &Packet) {
        let device = &mut self.devices[packet.device];
        match packet.to {
            To::Server => {
                // A session knows its device by what is in the datagram, and answers to the newest address.
                let known = &mut self.known[packet.device];
                *known = packet.from.max(*known);
                self.server.handle_datagram(self.now, packet.device, &packet.bytes);
            }
            To::Device(address) if address == device.address => {
                device.endpoint.handle_datagram(self.now, (), &packet.bytes);
            }
            To::Device(_) => self.lost += 1,
        }
    }

    fn drain(&mut self, story: &mut impl Story) {
        loop {
            let mut quiet = true;
            while let Some(transmit) = self.server.poll_transmit() {
                let to = To::Device(self.known[transmit.peer]);
                self.send(transmit.peer, to, &transmit.payload);
            }
            for device in 0..self.devices.len() {
                while let Some(transmit) = self.devices[device].endpoint.poll_transmit() {
                    self.send(device, To::Server, &transmit.payload);
                }
                while let Some(event) = self.devices[device].endpoint.poll_event() {
                    quiet = false;
                    story.at_device(self, device, event);
                }
            }
            while let Some(event) = self.server.poll_event() {
                quiet = false;
                story.at_server(self, event);
            }
            if quiet {
                return;
            }
        }
    }

    fn send(&mut self, device: usize, to: To, bytes: &Bytes) {
        if self.rng.f64() < self.weather.loss {
            self.lost += 1;
            return;
        }
        let copies = if self.rng.f64() < self.weather.twice { 2 } else { 1 };
        for _ in 0..copies {
            self.next += 1;
            let delay = Duration::from_millis(self.rng.u64(10..=self.weather.delay.max(10)));
            let from = self.devices[device].address;
            let packet = Packet { device, from, to, bytes: bytes.clone() };
            self.wire.insert((self.now + delay, self.next), packet);
        }
    }

    fn next_rebind(&mut self) -> Option<Instant> {
        let mean = self.weather.rebind;
        (mean > 0.0).then(|| self.now + Duration::from_secs_f64(mean * 2.0 * self.rng.f64() + 0.001))
    }
}
