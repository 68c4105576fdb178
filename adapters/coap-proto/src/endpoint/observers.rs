//! The observed side (RFC 7641 section 4): who observes, notifications with growing sequence numbers, one confirmable in
//! flight and the latest state behind it. Not here: which resource an observation is about; the application knows.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use crate::block::Portion;
use crate::event::{Ended, Event, ObservationId, SendError};
use crate::{Block, Code, Message, Response, Szx, Token, Type, number};

use super::Endpoint;
use super::core::{Outgoing, Owner};
use super::reply::{Inbound, cut};
use super::server::Terms;
use super::snapshots::Question;
use super::uploads::Key;

/// How many non-confirmable notifications are remembered for a reset.
const REMEMBERED: usize = 4;

#[derive(Debug)]
struct Observation<P> {
    peer: P,
    token: Token,
    key: Key<P>,
    question: Question,
    /// The size that the client asked for.
    block: Option<Szx>,
    sequence: u32,
    format: Option<u16>,
    last_confirmable: Instant,
    /// Whether a confirmable notification waits for its acknowledgement or turn.
    busy: bool,
    mid: Option<u16>,
    latest: Option<(Response, bool)>,
    recent: [Option<u16>; REMEMBERED],
}

#[derive(Debug)]
pub(crate) struct Observers<P> {
    observations: HashMap<u64, Observation<P>>,
    by_token: HashMap<(P, Token), u64>,
    by_peer: HashMap<P, Vec<u64>>,
}

impl<P: Clone + Eq + Hash> Observers<P> {
    pub(crate) fn new() -> Self {
        Observers { observations: HashMap::new(), by_token: HashMap::new(), by_peer: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.observations.len()
    }

    fn remove(&mut self, name: u64) -> Option<Observation<P>> {
        let observation = self.observations.remove(&name)?;
        self.by_token.remove(&(observation.peer.clone(), observation.token.clone()));
        if let Some(own) = self.by_peer.get_mut(&observation.peer) {
            own.retain(|other| *other != name);
            if own.is_empty() {
                self.by_peer.remove(&observation.peer);
            }
        }
        Some(observation)
    }
}

impl<P: Clone + Eq + Hash> Endpoint<P> {
    /// Sends an observer the state of what it observes. While a confirmable notification is on its way, only the latest
    /// state is kept. A response that is no success, or of another content format than the first (4.06 then), ends the
    /// observation.
    ///
    /// # Errors
    /// [`SendError::Gone`] when the observation has ended; [`SendError::Invalid`] when the code is no response.
    pub fn notify(
        &mut self,
        now: Instant,
        id: ObservationId,
        response: Response,
        confirmable: bool,
    ) -> Result<(), SendError> {
        if !response.code.is_response() {
            return Err(SendError::Invalid);
        }
        let observation = self.observers.observations.get_mut(&id.0).ok_or(SendError::Gone)?;
        if observation.busy {
            if observation.latest.replace((response, confirmable)).is_some() {
                self.core.stats.notifications_merged += 1;
            }
            return Ok(());
        }
        self.send_notification(now, id.0, response, confirmable);
        self.settle(now);
        Ok(())
    }

    /// Whether the observation is still there.
    pub fn is_observing(&self, id: ObservationId) -> bool {
        self.observers.observations.contains_key(&id.0)
    }

    /// Takes an observer on, and writes the sequence number into the answer. `None` for want of room.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        inbound: &Inbound<P>,
        terms: &Terms<P>,
        response: &mut Response,
    ) -> Option<ObservationId> {
        let by_token = (inbound.peer.clone(), inbound.token.clone());
        let mut sequence = None;
        if let Some(&old) = self.observers.by_token.get(&by_token) {
            sequence = self.observers.observations.get(&old).map(|observation| observation.sequence);
            self.end(now, old, Ended::Replaced);
        }
        let limits = &self.core.config.limits;
        let own = self.observers.by_peer.get(&inbound.peer).map_or(0, Vec::len);
        if self.observers.len() >= limits.observers || own >= limits.observers_per_peer {
            return None;
        }
        let name = self.core.name();
        let sequence = self.next_sequence(now, sequence);
        response.options.set_uint(number::OBSERVE, sequence);
        let observation = Observation {
            peer: inbound.peer.clone(),
            token: inbound.token.clone(),
            key: terms.key.clone(),
            question: terms.question,
            block: terms.block2.map(|block| block.szx),
            sequence,
            // 2.03 says nothing about the format.
            format: response.content_format().filter(|_| response.code == Code::CONTENT),
            last_confirmable: now,
            busy: false,
            mid: None,
            latest: None,
            recent: [None; REMEMBERED],
        };
        self.observers.observations.insert(name, observation);
        self.observers.by_token.insert(by_token, name);
        self.observers.by_peer.entry(inbound.peer.clone()).or_default().push(name);
        Some(ObservationId(name))
    }

