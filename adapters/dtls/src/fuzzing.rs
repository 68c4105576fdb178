//! What must hold for every datagram and every sequence of them: the laws that fuzz targets and tests share. An input that
//! breaks one panics. Not here: how inputs are made (`fuzz/`, the tests).

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::client::{Client, Session, Settings};
use crate::hello::ClientHello;
use crate::inbox::{Fragment, Inbox};
use crate::record::{self, Record};
use crate::wire::Reader;
use crate::{CipherSuite, Config, ConnectionIds, Event, Held, Limits, Psk, RequestId, Server, SessionId};

/// The addresses that clients have; those above see datagrams that are not meant for them.
const CLIENTS: u8 = 4;
const KEY: &[u8] = b"sesame";
const SEAL: [u8; 32] = [3; 32];
const UNIX: Duration = Duration::from_secs(1_795_000_000);

/// A datagram is refused, or its records are written exactly as they were read; fragments in them cost no more memory than
/// the limit, and hellos are read or refused.
///
/// # Panics
/// When it is not so.
pub fn check_datagram(datagram: &[u8]) {
    let mut rest = datagram;
    let mut inbox = Inbox::new(0, 1000);
    while let Some((record, after)) = Record::split(rest, 4) {
        if record.version == record::VERSION {
            let mut written = Vec::new();
            record::write(&mut written, record.kind, (record.epoch, record.seq), record.cid, record.body);
            assert_eq!(written, record.bytes, "a record is written in another way");
        }
        let mut reader = Reader(record.body);
        while let Some(fragment) = Fragment::split(&mut reader) {
            if let Some(hello) = ClientHello::parse(fragment.bytes) {
                assert!(hello.session_id.len() <= 32);
            }
            let _ = inbox.insert(0, fragment);
            while let Some(message) = inbox.pop(0) {
                assert!(message.body().len() <= 1000, "a message over the limit");
            }
        }
        rest = after;
    }
}

/// A script of clients, datagrams, pauses and acts of the application leaves a server within its limits and, when all have
/// gone, empty; what it takes for data is what a client with the right key sent, once.
///
/// A script is a sequence of steps; what is missing at its end is zero. A step begins with a byte, modulo 8:
///
/// | byte | step |
/// |---|---|
/// | 0, 1 | a datagram from the address that the next byte says: its length in a byte, and it |
/// | 2 | a client begins, as the next byte says |
/// | 3, 4 | the next datagram of a client arrives: as the next byte says changed, twice, from elsewhere or not at all |
/// | 5 | a pause: a byte n, n² · 20 ms |
/// | 6 | the application answers its oldest question |
/// | 7 | what the next byte says: data, a new address, a restart, … |
///
/// # Panics
/// When a law does not hold.
pub fn check_server(script: &[u8]) {
    let mut world = World::new(script.first().copied().unwrap_or(0));
    let mut steps = Script { bytes: script.get(1..).unwrap_or(&[]) };
    while !steps.bytes.is_empty() {
        world.step(&mut steps);
        world.look();
    }
    world.end();
}

struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }
}

struct Peer {
    client: Client,
    address: SocketAddr,
    honest: bool,
}

struct World {
    server: Server,
    config: Config,
    now: Instant,
    start: Instant,
    seed: u64,
    peers: [Option<Peer>; CLIENTS as usize],
    resume: Option<Session>,
    questions: Vec<RequestId>,
    sessions: Vec<SessionId>,
    /// Data that honest clients sent, and that came.
    sent: HashSet<Vec<u8>>,
    came: HashSet<Vec<u8>>,
    counter: u32,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, number), 5684))
}

/// SplitMix64: enough for scripts that must run the same twice.
fn random(mut seed: u64) -> impl FnMut(&mut [u8]) + Send + 'static {
    move |bytes| {
        for chunk in bytes.chunks_mut(8) {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ mixed >> 31).to_be_bytes()[..chunk.len()]);
        }
    }
}

fn server(config: &Config, now: Instant, unix: Duration, seed: u64) -> Server {
    match Server::new(config.clone(), now, unix, random(seed)) {
        Ok(server) => server,
        Err(error) => panic!("the settings of the script are wrong: {error}"),
    }
}

