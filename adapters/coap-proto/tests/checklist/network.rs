//! What must hold on a bad network: a reading or command takes effect once, bodies arrive whole, an observer ends up with
//! the last state, and nothing stays behind.

use std::collections::HashMap;

use bytes::Bytes;
use coap_proto::{
    Code, Config, Event, Handle, Held, ObservationId, Request, RequestId, Response, Szx, number,
};

use super::net::{Net, Story, Weather};

const DEVICES: usize = 6;

fn weathers() -> [Weather; 5] {
    [
        Weather { loss: 0.0, twice: 0.0, delay: 50, rebind: 0.0 },
        Weather { loss: 0.1, twice: 0.2, delay: 1_000, rebind: 0.0 },
        Weather { loss: 0.2, twice: 0.1, delay: 300, rebind: 15.0 },
        Weather { loss: 0.3, twice: 0.3, delay: 6_000, rebind: 60.0 },
        Weather { loss: 0.5, twice: 0.5, delay: 4_000, rebind: 20.0 },
    ]
}

/// Who has done what: by a text that says it all.
#[derive(Default)]
struct Count {
    done: HashMap<String, u32>,
    answered: Vec<String>,
    failed: u32,
    /// What may take effect twice: its receiver restarted meanwhile and forgot.
    excused: Vec<String>,
}

impl Count {
    fn check(&self, what: &str) {
        for (text, times) in &self.done {
            if self.excused.contains(text) {
                continue;
            }
            assert_eq!(*times, 1, "{what}: {text} took effect {times} times");
        }
        for text in &self.answered {
            assert!(self.done.contains_key(text), "{what}: {text} was answered and did nothing");
        }
    }
}

/// Devices send readings one after the other and get commands meanwhile; some restart.
struct Readings {
    config: Config,
    left: Vec<u32>,
    waiting: HashMap<(usize, Handle), String>,
    commands: HashMap<Handle, String>,
    ordered: Vec<String>,
    slow: HashMap<u64, RequestId>,
    readings: Count,
    orders: Count,
    restarts: u32,
}

const RESTART: u64 = 1 << 40;
const COMMAND: u64 = 1 << 41;
const SEND: u64 = 1 << 42;

impl Readings {
    fn send(&mut self, net: &mut Net, device: usize) {
        if self.left[device] == 0 {
            return;
        }
        self.left[device] -= 1;
        let text = format!("{device}/{}", self.left[device]);
        // Some bodies are longer than a block.
        let padding = if net.rng.u8(..4) == 0 { 300 } else { 0 };
        let body = format!("{text} {}", "x".repeat(padding));
        let mut request = Request::new(Code::POST, "/t").with_body(0, body);
        if net.rng.u8(..5) == 0 {
            request = request.non_confirmable();
        }
        match net.devices[device].endpoint.request(net.now, (), request) {
            Ok(handle) => drop(self.waiting.insert((device, handle), text)),
            Err(_) => self.readings.failed += 1,
        }
    }

    fn answer(&mut self, net: &mut Net, id: RequestId) {
        // Sometimes at once, sometimes later than an acknowledgement can wait.
        let slow = net.rng.u8(..3) == 0;
        if slow {
            let name = self.slow.len() as u64;
            self.slow.insert(name, id);
            let seconds = net.rng.f64() * 4.0;
            net.remind(seconds, name);
        } else {
            net.server.respond(net.now, id, Response::new(Code::CHANGED)).unwrap();
        }
    }
}

impl Story for Readings {
    fn at_server(&mut self, net: &mut Net, event: Event<usize>) {
        match event {
            Event::Request { id, request, .. } => {
                let text = std::str::from_utf8(&request.body).unwrap();
                let text = text.split(' ').next().unwrap().to_owned();
                *self.readings.done.entry(text).or_default() += 1;
                self.answer(net, id);
            }
            Event::Response { handle, response, .. } => {
                assert_eq!(response.code, Code::CHANGED);
                self.orders.answered.extend(self.commands.remove(&handle));
            }
            Event::Failed { .. } => self.orders.failed += 1,
            other => panic!("{other:?}"),
        }
    }