    /// A GET or FETCH that does not register: with the token of an observation it ends that (RFC 7641 section 3.6).
    pub(crate) fn on_plain_get(&mut self, now: Instant, peer: &P, token: &Token) {
        if let Some(&name) = self.observers.by_token.get(&(peer.clone(), token.clone())) {
            self.end(now, name, Ended::Cancelled);
        }
    }

    /// A reset that belongs to no confirmable message: maybe to a non-confirmable notification.
    pub(crate) fn on_reset_of_notification(&mut self, now: Instant, peer: &P, mid: u16) -> bool {
        let own = self.observers.by_peer.get(peer).cloned().unwrap_or_default();
        let found = own.into_iter().find(|name| {
            let observation = self.observers.observations.get(name);
            observation.is_some_and(|observation| observation.recent.contains(&Some(mid)))
        });
        found.inspect(|name| self.end(now, *name, Ended::Reset)).is_some()
    }

    /// A notification got its message id.
    pub(crate) fn on_notification_sent(&mut self, now: Instant, name: u64, mid: u16, kind: Type) {
        let Some(observation) = self.observers.observations.get_mut(&name) else { return };
        if kind == Type::Confirmable {
            observation.mid = Some(mid);
            observation.last_confirmable = now;
        } else {
            observation.recent.rotate_right(1);
            observation.recent[0] = Some(mid);
        }
    }

    /// A confirmable notification was acknowledged: the latest state follows, if there is a newer one.
    pub(crate) fn on_notification_acknowledged(&mut self, now: Instant, name: u64) {
        let Some(observation) = self.observers.observations.get_mut(&name) else { return };
        observation.busy = false;
        observation.mid = None;
        self.core.events.push_back(Event::Acknowledged { id: ObservationId(name) });
        if let Some((response, confirmable)) = observation.latest.take() {
            self.send_notification(now, name, response, confirmable);
        }
    }

    /// The newer message that takes the place of a notification that is to be sent again.
    pub(crate) fn refresh_notification(&mut self, now: Instant, name: u64, mid: u16) -> Option<u16> {
        let observation = self.observers.observations.get(&name)?;
        let latest = observation.latest.as_ref().map(|(response, _)| response.clone())?;
        if !Self::is_fit(observation, &latest) {
            return None;
        }
        let peer = observation.peer.clone();
        let message = self.notification(now, name, latest, true)?;
        let fresh = self.core.replace(now, &peer, mid, message)?;
        let observation = self.observers.observations.get_mut(&name)?;
        observation.mid = Some(fresh);
        observation.latest = None;
        self.core.stats.notifications_merged += 1;
        Some(fresh)
    }

    /// The observation is over.
    pub(crate) fn end(&mut self, now: Instant, name: u64, reason: Ended) {
        let Some(observation) = self.observers.remove(name) else { return };
        self.core.withdraw(&observation.peer, Owner::Notification(name));
        if let Some(mid) = observation.mid {
            self.core.resolve(now, &observation.peer, mid);
        }
        self.core.events.push_back(Event::ObservationEnded {
            id: ObservationId(name),
            peer: observation.peer,
            reason,
        });
    }

    pub(crate) fn end_observations(&mut self, now: Instant, peer: &P, reason: Ended) {
        for name in self.observers.by_peer.get(peer).cloned().unwrap_or_default() {
            self.end(now, name, reason);
        }
    }

