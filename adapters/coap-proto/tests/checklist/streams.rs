//! RFC 8323: one connection, and an endpoint behind streams. Not here: sockets and TLS (`adapters/coap`).

use std::time::{Duration, Instant};

use bytes::Bytes;
use coap_proto::stream::{End, Framing, Link, LinkConfig, LinkEvent, StreamLimits, signal};
use coap_proto::{
    Code, Config, Endpoint, Event, Fault, Message, Options, Request, Response, Token, Type, number,
};

const SETTINGS: &[u8] = &[0x00, 0xe1];

fn settled_at(max_message: usize, bert: bool) -> LinkEvent {
    LinkEvent::Settled(StreamLimits { max_message, bert })
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A connection whose peer has sent its settings, and when that was.
fn settled() -> (Link, Instant) {
    let now = Instant::now();
    let mut link = Link::new(now, LinkConfig { max_message: 2000, ..LinkConfig::default() });
    assert_eq!(sent(&mut link), [signal::settings(2000)]);
    link.handle_bytes(now, SETTINGS);
    assert_eq!(link.poll_event(), Some(settled_at(1152, false)));
    (link, now)
}

fn sent(link: &mut Link) -> Vec<Message> {
    std::iter::from_fn(|| link.poll_transmit())
        .map(|bytes| Message::decode_stream(&bytes, 8).unwrap())
        .collect()
}

fn events(link: &mut Link) -> Vec<LinkEvent> {
    std::iter::from_fn(|| link.poll_event()).collect()
}

fn message(code: Code, token: &[u8], path: &str, body: &[u8]) -> Message {
    let Request { options, .. } = Request::new(code, path);
    let payload = Bytes::copy_from_slice(body);
    Message { kind: Type::NonConfirmable, code, mid: 0, token: Token::new(token), options, payload }
}

#[test]
fn rfc8323_3_3_settings_come_first_from_both_sides() {
    let begin = Instant::now();
    let get = message(Code::GET, b"a", "/time", b"").encode_stream();
    for first in [&get[..], &[0x00, 0xe2]] {
        let mut link = Link::new(begin, LinkConfig::default());
        assert_eq!(sent(&mut link)[0].code, signal::CSM, "ours do not wait for theirs");
        link.handle_bytes(begin, first);
        assert_eq!(events(&mut link), [LinkEvent::Ended(End::Unsettled)]);
        assert_eq!(sent(&mut link)[0].code, signal::ABORT);
        link.handle_bytes(begin, SETTINGS);
        assert_eq!((events(&mut link), link.next_timeout()), (vec![], None), "it is over");
    }
    // Not at all.
    let mut link = Link::new(begin, LinkConfig::default());
    assert_eq!(link.next_timeout(), Some(begin + seconds(30)));
    link.handle_timeout(begin + seconds(29));
    assert_eq!(events(&mut link), []);
    link.handle_timeout(begin + seconds(30));
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::Unsettled)]);
}

#[test]
fn rfc8323_3_2_messages_arrive_however_they_are_cut() {
    let wanted: Vec<Message> =
        (0..40_usize).map(|n| message(Code::POST, &[n as u8; 3], "/t/d1?t=x", &vec![7; n * n])).collect();
    let bytes: Vec<u8> = wanted.iter().flat_map(Message::encode_stream).collect();
    for step in [1, 2, 7, 1000, bytes.len()] {
        let (mut link, now) = settled();
        let mut got = Vec::new();
        for part in bytes.chunks(step) {
            link.handle_bytes(now, part);
            got.extend(events(&mut link));
        }
        let wanted: Vec<LinkEvent> = wanted.iter().cloned().map(LinkEvent::Message).collect();
        assert_eq!(got, wanted, "{step}");
        assert_eq!(link.expected(), 0);
    }
}

