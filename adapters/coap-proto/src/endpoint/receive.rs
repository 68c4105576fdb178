//! The receiving half of the message layer (RFC 7252 section 4): what a datagram is, whether it came before, and whose it
//! is. Not here: what requests and responses do.

use std::hash::Hash;
use std::time::Instant;

use crate::dedup::Seen;
use crate::event::{Ended, Event, Failure, Handle};
use crate::rate::Verdict;
use crate::{Code, DecodeError, Message, Response, Type, number};

use super::Endpoint;
use super::core::Owner;
use super::reply::Inbound;

/// How a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Whole,
    Truncated,
    Multicast,
}

impl<P: Clone + Eq + Hash> Endpoint<P> {
    pub(crate) fn receive(&mut self, now: Instant, peer: P, bytes: &[u8], arrival: Arrival) {
        self.core.stats.received += 1;
        if arrival == Arrival::Truncated {
            self.core.stats.truncated += 1;
        }
        let message = match Message::decode(bytes, self.core.config.tokens.max) {
            Ok(message) => message,
            Err(DecodeError::NotCoap) => {
                self.core.stats.not_coap += 1;
                return;
            }
            Err(DecodeError::Malformed { kind, mid, .. }) => {
                self.core.stats.malformed += 1;
                if kind == Type::Confirmable && arrival != Arrival::Multicast {
                    self.core.transmit_empty(peer, Type::Reset, mid);
                }
                return;
            }
        };
        match (message.kind, arrival) {
            // To a group goes what is not confirmable, and is a request (RFC 7252 section 8.1).
            (kind, Arrival::Multicast) if kind != Type::NonConfirmable || !message.code.is_request() => {
                self.core.stats.malformed += 1;
            }
            (Type::Acknowledgement, _) => self.on_acknowledgement(now, &peer, message),
            (Type::Reset, _) => self.on_reset(now, &peer, message.mid),
            (Type::Confirmable, _) if message.code == Code::EMPTY => {
                self.core.stats.pings += 1;
                self.core.transmit_empty(peer, Type::Reset, message.mid);
            }
            _ if message.code == Code::EMPTY => self.core.stats.unexpected += 1,
            _ => self.on_message(now, peer, message, bytes, arrival),
        }
    }

    /// A request or response that came over a stream: it comes once.
    pub(crate) fn receive_streamed(&mut self, now: Instant, peer: P, message: Message) {
        self.core.stats.received += 1;
        if message.code.is_response() {
            return match self.exchange_of(&peer, &message.token) {
                Some(name) => self.on_response(now, name, message),
                None => self.core.stats.unmatched += 1,
            };
        }
        let inbound = Inbound {
            peer,
            mid: 0,
            seen: 0,
            confirmable: false,
            token: message.token.clone(),
            length: 0,
            unwanted: 0,
            acknowledged: false,
            multicast: false,
        };
        if self.is_within_rate(now, &inbound) {
            self.on_request(now, inbound, message);
        }
    }

    /// A request or response with a message id of its own.
    fn on_message(&mut self, now: Instant, peer: P, message: Message, bytes: &[u8], arrival: Arrival) {
        let confirmable = message.kind == Type::Confirmable;
        let mid = message.mid;
        let core = &mut self.core;
        let seen = match core.dedup.check(now, &core.config, &peer, (mid, confirmable), bytes) {
            Seen::New(seen) => seen,
            Seen::Reused(seen) => {
                self.core.stats.mids_reused += 1;
                self.mute(&peer, mid);
                seen
            }
            Seen::Answered(answer) => {
                self.core.stats.duplicates += 1;
                if let Some(datagram) = answer {
                    self.core.transmit(peer, datagram);
                }
                return;
            }
            Seen::Running => {
                self.core.stats.duplicates += 1;
                if confirmable {
                    self.on_running_duplicate(&peer, mid);
                }
                return;
            }
        };
        if message.code.is_response() {
            return self.on_separate_response(now, &peer, message, seen, arrival);
        }
        let inbound = Inbound {
            peer,
            mid,
            seen,
            confirmable,
            token: message.token.clone(),
            length: bytes.len(),
            unwanted: 0,
            acknowledged: false,
            multicast: arrival == Arrival::Multicast,
        };
        if !self.is_within_rate(now, &inbound) {
            return;
        }
        if arrival == Arrival::Truncated {
            self.on_truncated_request(now, &inbound, &message);
        } else {
            self.on_request(now, inbound, message);
        }
    }

