//! What a server does with a ClientHello: cookie first, then limits, then a handshake. Not here: the rest of it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Server;
use crate::cookie::COOKIE;
use crate::handshake::{Handshake, Opening, kind};
use crate::hello::ClientHello;
use crate::inbox::{self, Fragment};
use crate::negotiate::{Choice, negotiate};
use crate::record::{self, ALERT, HANDSHAKE, Record};
use crate::suite::CipherSuite;
use crate::wire::vector;

/// What a HelloVerifyRequest says, whatever the client speaks (RFC 6347 section 4.2.1).
const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
/// A client that needs more attempts than that for its first hello begins anew.
const MAX_MESSAGE_SEQ: u16 = 16;
/// How many seconds' worth of handshakes may begin at once.
const BURST: f64 = 4.0;

/// How many handshakes may begin now.
pub(super) struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant, per_second: u32) -> Bucket {
        Bucket { level: f64::from(per_second) * BURST, at: now }
    }

    fn take(&mut self, now: Instant, per_second: u32) -> bool {
        let per_second = f64::from(per_second);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * per_second).min(per_second * BURST);
        self.at = now;
        let enough = self.level >= 1.0;
        self.level -= f64::from(u8::from(enough));
        enough
    }
}

impl Server {
    pub(super) fn on_client_hello(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        record: &Record<'_>,
        fragment: Fragment<'_>,
    ) {
        if !fragment.is_whole() {
            self.core.stats.fragmented_hellos += 1;
            return;
        }
        let Some(hello) =
            ClientHello::parse(fragment.bytes).filter(|_| fragment.message_seq <= MAX_MESSAGE_SEQ)
        else {
            self.core.stats.malformed += 1;
            return;
        };
        self.cookies.turn(now, &mut self.core.random);
        if !self.cookies.is_valid(peer, &hello) {
            self.core.stats.cookies_refused += u64::from(!hello.cookie.is_empty());
            self.send_cookie(peer, record, &fragment, &hello);
            return;
        }
        let opening = Opening {
            hello: &hello,
            body: fragment.bytes,
            record_seq: record.seq,
            message_seq: fragment.message_seq,
        };
        self.open_handshake(now, peer, &opening);
    }

    /// The address is the sender's own: the hello may cost something.
    fn open_handshake(&mut self, now: Instant, peer: SocketAddr, opening: &Opening<'_>) {
        let hello = opening.hello;
        if let Some(handshake) = self.handshakes.get_mut(peer)
            && handshake.client_random == hello.random
        {
            handshake.on_repeated_hello(&mut self.core);
            return;
        }
        let here = [self.sessions.at_address(peer), self.sessions.with_cid_at(peer)];
        let known = here.iter().flatten().filter_map(|id| self.sessions.get(*id));
        if known.into_iter().any(|association| association.client_random == hello.random) {
            self.core.stats.stale += 1;
            return;
        }
        // A device that restarts takes the place of its own last attempt, but not more often than others begin.
        let restarts = self.handshakes.get(peer).is_some();
        if !self.has_room(now, peer, restarts) {
            return;
        }
        self.handshakes.take(peer);
        let choice = match negotiate(hello, &self.core.config, self.core.credential.as_ref()) {
            Ok(choice) => choice,
            Err(alert) => {
                self.core.stats.no_common_ground += 1;
                let mut bytes = Vec::new();
                record::write(&mut bytes, ALERT, (0, opening.record_seq), &[], &[2, alert]);
                self.core.transmit(peer, bytes);
                return;
            }
        };
        self.core.stats.handshakes += 1;
        let own_cid = choice.peer_cid.is_some().then(|| self.new_cid());
        let resumable = self
            .resumables
            .get(hello.session_id, now, self.core.config.timing.resumption)
            .filter(|resumable| can_resume(hello, &self.core.config.suites, resumable.suite));
        let choice = match resumable {
            Some(resumable) => Choice { suite: resumable.suite, ..choice },
            None => choice,
        };
        let handshake = Handshake::begin(&mut self.core, now, peer, opening, choice, own_cid, resumable);
        self.handshakes.put(handshake);
    }

    fn has_room(&mut self, now: Instant, peer: SocketAddr, restarts: bool) -> bool {
        let limits = &self.core.config.limits;
        let full = !restarts && self.handshakes.of_origin(peer) >= limits.handshakes_per_address;
        if full || self.handshakes.begun(now, peer) >= limits.handshakes_per_address_minute {
            self.core.stats.handshakes_refused_address += 1;
            return false;
        }
        let full = !restarts && self.handshakes.len() >= limits.handshakes;
        if full || !self.bucket.take(now, limits.handshakes_per_second) {
            self.core.stats.handshakes_refused += 1;
            return false;
        }
        self.handshakes.begin(peer);
        true
    }

    /// Nothing is kept; the answer is no longer than what it answers.
    fn send_cookie(
        &mut self,
        peer: SocketAddr,
        record: &Record<'_>,
        fragment: &Fragment<'_>,
        hello: &ClientHello<'_>,
    ) {
        let mut body = Vec::with_capacity(3 + COOKIE);
        body.extend_from_slice(&DTLS_1_0);
        vector(&mut body, 1, &self.cookies.make(peer, hello));
        let message = inbox::message(kind::HELLO_VERIFY_REQUEST, fragment.message_seq, &body);
        let mut bytes = Vec::new();
        record::write(&mut bytes, HANDSHAKE, (0, record.seq), &[], &message);
        self.core.stats.cookies_sent += 1;
        self.core.transmit(peer, bytes);
    }

    /// A Connection ID that nobody has: the node, then random bytes.
    fn new_cid(&mut self) -> u64 {
        let ids = self.core.config.connection_ids.unwrap_or_default();
        let bits = 8 * (ids.length as u32 - 1);
        loop {
            let random = u64::from_be_bytes(self.core.random()) & ((1 << bits) - 1);
            let cid = u64::from(ids.node) << bits | random;
            if self.sessions.with_cid(cid).is_none() && self.handshakes.with_cid(cid).is_none() {
                return cid;
            }
        }
    }
}

/// Both sides must prove that they mean the same session (RFC 7627), and want its suite.
fn can_resume(hello: &ClientHello<'_>, suites: &[CipherSuite], suite: CipherSuite) -> bool {
    let mac = suite != CipherSuite::PskAes128CbcSha256 || hello.encrypt_then_mac;
    hello.extended_master_secret && hello.offers(suite.code()) && suites.contains(&suite) && mac
}
