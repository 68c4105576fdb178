//! What must hold for every datagram and every sequence of them: the laws that fuzz targets and tests share. An input that
//! breaks one panics. Not here: how inputs are made (`fuzz/`, the tests).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::stream::{self, Framing, LinkConfig, LinkEvent};
use crate::{
    Code, Config, Endpoint, Event, Handle, Held, Instead, Limits, MAX_EXTENDED_TOKEN, Message, ObservationId,
    Rate, Request, RequestId, Response, Szx, Tokens, Type, Unverified, link_format::Link, number,
};

/// The longest datagram that a script hands in, in bytes.
const LONGEST: usize = 255;

/// A datagram is refused, or it is a message that is written exactly as it was read.
///
/// # Panics
/// When it is not.
pub fn check_message(datagram: &[u8]) {
    let Ok(message) = Message::decode(datagram, MAX_EXTENDED_TOKEN) else { return };
    assert_eq!(message.encode(), datagram, "{message:?} is written in another way");
    if message.token.as_bytes().len() <= 8 {
        assert_eq!(Message::decode(datagram, 8).as_ref(), Ok(&message));
    } else {
        assert!(Message::decode(datagram, 8).is_err());
    }
}

/// What comes over a stream means the same however it is cut, is read exactly, and nothing is kept beyond the limit. The first
/// byte says how long the pieces are.
///
/// # Panics
/// When it is not so.
pub fn check_stream(script: &[u8]) {
    let Some((step, bytes)) = script.split_first() else { return };
    let whole = over_stream(bytes, bytes.len());
    assert_eq!(over_stream(bytes, usize::from(*step)), whole, "in pieces of {step} bytes");
    if let Ok(message) = Framing::Carrier.decode(bytes, 8) {
        assert_eq!(Framing::Carrier.encode(&message), bytes, "{message:?} is written in another way");
    }
    for event in &whole {
        let LinkEvent::Message(message) = event else { continue };
        let frame = message.encode_stream();
        assert_eq!(Message::decode_stream(&frame, 8).as_ref(), Ok(message));
        let at = bytes.windows(frame.len()).any(|window| window == &frame[..]);
        assert!(at, "{message:?} is written in another way");
    }
}

fn over_stream(bytes: &[u8], step: usize) -> Vec<LinkEvent> {
    let now = Instant::now();
    let mut link = stream::Link::new(now, LinkConfig { max_message: 300, ..LinkConfig::default() });
    let mut events = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        link.handle_bytes(now, piece);
        assert!(link.expected() <= 300, "more is waited for than may come");
        events.extend(std::iter::from_fn(|| link.poll_event()));
    }
    events
}

