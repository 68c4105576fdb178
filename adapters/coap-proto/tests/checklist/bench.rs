//! One endpoint in virtual time, fed with messages that a test writes, and what it sends and says.

use std::time::{Duration, Instant};

use coap_proto::{
    Code, Config, Endpoint, Event, Message, Options, Request, RequestId, Response, Token, Type,
};

/// The peer that most tests speak as.
pub(crate) const PEER: u16 = 1;

pub(crate) struct Bench {
    pub(crate) endpoint: Endpoint<u16>,
    pub(crate) now: Instant,
    start: Instant,
}

/// A source of numbers that is the same in every run.
pub(crate) fn random(seed: u64) -> impl FnMut() -> u64 + Send + 'static {
    let mut rng = fastrand::Rng::with_seed(seed);
    move || rng.u64(..)
}

impl Bench {
    pub(crate) fn new(config: Config) -> Bench {
        Bench::seeded(config, 7)
    }

    pub(crate) fn seeded(config: Config, seed: u64) -> Bench {
        let start = Instant::now();
        Bench { endpoint: Endpoint::new(config, start, random(seed)), now: start, start }
    }

    /// Seconds since the begin.
    pub(crate) fn clock(&self) -> f64 {
        (self.now - self.start).as_secs_f64()
    }

    /// Hands a datagram of [`PEER`] in, and gives what is sent at once.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.endpoint.handle_datagram(self.now, PEER, bytes);
        self.sent()
    }

    /// Hands a message of [`PEER`] in, and gives what is sent at once.
    pub(crate) fn feed(&mut self, message: &Message) -> Vec<Message> {
        self.raw(&message.encode())
    }

    /// The same, of another peer.
    pub(crate) fn feed_from(&mut self, peer: u16, message: &Message) -> Vec<Message> {
        self.endpoint.handle_datagram(self.now, peer, &message.encode());
        self.sent()
    }

    /// Hands a message in that must have exactly one answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, message: &Message) -> Message {
        one(self.feed(message))
    }

    /// Hands a request in that reaches the application.
    #[track_caller]
    pub(crate) fn request(&mut self, message: &Message) -> (RequestId, Request) {
        assert_eq!(self.feed(message), [], "answered without the application");
        self.take_request()
    }

    /// The request that the application got.
    #[track_caller]
    pub(crate) fn take_request(&mut self) -> (RequestId, Request) {
        match self.endpoint.poll_event() {
            Some(Event::Request { id, request, .. }) => (id, request),
            other => panic!("no request, but {other:?}"),
        }
    }

    /// Hands a request in and lets the application answer it with that.
    #[track_caller]
    pub(crate) fn serve(&mut self, message: &Message, response: Response) -> Message {
        let (id, _) = self.request(message);
        self.endpoint.respond(self.now, id, response).unwrap();
        one(self.sent())
    }

    /// What has been sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<Message> {
        self.sent_with_peers().into_iter().map(|(_, message)| message).collect()
    }

    pub(crate) fn sent_with_peers(&mut self) -> Vec<(u16, Message)> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            sent.push((transmit.peer, decode(&transmit.payload)));
        }
        sent
    }

    /// What the application was told since the last look.
    pub(crate) fn events(&mut self) -> Vec<Event<u16>> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    /// Lets time pass, and gives what is sent with the second at which it was.
    pub(crate) fn pass(&mut self, seconds: f64) -> Vec<(f64, Message)> {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            let clock = self.clock();
            sent.extend(self.sent().into_iter().map(|message| (clock, message)));
        }
        self.now = end;
        sent
    }
}

#[track_caller]
pub(crate) fn one<T: std::fmt::Debug>(list: Vec<T>) -> T {
    let mut list = list;
    assert_eq!(list.len(), 1, "not one: {list:?}");
    list.remove(0)
}

pub(crate) fn decode(bytes: &[u8]) -> Message {
    Message::decode(bytes, coap_proto::MAX_EXTENDED_TOKEN).unwrap()
}

pub(crate) fn message(kind: Type, code: Code, mid: u16, uri: &str) -> Message {
    let request = Request::new(code, uri);
    let token = Token::new(&[0x70, (mid >> 8) as u8, mid as u8]);
    Message { kind, code, mid, token, options: request.options, payload: Default::default() }
}

pub(crate) fn con(code: Code, mid: u16, uri: &str) -> Message {
    message(Type::Confirmable, code, mid, uri)
}

pub(crate) fn non(code: Code, mid: u16, uri: &str) -> Message {
    message(Type::NonConfirmable, code, mid, uri)
}

pub(crate) fn empty(kind: Type, mid: u16) -> Message {
    Message::empty(kind, mid)
}

/// A response to a message of the endpoint, of that type and with that id.
pub(crate) fn response_to(request: &Message, kind: Type, mid: u16, code: Code, payload: &str) -> Message {
    Message {
        kind,
        code,
        mid,
        token: request.token.clone(),
        options: Options::new(),
        payload: payload.to_owned().into(),
    }
}

/// The piggybacked response to a message of the endpoint.
pub(crate) fn piggyback(request: &Message, code: Code, payload: &str) -> Message {
    response_to(request, Type::Acknowledgement, request.mid, code, payload)
}

/// A message with more to say.
pub(crate) trait With: Sized {
    fn with(self, number: u16, value: &[u8]) -> Self;
    fn uint(self, number: u16, value: u32) -> Self;
    fn body(self, payload: &[u8]) -> Self;
    fn token(self, token: &[u8]) -> Self;
}

impl With for Message {
    fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.options.push(number, value.to_vec());
        self
    }

    fn uint(mut self, number: u16, value: u32) -> Self {
        self.options.push_uint(number, value);
        self
    }

    fn body(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec().into();
        self
    }

    fn token(mut self, token: &[u8]) -> Self {
        self.token = Token::new(token);
        self
    }
}
