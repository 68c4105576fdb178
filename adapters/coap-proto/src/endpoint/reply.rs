//! From a response to datagrams: entity tags, blocks (RFC 7959 section 2.4), No-Response (RFC 7967), piggybacked, separate
//! or non-confirmable (RFC 7252 section 5.2), and what an unverified peer gets. Not here: which response.

use std::hash::Hash;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::block::Portion;
use crate::dedup::digest;
use crate::stream::BASE_MESSAGE;
use crate::{Block, Code, Config, Instead, Message, Options, Response, Szx, Token, Type, number};

use super::Endpoint;
use super::core::{Outgoing, Owner, Task};
use super::uploads::preferred;

/// Bytes of an empty acknowledgement.
const EMPTY: usize = 4;

/// A request as a message: what its answer needs.
#[derive(Debug, Clone)]
pub(crate) struct Inbound<P> {
    pub(crate) peer: P,
    pub(crate) mid: u16,
    /// Its name in the memory of duplicates.
    pub(crate) seen: u64,
    pub(crate) confirmable: bool,
    pub(crate) token: Token,
    /// Bytes of the datagram.
    pub(crate) length: usize,
    /// The value of No-Response: a bit per class that nobody wants.
    pub(crate) unwanted: u32,
    /// Whether an empty acknowledgement has left.
    pub(crate) acknowledged: bool,
    pub(crate) multicast: bool,
}

/// Cuts the block that is asked for out of a response. The second value says whether it is the first of several.
pub(crate) fn cut(response: &Response, asked: Option<Block>, largest: Portion) -> (Response, bool) {
    let Portion { szx, bytes } = asked.map_or(largest, |block| largest.at_most(block.szx));
    let body = &response.body;
    if asked.is_none() && body.len() <= bytes {
        return (response.clone(), false);
    }
    let offset = asked.map_or(0, Block::offset);
    if offset > 0 && offset >= body.len() {
        return (Response::error(Code::BAD_REQUEST, "no such block"), false);
    }
    let end = body.len().min(offset + bytes);
    let more = end < body.len();
    let last = body.len().saturating_sub(1) / szx.bytes();
    let Some(block) = Block::at(offset, more, szx).filter(|_| last <= Block::MAX_NUM as usize) else {
        return (Response::error(Code::INTERNAL_SERVER_ERROR, "too long for blocks of that size"), false);
    };
    let mut part =
        Response { code: response.code, options: response.options.clone(), body: body.slice(offset..end) };
    part.options.set_uint(number::BLOCK2, block.value());
    if more && offset == 0 {
        part.options.set_uint(number::SIZE2, body.len() as u32);
    }
    if (more || offset > 0) && response.code.is_success() && !part.options.has(number::ETAG) {
        part.options.push(number::ETAG, tag(response));
    }
    (part, more && offset == 0)
}

/// An entity tag made of what the response says.
fn tag(response: &Response) -> Bytes {
    let format = response.options.uint(number::CONTENT_FORMAT).map_or(0, |format| u64::from(format) + 1);
    Bytes::copy_from_slice(&(digest(&response.body) ^ format.rotate_left(32)).to_be_bytes())
}

/// 2.03 without a body in the place of a representation that the client holds (RFC 7252 section 5.10.6.2).
pub(crate) fn validate(response: &mut Response, held: &[Bytes]) {
    let known = response.options.get(number::ETAG).is_some_and(|tag| held.contains(tag));
    if known && response.code == Code::CONTENT {
        response.code = Code::VALID;
        response.body = Bytes::new();
        response.options.remove(number::CONTENT_FORMAT);
    }
}

impl<P: Clone + Eq + Hash> Endpoint<P> {
    /// Whether the whole response goes over the peer's stream in one message.
    pub(crate) fn fits_stream(&self, peer: &P, token: &Token, response: &Response) -> bool {
        let length = encoded_head(token, &response.options) + STREAM_HEAD + 1 + response.body.len();
        self.core.config.stream.is_some() && length <= self.message_limit(peer)
    }

    /// The most that goes over the peer's stream in one message.
    pub(crate) fn largest_streamed(&self, peer: &P, token: &Token, response: &Response) -> Portion {
        self.portion(peer, encoded_head(token, &response.options))
    }

