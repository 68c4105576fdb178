//! Whose a client certificate is: that of the device for which its fingerprint is enrolled, or whose id is its common name. Not
//! here: whether it is believed at all (`dtls`, `rustls`), enrolment (`deploy/`).

use std::sync::Arc;

use bridge_core::ports::{Credential, Proof, StoreResult, TokenDigest};
use bridge_core::{DeviceId, Timestamp};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use crate::api::CoapApi;

/// What of a certificate names the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CertificateDevice {
    /// The fingerprint, which is enrolled for the device.
    #[default]
    Fingerprint,
    /// The common name of the subject is the device's id. Nothing is enrolled: the authority's word is good.
    CommonName,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    fingerprint: TokenDigest,
    /// None when the subject does not name a device.
    device: Option<DeviceId>,
}

impl Shown {
    /// Reads a certificate in its DER form.
    pub(crate) fn of(der: &[u8]) -> Self {
        let fingerprint = TokenDigest::from_bytes(Sha256::digest(der).into());
        let certificate = CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&certificate).ok();
        let name = certificate.and_then(|certificate| common_name(certificate.subject()));
        Self { fingerprint, device: name.and_then(|name| DeviceId::parse(&name).ok()) }
    }

    /// What it proves; none when it is nobody's.
    pub(crate) async fn credential(&self, api: &CoapApi) -> StoreResult<Option<Arc<Credential>>> {
        match api.certificate_device() {
            CertificateDevice::Fingerprint => api.keyring().certificate(*self.fingerprint.as_bytes()).await,
            // As old as can be: it is no other one later.
            CertificateDevice::CommonName => Ok(self.device.clone().map(|device| {
                let (digest, created) = (self.fingerprint, Timestamp::EPOCH);
                Arc::new(Credential { digest, proof: Proof::Certificate, device, created })
            })),
        }
    }
}

/// The tags of X.690 that a name is made of, and of texts that are ASCII or UTF-8 (RFC 5280 section 4.1.2.4).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The common name of a subject: a list of sets of pairs. None when there is not exactly one, or the subject is none.
fn common_name(subject: &[u8]) -> Option<String> {
    let mut found = None;
    let mut subject = Elements(subject);
    while let Some((tag, set)) = subject.next()? {
        let mut pairs = Elements(Some(set).filter(|_| tag == SET)?);
        while let Some((tag, pair)) = pairs.next()? {
            let mut pair = Elements(Some(pair).filter(|_| tag == SEQUENCE)?);
            let ((kind, identifier), (tag, value)) = (pair.next()??, pair.next()??);
            if kind != OBJECT_IDENTIFIER || identifier != COMMON_NAME {
                continue;
            }
            let text = std::str::from_utf8(value).ok().filter(|_| TEXTS.contains(&tag))?;
            if found.replace(text.to_owned()).is_some() {
                return None;
            }
        }
    }
    found
}

/// Elements one after the other, in the distinguished encoding (X.690 section 10).
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next one's tag and content, none at the end. None of that when it is broken.
    fn next(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let (tag, length, rest) = match *self.0 {
            [tag, length @ 0..=0x7f, ref rest @ ..] => (tag, usize::from(length), rest),
            [tag, 0x81, length, ref rest @ ..] => (tag, usize::from(length), rest),
            [tag, 0x82, high, low, ref rest @ ..] => {
                (tag, usize::from(u16::from_be_bytes([high, low])), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some((tag, content)))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        match length {
            0..0x80 => [&[tag, length as u8], content].concat(),
            _ => [&[tag, 0x82], &length.to_be_bytes()[..], content].concat(),
        }
    }

    fn pair(identifier: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let pair = [element(OBJECT_IDENTIFIER, identifier), element(tag, text)].concat();
        element(SET, &element(SEQUENCE, &pair))
    }

    #[test]
    fn certificates_name_their_device() {
        for (pem, device) in [
            (include_str!("../../../tests/fixtures/x509/device.pem"), Some("d1")),
            (include_str!("../../../tests/fixtures/x509/p384.pem"), Some("p384")),
        ] {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            assert_eq!(Shown::of(&der).device.as_ref().map(DeviceId::as_str), device);
        }
        assert_eq!(Shown::of(b"no certificate").device, None);
    }

    #[test]
    fn a_subject_has_one_common_name_or_none_counts() {
        let organisation = pair(&[0x55, 0x04, 0x0a], 0x13, b"o");
        let long = "x".repeat(300);
        for (subject, name) in [
            (pair(COMMON_NAME, 0x0c, b"pump-1"), Some("pump-1")),
            ([organisation.clone(), pair(COMMON_NAME, 0x13, b"pump-1")].concat(), Some("pump-1")),
            ([pair(COMMON_NAME, 0x16, b"pump-1"), organisation.clone()].concat(), Some("pump-1")),
            (pair(COMMON_NAME, 0x0c, long.as_bytes()), Some(&*long)),
            (organisation, None),
            (Vec::new(), None),
            ([pair(COMMON_NAME, 0x0c, b"a"), pair(COMMON_NAME, 0x0c, b"b")].concat(), None),
            (pair(COMMON_NAME, 0x0c, b"\xff"), None),
            (pair(COMMON_NAME, 0x1e, b"\0a"), None),
        ] {
            assert_eq!(common_name(&subject).as_deref(), name, "{subject:x?}");
            for end in 1..subject.len().min(40) {
                assert_ne!(common_name(&subject[..end]), Some(String::new()));
            }
        }
        assert_eq!(common_name(&[SET, 0x80]), None);
        assert_eq!(common_name(&[SET, 2, SEQUENCE, 0]), None);
    }
}
