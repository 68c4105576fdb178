//! Signatures of calls that we make, in the manner of Standard Webhooks (<https://www.standardwebhooks.com>, version 1):
//! `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is HMAC-SHA256 over `ID.TIMESTAMP.BODY`. The same
//! message has the same id however often it is sent; the time is that of the sending. Not here: where secrets come from.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac::{HMAC_SHA256, Key, sign};

/// What a text begins with that holds a key in base64.
const PREFIX: &str = "whsec_";
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Signs. Its `Debug` form shows no key.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<Key>,
}

/// Why a text is no key. The operator's to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// What follows the prefix cannot be decoded.
    #[error("what follows whsec_ is not base64")]
    NotBase64,
    /// The key is too short to be a secret, or longer than the specification allows.
    #[error("a signing key has 24 to 64 bytes; make one with: echo whsec_$(openssl rand -base64 32)")]
    Length,
}

impl Signer {
    /// A signer with these secrets, each `whsec_` and a key in base64, or a key as it is. Each call has a signature of each:
    /// so a secret is rotated without a gap.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Result<Self, KeyError> {
        let keys = secrets.into_iter().map(|secret| Ok(Key::new(HMAC_SHA256, &key(secret)?)));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// The headers of a call with this body at this time, in seconds since the epoch. `id` is visible ASCII without a full
    /// stop; of another one there are no headers.
    pub fn headers(&self, id: &str, at: i64, body: &[u8]) -> HeaderMap {
        let mut signed = format!("{id}.{at}.").into_bytes();
        signed.extend_from_slice(body);
        let signatures =
            self.keys.iter().map(|key| format!("v1,{}", BASE64_STANDARD.encode(sign(key, &signed))));
        let signatures = signatures.collect::<Vec<_>>().join(" ");
        let pairs = [(ID, id.to_owned()), (TIMESTAMP, at.to_string()), (SIGNATURE, signatures)];
        let pairs: Result<HeaderMap, _> =
            pairs.into_iter().map(|(name, value)| Ok((name, HeaderValue::try_from(value)?))).collect();
        pairs.unwrap_or_else(|_: http::header::InvalidHeaderValue| HeaderMap::new())
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}

fn key(secret: &str) -> Result<Vec<u8>, KeyError> {
    let key = match secret.strip_prefix(PREFIX) {
        Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| KeyError::NotBase64)?,
        None => secret.as_bytes().to_vec(),
    };
    match (24..=64).contains(&key.len()) {
        true => Ok(key),
        false => Err(KeyError::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac`.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let raw = "an-old-secret-of-the-tests-0123";
        let body = br#"{"test": 2432232314}"#;
        let headers =
            Signer::new([secret, raw]).unwrap().headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(
            headers["webhook-signature"],
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,R7gc8eQgIA+GUR2pHKSeM+I+RD3sk9ObdSe3BmJjml0="
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (secret, why) in [
            ("whsec_???", KeyError::NotBase64),
            ("whsec_AAAA", KeyError::Length),
            ("short", KeyError::Length),
            (&"x".repeat(65), KeyError::Length),
        ] {
            assert_eq!(Signer::new([secret]).unwrap_err(), why, "{secret}");
        }
        assert!(!format!("{:?}", Signer::new([&*"s".repeat(24)]).unwrap()).contains("sss"));
    }
}
