//! The laws over chance: random bytes, random scripts of sensible messages, the committed corpora and changed copies of
//! them. `WRITE_CORPUS=1 cargo test -p coap-proto the_corpora` writes the seeds anew; a file named `regression-*` is an
//! input that a fuzz target once found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::{Block, Options, Token};

/// Changed inputs per corpus: some seconds in a debug build.
const ROUNDS: u64 = 4_000;

fn message(kind: Type, code: Code, mid: u16, uri: &str) -> Message {
    let Request { options, .. } = Request::new(code, uri);
    Message { kind, code, mid, token: Token::new(&mid.to_be_bytes()), options, payload: Bytes::new() }
}

fn con(code: Code, mid: u16, uri: &str) -> Message {
    message(Type::Confirmable, code, mid, uri)
}

fn with(mut message: Message, options: &[(u16, u32)], payload: &'static [u8]) -> Message {
    for (number, value) in options {
        message.options.push_uint(*number, *value);
    }
    message.payload = Bytes::from_static(payload);
    message
}

fn block(num: u32, more: bool, exponent: u8) -> u32 {
    Block { num, more, szx: Szx::new(exponent).unwrap() }.value()
}

/// The step that hands a message in.
fn datagram(peer: u8, message: &Message) -> Vec<u8> {
    let bytes = message.encode();
    [&[peer, bytes.len() as u8], &bytes[..]].concat()
}

const LARGE: &[u8] = &[b'x'; 16];

fn message_seeds() -> BTreeMap<String, Vec<u8>> {
    let put = with(con(Code::PUT, 7, "/large"), &[(number::BLOCK1, block(70_000, true, 6))], LARGE);
    let long = Message { token: Token::new(&[5; 300]), ..con(Code::GET, 8, "/a") };
    let mut far = con(Code::GET, 9, &format!("/{}", "s".repeat(250)));
    far.options.push(65_535, vec![1; 300]);
    let seeds: [(&str, Vec<u8>); 9] = [
        ("empty-ack", Message::empty(Type::Acknowledgement, 1).encode().into()),
        ("ping", Message::empty(Type::Confirmable, 2).encode().into()),
        ("get", con(Code::GET, 3, "/sensors/temp?unit=c").encode().into()),
        (
            "post",
            with(message(Type::NonConfirmable, Code::POST, 4, "/t"), &[(12, 50)], b"{\"t\":21}")
                .encode()
                .into(),
        ),
        ("block1", put.encode().into()),
        ("token-extended", long.encode().into()),
        ("options-extended", far.encode().into()),
        ("marker-alone", vec![0x40, 1, 0, 9, 0xff]),
        ("option-reserved", vec![0x40, 1, 0, 9, 0xf1, 0]),
    ];
    seeds.into_iter().map(|(name, bytes)| (format!("{name}.bin"), bytes)).collect()
}

fn stream_seeds() -> BTreeMap<String, Vec<u8>> {
    let seeds: [(&str, &[u8]); 8] = [
        ("abort", &[0x04, 0x00, 0xe5]),
        ("bad-setting", &[0x05, 0x10, 0xe1, 0x90]),
        ("get", &[0x01, 0x00, 0xe1, 0x51, 0x01, 0x61, 0xb4, 0x74, 0x69, 0x6d, 0x65]),
        (
            "length-extended",
            &[
                0x07, 0x00, 0xe1, 0xd0, 0x00, 0x02, 0xff, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07,
                0x07, 0x07, 0x07, 0x07,
            ],
        ),
        ("ping-custody", &[0x02, 0x00, 0xe1, 0x11, 0xe2, 0x70, 0x20]),
        ("settings-and-release", &[0xc8, 0x30, 0xe1, 0x22, 0x04, 0x80, 0x00, 0xe4]),
        ("too-long", &[0x09, 0x00, 0xe1, 0xe0, 0xff, 0xff, 0x02]),
        ("unsettled", &[0x03, 0x00, 0x01]),
    ];
    seeds.into_iter().map(|(name, bytes)| (format!("{name}.bin"), bytes.to_vec())).collect()
}

