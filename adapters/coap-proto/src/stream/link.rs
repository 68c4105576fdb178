//! One connection (RFC 8323 sections 3.3, 3.4, 4.2 and 5): bytes in, messages and signals out, and why it ends. Not here: sockets, TLS,
//! frames of WebSocket, what a request does, what waits to be written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::signal::{self, Signal, Unknown};
use super::{BASE_MESSAGE, Framing, frame_length};
use crate::{Code, Fault, Message, Token};

/// What a connection may do, and how long it may take.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// What keeps messages apart.
    pub framing: Framing,
    /// The longest message that is taken, bytes.
    pub max_message: u32,
    /// The longest token that is taken, bytes.
    pub max_token: usize,
    /// For the peer's settings, which come first, and for a message whose begin has come: 30 s.
    pub patience: Duration,
    /// After which silence the peer is asked whether it is there, 5 min: less than most NATs forget a connection in.
    pub ask_after: Duration,
    /// For the answer to that, 30 s.
    pub answer_within: Duration,
}

impl Default for LinkConfig {
    fn default() -> Self {
        LinkConfig {
            framing: Framing::Length,
            max_message: 1 << 16,
            max_token: 8,
            patience: Duration::from_secs(30),
            ask_after: Duration::from_secs(300),
            answer_within: Duration::from_secs(30),
        }
    }
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// What the peer takes from now on.
    Settled(StreamLimits),
    /// A request or response.
    Message(Message),
    /// To be answered with [`signal::pong`].
    Ping {
        /// To be repeated.
        token: Token,
        /// Whether the answer should say that everything before it has been dealt with.
        custody: bool,
    },
    /// The peer sends no more requests, and ends when it has its answers.
    Released,
    /// It is over. Nothing comes after this, and what is to be sent is all there is.
    Ended(End),
}

/// What a peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// The longest message, bytes.
    pub max_message: usize,
    /// Whether it knows several blocks in one message (RFC 8323 section 6).
    pub bert: bool,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer said so.
    Aborted,
    /// What came is no message.
    Malformed(Fault),
    /// A message over our limit.
    TooLong,
    /// Something came before the peer's settings, or they did not come in time.
    Unsettled,
    /// A signal that must be understood, and is not.
    NotUnderstood,
    /// A message that began did not come to its end in time.
    Slow,
    /// The peer does not answer.
    Silent,
}

impl End {
    /// Why, for the peer.
    pub fn why(self) -> &'static str {
        match self {
            End::Aborted => "aborted",
            End::Malformed(_) => "not a message",
            End::TooLong => "the message is too long",
            End::Unsettled => "settings come first",
            End::NotUnderstood => "a signal that is not understood",
            End::Slow => "the message takes too long",
            End::Silent => "no answer to a ping",
        }
    }
}

/// One connection, without I/O: bytes and times in, events and bytes out. Drain events and bytes after every call.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    buffer: BytesMut,
    events: VecDeque<LinkEvent>,
    transmits: VecDeque<Bytes>,
    settled: bool,
    peer_limit: usize,
    /// Whether the peer knows transfers in blocks.
    blockwise: bool,
    began: Instant,
    /// When something came last.
    heard: Instant,
    /// When the message began of which the end has not come.
    partial: Option<Instant>,
    /// How long it will be, when what carries it says so.
    begun: usize,
    asked: Option<Instant>,
    is_over: bool,
}

impl Link {
    /// A connection that has just been made. Our settings go out at once.
    pub fn new(now: Instant, config: LinkConfig) -> Self {
        let settings = config.framing.encode(&signal::settings(config.max_message));
        Link {
            config,
            buffer: BytesMut::new(),
            events: VecDeque::new(),
            transmits: VecDeque::from([settings]),
            settled: false,
            peer_limit: BASE_MESSAGE,
            blockwise: false,
            began: now,
            heard: now,
            partial: None,
            begun: 0,
            asked: None,
            is_over: false,
        }
    }