#[test]
fn rfc8323_3_4_empty_messages_say_nothing() {
    let (mut link, now) = settled();
    link.handle_bytes(now, &[0x00, 0x00, 0x00, 0x00]);
    assert_eq!((events(&mut link), sent(&mut link)), (vec![], vec![]));
}

#[test]
fn rfc8323_what_is_no_message_ends_the_connection() {
    for (bytes, fault) in [
        (&[0x0f, 0x01][..], Fault::TokenLength),
        (&[0x09, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9], Fault::TokenLength),
        (&[0x10, 0x01, 0xff], Fault::EmptyPayload),
        (&[0x10, 0x01, 0xf1], Fault::OptionHeader),
        (&[0x00, 0xc1], Fault::Code),
    ] {
        let (mut link, now) = settled();
        link.handle_bytes(now, bytes);
        assert_eq!(events(&mut link), [LinkEvent::Ended(End::Malformed(fault))], "{bytes:x?}");
        assert_eq!(sent(&mut link)[0].code, signal::ABORT);
    }
}

#[test]
fn rfc8323_5_3_1_max_message_size_is_heeded_by_both_sides() {
    let (mut link, now) = settled();
    let most = message(Code::POST, b"", "/", &[7; 1995]).encode_stream();
    assert_eq!(most.len(), 2000);
    link.handle_bytes(now, &most);
    assert!(matches!(events(&mut link)[..], [LinkEvent::Message(_)]));
    // The length alone is enough: nothing of it is kept.
    link.handle_bytes(now, &[0xe0, 0x10, 0x00, 0x02]);
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::TooLong)]);
    assert_eq!(link.expected(), 0);
    // What the peer says counts from then on; what it does not name stays.
    let (mut link, now) = settled();
    link.handle_bytes(now, &signal::settings(70_000).encode_stream());
    link.handle_bytes(now, SETTINGS);
    assert_eq!(events(&mut link), [settled_at(70_000, true), settled_at(70_000, true)]);
}

#[test]
fn rfc8323_5_2_critical_options_must_be_understood() {
    let csm = |number: u16| {
        let options = [(number, "x")].into_iter().collect();
        Message { options, ..signal::settings(1) }.encode_stream()
    };
    let (mut link, now) = settled();
    link.handle_bytes(now, &csm(10));
    assert_eq!(events(&mut link), [settled_at(1152, false)], "elective");
    link.handle_bytes(now, &csm(259));
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::NotUnderstood)]);
    let abort = &sent(&mut link)[0];
    assert_eq!((abort.code, abort.options.uint(2)), (signal::ABORT, Some(259)), "Bad-CSM-Option");
}

#[test]
fn rfc8323_5_4_ping_pong_and_custody() {
    let (mut link, now) = settled();
    let token = Token::new(b"ping");
    link.handle_bytes(now, &signal::ping(token.clone()).encode_stream());
    let custody = Message { options: [(2, "")].into_iter().collect(), ..signal::ping(token.clone()) };
    link.handle_bytes(now, &custody.encode_stream());
    let ping = |custody| LinkEvent::Ping { token: token.clone(), custody };
    assert_eq!(events(&mut link), [ping(false), ping(true)]);
    let pong = signal::pong(token.clone(), true);
    assert_eq!((pong.code, &pong.token, pong.options.has(2)), (signal::PONG, &token, true));
}

#[test]
fn rfc8323_5_4_a_peer_that_is_silent_is_asked_and_given_up() {
    for answers in [true, false] {
        let (mut link, now) = settled();
        assert_eq!(link.next_timeout(), Some(now + seconds(300)));
        let asked = now + seconds(300);
        link.handle_timeout(asked);
        assert_eq!(sent(&mut link)[0].code, signal::PING);
        if answers {
            link.handle_bytes(asked + seconds(29), &signal::pong(Token::default(), false).encode_stream());
        }
        link.handle_timeout(asked + seconds(30));
        let wanted = if answers { vec![] } else { vec![LinkEvent::Ended(End::Silent)] };
        assert_eq!(events(&mut link), wanted);
        assert_eq!(link.next_timeout(), answers.then_some(asked + seconds(29 + 300)));
    }
}