    /// The most that goes to a peer in one message with such a head.
    pub(crate) fn portion(&self, peer: &P, head: usize) -> Portion {
        let size = self.core.config.blockwise.size;
        if self.core.config.stream.is_none() {
            return Portion::one(size);
        }
        let room = self.message_limit(peer).saturating_sub(head + STREAM_HEAD + BLOCK_OPTIONS);
        match size {
            Szx::MAX if self.streams.get(peer).is_some_and(|limits| limits.bert) => Portion::several(room),
            _ => Portion::one(size.min(Szx::fitting(room))),
        }
    }

    fn message_limit(&self, peer: &P) -> usize {
        self.streams.get(peer).map_or(BASE_MESSAGE, |limits| limits.max_message)
    }

    /// The most in one message for that peer, whose request had that many bytes.
    pub(crate) fn largest_block(&self, now: Instant, inbound: &Inbound<P>, response: &Response) -> Portion {
        if self.core.config.stream.is_some() {
            return self.largest_streamed(&inbound.peer, &inbound.token, response);
        }
        let size = self.core.config.blockwise.size;
        match &self.core.config.unverified {
            Some(policy) if policy.instead == Instead::SmallBlocks && !self.trusts(now, &inbound.peer) => {
                let head = encoded_head(&inbound.token, &response.options) + BLOCK_OPTIONS;
                Portion::one(size.min(Szx::fitting((policy.factor * inbound.length).saturating_sub(head))))
            }
            _ => Portion::one(size),
        }
    }

    /// Whether the peer may get answers of any length.
    pub(crate) fn trusts(&self, now: Instant, peer: &P) -> bool {
        let Some(policy) = &self.core.config.unverified else { return true };
        self.echo.is_verified(now, peer, policy.echo_lifetime)
    }

    /// Sends the one answer to a message.
    pub(crate) fn reply(&mut self, now: Instant, inbound: &Inbound<P>, response: Response) {
        let class = response.code.class();
        let unwanted = class > 0 && inbound.unwanted & 1 << (class - 1) != 0;
        if unwanted || (inbound.multicast && !response.code.is_success()) {
            return self.no_answer(inbound);
        }
        let mut message = Message {
            kind: Type::Acknowledgement,
            code: response.code,
            mid: inbound.mid,
            token: inbound.token.clone(),
            options: response.options,
            payload: response.body,
        };
        let datagram = if inbound.multicast {
            message.encode()
        } else {
            match self.guarded(now, inbound, &mut message) {
                Some(datagram) => datagram,
                None => return self.no_answer(inbound),
            }
        };
        if inbound.confirmable && !inbound.acknowledged {
            self.core.dedup.answer(&self.core.config, &inbound.peer, inbound.seen, Some(datagram.clone()));
            return self.core.transmit(inbound.peer.clone(), datagram);
        }
        let confirmable = inbound.confirmable;
        message.kind = if confirmable { Type::Confirmable } else { Type::NonConfirmable };
        let retransmits = self.retransmits(now, inbound, datagram.len());
        if !confirmable {
            self.core.dedup.answer(&self.core.config, &inbound.peer, inbound.seen, None);
        }
        if inbound.multicast {
            return self.reply_later(now, inbound, message);
        }
        let outgoing = Outgoing { message, owner: Owner::Response, counts: false, retransmits };
        if self.core.submit(now, &inbound.peer, outgoing).is_err() {
            self.core.stats.dropped += 1;
        }
    }

    /// How often an answer of that length may be sent again: to an unverified peer, all of it together is no longer than one
    /// answer may be.
    fn retransmits(&self, now: Instant, inbound: &Inbound<P>, length: usize) -> u32 {
        let most = self.core.config.transmission.max_retransmit;
        match &self.core.config.unverified {
            Some(policy) if !self.trusts(now, &inbound.peer) => {
                let left = (policy.factor * inbound.length).saturating_sub(EMPTY);
                most.min((left / length).saturating_sub(1) as u32)
            }
            _ => most,
        }
    }

    /// Tells a client to repeat its request with an Echo value (RFC 9175 section 2.3).
    pub(crate) fn challenge_inbound(&mut self, now: Instant, inbound: &Inbound<P>) {
        let value = self.echo.issue(now, &inbound.peer);
        self.core.stats.challenged += 1;
        self.reply(now, inbound, Response::new(Code::UNAUTHORIZED).with(number::ECHO, value));
    }

