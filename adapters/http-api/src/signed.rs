//! Signed requests: what stands in `Authorization: HMAC-SHA256 …`, what is signed, and which signatures were there already.
//! Not here: whose key it is ([`crate::caller`]).
//!
//! The signature is over method, path with query as sent, timestamp, nonce, and the SHA-256 digest of the body as sent, a
//! line each (`docs/http-api.md`). The digest stands in the header, so that a request is proved before its body is read; the
//! body is held against it afterwards.

use std::collections::{BTreeMap, HashMap};

use http::request::Parts as Head;
use http_edge::auth;
use ring::{digest, hmac};

/// The scheme, and the space behind it.
const SCHEME: &str = "HMAC-SHA256 ";
/// How far the clock of a sender may be off, seconds.
const WINDOW: i64 = 300;
/// Signatures that are remembered at once.
const REMEMBERED: usize = 1 << 19;
/// Of one key.
const REMEMBERED_OF_ONE: usize = REMEMBERED / 8;

/// What the header says; nothing of it is proved yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// Of a device's key: 16 hex digits; or a gateway's name.
    pub(crate) key_id: String,
    /// Seconds since 1970.
    pub(crate) at: i64,
    nonce: String,
    body: [u8; 32],
    signature: [u8; 32],
}

impl Signed {
    /// None when the request has another `Authorization`, or none.
    ///
    /// # Errors
    /// What is wrong with the header, for the log.
    pub(crate) fn of(head: &Head) -> Option<Result<Self, &'static str>> {
        auth::of_scheme(&head.headers, SCHEME).map(Self::parse)
    }

    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "the header is not text")?;
        let mut given: [Option<&str>; 5] = [None; 5];
        for pair in text.split(',') {
            let (key, value) = pair.trim().split_once('=').ok_or("a parameter has no value")?;
            let names = ["keyId", "ts", "nonce", "body", "signature"];
            let place = names.iter().position(|name| *name == key).ok_or("there is an unknown parameter")?;
            let bare = value.strip_prefix('"').map_or(Some(value), |value| value.strip_suffix('"'));
            let value = bare.ok_or("a quoted value has no end")?;
            if given[place].replace(value).is_some() {
                return Err("a parameter is there twice");
            }
        }
        let [Some(key_id), Some(at), Some(nonce), body, Some(signature)] = given else {
            return Err("keyId, ts, nonce or signature is missing");
        };
        let is_nonce = (8..=64).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_nonce {
            return Err("the nonce is not 8 to 64 visible characters");
        }
        if at.is_empty() || at.len() > 11 || !at.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("ts is not a number of seconds");
        }
        Ok(Self {
            key_id: key_id.to_owned(),
            at: at.parse().map_err(|_| "ts is not a number of seconds")?,
            nonce: nonce.to_owned(),
            body: match body {
                Some(body) => hex(body).ok_or("body is not 64 hex digits")?,
                None => sha256(b""),
            },
            signature: hex(signature).ok_or("the signature is not 64 hex digits")?,
        })
    }

    /// Whether the signature of the request is one with this key.
    pub(crate) fn is_by(&self, key: &[u8], head: &Head) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, self.text(head).as_bytes(), &self.signature).is_ok()
    }

    fn text(&self, head: &Head) -> String {
        let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let body: String = self.body.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}\n{path}\n{}\n{}\n{body}", head.method, self.at, self.nonce)
    }

    /// What the body is held against.
    pub(crate) fn body(&self) -> BodyDigest {
        BodyDigest(self.body)
    }
}

/// The digest that a body must have: it was signed, or something else says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// Whether it is that of this body, as it was sent. No secret: it came in clear.
    pub(crate) fn is_of(self, body: &[u8]) -> bool {
        sha256(body) == self.0
    }
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Bytes written as hex digits, of exactly that many.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut out = [0; N];
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Why a signature that is good is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// It is outside the window, older than this process, or was there already.
    Refused(&'static str),
    /// The key has signed more than is remembered of one.
    TooMany,
}

/// The signatures of the window: none counts twice. Bounded: when there are more than it can hold, the oldest ones are
/// forgotten, and what is as old as they are is refused from then on. The same holds for what was signed before the start,
/// because nothing is known of that. Only proved signatures come here, so that a stranger cannot fill it.
pub(crate) struct Replays {
    /// What was signed at this second or before it is refused.
    floor: i64,
    seen: BTreeMap<(i64, [u8; 16]), KeyTag>,
    of_key: HashMap<KeyTag, usize>,
}

type KeyTag = [u8; 8];

impl Replays {
    /// Since this second.
    pub(crate) fn new(start: i64) -> Self {
        Self { floor: start.saturating_sub(1), seen: BTreeMap::new(), of_key: HashMap::new() }
    }

