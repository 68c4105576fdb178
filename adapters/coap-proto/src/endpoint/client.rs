//! The client role: requests, their tokens and answers, observations of others (RFC 7641 section 3), pings. Not here:
//! blocks (`transfer`), retransmission (`core`).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::event::{Event, Failure, Handle, SendError};
use crate::registry::{Place, sanitise};
use crate::timers::TimerKey;
use crate::{Block, Code, Message, Options, Request, Response, Token, Type, number};

use super::Endpoint;
use super::core::{Outgoing, Owner, Task};
use super::observers::is_newer;
use super::reply::encoded_head;
use super::transfer::{Next, Transfer};

/// Notifications that are further apart are in order (RFC 7641 section 3.4).
const REORDERING: Duration = Duration::from_secs(128);

/// Token, Request-Tag and Echo, which are added to a request, in bytes.
const MORE_OF_REQUEST: usize = 8 + 7 + 43;

/// What is added to Max-Age before an observation is called stale: MAX_LATENCY.
const LATENCY: Duration = Duration::from_secs(100);

#[derive(Debug)]
struct Exchange<P> {
    peer: P,
    transfer: Transfer,
    /// The message that waits for an answer.
    leg: Option<Leg>,
    observation: Option<Observation>,
    /// Whether the response that is being fetched in blocks is a notification.
    notification: bool,
    echoed: bool,
}

#[derive(Debug)]
struct Leg {
    token: Token,
    mid: Option<u16>,
    deadline: Option<TimerKey>,
}

#[derive(Debug)]
struct Observation {
    token: Token,
    newest: (u32, Instant),
    stale: Option<TimerKey>,
}

#[derive(Debug)]
pub(crate) struct Client<P> {
    exchanges: HashMap<u64, Exchange<P>>,
    by_token: HashMap<(P, Token), u64>,
    by_peer: HashMap<P, Vec<u64>>,
}

impl<P: Clone + Eq + Hash> Client<P> {
    pub(crate) fn new() -> Self {
        Client { exchanges: HashMap::new(), by_token: HashMap::new(), by_peer: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.by_token.len()
    }
}

impl<P: Clone + Eq + Hash> Endpoint<P> {
    /// Sends a request; its answer, or why there is none, comes as an event. A body that is longer than a block goes in
    /// blocks, and comes so; an Echo challenge is answered. At most NSTART requests per peer are in flight, the others wait.
    ///
    /// # Errors
    /// [`SendError::Busy`] when there are too many; [`SendError::Invalid`] when the code is no method or the body too long.
    pub fn request(&mut self, now: Instant, peer: P, request: Request) -> Result<Handle, SendError> {
        let most = (Block::MAX_NUM as usize + 1) * self.core.config.blockwise.size.bytes();
        if !request.code.is_request() || request.body.len() > most {
            return Err(SendError::Invalid);
        }
        let limits = &self.core.config.limits;
        let own = self.client.by_peer.get(&peer).map_or(0, Vec::len);
        if self.client.len() >= limits.requests || own >= limits.requests_per_peer {
            return Err(SendError::Busy);
        }
        let name = self.core.name();
        let head = encoded_head(&Token::default(), &request.options) + MORE_OF_REQUEST;
        let transfer = Transfer::new(request, self.portion(&peer, head));
        let exchange = Exchange {
            peer: peer.clone(),
            transfer,
            leg: None,
            observation: None,
            notification: false,
            echoed: false,
        };
        self.client.exchanges.insert(name, exchange);
        self.client.by_peer.entry(peer).or_default().push(name);
        let sent = self.send_leg(now, name, None);
        if sent.is_err() {
            self.remove_exchange(now, name);
        }
        self.settle(now);
        sent.map(|()| Handle(name))
    }

    /// Asks a peer whether it is there, with an empty confirmable message (RFC 7252 section 4.3).
    ///
    /// # Errors
    /// [`SendError::Busy`] when too much waits for that peer.
    pub fn ping(&mut self, now: Instant, peer: &P) -> Result<Handle, SendError> {
        let name = self.core.name();
        let message = Message::empty(Type::Confirmable, 0);
        let retransmits = self.core.config.transmission.max_retransmit;
        let outgoing = Outgoing { message, owner: Owner::Ping(name), counts: true, retransmits };
        self.core.submit(now, peer, outgoing)?;
        self.settle(now);
        Ok(Handle(name))
    }

    /// Forgets a request or observation: no event will come for it. A notification that comes later gets a reset, which ends
    /// the observation at the other side too.
    pub fn forget(&mut self, now: Instant, handle: Handle) {
        self.remove_exchange(now, handle.0);
        self.settle(now);
    }