#[test]
fn rfc8323_a_message_that_trickles_in_ends_the_connection() {
    let (mut link, now) = settled();
    let long = message(Code::POST, b"", "/", &[7; 1000]).encode_stream();
    for (second, byte) in long.iter().enumerate().take(30) {
        link.handle_timeout(now + seconds(second as u64));
        link.handle_bytes(now + seconds(second as u64), &[*byte]);
    }
    assert_eq!((events(&mut link), link.expected()), (vec![], long.len()));
    link.handle_timeout(now + seconds(30));
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::Slow)]);
    // One whose messages do come to their end has its time anew.
    let (mut link, now) = settled();
    for second in 0..100 {
        link.handle_timeout(now + seconds(second));
        link.handle_bytes(now + seconds(second), &[0x00, 0x00, 0x00]);
        link.handle_bytes(now + seconds(second), &[0x00, 0x00]);
    }
    assert_eq!(events(&mut link), []);
}

/// The same over WebSocket.
fn framed() -> (Link, Instant) {
    let now = Instant::now();
    let config = LinkConfig { framing: Framing::Carrier, max_message: 2000, ..LinkConfig::default() };
    let mut link = Link::new(now, config);
    assert_eq!(sent_framed(&mut link), [signal::settings(2000)]);
    link.handle_frame(now, SETTINGS);
    assert_eq!(link.poll_event(), Some(settled_at(1152, false)));
    (link, now)
}

fn sent_framed(link: &mut Link) -> Vec<Message> {
    let bytes = std::iter::from_fn(|| link.poll_transmit());
    bytes.map(|bytes| Framing::Carrier.decode(&bytes, 8).unwrap()).collect()
}

#[test]
fn rfc8323_4_2_a_frame_is_a_message_and_has_its_length() {
    let (mut link, now) = framed();
    let get = message(Code::GET, b"a", "/time", b"");
    link.handle_frame(now, &Framing::Carrier.encode(&get));
    link.handle_frame(now, &Framing::Carrier.encode(&signal::release()));
    assert_eq!(events(&mut link), [LinkEvent::Message(get.clone()), LinkEvent::Released]);
    for (frame, fault) in [
        (&get.encode_stream()[..], Fault::Length),
        (&[], Fault::Truncated),
        (&[0x01, 0x01], Fault::Truncated),
        (&[0x00, 0x01, 0xff], Fault::EmptyPayload),
    ] {
        let (mut link, now) = framed();
        link.handle_frame(now, frame);
        assert_eq!(events(&mut link), [LinkEvent::Ended(End::Malformed(fault))], "{frame:x?}");
        assert_eq!(sent_framed(&mut link)[0].code, signal::ABORT);
        link.handle_frame(now, SETTINGS);
        link.handle_begin(now, 5000);
        assert_eq!((events(&mut link), link.expected()), (vec![], 0), "it is over");
    }
    let mut link = Link::new(now, LinkConfig { framing: Framing::Carrier, ..LinkConfig::default() });
    link.handle_frame(now, &[0x00, 0xe2]);
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::Unsettled)], "settings come first here, too");
}