impl World {
    fn new(settings: u8) -> World {
        let ids = ConnectionIds { length: 4 + usize::from(settings & 3), node: settings };
        let limits = Limits {
            handshakes: 3,
            handshakes_per_address: 2,
            handshakes_per_address_minute: 50,
            handshakes_per_second: 20,
            handshake_bytes: 300,
            sessions: 3,
            resumable: 2,
        };
        let connection_ids = (settings & 4 == 0).then_some(ids);
        let config = Config { connection_ids, limits, ..Config::default() };
        // Times before the start of the process are not to be had everywhere.
        let start = Instant::now();
        World {
            server: server(&config, start, UNIX, settings.into()),
            config,
            now: start,
            start,
            seed: u64::from(settings) << 32,
            peers: [const { None }; CLIENTS as usize],
            resume: None,
            questions: Vec::new(),
            sessions: Vec::new(),
            sent: HashSet::new(),
            came: HashSet::new(),
            counter: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 | 1 => {
                let from = script.byte() % (2 * CLIENTS);
                let length = usize::from(script.byte());
                self.deliver(address(from), script.take(length));
            }
            2 => self.begin(script.byte()),
            3 | 4 => self.carry(script.byte(), script),
            5 => {
                let n = u64::from(script.byte());
                self.pass(Duration::from_millis(n * n * 20));
            }
            6 => self.answer(script.byte()),
            _ => self.act(script.byte()),
        }
    }

