//! Proof of a secret, such as an integration's. Secrets are kept and compared as SHA-256 digests, all of them every time, in
//! constant time. Not here: where secrets come from.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The digest of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// Digests a secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Whether a secret is one of these. All are compared every time.
    pub fn any_of(secrets: &[Self], candidate: &[u8]) -> bool {
        let candidate = Self::of(candidate);
        let equal =
            secrets.iter().fold(Choice::from(0), |found, secret| found | secret.0.ct_eq(&candidate.0));
        equal.into()
    }
}

/// How requests of an integration prove a secret. Each holds at least one; several are valid at once while a secret
/// is being rotated.
pub enum Auth {
    /// A header holds it.
    Header(HeaderName, Vec<SecretDigest>),
    /// `Authorization: Basic` with `user:secret`; the digests are of that text.
    Basic(Vec<SecretDigest>),
    /// `Authorization: Bearer`.
    Bearer(Vec<SecretDigest>),
    /// A query parameter holds it.
    UrlToken(String, Vec<SecretDigest>),
}

impl Auth {
    /// Whether a request proves the secret.
    pub fn proves(&self, headers: &HeaderMap, query: &str) -> bool {
        self.check(headers, query).is_some()
    }

    /// The query without the secret, when the request proves it.
    pub fn check(&self, headers: &HeaderMap, query: &str) -> Option<String> {
        let mut rest = query.to_owned();
        let proved = match self {
            Self::Header(name, secrets) => {
                headers.get(name).is_some_and(|value| SecretDigest::any_of(secrets, value.as_bytes()))
            }
            Self::Bearer(secrets) => {
                bearer(headers).is_some_and(|token| SecretDigest::any_of(secrets, token))
            }
            Self::Basic(secrets) => {
                basic(headers).is_some_and(|credentials| SecretDigest::any_of(secrets, &credentials))
            }
            Self::UrlToken(parameter, secrets) => {
                let (tokens, others) = take_parameter(query, parameter);
                rest = others;
                tokens.iter().any(|token| SecretDigest::any_of(secrets, token))
            }
        };
        proved.then_some(rest)
    }

    /// The challenge of a 401 (RFC 9110 section 11.6.1); says the scheme and nothing else.
    pub fn challenge(&self) -> &'static str {
        match self {
            Self::Basic(_) => "Basic realm=\"webhooks\"",
            Self::Header(..) | Self::Bearer(_) | Self::UrlToken(..) => "Bearer",
        }
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    of_scheme(headers, "Bearer ")
}

/// `user:password` of `Authorization: Basic` (RFC 7617 section 2).
pub fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(of_scheme(headers, "Basic ")?).ok()
}

/// The decoded values of a query parameter, and the query without it.
pub fn take_parameter(query: &str, parameter: &str) -> (Vec<Vec<u8>>, String) {
    let is_it = |pair: &&str| pair.split_once('=').is_some_and(|(key, _)| key == parameter);
    let (taken, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_it);
    let value = |pair: &&str| {
        percent_decode_str(pair.split_once('=').map_or("", |(_, value)| value)).collect::<Vec<u8>>()
    };
    (taken.iter().map(value).collect(), others.join("&"))
}

/// What stands behind the name of a scheme (`"Bearer "`, with its space) in `Authorization` (RFC 9110 section 11.4).
pub fn of_scheme<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h [u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (name, rest) = value.split_at_checked(scheme.len())?;
    name.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(secrets: &[&str]) -> Vec<SecretDigest> {
        secrets.iter().map(|secret| SecretDigest::of(secret.as_bytes())).collect()
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn each_scheme_takes_its_secrets_and_nothing_else() {
        let none = HeaderMap::new();
        let header = Auth::Header(HeaderName::from_static("x-secret"), digests(&["one", "two"]));
        assert!(header.check(&headers("x-secret", "two"), "").is_some());
        assert!(header.check(&headers("x-secret", "three"), "").is_none());
        assert!(header.check(&none, "x-secret=one").is_none());
        let bearer = Auth::Bearer(digests(&["one"]));
        assert!(bearer.check(&headers("authorization", "bearer one"), "").is_some());
        assert!(bearer.check(&headers("authorization", "one"), "").is_none());
        let basic = Auth::Basic(digests(&["user:pa:ss"]));
        let encoded = format!("Basic {}", BASE64_STANDARD.encode("user:pa:ss"));
        assert!(basic.check(&headers("authorization", &encoded), "").is_some());
        assert!(basic.check(&headers("authorization", "Basic %%%"), "").is_none());
        assert!(basic.check(&headers("authorization", "Basic"), "").is_none());
    }

    #[test]
    fn a_url_token_is_taken_out_of_the_query() {
        let auth = Auth::UrlToken("token".into(), digests(&["a+b/c"]));
        let none = HeaderMap::new();
        assert_eq!(auth.check(&none, "x=1&token=a%2Bb%2Fc&y=2"), Some("x=1&y=2".into()));
        assert_eq!(auth.check(&none, "token=wrong"), None);
        assert_eq!(auth.check(&none, ""), None);
    }
}