    /// Whether the peer may send this request now; if not, it is answered, or forgotten so that it may come again.
    fn is_within_rate(&mut self, now: Instant, inbound: &Inbound<P>) -> bool {
        let Some(rate) = &self.core.config.rate else { return true };
        let verdict = self.rates.take(now, rate, &inbound.peer, self.core.config.limits.rates);
        if verdict == Verdict::Pass {
            return true;
        }
        self.core.stats.limited += 1;
        match verdict {
            Verdict::Refuse(seconds) => self.reply(now, inbound, Response::too_many(seconds)),
            _ => self.core.dedup.remove(&inbound.peer, inbound.seen),
        }
        false
    }

    fn on_separate_response(
        &mut self,
        now: Instant,
        peer: &P,
        message: Message,
        seen: u64,
        arrival: Arrival,
    ) {
        let confirmable = message.kind == Type::Confirmable;
        let exchange = self.exchange_of(peer, &message.token).filter(|_| arrival == Arrival::Whole);
        let refused = exchange.is_none() || !self.is_understood(&message);
        if exchange.is_none() {
            self.core.stats.unmatched += 1;
        }
        // A notification that nobody wants is refused even when it is not confirmable, so that no more come.
        let answer = match (confirmable, refused) {
            (true, false) => Some(Type::Acknowledgement),
            (true, true) => Some(Type::Reset),
            (false, true) if message.options.has(number::OBSERVE) => Some(Type::Reset),
            (false, _) => None,
        };
        let datagram = answer
            .map(|kind| self.core.transmit_empty(peer.clone(), kind, message.mid))
            .filter(|_| confirmable);
        self.core.dedup.answer(&self.core.config, peer, seen, datagram);
        if let Some(name) = exchange {
            self.on_response(now, name, message);
        }
    }

    fn is_understood(&self, message: &Message) -> bool {
        let mut options = message.options.clone();
        let place = crate::registry::Place::Response;
        crate::registry::sanitise(&mut options, place, &self.core.config.understood).is_ok()
    }

    fn on_acknowledgement(&mut self, now: Instant, peer: &P, message: Message) {
        let Some(owner) = self.core.owner(peer, message.mid) else {
            self.core.stats.unexpected += 1;
            return;
        };
        if message.code == Code::EMPTY {
            // An empty acknowledgement to a ping is wrong, but it says that somebody is there.
            self.core.resolve(now, peer, message.mid);
            match owner {
                Owner::Ping(name) => self.core.events.push_back(Event::Pong { handle: Handle(name) }),
                Owner::Notification(name) => self.on_notification_acknowledged(now, name),
                Owner::Request(_) | Owner::Response => {}
            }
            return;
        }
        match owner {
            Owner::Request(name) if self.exchange_of(peer, &message.token) == Some(name) => {
                self.on_response(now, name, message);
            }
            _ => self.core.stats.unexpected += 1,
        }
    }

    fn on_reset(&mut self, now: Instant, peer: &P, mid: u16) {
        let Some(owner) = self.core.owner(peer, mid) else {
            if !self.on_reset_of_notification(now, peer, mid) {
                self.core.stats.unexpected += 1;
            }
            return;
        };
        self.core.resolve(now, peer, mid);
        match owner {
            Owner::Ping(name) => self.core.events.push_back(Event::Pong { handle: Handle(name) }),
            Owner::Notification(name) => self.end(now, name, Ended::Reset),
            Owner::Request(name) => self.fail_leg(now, name, Failure::Reset),
            Owner::Response => {}
        }
    }
}