    /// Ends an observation with a request (RFC 7641 section 3.6); the last event of the handle is its answer.
    ///
    /// # Errors
    /// [`SendError::Gone`] when the handle does not observe; [`SendError::Busy`] when too much waits for that peer.
    pub fn deregister(&mut self, now: Instant, handle: Handle) -> Result<(), SendError> {
        let exchange = self.client.exchanges.get_mut(&handle.0).ok_or(SendError::Gone)?;
        let observation = exchange.observation.take().ok_or(SendError::Gone)?;
        let peer = exchange.peer.clone();
        let fetching = exchange.leg.take();
        exchange.transfer.abandon_download();
        exchange.notification = false;
        exchange.transfer.set_option(number::OBSERVE, Bytes::from_static(&[1]));
        self.core.timers.cancel(observation.stale);
        if let Some(leg) = fetching {
            self.drop_leg(now, &peer, handle.0, leg);
        }
        let sent = self.send_leg(now, handle.0, Some(observation.token));
        if sent.is_err() {
            self.remove_exchange(now, handle.0);
        }
        self.settle(now);
        sent
    }

    /// A response whose token is known: gives its exchange.
    pub(crate) fn exchange_of(&self, peer: &P, token: &Token) -> Option<u64> {
        self.client.by_token.get(&(peer.clone(), token.clone())).copied()
    }

    /// A request got its message id.
    pub(crate) fn on_request_sent(&mut self, now: Instant, name: u64, mid: u16) {
        let Some(leg) = self.client.exchanges.get_mut(&name).and_then(|exchange| exchange.leg.as_mut())
        else {
            return;
        };
        leg.mid = Some(mid);
        let at = now + self.core.config.transmission.response_timeout;
        leg.deadline = Some(self.core.timers.schedule(at, Task::Deadline(name)));
    }

    /// A response to one of ours.
    pub(crate) fn on_response(&mut self, now: Instant, name: u64, mut message: Message) {
        let place = Place::Response;
        let sane = sanitise(&mut message.options, place, &self.core.config.understood).is_ok();
        let Some(exchange) = self.client.exchanges.get_mut(&name) else { return };
        let peer = exchange.peer.clone();
        let mine = exchange.leg.take_if(|leg| leg.token == message.token);
        let observed = exchange.observation.as_ref().is_some_and(|seen| seen.token == message.token);
        let leg_done = mine.is_some();
        if let Some(leg) = mine {
            if let Some(mid) = leg.mid {
                self.core.resolve(now, &peer, mid);
            }
            self.core.timers.cancel(leg.deadline);
            if !observed {
                self.client.by_token.remove(&(peer.clone(), leg.token));
            }
        }
        if !sane {
            self.core.stats.bad_options += 1;
            return self.fail(now, name, Failure::BadOption);
        }
        if leg_done {
            self.on_answer(now, name, message);
        } else if observed {
            self.on_notification(now, name, message);
        }
    }

    /// A request or observation failed for good.
    pub(crate) fn fail(&mut self, now: Instant, name: u64, failure: Failure) {
        if let Some(peer) = self.remove_exchange(now, name) {
            self.core.events.push_back(Event::Failed { handle: Handle(name), peer, failure });
        }
    }

    /// What a message of that request came to, when it was not an answer. An observation survives that one of its bodies
    /// could not be fetched.
    pub(crate) fn fail_leg(&mut self, now: Instant, name: u64, failure: Failure) {
        let Some(exchange) = self.client.exchanges.get_mut(&name) else { return };
        if exchange.observation.is_some() && exchange.notification && failure != Failure::Unreachable {
            let peer = exchange.peer.clone();
            exchange.transfer.abandon_download();
            self.core.stats.transfers_lost += 1;
            if let Some(leg) = exchange.leg.take() {
                self.drop_leg(now, &peer, name, leg);
            }
            return;
        }
        self.fail(now, name, failure);
    }

    pub(crate) fn on_stale(&mut self, name: u64) {
        let exchange = self.client.exchanges.get_mut(&name);
        if let Some(observation) = exchange.and_then(|exchange| exchange.observation.as_mut()) {
            observation.stale = None;
            self.core.events.push_back(Event::Stale { handle: Handle(name) });
        }
    }

    /// Everything of ours that concerns that peer fails.
    pub(crate) fn fail_peer(&mut self, now: Instant, peer: &P, failure: Failure) {
        for name in self.client.by_peer.get(peer).cloned().unwrap_or_default() {
            self.fail(now, name, failure);
        }
    }

    fn on_answer(&mut self, now: Instant, name: u64, message: Message) {
        let Some(exchange) = self.client.exchanges.get_mut(&name) else { return };
        let echo = message.options.get(number::ECHO).cloned();
        if let Some(value) = echo.filter(|_| message.code == Code::UNAUTHORIZED && !exchange.echoed) {
            exchange.echoed = true;
            exchange.transfer.set_option(number::ECHO, value);
            return self.go_on(now, name);
        }
        let asked = exchange.transfer.request().options.uint(number::OBSERVE) == Some(0);
        let sequence = message.options.uint(number::OBSERVE);
        if let Some(sequence) =
            sequence.filter(|_| asked && message.code.is_success() && exchange.observation.is_none())
        {
            let token = message.token.clone();
            self.client.by_token.insert((exchange.peer.clone(), token.clone()), name);
            exchange.observation = Some(Observation { token, newest: (sequence, now), stale: None });
        }
        self.take_part(now, name, message);
    }

