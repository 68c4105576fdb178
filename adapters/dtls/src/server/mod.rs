//! The server: one socket's worth of DTLS. Its parts are the submodules; here is what the outside sees.

mod handshakes;
mod hello;
mod receive;
mod saved;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use saved::{RestoreError, Restored};

use crate::config::{Config, ConfigError};
use crate::cookie::Cookies;
use crate::core::Core;
use crate::credential::Credential;
use crate::event::{Closed, Event, Identity, Psk, RequestId, SendError, SessionId, Transmit};
use crate::handshake::{Handshake, Step};
use crate::negotiate::alert;
use crate::record::{ALERT, APPLICATION_DATA, Record};
use crate::resumption::Resumables;
use crate::sessions::Sessions;
use crate::stats::Stats;

use self::handshakes::Handshakes;
use self::hello::Bucket;

/// A DTLS 1.2 server without I/O.
///
/// - Input: [`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout), and the answers to events:
///   [`provide_key`](Self::provide_key), [`provide_verdict`](Self::provide_verdict).
/// - Output: [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event),
///   [`next_timeout`](Self::next_timeout). Drain the first two after every call; they are bounded by what is handed in.
/// - What the application does: [`send`](Self::send), [`close`](Self::close) and others.
///
/// Times must not run backwards.
pub struct Server {
    core: Core,
    cookies: Cookies,
    handshakes: Handshakes,
    sessions: Sessions,
    resumables: Resumables,
    bucket: Bucket,
}

/// How much a server holds: what its limits are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Handshakes under way.
    pub handshakes: usize,
    /// Associations.
    pub sessions: usize,
    /// Sessions that can be resumed.
    pub resumable: usize,
}

