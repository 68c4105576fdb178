//! The server role: what a request must look like, its blocks, and its way to the application and back. Not here: what is
//! sent (`reply`), observers.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use bytes::Bytes;

use crate::dedup::digest;
use crate::event::{Event, ObservationId, RequestId, SendError};
use crate::link_format::{LINK_FORMAT, Link, render};
use crate::registry::{Place, sanitise};
use crate::timers::TimerKey;
use crate::{Block, Code, Instead, Message, Options, Request, Response, Type, number};

use super::Endpoint;
use super::core::Task;
use super::reply::{Inbound, cache_key, cut, too_large, validate};
use super::snapshots::{Question, Snapshots};
use super::uploads::{Key, Step, Uploads, preferred};

/// A request that waits for the application.
#[derive(Debug)]
struct Pending<P> {
    inbound: Inbound<P>,
    terms: Terms<P>,
    /// Acknowledges it; then, or when there is nothing to acknowledge, gives it up.
    timer: TimerKey,
    gives_up: Instant,
}

/// What an answer must heed.
#[derive(Debug, Clone)]
pub(crate) struct Terms<P> {
    pub(crate) key: Key<P>,
    pub(crate) question: Question,
    pub(crate) safe: bool,
    pub(crate) etags: Vec<Bytes>,
    pub(crate) block1: Option<Block>,
    pub(crate) block2: Option<Block>,
    pub(crate) observe: bool,
}

pub(crate) struct Server<P> {
    pending: HashMap<u64, Pending<P>>,
    by_peer: HashMap<P, Vec<u64>>,
    pub(crate) uploads: Uploads<P>,
    pub(crate) snapshots: Snapshots<P>,
    pub(crate) links: Option<Vec<Link>>,
}