#[test]
fn rfc8323_4_2_limits_are_those_of_other_streams() {
    let (mut link, now) = framed();
    let most = message(Code::POST, b"", "/", &[7; 1997]);
    let frame = Framing::Carrier.encode(&most);
    assert_eq!(frame.len(), 2000);
    link.handle_begin(now, 2000);
    assert_eq!(link.expected(), 2000);
    link.handle_frame(now, &frame);
    assert_eq!((events(&mut link), link.expected()), (vec![LinkEvent::Message(most)], 0));
    // What is announced is enough.
    for whole in [true, false] {
        let (mut link, now) = framed();
        match whole {
            true => link.handle_frame(now, &[0; 2001]),
            false => link.handle_begin(now, 2001),
        }
        assert_eq!(events(&mut link), [LinkEvent::Ended(End::TooLong)]);
        assert_eq!(sent_framed(&mut link)[0].code, signal::ABORT);
    }
    // One that trickles in, with messages of the carrier's own between its parts.
    let (mut link, now) = framed();
    for second in 0..30 {
        link.handle_timeout(now + seconds(second));
        link.handle_begin(now + seconds(second), 10 + second as usize);
    }
    link.handle_timeout(now + seconds(30));
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::Slow)]);
    // Something of the carrier's own is a sign of life, and no message.
    let (mut link, now) = framed();
    link.handle_begin(now + seconds(200), 0);
    assert_eq!(link.next_timeout(), Some(now + seconds(500)));
    link.handle_timeout(now + seconds(500));
    assert_eq!(sent_framed(&mut link)[0].code, signal::PING);
    link.handle_timeout(now + seconds(530));
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::Silent)]);
}

#[test]
fn rfc8323_5_5_and_5_6_release_and_abort() {
    let (mut link, now) = settled();
    let get = message(Code::GET, b"a", "/time", b"");
    link.handle_bytes(now, &signal::release().encode_stream());
    // What was on its way when the peer decided so is still taken.
    link.handle_bytes(now, &get.encode_stream());
    assert_eq!(events(&mut link), [LinkEvent::Released, LinkEvent::Message(get)]);
    link.handle_bytes(now, &signal::abort("enough", None).encode_stream());
    assert_eq!(events(&mut link), [LinkEvent::Ended(End::Aborted)]);
    assert_eq!(sent(&mut link), [], "nobody reads that any more");
    // Also before its settings.
    let mut link = Link::new(now, LinkConfig::default());
    sent(&mut link);
    link.handle_bytes(now, &signal::abort("", None).encode_stream());
    assert_eq!((events(&mut link), sent(&mut link)), (vec![LinkEvent::Ended(End::Aborted)], vec![]));
}

/// An endpoint behind streams.
struct Behind {
    endpoint: Endpoint<u8>,
    now: Instant,
}

impl Behind {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let now = Instant::now();
        let mut number = 0;
        let random = move || {
            number += 1;
            number
        };
        Self { endpoint: Endpoint::new(Config { stream: Some(Framing::Length), ..config }, now, random), now }
    }

    fn feed(&mut self, message: Message) -> Vec<Message> {
        self.endpoint.handle_message(self.now, 1, message);
        self.sent()
    }

    fn sent(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| Message::decode_stream(&transmit.payload, 8).unwrap())
            .collect()
    }

    fn request(&mut self, message: Message) -> (coap_proto::RequestId, Request) {
        assert_eq!(self.feed(message), []);
        match self.endpoint.poll_event() {
            Some(Event::Request { id, request, .. }) => (id, request),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, message: Message, response: Response) -> Message {
        let (id, _) = self.request(message);
        assert!(self.endpoint.has_pending(&1));
        self.endpoint.respond(self.now, id, response).unwrap();
        assert!(!self.endpoint.has_pending(&1));
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }
}

#[test]
fn rfc8323_nothing_is_acknowledged_recognised_or_sent_twice() {
    let mut behind = Behind::new();
    let post = message(Code::POST, b"a", "/t/d1", b"21");
    for _ in 0..2 {
        let answer = behind.answer(post.clone(), Response::new(Code::CHANGED));
        assert_eq!((answer.code, &answer.token), (Code::CHANGED, &post.token));
    }
    // Answers come in the order in which they are ready; nothing happens in between.
    let (first, _) = behind.request(message(Code::POST, b"1", "/t/d1", b""));
    let (second, _) = behind.request(message(Code::POST, b"2", "/t/d1", b""));
    behind.endpoint.handle_timeout(behind.now + seconds(50));
    assert_eq!(behind.sent(), []);
    for (id, token) in [(second, b"2"), (first, b"1")] {
        behind.endpoint.respond(behind.now, id, Response::new(Code::CHANGED)).unwrap();
        assert_eq!(behind.sent()[0].token, Token::new(token));
    }
    behind.endpoint.handle_timeout(behind.now + seconds(300));
    assert_eq!((behind.sent(), behind.endpoint.held()), (vec![], Default::default()));
    // A response that belongs to nothing.
    assert_eq!(behind.feed(message(Code::CONTENT, b"?", "", b"x")), []);
    assert_eq!(behind.endpoint.stats().unmatched, 1);
}