fn script_seeds() -> BTreeMap<String, Vec<u8>> {
    let post = datagram(0, &con(Code::POST, 1, "/t"));
    let get = |mid| con(Code::GET, mid, "/large");
    let observe = datagram(1, &with(con(Code::GET, 1, "/obs"), &[(number::OBSERVE, 0)], b""));
    let part = |mid, num, more| {
        let put = with(con(Code::PUT, mid, "/large"), &[(number::BLOCK1, block(num, more, 0))], LARGE);
        datagram(2, &put)
    };
    let next = with(get(2), &[(number::BLOCK2, block(1, false, 0))], b"");
    let wide: [&[u8]; 3] = [&[0], &datagram(0, &con(Code::GET, 1, "/.well-known/core?rt=x*")), &[4, 9]];
    let seeds: [(&str, Vec<u8>); 12] = [
        ("duplicate", [&[0][..], &post, &[5, 0], &post, &[4, 200], &post].concat()),
        ("separate", [&[0][..], &post, &[4, 8, 5, 1, 7, 8]].concat()),
        ("discovery", wide.concat()),
        ("discovery-unverified", [&[4], &wide.concat()[1..]].concat()),
        ("small-blocks", [&[12][..], &datagram(0, &get(1)), &[5, 93], &datagram(0, &next)].concat()),
        ("observe", [&[0][..], &observe, &[5, 1, 7, 5, 7, 8, 7, 20, 4, 20, 7, 0x34]].concat()),
        ("upload", [&[0][..], &part(1, 0, true), &part(2, 1, true), &part(3, 2, false), &[5, 0]].concat()),
        ("upload-gap", [&[0][..], &part(1, 0, true), &part(3, 2, false), &[4, 250]].concat()),
        ("download", [&[0][..], &datagram(0, &get(1)), &[5, 93], &datagram(0, &next)].concat()),
        ("our-upload", vec![0, 6, 12, 7, 0x1a, 2, 0, 0, 0, 7, 0x1a | 64, 2, 0, 0, 0]),
        ("our-observation", vec![0, 6, 8, 7, 10, 0, 1, 1, 3, 1, 2, 3, 7, 13, 9, 0, 2, 2, 3, 1, 2, 3]),
        ("flood", [&[16][..], &(0..12).flat_map(|mid| datagram(3, &get(mid))).collect::<Vec<_>>()].concat()),
    ];
    seeds.into_iter().map(|(name, bytes)| (format!("{name}.bin"), bytes)).collect()
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

fn committed(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder(target)).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.ends_with(".bin"))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn the_corpora_hold_the_seeds() {
    let targets = [
        ("coap_message", message_seeds()),
        ("coap_endpoint", script_seeds()),
        ("coap_stream", stream_seeds()),
    ];
    for (target, seeds) in targets {
        if std::env::var_os("WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(folder(target)).unwrap();
            for (name, bytes) in &seeds {
                std::fs::write(folder(target).join(name), bytes).unwrap();
            }
        }
        let mut found = committed(target);
        found.retain(|name, _| !name.starts_with("regression-"));
        assert!(found == seeds, "run `WRITE_CORPUS=1 cargo test -p coap-proto the_corpora`");
        let manifest = std::fs::read_to_string(folder(target).join("../../Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")));
    }
}

#[test]
fn messages_keep_the_laws() {
    replay_and_change(&committed("coap_message"), check_message);
}

#[test]
fn streams_keep_the_laws() {
    replay_and_change(&committed("coap_stream"), check_stream);
}

#[test]
fn scripts_keep_the_laws() {
    replay_and_change(&committed("coap_endpoint"), check_endpoint);
}