    /// Takes a proved signature at this second, once.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&mut self, signed: &Signed, now: i64) -> Result<(), Stale> {
        while let Some(first) = self.seen.first_key_value().map(|((at, _), _)| *at)
            && first < now.saturating_sub(WINDOW)
        {
            self.forget_first();
        }
        if now.abs_diff(signed.at) > WINDOW.unsigned_abs() {
            return Err(Stale::Refused("its clock is off by more than five minutes"));
        }
        if signed.at <= self.floor {
            return Err(Stale::Refused(
                "it was signed before the bridge started, or before all that it remembers",
            ));
        }
        let mut place = (signed.at, [0; 16]);
        place.1.copy_from_slice(&signed.signature[..16]);
        if self.seen.contains_key(&place) {
            return Err(Stale::Refused("its signature was there already"));
        }
        let mut tag = KeyTag::default();
        tag.copy_from_slice(&sha256(signed.key_id.as_bytes())[..8]);
        let count = self.of_key.entry(tag).or_default();
        if *count >= REMEMBERED_OF_ONE {
            return Err(Stale::TooMany);
        }
        *count += 1;
        self.seen.insert(place, tag);
        if self.seen.len() > REMEMBERED {
            self.forget_first();
        }
        Ok(())
    }

    fn forget_first(&mut self) {
        let Some(((at, _), tag)) = self.seen.pop_first() else { return };
        self.floor = self.floor.max(at);
        if let Some(count) = self.of_key.get_mut(&tag) {
            *count -= 1;
            if *count == 0 {
                self.of_key.remove(&tag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "6f2b1a9d0c3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7d8";

    fn signed(key: &str, at: i64, signature: u64) -> Signed {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&signature.to_be_bytes());
        Signed { key_id: key.into(), at, nonce: "12345678".into(), body: sha256(b""), signature: bytes }
    }

    /// The example of the documentation; made with openssl.
    #[test]
    fn the_example_of_the_documentation_is_signed_as_it_says() {
        let head = http::Request::post("/v1/devices/pump-1/telemetry?x=1").body(()).unwrap().into_parts().0;
        let mut example = signed("0123456789abcdef", 1_795_261_211, 0);
        example.nonce = "7f3a9c21".into();
        example.body = sha256(br#"{"temperature":21.5}"#);
        assert_eq!(
            example.text(&head),
            "POST\n/v1/devices/pump-1/telemetry?x=1\n1795261211\n7f3a9c21\n\
             8414c31b1f7afd7d0a0af122559cbccfde3906a0e3a40c14a7f1f938db3abf71"
        );
        example.signature = hex("93cf81b967f1878f8460809b3bd06ee3e01594f5e62d9039094f3dd40582b316").unwrap();
        assert!(example.is_by(b"the-key-of-the-example", &head));
        assert!(!example.is_by(b"another", &head));
        let other = http::Request::put("/v1/devices/pump-1/telemetry?x=1").body(()).unwrap().into_parts().0;
        assert!(!example.is_by(b"the-key-of-the-example", &other));
    }

    #[test]
    fn headers_are_read_or_refused() {
        let good = format!("keyId=ab, ts=12,nonce=\"12345678\" , signature={SIGNATURE}");
        let read = Signed::parse(good.as_bytes()).unwrap();
        assert_eq!((read.key_id.as_str(), read.at, read.body), ("ab", 12, sha256(b"")));
        assert_eq!(read.signature[..2], [0x6f, 0x2b]);
        for (from, to) in [
            ("keyId=ab", "keyId"),
            ("keyId=ab", "keyid=ab"),
            ("keyId=ab", "ts=13"),
            ("ts=12", "ts=-12"),
            ("ts=12", "ts="),
            ("ts=12", "ts=123456789012"),
            ("ts=12,", ""),
            ("\"12345678\"", "1234567"),
            ("\"12345678\"", "\"12345678"),
            ("signature=6f", "signature=6g"),
            ("signature=6f", "signature=6"),
            ("signature=6f", "body=00, signature=6f"),
        ] {
            let bad = good.replace(from, to);
            assert!(bad != good && Signed::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Signed::parse(b"\xff").is_err() && Signed::parse(b"").is_err());
        assert_eq!(hex::<2>("0aFf"), Some([0x0a, 0xff]));
        assert_eq!(hex::<2>("+a00"), None);
    }

    #[test]
    fn a_signature_counts_once_within_its_window() {
        let mut replays = Replays::new(1000);
        let refused = |result| matches!(result, Err(Stale::Refused(_)));
        assert!(refused(replays.admit(&signed("a", 999, 1), 1000)), "before the start");
        assert_eq!(replays.admit(&signed("a", 1000, 1), 1000), Ok(()));
        assert!(refused(replays.admit(&signed("a", 1000, 1), 1000)));
        assert!(refused(replays.admit(&signed("a", 1000, 1), 1300)));
        assert_eq!(replays.admit(&signed("a", 1000, 2), 1300), Ok(()));
        assert!(refused(replays.admit(&signed("a", 1000, 3), 1301)), "out of the window");
        assert!(refused(replays.admit(&signed("a", 1602, 4), 1301)));
        assert_eq!(replays.admit(&signed("a", 1601, 5), 1301), Ok(()));
        assert_eq!(replays.seen.len(), 1, "what is out of the window is forgotten");
        assert!(refused(replays.admit(&signed("a", 1000, 1), 1000)), "also when the clock is set back");
    }

    #[test]
    fn one_key_cannot_have_all_and_the_oldest_are_refused_once_forgotten() {
        let mut replays = Replays::new(0);
        let many = REMEMBERED_OF_ONE as u64;
        for key in 0..8 {
            for number in 0..many {
                let at = 100 + i64::try_from(number % 2).unwrap();
                let one = signed(&key.to_string(), at, key * many + number);
                assert_eq!(replays.admit(&one, 100), Ok(()));
            }
        }
        assert_eq!(replays.admit(&signed("0", 102, u64::MAX), 100), Err(Stale::TooMany));
        assert_eq!(replays.admit(&signed("new", 102, u64::MAX), 100), Ok(()));
        assert_eq!((replays.seen.len(), replays.floor), (REMEMBERED, 100));
        assert!(matches!(replays.admit(&signed("new", 100, 0), 100), Err(Stale::Refused(_))));
        assert_eq!(replays.admit(&signed("new", 101, u64::MAX - 1), 100), Ok(()));
    }
}