impl Server {
    /// A server. `unix` is what time `now` is since 1970; `random` fills a slice with bytes that nobody can guess, as all
    /// secrets come from it.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn new(
        config: Config,
        now: Instant,
        unix: Duration,
        random: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut core = Core::new(config, (now, unix), Box::new(random));
        let cookies = Cookies::new(now, &mut core.random);
        let bucket = Bucket::new(now, core.config.limits.handshakes_per_second);
        Ok(Server {
            core,
            cookies,
            handshakes: Handshakes::new(now),
            sessions: Sessions::default(),
            resumables: Resumables::default(),
            bucket,
        })
    }

    /// Sets or replaces what the suites with ECDSA need. Associations stay.
    pub fn set_credential(&mut self, credential: Option<Credential>) {
        self.core.credential = credential;
    }

    /// Says again what time `now` is since 1970: the system's clock may have been put right since. Certificates are held against
    /// it.
    pub fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.core.clock = (now, unix);
    }

    /// Takes a datagram from that address. Whatever it holds, it is answered as the RFCs say, or counted and dropped.
    pub fn handle_datagram(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        self.core.stats.received += 1;
        let mut rest = datagram;
        loop {
            let Some((record, after)) = Record::split(rest, self.core.cid_length()) else {
                self.core.stats.malformed += 1;
                return;
            };
            self.on_record(now, peer, &record);
            if after.is_empty() {
                return;
            }
            rest = after;
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, peer)) = self.handshakes.alarm().filter(|(at, _)| *at <= now) {
            let Some(mut handshake) = self.handshakes.take(peer) else { return };
            if handshake.on_alarm(&mut self.core, now.max(at)) {
                self.handshakes.put(handshake);
            } else if handshake.request.is_some() {
                self.core.stats.lookups_timed_out += 1;
            } else {
                self.core.stats.timed_out += 1;
            }
        }
        let idle = self.core.config.timing.idle;
        while let Some((id, _)) = self.sessions.oldest().filter(|(_, last)| *last + idle <= now) {
            self.end(id, Closed::Idle);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let idle = self.sessions.oldest().map(|(_, last)| last + self.core.config.timing.idle);
        self.handshakes.alarm().map(|(at, _)| at).into_iter().chain(idle).min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// Answers an [`Event::KeyRequest`]. Without a key the handshake goes on to fail exactly as with a wrong one. An answer
    /// that comes too late does nothing.
    pub fn provide_key(&mut self, now: Instant, request: RequestId, key: Option<&Psk>) {
        self.answer(now, request, |handshake, core| handshake.on_key(core, now, key));
    }

    /// Answers an [`Event::VerdictRequest`]. An answer that comes too late does nothing.
    pub fn provide_verdict(&mut self, now: Instant, request: RequestId, accepted: bool) {
        self.answer(now, request, |handshake, _| handshake.on_verdict(now, accepted));
    }

    /// Whether the handshake that has asked this is still under way, answered or not. When it is not, it has become an
    /// association, which is an [`Event::Connected`], or failed.
    pub fn is_under_way(&self, request: RequestId) -> bool {
        self.handshakes.asked(request).is_some()
    }

    /// Sends data to a device, in one record.
    ///
    /// # Errors
    /// Says whether to try again.
    pub fn send(&mut self, session: SessionId, data: &[u8]) -> Result<(), SendError> {
        let association = self.sessions.get_mut(session.0).ok_or(SendError::Gone)?;
        if data.len() > association.max_content {
            return Err(SendError::TooLong(association.max_content));
        }
        let longest = data.len() + association.overhead();
        if !association.affords(longest) {
            return Err(SendError::Unconfirmed);
        }
        let peer = association.peer;
        let record = association.seal(&mut self.core, APPLICATION_DATA, data).ok_or(SendError::Exhausted)?;
        self.core.transmit(peer, record);
        Ok(())
    }

    /// The device has shown that it receives at its new address: an acknowledgement or a token of something sent there.
    pub fn confirm_address(&mut self, session: SessionId) {
        if let Some(association) = self.sessions.get_mut(session.0) {
            association.budget = None;
        }
    }

    /// Says goodbye to a device. There is no event.
    pub fn close(&mut self, session: SessionId) {
        if let Some(mut association) = self.sessions.remove(session.0) {
            self.core.stats.closed += 1;
            if let Some(record) = association.seal(&mut self.core, ALERT, &[1, alert::CLOSE_NOTIFY]) {
                self.core.transmit(association.peer, record);
            }
        }
    }

    /// The key of that identity is no longer good: closes its associations, without events, and lets none be resumed. It walks
    /// over all.
    pub fn forget(&mut self, identity: &Identity) {
        self.resumables.forget(identity);
        for id in self.sessions.of(identity) {
            self.close(SessionId(id));
        }
    }

    /// Where the device of an association is.
    pub fn peer(&self, session: SessionId) -> Option<SocketAddr> {
        self.sessions.get(session.0).map(|association| association.peer)
    }

    /// Who the device of an association is.
    pub fn identity(&self, session: SessionId) -> Option<&Identity> {
        self.sessions.get(session.0).map(|association| &association.identity)
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.core.stats
    }

    /// What is held.
    pub fn held(&self) -> Held {
        Held {
            handshakes: self.handshakes.len(),
            sessions: self.sessions.len(),
            resumable: self.resumables.len(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    fn answer(
        &mut self,
        now: Instant,
        request: RequestId,
        act: impl FnOnce(&mut Handshake, &mut Core) -> Step,
    ) {
        let Some(peer) = self.handshakes.asking(request) else { return };
        let Some(mut handshake) = self.handshakes.take(peer) else { return };
        let step = act(&mut handshake, &mut self.core);
        let early = handshake.take_early();
        self.settle(now, handshake, step);
        self.on_early(now, peer, &early);
    }

    /// A handshake is complete: its association takes the place of an older one of the same device.
    fn complete(&mut self, now: Instant, handshake: Handshake) {
        let (peer, resumed, session_id) = (handshake.peer, handshake.resumed, handshake.session_id.clone());
        let request = handshake.answered;
        let Some((association, resumable)) = handshake.finish(&self.core, now) else { return };
        let replaces = self.replace(peer, &association.identity, association.own_cid.is_some());
        while self.sessions.len() >= self.core.config.limits.sessions.max(1) {
            let Some((oldest, _)) = self.sessions.oldest() else { break };
            self.end(oldest, Closed::Evicted);
        }
        let id = loop {
            let id = u64::from_be_bytes(self.core.random());
            if self.sessions.get(id).is_none() {
                break id;
            }
        };
        self.core.stats.completed += 1;
        self.core.stats.resumed += u64::from(resumed);
        self.core.events.push_back(Event::Connected {
            session: SessionId(id),
            peer,
            identity: association.identity.clone(),
            request,
            suite: association.suite,
            resumed,
            replaces: replaces.map(SessionId),
        });
        self.sessions.insert(id, association);
        if let (false, Some(resumable), Ok(session_id)) = (resumed, resumable, session_id.try_into()) {
            self.resumables.insert(session_id, resumable, self.core.config.limits.resumable);
        }
    }

    /// Only now, as the new handshake is proven (RFC 6347 section 4.2.8). An association with a Connection ID belongs to its
    /// device wherever that is, so only the same identity replaces it; one without belongs to its address.
    fn replace(&mut self, peer: SocketAddr, identity: &Identity, has_cid: bool) -> Option<u64> {
        let same = |id: &u64| self.sessions.get(*id).is_some_and(|old| old.identity == *identity);
        let with_cid = self.sessions.with_cid_at(peer).filter(same);
        let without = self.sessions.at_address(peer);
        let without_same = without.filter(same);
        if let Some(taken) = without.filter(|_| without_same.is_none() && !has_cid) {
            self.end(taken, Closed::AddressTaken);
        }
        for old in [with_cid, without_same].into_iter().flatten() {
            self.core.stats.replaced += 1;
            self.sessions.remove(old);
        }
        with_cid.or(without_same)
    }

    /// Ends an association, with an event.
    fn end(&mut self, id: u64, reason: Closed) {
        if self.sessions.remove(id).is_none() {
            return;
        }
        let stats = &mut self.core.stats;
        match reason {
            Closed::ByPeer | Closed::Alert(_) => stats.closed += 1,
            Closed::Idle => stats.idle += 1,
            Closed::Evicted => stats.evicted += 1,
            Closed::AddressTaken => stats.replaced += 1,
        }
        self.core.events.push_back(Event::Closed { session: SessionId(id), reason });
    }
}