/// Runs every file of a corpus, and then changed ones.
fn replay_and_change(corpus: &BTreeMap<String, Vec<u8>>, check: fn(&[u8])) {
    let say_and_check = |what: &str, bytes: &[u8]| {
        let run = std::panic::catch_unwind(|| check(bytes));
        assert!(run.is_ok(), "a law is broken by {what}: {bytes:?}");
    };
    for (name, bytes) in corpus {
        say_and_check(name, bytes);
    }
    let files: Vec<&Vec<u8>> = corpus.values().collect();
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..ROUNDS {
        let mut bytes = files[rng.usize(..files.len())].clone();
        for _ in 0..=rng.usize(..5) {
            let at = rng.usize(..=bytes.len());
            let to = (at + rng.usize(..9)).min(bytes.len());
            match rng.u8(..5) {
                0 => drop(bytes.drain(at..to)),
                1 => drop(bytes.splice(at..at, bytes[at..to].to_vec())),
                2 => bytes.insert(at, rng.u8(..)),
                3 => drop(bytes.splice(at..to, [rng.u8(..), rng.u8(..)])),
                _ => {
                    let other = files[rng.usize(..files.len())];
                    bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
                }
            }
        }
        say_and_check(&format!("round {round}"), &bytes);
    }
}

/// A step that means something more often than chance would have it.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let options = prop::collection::vec(
        prop_oneof![
            (0..3_u32).prop_map(|value| (number::OBSERVE, value)),
            (0..6_u32, any::<bool>(), 0..3_u8)
                .prop_map(|(num, more, szx)| (number::BLOCK1, block(num, more, szx))),
            (0..6_u32, 0..3_u8).prop_map(|(num, szx)| (number::BLOCK2, block(num, false, szx))),
            (0..60_u32).prop_map(|format| (number::CONTENT_FORMAT, format)),
            (0..32_u32).prop_map(|classes| (number::NO_RESPONSE, classes)),
            any::<(u16, u32)>(),
        ],
        0..3,
    );
    let request = (0..4_u8, 1..8_u8, 0..6_u16, any::<bool>(), options, 0..40_usize, 0..3_u8).prop_map(
        |(peer, code, mid, confirmable, options, length, path)| {
            let kind = if confirmable { Type::Confirmable } else { Type::NonConfirmable };
            let uri = ["/t", "/large", "/.well-known/core"][usize::from(path)];
            let mut request = with(message(kind, Code(code), mid, uri), &options, b"");
            request.payload = vec![b'x'; length].into();
            datagram(peer, &request)
        },
    );
    let act = (4..8_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..4))
        .prop_map(|(act, how, rest)| [&[act, how], &rest[..]].concat());
    let noise = (0..4_u8, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(peer, bytes)| [&[peer, bytes.len() as u8], &bytes[..]].concat());
    prop_oneof![4 => request, 4 => act, 1 => noise]
}

proptest! {
    #[test]
    fn any_datagram_is_refused_or_read_exactly(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        check_message(&bytes);
    }

    #[test]
    fn any_bytes_are_a_script_that_keeps_the_laws(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_endpoint(&bytes);
    }

    #[test]
    fn sensible_scripts_keep_the_laws(settings in any::<u8>(), steps in prop::collection::vec(step(), 0..60)) {
        check_endpoint(&[&[settings], &steps.concat()[..]].concat());
    }

    #[test]
    fn any_message_is_read_as_it_was_written(
        kind in 0..2_u8,
        code in prop_oneof![1..32_u8, 64..96_u8, 128..192_u8],
        mid in any::<u16>(),
        token in prop::collection::vec(any::<u8>(), 0..400),
        options in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..6),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let kind = [Type::Confirmable, Type::NonConfirmable][usize::from(kind)];
        let options: Options = options.into_iter().collect();
        let token = Token::new(&token);
        let message = Message { kind, code: Code(code), mid, token, options, payload: payload.into() };
        prop_assert_eq!(Message::decode(&message.encode(), MAX_EXTENDED_TOKEN), Ok(message));
    }
}