#[test]
fn rfc8323_more_requests_than_message_ids() {
    let mut behind = Behind::new();
    for _ in 0..70_000 {
        let answer = behind.answer(message(Code::POST, b"", "/t/d1", b""), Response::new(Code::CHANGED));
        assert_eq!(answer.code, Code::CHANGED);
    }
    assert_eq!(behind.endpoint.held(), Default::default());
}

#[test]
fn rfc8323_options_mean_what_they_do_elsewhere() {
    let mut behind = Behind::new();
    let with = |number: u16, value: &'static [u8]| {
        let mut message = message(Code::POST, b"a", "/t/d1", b"x");
        message.options.push(number, value);
        message
    };
    for (message, code) in [
        (with(9999, b""), Code::BAD_OPTION),
        (with(number::PROXY_URI, b"coap://x"), Code::PROXYING_NOT_SUPPORTED),
    ] {
        let sent = behind.feed(message);
        assert_eq!(sent.iter().map(|sent| sent.code).collect::<Vec<_>>(), [code]);
    }
    // No-Response: nobody wants a success.
    let (id, _) = behind.request(with(number::NO_RESPONSE, &[2]));
    behind.endpoint.respond(behind.now, id, Response::new(Code::CHANGED)).unwrap();
    assert_eq!(behind.sent(), []);
}

#[test]
fn rfc8323_6_a_body_goes_in_one_message_or_in_blocks() {
    let mut behind = Behind::new();
    let get = |token: &[u8]| message(Code::GET, token, "/long", b"");
    let long = |length: usize| Response::content(0, vec![7; length]);
    // 1152 bytes for a peer that has not said more.
    let whole = behind.answer(get(b"a"), long(1100));
    assert_eq!((whole.payload.len(), whole.options.has(number::BLOCK2)), (1100, false));
    let part = behind.answer(get(b"a"), long(1200));
    assert_eq!((part.payload.len(), part.options.uint(number::BLOCK2)), (1024, Some(0b1110)));
    assert!(part.encode_stream().len() <= 1152);
    let mut next = get(b"b");
    next.options.set_uint(number::BLOCK2, 1 << 4 | 6);
    let rest = behind.feed(next);
    assert_eq!((rest[0].payload.len(), rest[0].options.uint(number::BLOCK2)), (176, Some(1 << 4 | 6)));
    for (limit, length) in [(500, 256), (100, 64), (5000, 1200)] {
        behind.endpoint.set_stream_limits(1, StreamLimits { max_message: limit, bert: false });
        let part = behind.answer(get(b"a"), long(1200));
        assert_eq!(part.payload.len(), length);
        assert!(part.encode_stream().len() <= limit);
    }
    // On the way up: in one message, or in blocks of a device that wants that.
    let (_, request) = behind.request(message(Code::POST, b"c", "/t/d1", &[7; 50_000]));
    assert_eq!(request.body.len(), 50_000);
    let mut block = message(Code::POST, b"d", "/t/d2", &[7; 64]);
    block.options.set_uint(number::BLOCK1, 0b1010);
    assert_eq!(behind.feed(block.clone())[0].code, Code::CONTINUE);
    block.options.set_uint(number::BLOCK1, 1 << 4 | 2);
    assert_eq!(behind.request(block).1.body.len(), 128);
}