    fn at_device(&mut self, net: &mut Net, device: usize, event: Event<()>) {
        match event {
            Event::Request { id, request, .. } => {
                let text = format!("{device} {}", request.path().next().unwrap());
                *self.orders.done.entry(text).or_default() += 1;
                net.devices[device].endpoint.respond(net.now, id, Response::new(Code::CHANGED)).unwrap();
            }
            Event::Response { handle, response, .. } => {
                let text = self.waiting.remove(&(device, handle));
                if response.code == Code::CHANGED {
                    self.readings.answered.extend(text);
                } else {
                    self.readings.failed += 1;
                }
                self.send(net, device);
            }
            Event::Failed { .. } => {
                self.readings.failed += 1;
                self.send(net, device);
            }
            other => panic!("{other:?}"),
        }
    }

    fn reminded(&mut self, net: &mut Net, reminder: u64) {
        if reminder >= SEND {
            self.send(net, (reminder - SEND) as usize);
        } else if reminder >= COMMAND {
            let device = (reminder - COMMAND) as usize % DEVICES;
            let name = format!("c{reminder}");
            if let Ok(handle) = net.server.request(net.now, device, Request::new(Code::PUT, &name)) {
                let text = format!("{device} {name}");
                self.ordered.push(text.clone());
                self.commands.insert(handle, text);
            }
        } else if reminder >= RESTART {
            let device = (reminder - RESTART) as usize;
            net.restart(device, &self.config);
            self.waiting.retain(|(of, _), _| *of != device);
            // A copy of an answered one may still be on its way.
            let old = self.ordered.iter().filter(|text| text.starts_with(&format!("{device} ")));
            self.orders.excused.extend(old.cloned());
            self.restarts += 1;
            self.send(net, device);
        } else {
            let id = self.slow[&reminder];
            // The device may have begun anew with the same message id, or the request be too old.
            let _ = net.server.respond(net.now, id, Response::new(Code::CHANGED));
        }
    }
}

fn readings(seed: u64, weather: Weather) -> (Net, Readings) {
    let mut config = Config::default();
    config.blockwise.size = Szx::fitting(128);
    let mut net = Net::new(seed, weather, DEVICES, &config);
    let mut story = Readings {
        config,
        left: vec![25; DEVICES],
        waiting: HashMap::new(),
        commands: HashMap::new(),
        ordered: Vec::new(),
        slow: HashMap::new(),
        readings: Count::default(),
        orders: Count::default(),
        restarts: 0,
    };
    for device in 0..DEVICES {
        net.remind(device as f64 * 0.1, SEND + device as u64);
        net.remind(40.0 + device as f64 * 7.0, RESTART + device as u64);
    }
    for command in 0..60 {
        net.remind(command as f64 * 3.0, COMMAND + command);
    }
    net.run(&mut story, 4_000.0);
    (net, story)
}

#[test]
fn a_reading_or_command_takes_effect_once_whatever_the_network_does() {
    for (index, weather) in weathers().into_iter().enumerate() {
        let (mut answered, mut failed) = (0, 0);
        for seed in 0..8 {
            let (mut net, story) = readings(seed * 100 + index as u64, weather);
            let what = format!("{weather:?}, seed {seed}");
            story.readings.check(&what);
            story.orders.check(&what);
            assert_eq!(story.restarts as usize, DEVICES);
            assert!(weather.loss == 0.0 || net.lost > 0);
            assert!(weather.rebind == 0.0 || net.rebound > 0);
            answered += story.readings.answered.len();
            failed += story.readings.failed;
            if weather.loss == 0.0 {
                assert_eq!((story.readings.failed, story.orders.failed), (0, 0), "{what}");
            }
            // Nothing stays behind.
            net.calm();
            net.run(&mut Silence, 9_000.0);
            assert_eq!(net.server.held(), Held::default(), "{what}");
            for device in &net.devices {
                assert_eq!(device.endpoint.held(), Held::default(), "{what}");
            }
        }
        let all = (8 * DEVICES * 25) as f64;
        let share = answered as f64 / all;
        let least = [0.99, 0.9, 0.8, 0.4, 0.2][index];
        assert!(share > least, "{weather:?}: {answered} of {all} answered, {failed} failed");
    }
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let tell = |seed| {
        let (net, story) = readings(seed, weathers()[3]);
        (net.lost, net.server.stats(), story.readings.answered, story.orders.answered)
    };
    assert_eq!(tell(5), tell(5));
    assert_ne!(tell(5), tell(6));
}