    fn on_notification(&mut self, now: Instant, name: u64, message: Message) {
        let Some(exchange) = self.client.exchanges.get_mut(&name) else { return };
        let Some(observation) = &mut exchange.observation else { return };
        let sequence = message.options.uint(number::OBSERVE).filter(|_| message.code.is_success());
        let peer = exchange.peer.clone();
        if let Some(sequence) = sequence {
            let (newest, at) = observation.newest;
            if !is_newer(sequence, newest) && now <= at + REORDERING {
                self.core.stats.notifications_late += 1;
                return;
            }
            observation.newest = (sequence, now);
        } else {
            self.core.timers.cancel(observation.stale);
            self.client.by_token.remove(&(peer.clone(), observation.token.clone()));
            exchange.observation = None;
        }
        // The body that was being fetched is of an older state.
        exchange.transfer.abandon_download();
        exchange.notification = true;
        if let Some(leg) = exchange.leg.take() {
            self.core.stats.transfers_lost += 1;
            self.drop_leg(now, &peer, name, leg);
        }
        self.take_part(now, name, message);
    }

    /// A response or its first or next block.
    fn take_part(&mut self, now: Instant, name: u64, message: Message) {
        let Some(exchange) = self.client.exchanges.get_mut(&name) else { return };
        let response = Response { code: message.code, options: message.options, body: message.payload };
        match exchange.transfer.response(&self.core.config, response) {
            Next::Send => self.go_on(now, name),
            Next::Done(response) => self.deliver(now, name, response),
            Next::BadBlocks => self.fail_leg(now, name, Failure::BadBlocks),
            Next::TooLong => self.fail_leg(now, name, Failure::TooLong),
        }
    }

    fn go_on(&mut self, now: Instant, name: u64) {
        if self.send_leg(now, name, None).is_err() {
            self.core.stats.dropped += 1;
            self.fail_leg(now, name, Failure::TimedOut);
        }
    }

    fn deliver(&mut self, now: Instant, name: u64, response: Response) {
        let Some(exchange) = self.client.exchanges.get_mut(&name) else { return };
        let (handle, peer) = (Handle(name), exchange.peer.clone());
        let observing = exchange.observation.is_some();
        let notification = std::mem::replace(&mut exchange.notification, true);
        if let Some(observation) = &mut exchange.observation {
            let at = now + Duration::from_secs(response.max_age().into()) + LATENCY;
            self.core.timers.cancel(observation.stale);
            observation.stale = Some(self.core.timers.schedule(at, Task::Stale(name)));
        } else {
            self.remove_exchange(now, name);
        }
        self.core.events.push_back(if notification {
            Event::Notification { handle, peer, response, observing }
        } else {
            Event::Response { handle, peer, response, observing }
        });
    }

    /// Sends the next message of an exchange, with that token or a new one.
    fn send_leg(&mut self, now: Instant, name: u64, token: Option<Token>) -> Result<(), SendError> {
        let token = token.unwrap_or_else(|| self.fresh_token());
        let exchange = self.client.exchanges.get_mut(&name).ok_or(SendError::Gone)?;
        let plain = exchange.observation.is_some();
        let (options, payload): (Options, Bytes) =
            exchange.transfer.message(&self.core.config, plain, &mut self.core.random);
        let request = exchange.transfer.request();
        let kind = if request.confirmable { Type::Confirmable } else { Type::NonConfirmable };
        let message = Message { kind, code: request.code, mid: 0, token: token.clone(), options, payload };
        let peer = exchange.peer.clone();
        exchange.leg = Some(Leg { token: token.clone(), mid: None, deadline: None });
        self.client.by_token.insert((peer.clone(), token), name);
        let retransmits = self.core.config.transmission.max_retransmit;
        let outgoing = Outgoing { message, owner: Owner::Request(name), counts: true, retransmits };
        self.core.submit(now, &peer, outgoing)?;
        // The id must be known before anything else happens to the exchange.
        self.settle(now);
        Ok(())
    }

    fn drop_leg(&mut self, now: Instant, peer: &P, name: u64, leg: Leg) {
        self.core.timers.cancel(leg.deadline);
        self.client.by_token.remove(&(peer.clone(), leg.token));
        self.core.withdraw(peer, Owner::Request(name));
        if let Some(mid) = leg.mid {
            self.core.resolve(now, peer, mid);
        }
    }

    fn remove_exchange(&mut self, now: Instant, name: u64) -> Option<P> {
        let exchange = self.client.exchanges.remove(&name)?;
        let peer = exchange.peer;
        if let Some(observation) = exchange.observation {
            self.core.timers.cancel(observation.stale);
            self.client.by_token.remove(&(peer.clone(), observation.token));
        }
        if let Some(own) = self.client.by_peer.get_mut(&peer) {
            own.retain(|other| *other != name);
            if own.is_empty() {
                self.client.by_peer.remove(&peer);
            }
        }
        if let Some(leg) = exchange.leg {
            self.drop_leg(now, &peer, name, leg);
        }
        Some(peer)
    }

    fn fresh_token(&mut self) -> Token {
        let bytes = (self.core.random)().to_le_bytes();
        Token::new(&bytes[..self.core.config.tokens.length.clamp(4, 8)])
    }
}