#[test]
fn rfc8323_6_several_blocks_are_known_by_two_settings() {
    let (mut link, now) = settled();
    let mut csm = |max_message: Option<u32>, blockwise: bool| {
        let mut message = Message { options: Options::new(), ..signal::settings(1) };
        if let Some(bytes) = max_message {
            message.options.set_uint(2, bytes);
        }
        if blockwise {
            message.options.push(4, "");
        }
        link.handle_bytes(now, &message.encode_stream());
        link.poll_event().unwrap()
    };
    assert_eq!(csm(None, true), settled_at(1152, false));
    assert_eq!(csm(Some(1153), false), settled_at(1153, true), "the other one was said before");
    assert_eq!(csm(Some(1152), false), settled_at(1152, false));
    assert!(signal::settings(5000).options.has(4), "ours");
}

#[test]
fn rfc8323_6_several_blocks_go_down_in_one_message() {
    let mut behind = Behind::new();
    behind.endpoint.set_stream_limits(1, StreamLimits { max_message: 5000, bert: true });
    let body: Vec<u8> = (0..10_000_u32).map(|n| (n / 7) as u8).collect();
    let get = |num: u32, szx: u32| {
        let mut get = message(Code::GET, b"a", "/long", b"");
        get.options.set_uint(number::BLOCK2, num << 4 | szx);
        get
    };
    let first = behind.answer(message(Code::GET, b"a", "/long", b""), Response::content(0, body.clone()));
    assert_eq!((first.options.uint(number::BLOCK2), first.payload.len()), (Some(0b1111), 4096));
    assert_eq!(first.options.uint(number::SIZE2), Some(10_000));
    let mut fetched = first.payload.to_vec();
    for (num, more, length) in [(4, true, 4096), (8, false, 1808)] {
        let next = behind.feed(get(num, 7)).remove(0);
        let value = num << 4 | if more { 0b1111 } else { 0b0111 };
        assert_eq!((next.options.uint(number::BLOCK2), next.payload.len()), (Some(value), length));
        assert!(next.encode_stream().len() <= 5000);
        fetched.extend_from_slice(&next.payload);
    }
    assert!(fetched == body);
    // Whoever wants less gets it; and who has not said that it takes more gets one at a time.
    let one = behind.feed(get(4, 6)).remove(0);
    assert_eq!((one.options.uint(number::BLOCK2), one.payload.len()), (Some(4 << 4 | 0b1110), 1024));
    assert_eq!(behind.feed(get(10, 7))[0].code, Code::BAD_REQUEST, "there is no such block");
    behind.endpoint.set_stream_limits(1, StreamLimits { max_message: 5000, bert: false });
    let one = behind.feed(get(4, 7)).remove(0);
    assert_eq!((one.options.uint(number::BLOCK2), one.payload.len()), (Some(4 << 4 | 0b1110), 1024));
}