/// Nobody says anything more.
struct Silence;

impl Story for Silence {
    fn at_server(&mut self, _: &mut Net, _: Event<usize>) {}
    fn at_device(&mut self, _: &mut Net, _: usize, _: Event<()>) {}
    fn reminded(&mut self, _: &mut Net, _: u64) {}
}

/// Each device stores a body at the server and fetches another.
struct Bodies {
    stored: HashMap<usize, Bytes>,
    asked: HashMap<(usize, Handle), Code>,
    whole: u32,
    failed: u32,
}

fn large(seed: usize) -> Bytes {
    (0..3_000_usize).map(|at| (at * (seed + 3) + at / 97) as u8).collect()
}

impl Bodies {
    fn ask(&mut self, net: &mut Net, device: usize, request: Request) {
        let code = request.code;
        let handle = net.devices[device].endpoint.request(net.now, (), request).unwrap();
        self.asked.insert((device, handle), code);
    }
}

impl Story for Bodies {
    fn at_server(&mut self, net: &mut Net, event: Event<usize>) {
        let Event::Request { id, peer, request, .. } = event else { panic!("{event:?}") };
        let response = match request.code {
            Code::PUT => {
                assert_eq!(request.body, large(peer), "a body of pieces");
                assert!(self.stored.insert(peer, request.body).is_none(), "stored twice");
                Response::new(Code::CHANGED)
            }
            Code::POST => Response::content(42, large(peer + request.body.len())),
            _ => Response::content(42, large(peer + 100)),
        };
        net.server.respond(net.now, id, response).unwrap();
    }

    fn at_device(&mut self, _: &mut Net, device: usize, event: Event<()>) {
        match event {
            Event::Response { handle, response, .. } => match self.asked[&(device, handle)] {
                Code::PUT if response.code == Code::CHANGED => {
                    assert_eq!(self.stored.get(&device), Some(&large(device)));
                    self.whole += 1;
                }
                Code::GET if response.code == Code::CONTENT => {
                    assert_eq!(response.body, large(device + 100));
                    self.whole += 1;
                }
                Code::POST if response.code == Code::CONTENT => {
                    assert_eq!(response.body, large(device + 3_000));
                    self.whole += 1;
                }
                _ => self.failed += 1,
            },
            Event::Failed { .. } => self.failed += 1,
            other => panic!("{other:?}"),
        }
    }

    fn reminded(&mut self, net: &mut Net, reminder: u64) {
        let device = reminder as usize;
        self.ask(net, device, Request::new(Code::PUT, "/store").with_body(42, large(device)));
        self.ask(net, device, Request::new(Code::GET, "/large"));
        self.ask(net, device, Request::new(Code::POST, "/both").with_body(42, large(9)));
    }
}

#[test]
fn bodies_in_blocks_arrive_whole_or_not_at_all() {
    let mut config = Config::default();
    config.blockwise.size = Szx::fitting(256);
    for (index, weather) in weathers().into_iter().enumerate() {
        let mut whole = 0;
        for seed in 0..5 {
            let mut net = Net::new(1_000 + seed, weather, DEVICES, &config);
            let mut story = Bodies { stored: HashMap::new(), asked: HashMap::new(), whole: 0, failed: 0 };
            (0..DEVICES as u64).for_each(|device| net.remind(device as f64, device));
            net.run(&mut story, 8_000.0);
            assert_eq!((story.whole + story.failed) as usize, 3 * DEVICES, "{weather:?} {seed}");
            whole += story.whole;
            assert_eq!(net.server.held(), Held::default());
        }
        let least = [90, 80, 60, 10, 0][index];
        assert!(whole >= least, "{weather:?}: {whole} of 90");
    }
}