    /// Takes what came; with [`Framing::Length`].
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        self.heard = now;
        let mut complete = false;
        while !self.is_over {
            match self.next_frame() {
                Ok(Some(frame)) => {
                    complete = true;
                    self.take_frame(&frame);
                }
                Ok(None) => break,
                Err(end) => self.end(end, None),
            }
        }
        self.partial = match (self.buffer.is_empty(), complete) {
            (true, _) => None,
            (false, true) => Some(now),
            (false, false) => self.partial.or(Some(now)),
        };
    }

    /// Takes a message that came; with [`Framing::Carrier`].
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        self.handle_begin(now, frame.len());
        (self.begun, self.partial) = (0, None);
        if !self.is_over {
            self.take_frame(frame);
        }
    }

    /// Something came, and of a message that is not whole so many bytes have come or are announced, or there is none; with
    /// [`Framing::Carrier`].
    pub fn handle_begin(&mut self, now: Instant, length: usize) {
        if self.is_over {
            return;
        }
        self.heard = now;
        self.begun = length;
        self.partial = (length > 0).then(|| self.partial.unwrap_or(now));
        if length > self.limit() {
            self.end(End::TooLong, None);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_over || self.next_timeout().is_none_or(|due| now < due) {
            return;
        }
        let is_past = |since: Option<Instant>, span| since.is_some_and(|since| now >= since + span);
        if !self.settled && now >= self.began + self.config.patience {
            self.end(End::Unsettled, None);
        } else if is_past(self.partial, self.config.patience) {
            self.end(End::Slow, None);
        } else if is_past(self.asked, self.config.answer_within) {
            self.end(End::Silent, None);
        } else if self.asked.is_none() && now >= self.heard + self.config.ask_after {
            self.asked = Some(now);
            self.transmits.push_back(self.config.framing.encode(&signal::ping(Token::default())));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; none when it is over.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let silence = match self.asked {
            Some(asked) => asked + self.config.answer_within,
            None => self.heard + self.config.ask_after,
        };
        let unsettled = (!self.settled).then(|| self.began + self.config.patience);
        let partial = self.partial.map(|since| since + self.config.patience);
        [Some(silence), unsettled, partial].into_iter().flatten().min()
    }

    /// What has come.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// What is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// How many bytes the message will have whose begin has come: no more than the limit.
    pub fn expected(&self) -> usize {
        frame_length(&self.buffer).ok().flatten().unwrap_or(self.begun).min(self.limit())
    }

    fn limit(&self) -> usize {
        usize::try_from(self.config.max_message).unwrap_or(usize::MAX)
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, End> {
        match frame_length(&self.buffer) {
            Err(fault) => Err(End::Malformed(fault)),
            Ok(Some(length)) if length > self.limit() => Err(End::TooLong),
            Ok(Some(length)) if self.buffer.len() >= length => {
                let frame = self.buffer.copy_to_bytes(length);
                if self.buffer.is_empty() {
                    // The room of a long message is not kept.
                    self.buffer = BytesMut::new();
                }
                Ok(Some(frame))
            }
            Ok(_) => Ok(None),
        }
    }

    fn take_frame(&mut self, frame: &[u8]) {
        self.asked = None;
        match self.config.framing.decode(frame, self.config.max_token) {
            Ok(message) => self.take(message),
            Err(fault) => self.end(End::Malformed(fault), None),
        }
    }

    fn take(&mut self, message: Message) {
        // An empty message keeps a connection open, and says nothing (RFC 8323 section 3.4).
        if message.code == Code::EMPTY {
            return;
        }
        let is_signal = message.code.class() == 7;
        if !self.settled && message.code != signal::CSM {
            return match message.code == signal::ABORT {
                true => self.over(End::Aborted),
                false => self.end(End::Unsettled, None),
            };
        }
        if !is_signal {
            return self.events.push_back(LinkEvent::Message(message));
        }
        match Signal::of(&message) {
            Ok(Signal::Settings { max_message, blockwise }) => {
                self.settled = true;
                if let Some(limit) = max_message {
                    self.peer_limit = usize::try_from(limit).unwrap_or(usize::MAX);
                }
                self.blockwise |= blockwise;
                let bert = self.blockwise && self.peer_limit > BASE_MESSAGE;
                self.events
                    .push_back(LinkEvent::Settled(StreamLimits { max_message: self.peer_limit, bert }));
            }
            Ok(Signal::Ping { token, custody }) => self.events.push_back(LinkEvent::Ping { token, custody }),
            Ok(Signal::Pong) => {}
            Ok(Signal::Release) => self.events.push_back(LinkEvent::Released),
            Ok(Signal::Abort) => self.over(End::Aborted),
            Err(Unknown::Setting(number)) => self.end(End::NotUnderstood, Some(number)),
            Err(Unknown::Other) => self.end(End::NotUnderstood, None),
        }
    }

    /// It is over by our choice: the peer is told why.
    fn end(&mut self, end: End, bad_setting: Option<u16>) {
        self.transmits.push_back(self.config.framing.encode(&signal::abort(end.why(), bad_setting)));
        self.over(end);
    }

    fn over(&mut self, end: End) {
        self.is_over = true;
        self.buffer = BytesMut::new();
        self.begun = 0;
        self.events.push_back(LinkEvent::Ended(end));
    }
}
