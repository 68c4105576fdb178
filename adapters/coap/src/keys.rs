//! What the bridge proves itself with over DTLS beside pre-shared keys, from PEM files, and raw public keys of devices as people
//! have them. Not here: proofs (`dtls`), whose key it is ([`crate::identity`]).

use bytes::Bytes;
use dtls::Credential;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

use crate::streams::tls::certificates;

/// What a [`DtlsKey`] is made of, each in PEM form (RFC 7468).
pub struct DtlsPem<'a> {
    /// An ECDSA private key on P-256.
    pub key: &'a str,
    /// The certificate of that key, and its chain; none: devices must know the public key itself (RFC 7250).
    pub certificates: Option<&'a str>,
    /// Who may have signed the certificates that devices show; none: they prove raw public keys.
    pub client_authorities: Option<&'a str>,
}

/// Why that cannot be used: which part must be another one, and what it must be. The operator's to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DtlsKeyError {
    /// Of [`DtlsPem::key`].
    #[error("must hold an ECDSA private key on P-256 in PEM form, not encrypted")]
    Key,
    /// Of [`DtlsPem::certificates`].
    #[error("must hold certificates in PEM form, the first one for the private key")]
    Certificates,
    /// Of [`DtlsPem::client_authorities`].
    #[error("must hold certificates of authorities in PEM form, with ECDSA keys on P-256")]
    Authorities,
}

/// The bridge's own private key, with what it believes of devices.
pub struct DtlsKey {
    pub(crate) credential: Credential,
    pub(crate) authorities: Authorities,
}

/// Which authorities of devices' certificates there are: a digest that is the same for the same ones, in whatever order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authorities(pub(crate) [u8; 32]);

impl Authorities {
    /// Of DER certificates.
    pub(crate) fn of(mut anchors: Vec<Bytes>) -> Self {
        anchors.sort_unstable();
        // A certificate in DER says where it ends.
        Self(Sha256::digest(anchors.concat()).into())
    }
}

impl DtlsKey {
    /// Devices may prove themselves by raw public key, and by certificate when there are authorities for that.
    ///
    /// # Errors
    /// When something of it cannot be used.
    pub fn new(pem: &DtlsPem<'_>) -> Result<Self, DtlsKeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).map_err(|_| DtlsKeyError::Key)?;
        let credential = Credential::new(key.secret_der()).map_err(|_| DtlsKeyError::Key)?;
        let mut credential = credential.with_raw_public_keys();
        if let Some(pem) = pem.certificates {
            let chain = all(pem).ok_or(DtlsKeyError::Certificates)?;
            credential = credential.with_chain(chain).map_err(|_| DtlsKeyError::Certificates)?;
        }
        let mut anchors = Vec::new();
        if let Some(pem) = pem.client_authorities {
            anchors = all(pem).ok_or(DtlsKeyError::Authorities)?;
            credential = credential.with_trust_anchors(&anchors).map_err(|_| DtlsKeyError::Authorities)?;
        }
        Ok(Self { credential, authorities: Authorities::of(anchors) })
    }
}

fn all(pem: &str) -> Option<Vec<Bytes>> {
    let found = certificates("certificate", pem).ok()?;
    Some(found.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect())
}

/// The SHA-256 fingerprint of a device's raw public key: an ECDSA key on P-256 as SubjectPublicKeyInfo, in PEM form or as hex
/// digits of its DER form.
///
/// # Errors
/// What it is not.
pub fn raw_public_key(text: &str) -> Result<[u8; 32], &'static str> {
    let der = match SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => key.to_vec(),
        Err(_) => hex(text.trim())
            .ok_or("it is no public key, neither in PEM form (PUBLIC KEY) nor in hex digits")?,
    };
    if !dtls::is_public_key(&der) {
        return Err("the public key is not an ECDSA key on P-256");
    }
    Ok(Sha256::digest(&der).into())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../tests/fixtures/x509/", $name))
        };
    }

    #[test]
    fn what_is_no_p_256_is_refused() {
        let (key, certificate, authority) =
            (fixture!("bridge.key"), fixture!("bridge.pem"), fixture!("ca.pem"));
        let made = |key, certificates, client_authorities| {
            DtlsKey::new(&DtlsPem { key, certificates, client_authorities }).err()
        };
        assert_eq!(made(key, Some(certificate), Some(authority)), None);
        assert_eq!(made(fixture!("device.key"), None, None), None);
        for bad in [fixture!("p384.key"), certificate, ""] {
            assert_eq!(made(bad, None, None), Some(DtlsKeyError::Key));
        }
        for bad in [fixture!("device.pem"), key, ""] {
            assert_eq!(made(key, Some(bad), None), Some(DtlsKeyError::Certificates));
        }
        for bad in [fixture!("p384.pem"), key, ""] {
            assert_eq!(made(key, None, Some(bad)), Some(DtlsKeyError::Authorities));
        }
    }

    #[test]
    fn authorities_are_the_same_in_any_order() {
        let of = |client_authorities: Option<&str>| {
            let pem = DtlsPem { key: fixture!("bridge.key"), certificates: None, client_authorities };
            DtlsKey::new(&pem).unwrap().authorities
        };
        let (one, other) = (fixture!("ca.pem"), fixture!("stranger.pem"));
        let both = of(Some(&[one, other].concat()));
        assert_eq!(both, of(Some(&[other, one].concat())));
        assert_eq!(of(None), Authorities::of(Vec::new()));
        assert!(both != of(Some(one)) && of(Some(one)) != of(Some(other)) && of(Some(one)) != of(None));
    }

    #[test]
    fn a_raw_public_key_has_a_fingerprint() {
        let pem = fixture!("device.pub");
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).unwrap();
        let digits: String = der.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(raw_public_key(pem), Ok(Sha256::digest(&der).into()));
        assert_eq!(raw_public_key(&digits), raw_public_key(pem));
        for bad in
            ["", "30", "+1", &digits[1..], &digits[2..], fixture!("device.pem"), fixture!("bridge.key")]
        {
            assert!(raw_public_key(bad).is_err(), "{bad}");
        }
    }
}