/// Devices observe one resource that changes.
struct Watch {
    observers: HashMap<usize, ObservationId>,
    state: u32,
    told: HashMap<usize, Vec<u32>>,
    handles: HashMap<usize, Handle>,
}

const CHANGES: u32 = 60;

impl Story for Watch {
    fn at_server(&mut self, net: &mut Net, event: Event<usize>) {
        match event {
            Event::Request { id, peer, observe, .. } => {
                assert!(observe);
                let now = Response::content(0, self.state.to_string());
                if let Some(id) = net.server.respond_observing(net.now, id, now).unwrap() {
                    self.observers.insert(peer, id);
                }
            }
            Event::ObservationEnded { id, .. } => self.observers.retain(|_, other| *other != id),
            Event::Acknowledged { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn at_device(&mut self, _: &mut Net, device: usize, event: Event<()>) {
        match event {
            Event::Response { response, .. } | Event::Notification { response, .. } => {
                let state = std::str::from_utf8(&response.body).unwrap().parse().unwrap();
                self.told.entry(device).or_default().push(state);
            }
            Event::Failed { handle, .. } if self.handles[&device] == handle => {
                self.told.remove(&device);
            }
            Event::Stale { .. } | Event::Pong { .. } | Event::Failed { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn reminded(&mut self, net: &mut Net, reminder: u64) {
        if reminder >= 2_000 {
            // Without a word from the device, nobody learns of its new address.
            let _ = net.devices[(reminder - 2_000) as usize].endpoint.ping(net.now, &());
            net.remind(8.0, reminder);
            return;
        }
        if reminder >= 1_000 {
            let device = (reminder - 1_000) as usize;
            net.remind(8.0, 2_000 + device as u64);
            let request = Request::new(Code::GET, "/obs").observe().with_uint(number::ACCEPT, 0);
            let handle = net.devices[device].endpoint.request(net.now, (), request).unwrap();
            self.handles.insert(device, handle);
            return;
        }
        self.state += 1;
        let last = self.state == CHANGES;
        let mut observers: Vec<ObservationId> = self.observers.values().copied().collect();
        observers.sort_unstable();
        for id in observers {
            let confirmable = last || net.rng.u8(..4) == 0;
            let now = Response::content(0, self.state.to_string());
            net.server.notify(net.now, id, now, confirmable).unwrap();
        }
        if !last {
            let seconds = net.rng.f64() * 6.0;
            net.remind(seconds, 0);
        }
    }
}

#[test]
fn an_observer_ends_up_with_the_last_state_and_never_goes_back() {
    for (index, weather) in weathers().into_iter().enumerate() {
        let mut settled = 0;
        for seed in 0..8 {
            let mut net = Net::new(2_000 + seed, weather, DEVICES, &Config::default());
            let mut story =
                Watch { observers: HashMap::new(), state: 0, told: HashMap::new(), handles: HashMap::new() };
            (0..DEVICES as u64).for_each(|device| net.remind(0.0, 1_000 + device));
            net.remind(100.0, 0);
            net.run(&mut story, 3_000.0);
            assert_eq!(story.state, CHANGES);
            for (device, told) in &story.told {
                assert!(told.is_sorted(), "{weather:?} {seed}: {told:?}");
                if story.observers.contains_key(device) {
                    assert_eq!(told.last(), Some(&CHANGES), "{weather:?} {seed}: {told:?}");
                    settled += 1;
                }
            }
        }
        // An acknowledgement that finds no way for 93 s ends an observation; then the device must ask again.
        let least = [48, 45, 15, 10, 0][index];
        assert!(settled >= least, "{weather:?}: {settled} of 48");
    }
}