#[test]
fn rfc8323_6_several_blocks_come_up_in_one_message() {
    let mut behind = Behind::new();
    let post = |num: u32, more: bool, length: usize| {
        let mut post = message(Code::POST, b"a", "/t/d1", &vec![num as u8; length]);
        post.options.set_uint(number::BLOCK1, num << 4 | if more { 0b1111 } else { 0b0111 });
        post
    };
    for (num, length) in [(0, 3072), (3, 1024)] {
        let answer = behind.feed(post(num, true, length)).remove(0);
        let wanted = (Code::CONTINUE, Some(num << 4 | 0b1111));
        assert_eq!((answer.code, answer.options.uint(number::BLOCK1)), wanted);
    }
    let last = behind.answer(post(4, false, 1500), Response::new(Code::CHANGED));
    assert_eq!((last.code, last.options.uint(number::BLOCK1)), (Code::CHANGED, Some(4 << 4 | 0b0111)));
    assert_eq!(behind.request(post(0, false, 70_000)).1.body.len(), 70_000, "all of it at once");
    for (bad, code) in [
        (post(0, true, 1500), Code::BAD_REQUEST),
        (post(0, true, 0), Code::BAD_REQUEST),
        (post(2, true, 1024), Code::REQUEST_ENTITY_INCOMPLETE),
        (post(0, false, (1 << 20) + 1), Code::REQUEST_ENTITY_TOO_LARGE),
        (post(0, true, (1 << 20) + 1024), Code::REQUEST_ENTITY_TOO_LARGE),
    ] {
        assert_eq!(behind.feed(bad)[0].code, code);
    }
    // Over several messages, too, no more than a body may have.
    assert_eq!(behind.feed(post(0, true, 1 << 20))[0].code, Code::CONTINUE);
    assert_eq!(behind.feed(post(1024, false, 1))[0].code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(behind.endpoint.held().upload_bytes, 0);
}

#[test]
fn rfc8323_6_several_blocks_find_room_or_are_refused() {
    let mut config = Config::default();
    config.limits.upload_bytes = 6 * 1024;
    let mut behind = Behind::with(config);
    let post = |path: &str, blocks: usize| {
        let mut post = message(Code::POST, b"a", path, &vec![7; blocks * 1024]);
        post.options.set_uint(number::BLOCK1, 0b1111);
        post
    };
    for path in ["/1", "/2", "/3"] {
        assert_eq!(behind.feed(post(path, 2))[0].code, Code::CONTINUE);
    }
    behind.now += seconds(11);
    // All that rest make room for it; one of them would not.
    assert_eq!(behind.feed(post("/long", 5))[0].code, Code::CONTINUE);
    let held = behind.endpoint.held();
    assert_eq!((held.uploads, held.upload_bytes), (1, 5 * 1024));
    behind.now += seconds(11);
    assert_eq!(behind.feed(post("/too-long", 7))[0].code, Code::SERVICE_UNAVAILABLE);
    assert!(behind.endpoint.held().upload_bytes <= 6 * 1024);
}

#[test]
fn rfc8323_6_our_client_sends_and_takes_several_blocks_in_one_message() {
    let mut client = Behind::new();
    client.endpoint.set_stream_limits(1, StreamLimits { max_message: 5000, bert: true });
    let body: Vec<u8> = (0..10_000_u32).map(|n| (n / 7) as u8).collect();
    let request = Request::new(Code::POST, "/long").with_body(42, body.clone());
    client.endpoint.request(client.now, 1, request).unwrap();
    let mut sent = client.sent().remove(0);
    let mut uploaded = Vec::new();
    let answer = |sent: &Message, code: Code, number: u16, value: u32, body: &[u8]| {
        let mut answer = message(code, sent.token.as_bytes(), "", body);
        answer.options = Options::new();
        answer.options.set_uint(number, value);
        answer
    };
    for (num, more, length) in [(0, true, 4096), (4, true, 4096), (8, false, 1808)] {
        let value = num << 4 | if more { 0b1111 } else { 0b0111 };
        assert_eq!((sent.options.uint(number::BLOCK1), sent.payload.len()), (Some(value), length));
        assert!(sent.encode_stream().len() <= 5000);
        uploaded.extend_from_slice(&sent.payload);
        let next = match more {
            true => answer(&sent, Code::CONTINUE, number::BLOCK1, value, b""),
            false => answer(&sent, Code::CONTENT, number::BLOCK2, 0b1111, &body[..8192]),
        };
        sent = client.feed(next).remove(0);
    }
    assert!(uploaded == body);
    assert_eq!(sent.options.uint(number::BLOCK2), Some(8 << 4 | 7));
    let last = answer(&sent, Code::CONTENT, number::BLOCK2, 8 << 4 | 7, &body[8192..]);
    assert_eq!(client.feed(last), []);
    match client.endpoint.poll_event() {
        Some(Event::Response { response, .. }) => assert!(response.body[..] == body[..]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc8323_7_observation_without_order_or_acknowledgements() {
    let mut behind = Behind::new();
    let mut registration = message(Code::GET, b"obs", "/commands", b"");
    registration.options.set_uint(number::OBSERVE, 0);
    let (id, _) = behind.request(registration.clone());
    let state = |text: &str| Response::content(50, text.to_owned());
    let id = behind.endpoint.respond_observing(behind.now, id, state("0")).unwrap().unwrap();
    assert!(behind.sent()[0].options.has(number::OBSERVE));
    for text in ["1", "2", "3"] {
        behind.endpoint.notify(behind.now, id, state(text), true).unwrap();
        let sent = behind.sent();
        assert_eq!((sent.len(), &sent[0].token), (1, &registration.token));
        assert_eq!((&sent[0].payload[..], sent[0].options.has(number::OBSERVE)), (text.as_bytes(), true));
        assert_eq!(behind.endpoint.poll_event(), Some(Event::Acknowledged { id }), "the stream takes care");
    }
    behind.endpoint.handle_timeout(behind.now + seconds(1000));
    assert_eq!((behind.sent(), behind.endpoint.is_observing(id)), (vec![], true));
    // A long one leaves in blocks.
    behind.endpoint.notify(behind.now, id, state(&"x".repeat(3000)), true).unwrap();
    assert_eq!(behind.sent()[0].payload.len(), 1024);
    behind.endpoint.poll_event();
    // It ends by Observe 1, by an error, and with the connection.
    registration.options.set_uint(number::OBSERVE, 1);
    assert_eq!(behind.feed(registration), []);
    assert!(!behind.endpoint.is_observing(id));
    for how in ["error", "connection"] {
        let mut registration = message(Code::GET, b"again", "/commands", b"");
        registration.options.set_uint(number::OBSERVE, 0);
        while behind.endpoint.poll_event().is_some() {}
        let (request, _) = behind.request(registration);
        let id = behind.endpoint.respond_observing(behind.now, request, state("0")).unwrap().unwrap();
        behind.sent();
        match how {
            "error" => {
                let error = Response::error(Code::NOT_FOUND, "gone");
                behind.endpoint.notify(behind.now, id, error, true).unwrap();
                assert_eq!(behind.sent()[0].code, Code::NOT_FOUND);
            }
            _ => behind.endpoint.forget_peer(behind.now, &1),
        }
        assert!(matches!(behind.endpoint.poll_event(), Some(Event::ObservationEnded { .. })), "{how}");
        assert!(!behind.endpoint.is_observing(id));
    }
}

#[test]
fn rfc8323_a_peer_that_has_gone_leaves_nothing() {
    let mut behind = Behind::new();
    behind.endpoint.set_stream_limits(1, StreamLimits { max_message: 64, bert: false });
    let (id, _) = behind.request(message(Code::GET, b"a", "/long", b""));
    behind.endpoint.respond(behind.now, id, Response::content(0, vec![7; 3000])).unwrap();
    behind.sent();
    behind.request(message(Code::POST, b"b", "/t/d1", b""));
    let mut block = message(Code::POST, b"d", "/t/d2", &[7; 64]);
    block.options.set_uint(number::BLOCK1, 0b1010);
    behind.feed(block);
    behind.endpoint.forget_peer(behind.now, &1);
    assert_eq!(behind.endpoint.held(), Default::default());
}

#[test]
fn rfc8323_our_client_asks_over_a_stream() {
    let mut client = Behind::new();
    client.endpoint.request(client.now, 1, Request::new(Code::GET, "/time")).unwrap();
    let asked = client.sent().remove(0);
    let answer =
        Message { code: Code::CONTENT, options: Options::new(), ..message(Code::CONTENT, b"", "", b"7") };
    assert_eq!(client.feed(Message { token: asked.token, ..answer }), []);
    match client.endpoint.poll_event() {
        Some(Event::Response { response, observing: false, .. }) => assert_eq!(&response.body[..], b"7"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.endpoint.held(), Default::default());
}