impl<P: Clone + Eq + Hash> Server<P> {
    pub(crate) fn new() -> Self {
        Server {
            pending: HashMap::new(),
            by_peer: HashMap::new(),
            uploads: Uploads::new(),
            snapshots: Snapshots::new(),
            links: None,
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn has_pending(&self, peer: &P) -> bool {
        self.by_peer.contains_key(peer)
    }

    fn remove(&mut self, name: u64) -> Option<Pending<P>> {
        let pending = self.pending.remove(&name)?;
        let peer = &pending.inbound.peer;
        if let Some(own) = self.by_peer.get_mut(peer) {
            own.retain(|other| *other != name);
            if own.is_empty() {
                self.by_peer.remove(peer);
            }
        }
        Some(pending)
    }
}

impl<P: Clone + Eq + Hash> Endpoint<P> {
    /// Answers a request. Blocks, entity tags, acknowledgements and repetitions are taken care of.
    ///
    /// # Errors
    /// [`SendError::Gone`] when the request was answered or has expired; [`SendError::Invalid`] when the code is no
    /// response, which leaves the request open.
    pub fn respond(&mut self, now: Instant, id: RequestId, response: Response) -> Result<(), SendError> {
        self.answer(now, id, response, false).map(|_| ())
    }

    /// Answers a request and, when it asks for that and the answer is a success, takes its sender as an observer
    /// (RFC 7641 section 4.1). `None`: it does not observe, for want of room or because it did not ask.
    ///
    /// # Errors
    /// As [`Endpoint::respond`].
    pub fn respond_observing(
        &mut self,
        now: Instant,
        id: RequestId,
        response: Response,
    ) -> Result<Option<ObservationId>, SendError> {
        self.answer(now, id, response, true)
    }

    /// Answers a request with 4.01 and an Echo value: its sender shall show that it is there now (RFC 9175 section 2.3).
    ///
    /// # Errors
    /// [`SendError::Gone`] when the request was answered or has expired.
    pub fn challenge(&mut self, now: Instant, id: RequestId) -> Result<(), SendError> {
        let pending = self.take(id.0).ok_or(SendError::Gone)?;
        self.challenge_inbound(now, &pending.inbound);
        self.settle(now);
        Ok(())
    }

    /// Lets `/.well-known/core` be answered from these links, filters included (RFC 6690).
    pub fn set_links(&mut self, links: Vec<Link>) {
        self.server.links = Some(links);
    }

    /// A request, not a duplicate.
    pub(crate) fn on_request(&mut self, now: Instant, mut inbound: Inbound<P>, mut message: Message) {
        let understood = &self.core.config.understood;
        let sane = sanitise(&mut message.options, Place::Request, understood);
        if !message.options.has(number::OBSERVE) {
            inbound.unwanted = message.options.uint(number::NO_RESPONSE).unwrap_or(0);
        }
        if let Err(number) = sane {
            self.core.stats.bad_options += 1;
            if inbound.confirmable || self.core.config.stream.is_some() {
                let text = format!("option {number} is not understood");
                return self.reply(now, &inbound, Response::error(Code::BAD_OPTION, &text));
            }
            // RFC 7252 section 5.4.1: a non-confirmable message is rejected.
            self.core.dedup.answer(&self.core.config, &inbound.peer, inbound.seen, None);
            if !inbound.multicast {
                self.core.transmit_empty(inbound.peer, Type::Reset, message.mid);
            }
            return;
        }
        if let Err(refusal) = check(&message) {
            return self.reply(now, &inbound, refusal);
        }
        let of = self.core.config.block_reader();
        let blocks = of(&message.options, number::BLOCK1)
            .and_then(|block1| Ok((block1, of(&message.options, number::BLOCK2)?)));
        let Ok(blocks) = blocks else {
            let refusal = Response::error(Code::BAD_REQUEST, "a reserved block size");
            return self.reply(now, &inbound, refusal);
        };
        self.take_blocks(now, inbound, message, blocks);
    }

    /// A request of which only the first bytes fit into the buffer: nothing of it is processed.
    pub(crate) fn on_truncated_request(&mut self, now: Instant, inbound: &Inbound<P>, message: &Message) {
        let block = Block::of(&message.options, number::BLOCK1).ok().flatten();
        let refusal = too_large(&self.core.config, block);
        self.reply(now, inbound, refusal);
    }

    /// The peer began anew with this message id: an answer to the old request would answer the new one.
    pub(crate) fn mute(&mut self, peer: &P, mid: u16) {
        for name in self.server.by_peer.get(peer).cloned().unwrap_or_default() {
            if self.server.pending.get(&name).is_some_and(|pending| pending.inbound.mid == mid) {
                self.take(name);
            }
        }
    }

    /// A duplicate of a request that the application still has.
    pub(crate) fn on_running_duplicate(&mut self, peer: &P, mid: u16) {
        let names = self.server.by_peer.get(peer).cloned().unwrap_or_default();
        for name in names {
            self.acknowledge_pending(name, Some(mid));
        }
    }

    /// The application takes its time: the request gets an empty acknowledgement.
    pub(crate) fn acknowledge_pending(&mut self, name: u64, mid: Option<u16>) {
        let Some(pending) = self.server.pending.get_mut(&name) else { return };
        if !pending.inbound.acknowledged && mid.is_none_or(|mid| mid == pending.inbound.mid) {
            let mut inbound = pending.inbound.clone();
            pending.inbound.acknowledged = true;
            self.core.timers.cancel(Some(pending.timer));
            pending.timer = self.core.timers.schedule(pending.gives_up, Task::GiveUpPending(name));
            self.acknowledge(&mut inbound);
        }
    }

    /// The application never answered.
    pub(crate) fn give_up_pending(&mut self, name: u64) {
        if self.take(name).is_some() {
            self.core.stats.unanswered += 1;
        }
    }

    pub(crate) fn forget_pending(&mut self, peer: &P) {
        for name in self.server.by_peer.get(peer).cloned().unwrap_or_default() {
            self.take(name);
        }
    }

    /// Brings a response into the form that the request asked for, and sends it.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        inbound: &Inbound<P>,
        terms: &Terms<P>,
        mut response: Response,
        observe: bool,
    ) -> Option<ObservationId> {
        if terms.safe {
            validate(&mut response, &terms.etags);
        }
        let whole = response.clone();
        let mut observation = None;
        if observe && terms.observe && response.code.is_success() {
            let policy = self.core.config.unverified.as_ref();
            let asks = policy.is_some_and(|policy| policy.instead == Instead::Echo);
            // Notifications to an address that never asked would be worse than any long answer.
            if asks && !self.trusts(now, &inbound.peer) {
                self.challenge_inbound(now, inbound);
                return None;
            }
            observation = self.observe(now, inbound, terms, &mut response);
        }
        let (mut part, first_of_many) = match self.fits_stream(&inbound.peer, &inbound.token, &response) {
            true if terms.block2.is_none() => (response, false),
            _ => cut(&response, terms.block2, self.largest_block(now, inbound, &response)),
        };
        if first_of_many {
            let Terms { key, question, .. } = terms;
            let core = &mut self.core;
            let mut whole = whole;
            if let Some(tag) = part.options.get(number::ETAG) {
                whole.options.set(number::ETAG, tag.clone());
            }
            self.server.snapshots.keep(now, (&core.config, &mut core.timers), key, *question, &whole);
        }
        if let Some(block) = terms.block1 {
            let szx = preferred(&self.core.config, block.szx);
            part.options.set_uint(number::BLOCK1, Block { num: block.num, more: false, szx }.value());
        }
        self.reply(now, inbound, part);
        observation
    }

    fn answer(
        &mut self,
        now: Instant,
        id: RequestId,
        response: Response,
        observe: bool,
    ) -> Result<Option<ObservationId>, SendError> {
        if !response.code.is_response() {
            return Err(SendError::Invalid);
        }
        let pending = self.take(id.0).ok_or(SendError::Gone)?;
        let observation = self.finish(now, &pending.inbound, &pending.terms, response, observe);
        self.settle(now);
        Ok(observation)
    }

    fn take(&mut self, name: u64) -> Option<Pending<P>> {
        let pending = self.server.remove(name)?;
        self.core.timers.cancel(Some(pending.timer));
        Some(pending)
    }

    /// Serves a later block from memory, or puts the body together.
    fn take_blocks(
        &mut self,
        now: Instant,
        inbound: Inbound<P>,
        mut message: Message,
        (block1, block2): (Option<Block>, Option<Block>),
    ) {
        let untagged = &[number::REQUEST_TAG];
        let key: Key<P> = (inbound.peer.clone(), cache_key(message.code, &message.options, untagged));
        let safe = message.code.is_safe();
        let format = message.options.uint(number::CONTENT_FORMAT).map(|format| format as u16);
        if let Some(later) =
            block2.filter(|block| block.num > 0 && block1.is_none_or(|b| b.num == 0 && !b.more))
        {
            let question = question(format, &message.payload, &message.options);
            let core = &mut self.core;
            let kept = self.server.snapshots.get(now, (&core.config, &mut core.timers), &key, question);
            if let Some(response) = kept {
                let largest = self.largest_block(now, &inbound, &response);
                let (part, _) = cut(&response, Some(later), largest);
                return self.reply(now, &inbound, part);
            }
            // Without the memory of the first answer, only what is safe and complete may run again.
            if !safe || (message.code == Code::FETCH && message.payload.is_empty()) {
                let refusal = Response::error(Code::REQUEST_ENTITY_INCOMPLETE, "the transfer is not known");
                return self.reply(now, &inbound, refusal);
            }
        }
        let step = match block1 {
            Some(block) => {
                let announced = message.options.uint(number::SIZE1);
                let tagged: Key<P> = (inbound.peer.clone(), cache_key(message.code, &message.options, &[]));
                let core = &mut self.core;
                self.server.uploads.block(
                    now,
                    (&core.config, &mut core.timers),
                    &tagged,
                    (block, &message.payload),
                    (format, announced),
                )
            }
            None if message.payload.len() > self.core.config.blockwise.max_body => Step::TooLarge,
            None => Step::Complete(message.payload),
        };
        let refusal = match step {
            Step::Complete(body) => {
                let etags = message.options.all(number::ETAG).cloned().collect();
                let observe = message.options.uint(number::OBSERVE);
                let terms = Terms {
                    key,
                    question: question(format, &body, &message.options),
                    safe,
                    etags,
                    block1,
                    block2,
                    observe: safe && observe == Some(0) && block2.is_none_or(|block| block.num == 0),
                };
                message.payload = body;
                return self.admit(now, inbound, terms, message);
            }
            Step::Continue => {
                let more =
                    block1.map(|block| Block { szx: preferred(&self.core.config, block.szx), ..block });
                Response::new(Code::CONTINUE).with_uint(number::BLOCK1, more.map_or(0, Block::value))
            }
            Step::Incomplete => Response::error(Code::REQUEST_ENTITY_INCOMPLETE, "blocks are missing"),
            Step::TooLarge => too_large(&self.core.config, block1),
            Step::Bad => Response::error(Code::BAD_REQUEST, "a block of another length than it says"),
            Step::Full => {
                self.core.stats.overloaded += 1;
                Response::unavailable(RETRY_SECONDS)
            }
        };
        self.reply(now, &inbound, refusal);
    }

    /// Hands a whole request to the application.
    fn admit(&mut self, now: Instant, inbound: Inbound<P>, terms: Terms<P>, message: Message) {
        let peer = inbound.peer.clone();
        let echo = message.options.get(number::ECHO).and_then(|value| self.echo.age(now, &peer, value));
        let lifetime = self.core.config.unverified.as_ref().map(|policy| policy.echo_lifetime);
        if echo.is_some_and(|age| lifetime.is_some_and(|lifetime| age < lifetime)) {
            self.echo.verify(now, &peer, self.core.config.limits.verified);
        }
        if terms.safe && !terms.observe {
            self.on_plain_get(now, &peer, &inbound.token);
        }
        let mut request = Request {
            code: message.code,
            confirmable: inbound.confirmable,
            options: message.options,
            body: message.payload,
        };
        if is_discovery(&request)
            && let Some(links) = &self.server.links
        {
            let response = Response::content(LINK_FORMAT, render(links, request.query()));
            let unverified = self.core.config.unverified.as_ref();
            let asks = unverified.is_some_and(|policy| policy.instead == Instead::Echo);
            if asks && !inbound.multicast && !self.trusts(now, &peer) {
                return self.challenge_inbound(now, &inbound);
            }
            // A group is not answered with nothing (RFC 7252 section 8.2).
            if inbound.multicast && response.body.is_empty() {
                return;
            }
            let response = request.negotiate(&[LINK_FORMAT]).map_or_else(|refusal| refusal, |_| response);
            self.finish(now, &inbound, &terms, response, false);
            return;
        }
        let own = self.server.by_peer.get(&peer).map_or(0, Vec::len);
        let limits = &self.core.config.limits;
        if self.server.pending.len() >= limits.pending || own >= limits.pending_per_peer {
            self.core.stats.overloaded += 1;
            return self.reply(now, &inbound, Response::unavailable(RETRY_SECONDS));
        }
        for number in [number::BLOCK1, number::BLOCK2, number::OBSERVE, number::ECHO] {
            request.options.remove(number);
        }
        let name = self.core.name();
        let times = &self.core.config.transmission;
        let (delay, patience) = (times.ack_delay, times.handler_timeout);
        let gives_up = now + patience;
        // Most requests are answered before: one timer for each, not two.
        let timer = match inbound.confirmable && delay <= patience {
            true => self.core.timers.schedule(now + delay, Task::Acknowledge(name)),
            false => self.core.timers.schedule(gives_up, Task::GiveUpPending(name)),
        };
        let observe = terms.observe;
        let pending = Pending { inbound, terms, timer, gives_up };
        self.server.pending.insert(name, pending);
        self.server.by_peer.entry(peer.clone()).or_default().push(name);
        let id = RequestId(name);
        self.core.events.push_back(Event::Request { id, peer, request, observe, echo_age: echo });
    }
}

/// After how many seconds a client should come back when there is no room.
const RETRY_SECONDS: u32 = 5;

/// Names for the body and the tags of a request.
fn question(format: Option<u16>, body: &Bytes, options: &Options) -> Question {
    let mut tags = Vec::new();
    for tag in options.all(number::REQUEST_TAG) {
        tags.push(tag.len() as u8);
        tags.extend_from_slice(tag);
    }
    Question {
        body: (!body.is_empty()).then(|| digest(body) ^ format.map_or(0, |format| u64::from(format) + 1)),
        tags: (!tags.is_empty()).then(|| digest(&tags)),
    }
}

fn is_discovery(request: &Request) -> bool {
    request.code == Code::GET && request.path().eq([".well-known", "core"])
}

/// What every server says about a request before it looks at the resource.
fn check(message: &Message) -> Result<(), Response> {
    let Message { code, options, .. } = message;
    if options.has(number::PROXY_URI) || options.has(number::PROXY_SCHEME) {
        return Err(Response::error(Code::PROXYING_NOT_SUPPORTED, "this is no proxy"));
    }
    if *code > Code::IPATCH {
        return Err(Response::error(Code::METHOD_NOT_ALLOWED, "unknown method"));
    }
    if *code >= Code::FETCH && !options.has(number::CONTENT_FORMAT) {
        let text = "the method needs a content format";
        return Err(Response::error(Code::UNSUPPORTED_CONTENT_FORMAT, text));
    }
    if !is_text(options) {
        return Err(Response::error(Code::BAD_REQUEST, "a path or query that is not UTF-8"));
    }
    Ok(())
}

fn is_text(options: &Options) -> bool {
    [number::URI_HOST, number::URI_PATH, number::URI_QUERY]
        .iter()
        .flat_map(|number| options.all(*number))
        .all(|value| std::str::from_utf8(value).is_ok())
}