    /// Nobody above the clients has a cookie: what goes there is no more than what came from there, or three times that when
    /// it was a client's newest record, which moves the client there.
    fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) {
        let rebound = self.server.stats().rebound;
        self.server.handle_datagram(self.now, from, datagram);
        let mut out = 0;
        while let Some(transmit) = self.server.poll_transmit() {
            out += if transmit.peer == from { transmit.payload.len() } else { 0 };
            self.receive(transmit.peer, &transmit.payload);
        }
        let is_client =
            self.peers.iter().flatten().any(|peer| peer.address == from) || from.ip() < address(CLIENTS).ip();
        let factor = if self.server.stats().rebound > rebound { 3 } else { 1 };
        assert!(is_client || out <= factor * datagram.len(), "{out} bytes for {} to anybody", datagram.len());
        self.events();
    }

    fn receive(&mut self, to: SocketAddr, datagram: &[u8]) {
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.address == to) {
            peer.client.handle_datagram(self.now, datagram);
            while peer.client.poll_seen().is_some() {}
        }
    }

    fn begin(&mut self, how: u8) {
        self.seed += 1;
        let number = how % CLIENTS;
        let suite = CipherSuite::ALL[2 + usize::from(how >> 2 & 3)];
        let honest = how & 16 == 0;
        let settings = Settings {
            suites: vec![suite.code()],
            connection_id: (how & 32 == 0).then(|| vec![how; usize::from(number)]),
            resume: self.resume.clone().filter(|_| how & 64 != 0),
            extended_master_secret: how & 128 == 0,
            fragment: if how & 1 == 0 { 3 } else { 100 },
            ..Settings::new("a", if honest { KEY } else { b"guess" })
        };
        let honest = honest || settings.resume.is_some();
        let client = Client::connect(settings, self.now, random(self.seed));
        self.peers[usize::from(number)] = Some(Peer { client, address: address(number), honest });
    }

    fn carry(&mut self, how: u8, script: &mut Script<'_>) {
        let Some(peer) = &mut self.peers[usize::from(how % CLIENTS)] else { return };
        let from = peer.address;
        let Some(mut datagram) = peer.client.poll_transmit() else { return };
        match how >> 2 & 7 {
            0 => {}
            1 => {
                self.deliver(from, &datagram);
                self.deliver(from, &datagram);
            }
            2 => {
                let at = usize::from(script.byte()) % datagram.len();
                datagram[at] ^= script.byte();
                self.deliver(from, &datagram);
            }
            3 => {
                datagram.truncate(usize::from(script.byte()));
                self.deliver(from, &datagram);
            }
            4 => self.deliver(address(CLIENTS + how % CLIENTS), &datagram),
            _ => self.deliver(from, &datagram),
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut rounds = 0;
        while let Some(at) = self.server.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.drain();
            rounds += 1;
            assert!(rounds < 10_000, "the server does not come to rest");
        }
        self.now = end;
    }

    fn answer(&mut self, how: u8) {
        if !self.questions.is_empty() {
            let question = self.questions.remove(0);
            let key = Psk::new(KEY).filter(|_| how & 7 != 0);
            self.server.provide_key(self.now, question, key.as_ref());
            self.drain();
        }
    }

    fn act(&mut self, how: u8) {
        let number = how % CLIENTS;
        let session = self.sessions.get(usize::from(number)).copied();
        match how >> 2 & 15 {
            0..=4 => self.say(number),
            5 => {
                if let Some(peer) = &mut self.peers[usize::from(number)] {
                    peer.address = address(20 + number);
                }
            }
            6 => {
                if let Some(peer) = &mut self.peers[usize::from(number)] {
                    peer.client.repeat_flight();
                }
            }
            7 => {
                let peer = self.peers[usize::from(number)].as_ref().filter(|peer| peer.honest);
                self.resume = peer.and_then(|peer| peer.client.session());
            }
            8 => self.restart(),
            9 => {
                if let Some(peer) = &mut self.peers[usize::from(number)] {
                    peer.client.close();
                }
            }
            10 => session.into_iter().for_each(|session| self.server.close(session)),
            11 => session.into_iter().for_each(|session| self.server.confirm_address(session)),
            12 => {
                self.server.handle_timeout(self.now);
                let peers = self.peers.iter_mut().flatten();
                peers.for_each(|peer| peer.client.handle_timeout(self.now));
            }
            _ => {
                if let Some(session) = session {
                    let _ = self.server.send(session, &vec![how; usize::from(how)]);
                }
            }
        }
        self.drain();
    }

    fn say(&mut self, number: u8) {
        let Some(peer) = &mut self.peers[usize::from(number)] else { return };
        self.counter += 1;
        let data = self.counter.to_be_bytes().to_vec();
        if peer.honest && peer.client.is_connected() {
            self.sent.insert(data.clone());
        }
        peer.client.send(&data);
    }

    /// The server ends and another goes on.
    fn restart(&mut self) {
        let unix = UNIX + (self.now - self.start);
        self.seed += 1;
        let next = server(&self.config, self.now, unix, !self.seed);
        let before = self.server.held();
        let saved = std::mem::replace(&mut self.server, next).shutdown(self.now, &SEAL);
        match self.server.restore(self.now, &SEAL, &saved) {
            Ok(restored) => assert!(restored.len() <= before.sessions),
            Err(error) => panic!("what was saved is not restored: {error}"),
        }
        self.questions.clear();
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.server.poll_transmit() {
            self.receive(transmit.peer, &transmit.payload);
        }
        self.events();
    }

    fn events(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::KeyRequest { request, .. } => self.questions.push(request),
                Event::Connected { session, replaces, .. } => {
                    self.sessions.retain(|old| Some(*old) != replaces);
                    self.sessions.push(session);
                }
                Event::Closed { session, .. } => self.sessions.retain(|old| *old != session),
                Event::Data { data, .. } => {
                    assert!(self.sent.contains(&data[..]), "data that nobody sent");
                    assert!(self.came.insert(data.to_vec()), "data that came twice");
                }
                _ => {}
            }
        }
    }

    /// Everything is within its limits.
    fn look(&mut self) {
        self.drain();
        let (held, most) = (self.server.held(), &self.config.limits);
        let fits = held.handshakes <= most.handshakes
            && held.sessions <= most.sessions
            && held.resumable <= most.resumable
            && self.questions.len() <= usize::try_from(self.server.stats().handshakes).unwrap_or(usize::MAX);
        assert!(fits, "{held:?} is over {most:?}");
    }

    /// Time passes: nothing stays but what can be resumed.
    fn end(&mut self) {
        self.pass(self.config.timing.idle + Duration::from_secs(1000));
        self.drain();
        let resumable = self.server.held().resumable;
        assert_eq!(self.server.held(), Held { handshakes: 0, sessions: 0, resumable }, "something stays");
        assert_eq!(self.server.next_timeout(), None);
    }
}

#[cfg(test)]
mod tests;