    /// Acknowledges a message whose answer comes later.
    pub(crate) fn acknowledge(&mut self, inbound: &mut Inbound<P>) {
        if inbound.confirmable && !inbound.acknowledged {
            inbound.acknowledged = true;
            let datagram = self.core.transmit_empty(inbound.peer.clone(), Type::Acknowledgement, inbound.mid);
            self.core.dedup.answer(&self.core.config, &inbound.peer, inbound.seen, Some(datagram));
        }
    }

    fn no_answer(&mut self, inbound: &Inbound<P>) {
        if inbound.confirmable {
            self.acknowledge(&mut inbound.clone());
        } else {
            self.core.dedup.answer(&self.core.config, &inbound.peer, inbound.seen, None);
        }
    }

    /// The datagram, shortened or replaced when the peer is unverified and it is too long; `None` when even that is.
    fn guarded(&mut self, now: Instant, inbound: &Inbound<P>, message: &mut Message) -> Option<Bytes> {
        let datagram = message.encode();
        let Some(policy) = &self.core.config.unverified else { return Some(datagram) };
        let most = policy.factor * inbound.length;
        if datagram.len() <= most || self.trusts(now, &inbound.peer) {
            return Some(datagram);
        }
        if message.code.is_success() {
            if policy.instead == Instead::SmallBlocks {
                return Some(datagram);
            }
            self.core.stats.challenged += 1;
            message.code = Code::UNAUTHORIZED;
            let value = self.echo.issue(now, &inbound.peer);
            message.options = [(number::ECHO, value)].into_iter().collect::<Options>();
        }
        message.payload = Bytes::new();
        Some(message.encode()).filter(|datagram| datagram.len() <= most)
    }

    /// An answer to a multicast waits a random part of the leisure (RFC 7252 section 8.2).
    fn reply_later(&mut self, now: Instant, inbound: &Inbound<P>, mut message: Message) {
        let leisure = self.core.config.transmission.leisure.as_millis().max(1) as u64;
        let wait = Duration::from_millis((self.core.random)() % leisure);
        message.mid = (self.core.random)() as u16;
        let transmit = crate::Transmit { peer: inbound.peer.clone(), payload: message.encode() };
        if self.core.delayed < self.core.config.limits.pending {
            self.core.delayed += 1;
            self.core.timers.schedule(now + wait, Task::Transmit(transmit));
        }
    }
}

/// By how many bytes the head of a message on a stream may be longer than that of a datagram.
const STREAM_HEAD: usize = 2;
/// Block2, Size2, ETag and the payload marker, in bytes.
const BLOCK_OPTIONS: usize = 4 + 5 + 9 + 1;

/// At most.
pub(crate) fn encoded_head(token: &Token, options: &Options) -> usize {
    let options: usize = options.iter().map(|(_, value)| value.len() + 3).sum();
    4 + token.as_bytes().len() + options
}

/// What a transfer in blocks is known by: method and options, without those that change from block to block, and without these.
pub(crate) fn cache_key(code: Code, options: &Options, without: &[u16]) -> Bytes {
    const LEFT_OUT: [u16; 6] = [
        number::BLOCK1,
        number::BLOCK2,
        number::OBSERVE,
        number::CONTENT_FORMAT,
        number::ETAG,
        number::NO_RESPONSE,
    ];
    let counts = |number: &u16| {
        !LEFT_OUT.contains(number) && !without.contains(number) && !crate::is_no_cache_key(*number)
    };
    let parts = || options.iter().filter(|(number, _)| counts(number));
    let length: usize = parts().map(|(_, value)| 4 + value.len()).sum();
    let mut key = Vec::with_capacity(1 + length);
    key.push(code.0);
    for (number, value) in parts() {
        key.extend_from_slice(&number.to_be_bytes());
        key.extend_from_slice(&(value.len() as u16).to_be_bytes());
        key.extend_from_slice(value);
    }
    key.into()
}

/// 4.13 with what would be taken: a smaller block and the longest body (RFC 7959 section 2.9.3).
pub(crate) fn too_large(config: &Config, block: Option<Block>) -> Response {
    let szx = block.map_or(config.blockwise.size, |block| preferred(config, block.szx));
    let hint = Block { num: block.map_or(0, |block| block.num), more: block.is_some_and(|b| b.more), szx };
    Response::new(Code::REQUEST_ENTITY_TOO_LARGE)
        .with_uint(number::BLOCK1, hint.value())
        .with_uint(number::SIZE1, config.blockwise.max_body as u32)
}
