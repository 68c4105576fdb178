//! Proof of an integration's secret. Secrets are kept and compared as SHA-256 digests, all of them every time, in
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
        let scheme = |scheme: &str| {
            let value = headers.get(header::AUTHORIZATION)?.as_bytes();
            let (name, rest) = value.split_at_checked(scheme.len())?;
            name.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
        };
        let mut rest = query.to_owned();
        let proved = match self {
            Self::Header(name, secrets) => {
                headers.get(name).is_some_and(|value| matches(value.as_bytes(), secrets))
            }
            Self::Bearer(secrets) => scheme("Bearer ").is_some_and(|token| matches(token, secrets)),
            Self::Basic(secrets) => scheme("Basic ")
                .and_then(|text| BASE64_STANDARD.decode(text).ok())
                .is_some_and(|credentials| matches(&credentials, secrets)),
            Self::UrlToken(parameter, secrets) => {
                let (tokens, others): (Vec<&str>, Vec<&str>) = query
                    .split('&')
                    .partition(|pair| pair.split_once('=').is_some_and(|(key, _)| key == parameter));
                rest = others.join("&");
                tokens.iter().any(|pair| {
                    let value = pair.split_once('=').map_or("", |(_, value)| value);
                    let value: Vec<u8> = percent_decode_str(value).collect();
                    matches(&value, secrets)
                })
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

fn matches(candidate: &[u8], secrets: &[SecretDigest]) -> bool {
    let candidate = SecretDigest::of(candidate);
    let equal = secrets.iter().fold(Choice::from(0), |found, secret| found | secret.0.ct_eq(&candidate.0));
    equal.into()
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