    fn send_notification(&mut self, now: Instant, name: u64, mut response: Response, confirmable: bool) {
        let Some(observation) = self.observers.observations.get_mut(&name) else { return };
        if response.code.is_success() && !Self::is_fit(observation, &response) {
            response = Response::error(Code::NOT_ACCEPTABLE, "the content format has changed");
        }
        let last = !response.code.is_success();
        observation.format = observation.format.or(response.content_format());
        let due = now >= observation.last_confirmable + self.core.config.transmission.confirm_every;
        // A stream acknowledges for us.
        let stream = self.core.config.stream.is_some();
        let confirmable = (confirmable || due || last) && !stream;
        observation.busy = confirmable;
        let peer = observation.peer.clone();
        let Some(message) = self.notification(now, name, response, confirmable) else { return };
        let retransmits = self.core.config.transmission.max_retransmit;
        // What ends an observation belongs to none: it is sent until it is acknowledged.
        let owner = if last { Owner::Response } else { Owner::Notification(name) };
        let outgoing = Outgoing { message, owner, counts: confirmable, retransmits };
        if self.core.submit(now, &peer, outgoing).is_err() {
            self.core.stats.dropped += 1;
            // It will not hear of this state: better that it asks again than that it believes an old one.
            self.end(now, name, Ended::TimedOut);
        } else if stream && !last {
            self.core.events.push_back(Event::Acknowledged { id: ObservationId(name) });
        }
        if last {
            self.end(now, name, Ended::Error);
        }
    }

    /// Whether a notification has the content format of the first answer (RFC 7641 section 4.2).
    fn is_fit(observation: &Observation<P>, response: &Response) -> bool {
        let format = response.content_format();
        response.code == Code::VALID || observation.format.is_none() || format == observation.format
    }

    fn notification(
        &mut self,
        now: Instant,
        name: u64,
        mut response: Response,
        confirmable: bool,
    ) -> Option<Message> {
        let last = self.observers.observations.get(&name)?.sequence;
        let sequence = self.next_sequence(now, Some(last));
        let observation = self.observers.observations.get_mut(&name)?;
        let token = observation.token.clone();
        if response.code.is_success() {
            observation.sequence = sequence;
        }
        let asked = observation.block.map(|szx| Block { num: 0, more: false, szx });
        let peer = observation.peer.clone();
        let (part, first_of_many) = match self.core.config.stream.is_some() {
            true if asked.is_none() && self.fits_stream(&peer, &token, &response) => {
                (response.clone(), false)
            }
            true => cut(&response, asked, self.largest_streamed(&peer, &token, &response)),
            false => cut(&response, asked, Portion::one(self.core.config.blockwise.size)),
        };
        let observation = self.observers.observations.get(&name)?;
        if first_of_many {
            if let Some(tag) = part.options.get(number::ETAG) {
                response.options.set(number::ETAG, tag.clone());
            }
            let core = &mut self.core;
            let (key, question) = (&observation.key, observation.question);
            self.server.snapshots.keep(now, (&core.config, &mut core.timers), key, question, &response);
        } else {
            self.server.snapshots.forget(&mut self.core.timers, &observation.key);
        }
        let mut options = part.options;
        if part.code.is_success() {
            options.set_uint(number::OBSERVE, sequence);
        }
        let kind = if confirmable { Type::Confirmable } else { Type::NonConfirmable };
        Some(Message { kind, code: part.code, mid: 0, token, options, payload: part.body })
    }

    /// A sequence number of 24 bits: the clock in milliseconds, so that it grows even when the observer is new, and one more
    /// than the last when the clock stands (RFC 7641 section 4.4).
    fn next_sequence(&self, now: Instant, last: Option<u32>) -> u32 {
        let clock = (now.saturating_duration_since(self.start).as_millis() & SEQUENCE_MASK) as u32;
        match last {
            Some(last) if !is_newer(clock, last) => (last + 1) & SEQUENCE_MASK as u32,
            _ => clock,
        }
    }
}

const SEQUENCE_MASK: u128 = 0x00ff_ffff;

/// Whether a sequence number is newer than another within half of the circle (RFC 7641 section 3.4).
pub(crate) fn is_newer(new: u32, old: u32) -> bool {
    const HALF: u32 = 1 << 23;
    (old < new && new - old < HALF) || (old > new && old - new > HALF)
}