/// A script of datagrams, pauses and acts of the application leaves an endpoint within its limits and, when all have gone,
/// empty.
///
/// A script is a sequence of steps; what is missing at its end is zero. A step begins with a byte, modulo 8:
///
/// | byte | step |
/// |---|---|
/// | 0 to 3 | a datagram of peer 0 to 3: its length in a byte, and it |
/// | 4 | a pause: a byte n, n² · 20 ms |
/// | 5 | the application answers its oldest request as the next byte says |
/// | 6 | a request of ours: peer and kind in a byte |
/// | 7 | what the next byte says: something for the last message of ours, a notification, the network, … |
///
/// # Panics
/// When a law does not hold.
pub fn check_endpoint(script: &[u8]) {
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

struct World {
    endpoint: Endpoint<u8>,
    limits: Limits,
    now: Instant,
    requests: Vec<RequestId>,
    handles: Vec<Handle>,
    observations: Vec<ObservationId>,
    last: Option<(u8, Message)>,
    /// Bytes that came in with this step, when it is a datagram.
    allowed: Option<usize>,
    /// Whether answers to peers that are not verified have at most three times the bytes of their request.
    frugal: bool,
}

impl World {
    fn new(settings: u8) -> World {
        let limits = Limits {
            dedup_entries: 12,
            dedup_entries_per_peer: 5,
            dedup_bytes: 600,
            peers: 3,
            queue_per_peer: 3,
            pending: 4,
            pending_per_peer: 2,
            requests: 5,
            requests_per_peer: 3,
            uploads: 3,
            uploads_per_peer: 2,
            upload_bytes: 300,
            snapshots: 3,
            snapshots_per_peer: 2,
            snapshot_bytes: 700,
            observers: 3,
            observers_per_peer: 2,
            verified: 2,
            rates: 2,
        };
        let mut config = Config { limits: limits.clone(), ..Config::default() };
        config.blockwise.max_body = 200;
        config.blockwise.size = Szx::new(settings & 3).unwrap_or(Szx::MIN);
        let instead = if settings & 8 == 0 { Instead::Echo } else { Instead::SmallBlocks };
        config.unverified = (settings & 4 != 0).then(|| Unverified { instead, ..Unverified::default() });
        config.rate = (settings & 16 != 0).then_some(Rate { per_second: 1.0, burst: 5 });
        config.tokens = Tokens { max: if settings & 32 == 0 { 8 } else { 40 }, ..Tokens::default() };
        let now = Instant::now();
        let mut seed = u64::from(settings);
        let random = move || {
            // SplitMix64.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        };
        let mut endpoint = Endpoint::new(config, now, random);
        endpoint.set_links(vec![Link { observable: true, ..Link::new("/t") }]);
        World {
            endpoint,
            limits,
            now,
            requests: Vec::new(),
            handles: Vec::new(),
            observations: Vec::new(),
            last: None,
            allowed: None,
            frugal: settings & 12 == 4,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        self.allowed = None;
        match script.byte() % 8 {
            peer @ 0..=3 => {
                let length = usize::from(script.byte());
                let datagram = script.take(length);
                self.allowed = Some(datagram.len());
                self.endpoint.handle_datagram(self.now, peer, datagram);
            }
            4 => {
                let n = u64::from(script.byte());
                self.pass(Duration::from_millis(n * n * 20));
            }
            5 => self.answer(script.byte()),
            6 => self.ask(script.byte()),
            _ => self.act(script.byte(), script),
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut rounds = 0;
        while let Some(at) = self.endpoint.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
            rounds += 1;
            assert!(rounds < 10_000, "the endpoint does not come to rest");
        }
        self.now = end;
    }

    fn answer(&mut self, how: u8) {
        if self.requests.is_empty() {
            return;
        }
        let id = self.requests.remove(0);
        let body = vec![how; usize::from(how) * 2];
        let response = match how % 8 {
            0 => Response::new(Code::CHANGED),
            1 => Response::content(0, body).with_etag(vec![1]),
            2 => Response::error(Code::NOT_FOUND, "no"),
            3 => Response::unavailable(7),
            4 => {
                let _ = self.endpoint.challenge(self.now, id);
                return;
            }
            _ => Response::content(0, body),
        };
        if let Ok(Some(id)) = self.endpoint.respond_observing(self.now, id, response) {
            self.observations.push(id);
        }
    }

    fn ask(&mut self, how: u8) {
        let request = match how >> 2 & 7 {
            0 => Request::new(Code::GET, "/a?b"),
            1 => Request::new(Code::GET, "/a").non_confirmable(),
            2 => Request::new(Code::GET, "/a").observe(),
            3 => Request::new(Code::PUT, "/a").with_body(0, vec![how; 150]),
            4 => Request::new(Code::POST, "/a").with_body(0, vec![how; 5]).non_confirmable(),
            5 => Request::new(Code::FETCH, "/a").with_body(0, vec![how; 40]).observe(),
            6 => Request::new(Code::GET, "/a").with_uint(number::BLOCK2, 3 << 4),
            _ => {
                let _ = self.endpoint.ping(self.now, &(how & 3));
                return;
            }
        };
        if let Ok(handle) = self.endpoint.request(self.now, how & 3, request) {
            self.handles.push(handle);
        }
    }

    fn act(&mut self, how: u8, script: &mut Script<'_>) {
        let peer = how >> 4 & 3;
        match how % 16 {
            0 => self.endpoint.handle_unreachable(self.now, &peer),
            1 => self.endpoint.forget_peer(self.now, &peer),
            2 => self.endpoint.handle_truncated(self.now, peer, script.take(usize::from(how))),
            3 => self.endpoint.handle_multicast(self.now, peer, script.take(usize::from(how))),
            4 | 5 => self.notify(how),
            6 => {
                if let Some(handle) = self.handles.pop() {
                    self.endpoint.forget(self.now, handle);
                }
            }
            7 => {
                if let Some(handle) = self.handles.first() {
                    let _ = self.endpoint.deregister(self.now, *handle);
                }
            }
            _ => self.reply(how, script),
        }
    }

    fn notify(&mut self, how: u8) {
        let Some(id) = self.observations.last().copied() else { return };
        let response = match how >> 4 & 3 {
            0 => Response::content(0, vec![how; 20]),
            1 => Response::content(0, vec![how; 160]),
            2 => Response::content(50, "{}"),
            _ => Response::error(Code::NOT_FOUND, ""),
        };
        if self.endpoint.notify(self.now, id, response, how & 1 == 1).is_err() {
            self.observations.pop();
        }
    }

    /// The peer says something that fits the last message that it got.
    fn reply(&mut self, how: u8, script: &mut Script<'_>) {
        let Some((peer, last)) = self.last.clone() else { return };
        let mut reply = Message { payload: Bytes::new(), ..last.clone() };
        match how % 16 {
            8 => reply = Message::empty(Type::Acknowledgement, last.mid),
            9 => reply = Message::empty(Type::Reset, last.mid),
            kind => {
                let separate = kind > 12;
                reply.kind = if separate { Type::Confirmable } else { Type::Acknowledgement };
                reply.mid = if separate { script.byte().into() } else { last.mid };
                reply.code =
                    [Code::CONTENT, Code::CONTINUE, Code::UNAUTHORIZED, Code::REQUEST_ENTITY_TOO_LARGE]
                        [usize::from(how >> 4 & 3)];
                let number = [number::OBSERVE, number::BLOCK2, number::BLOCK1, number::ECHO, number::ETAG]
                    [usize::from(script.byte() % 5)];
                reply.options = crate::Options::new();
                if let Some(block) = last.options.get(number::BLOCK1).filter(|_| how & 64 != 0) {
                    reply.options.push(number::BLOCK1, block.clone());
                }
                reply.options.push(number, script.take(2).to_vec());
                let length = usize::from(script.byte());
                reply.payload = script.take(length).to_vec().into();
            }
        }
        self.endpoint.handle_datagram(self.now, peer, &reply.encode());
    }

    fn drain(&mut self) {
        let (mut out, mut answers) = (0, 0);
        while let Some(transmit) = self.endpoint.poll_transmit() {
            check_message(&transmit.payload);
            out += transmit.payload.len();
            if let Ok(message) = Message::decode(&transmit.payload, MAX_EXTENDED_TOKEN) {
                if !message.code.is_request() && !message.options.has(number::OBSERVE) {
                    answers += transmit.payload.len();
                }
                self.last = Some((transmit.peer, message));
            }
        }
        if let Some(asked) = self.allowed.filter(|_| self.frugal && self.endpoint.held().verified == 0) {
            assert!(answers <= 3 * asked, "{answers} bytes for {asked}, to anybody who asks");
        }
        // An answer at once is not longer than a block and what stands before it.
        assert!(self.allowed.is_none() || out <= 4 * LONGEST + 5 * 400, "{out} bytes at once");
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { id, request, .. } => {
                    assert!(request.body.len() <= 200, "a body over its limit");
                    self.requests.push(id);
                }
                Event::Response { response, .. } | Event::Notification { response, .. } => {
                    assert!(response.body.len() <= LONGEST, "a body over its limit");
                }
                _ => {}
            }
        }
    }

    /// Everything is within its limits.
    fn look(&mut self) {
        self.drain();
        let (held, most) = (self.endpoint.held(), &self.limits);
        // Each of these has one thing that is due, or two.
        let due = held.in_flight
            + held.uploads
            + held.snapshots
            + held.delayed
            + 2 * (held.peers + held.pending + held.requests);
        let pairs = [
            (held.dedup_entries, most.dedup_entries),
            (held.dedup_bytes, most.dedup_bytes),
            (held.peers, most.peers),
            (held.queued, most.peers * most.queue_per_peer),
            (held.pending, most.pending),
            (held.requests, most.requests),
            (held.tokens, 2 * most.requests),
            (held.uploads, most.uploads),
            (held.upload_bytes, most.upload_bytes),
            (held.snapshots, most.snapshots),
            (held.snapshot_bytes, most.snapshot_bytes),
            (held.observers, most.observers),
            (held.verified, most.verified),
            (held.rates, most.rates),
            (held.delayed, most.pending),
            (held.timers, due),
        ];
        assert!(pairs.iter().all(|(held, most)| held <= most), "{held:?} is over {most:?}");
    }

    /// All peers go, and time passes: nothing stays.
    fn end(&mut self) {
        self.allowed = None;
        for handle in std::mem::take(&mut self.handles) {
            self.endpoint.forget(self.now, handle);
        }
        self.look();
        // Messages to peers, and their ids, go by themselves; observers and marks of a peer go with it.
        self.pass(Duration::from_secs(3_000));
        for peer in 0..4 {
            self.endpoint.forget_peer(self.now, &peer);
        }
        self.drain();
        assert_eq!(self.endpoint.held(), Held::default(), "something stays");
        assert_eq!(self.endpoint.next_timeout(), None);
    }
}

#[cfg(test)]
mod tests;
