//! How server and devices prove themselves without a pre-shared key: ECDSA on P-256, by X.509 certificates or raw public keys
//! (RFC 7250). Chains are verified by rustls-webpki, signatures by RustCrypto's p256. Not here: handshake messages.

use bytes::Bytes;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use p256::{PublicKey, SecretKey};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime, alg_id,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// More certificates than that are no chain of a device.
const MAX_CHAIN: usize = 6;

/// The form of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    X509,
    RawPublicKey,
}

impl Form {
    /// Its number at IANA (TLS certificate types).
    pub(crate) fn code(self) -> u8 {
        match self {
            Form::X509 => 0,
            Form::RawPublicKey => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Form> {
        [Form::X509, Form::RawPublicKey].into_iter().find(|form| form.code() == code)
    }
}

/// The server's private key and what it believes of devices. The key is overwritten when dropped.
pub struct Credential {
    key: SigningKey,
    public_key: Bytes,
    chain: Vec<Bytes>,
    anchors: Vec<TrustAnchor<'static>>,
    raw_public_keys: bool,
}

/// Why a credential is no good: the operator's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Neither PKCS#8 nor SEC 1 in DER, or not on P-256.
    #[error("the private key is not an ECDSA key on P-256 (PKCS#8 or SEC 1)")]
    PrivateKey,
    /// The first certificate is not for the private key.
    #[error("the server's first certificate is malformed or not for its private key")]
    Chain,
    /// A trust anchor is not a certificate, or its key is not on P-256.
    #[error("a trust anchor is not a DER certificate with an ECDSA key on P-256")]
    TrustAnchor,
}

impl Credential {
    /// From a P-256 private key in DER, PKCS#8 (RFC 5208) or SEC 1 (RFC 5915). By itself it is good for nothing: add a chain and trust anchors, or raw public
    /// keys, or both.
    ///
    /// # Errors
    /// [`CredentialError::PrivateKey`].
    pub fn new(key: &[u8]) -> Result<Credential, CredentialError> {
        let key = SecretKey::from_pkcs8_der(key).or_else(|_| SecretKey::from_sec1_der(key));
        let key = SigningKey::from(key.map_err(|_| CredentialError::PrivateKey)?);
        let public_key = key.verifying_key().to_public_key_der().map_err(|_| CredentialError::PrivateKey)?;
        let public_key = Bytes::copy_from_slice(public_key.as_bytes());
        Ok(Credential { key, public_key, chain: Vec::new(), anchors: Vec::new(), raw_public_keys: false })
    }

    /// Shows these DER certificates to devices, the server's own first.
    ///
    /// # Errors
    /// [`CredentialError::Chain`].
    pub fn with_chain(mut self, chain: Vec<Bytes>) -> Result<Credential, CredentialError> {
        let own = chain.first().ok_or(CredentialError::Chain)?;
        let own = CertificateDer::from(own.as_ref());
        let own = EndEntityCert::try_from(&own).map_err(|_| CredentialError::Chain)?;
        if own.subject_public_key_info().as_ref() != self.public_key.as_ref() {
            return Err(CredentialError::Chain);
        }
        self.chain = chain;
        Ok(self)
    }

    /// Takes devices whose certificates lead to one of these DER certificates.
    ///
    /// # Errors
    /// [`CredentialError::TrustAnchor`].
    pub fn with_trust_anchors(mut self, anchors: &[Bytes]) -> Result<Credential, CredentialError> {
        for anchor in anchors {
            let anchor = CertificateDer::from(anchor.as_ref());
            let anchor = anchor_from_trusted_cert(&anchor).map_err(|_| CredentialError::TrustAnchor)?;
            // It stands there without the head of its SEQUENCE.
            let key = &anchor.subject_public_key_info[..];
            let length = u8::try_from(key.len()).map_err(|_| CredentialError::TrustAnchor)?;
            if !is_public_key(&[&[0x30, length], key].concat()) {
                return Err(CredentialError::TrustAnchor);
            }
            self.anchors.push(anchor.to_owned());
        }
        Ok(self)
    }

    /// Shows its bare public key to devices that ask for that, and takes theirs; the application says which.
    pub fn with_raw_public_keys(mut self) -> Credential {
        self.raw_public_keys = true;
        self
    }

    /// Its public key, as DER SubjectPublicKeyInfo: what devices are given beforehand.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Whether devices may prove themselves in that form.
    pub(crate) fn accepts(&self, form: Form) -> bool {
        match form {
            Form::X509 => !self.anchors.is_empty(),
            Form::RawPublicKey => self.raw_public_keys,
        }
    }

    /// Whether the server can prove itself in that form.
    pub(crate) fn offers(&self, form: Form) -> bool {
        match form {
            Form::X509 => !self.chain.is_empty(),
            Form::RawPublicKey => self.raw_public_keys,
        }
    }

    pub(crate) fn chain(&self) -> &[Bytes] {
        &self.chain
    }

    /// A signature in DER, with a nonce that follows from key and message (RFC 6979).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// The key of a device whose chain leads to a trust anchor at that time. The first certificate is the device's.
    pub(crate) fn verify_chain(&self, chain: &[&[u8]], unix: std::time::Duration) -> Option<PeerKey> {
        let (own, others) = chain.split_first().filter(|_| chain.len() <= MAX_CHAIN)?;
        let own = CertificateDer::from(*own);
        let own = EndEntityCert::try_from(&own).ok()?;
        let others: Vec<CertificateDer<'_>> =
            others.iter().map(|other| CertificateDer::from(*other)).collect();
        if !is_one_path(&others) {
            return None;
        }
        let (time, usage) = (UnixTime::since_unix_epoch(unix), KeyUsage::client_auth());
        own.verify_for_usage(&[&EcdsaP256], &self.anchors, &others, time, usage, None, None).ok()?;
        PeerKey::from_der(own.subject_public_key_info().as_ref())
    }
}

/// Whether no two have the same subject. Otherwise somebody who holds no private key could make the search for a path to an anchor
/// try all orders of them, with a signature to verify for each: so each has one issuer at most.
fn is_one_path(authorities: &[CertificateDer<'_>]) -> bool {
    // What cannot be read is on no path.
    let mut known: Vec<_> = authorities.iter().filter_map(|one| EndEntityCert::try_from(one).ok()).collect();
    known.sort_unstable_by(|one, other| one.subject().cmp(other.subject()));
    known.windows(2).all(|pair| pair[0].subject() != pair[1].subject())
}

/// Whether that is a public key that a device can prove itself with: P-256, as DER SubjectPublicKeyInfo.
pub fn is_public_key(der: &[u8]) -> bool {
    PeerKey::from_der(der).is_some()
}

/// The public key of a device.
pub(crate) struct PeerKey(VerifyingKey);

impl PeerKey {
    /// From DER SubjectPublicKeyInfo.
    pub(crate) fn from_der(public_key: &[u8]) -> Option<PeerKey> {
        PublicKey::from_public_key_der(public_key).ok().map(|key| PeerKey(key.into()))
    }

    pub(crate) fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature)
            .is_ok_and(|signature| self.0.verify_prehash(digest, &signature).is_ok())
    }
}

/// ECDSA on P-256 with SHA-256 for rustls-webpki.
#[derive(Debug)]
struct EcdsaP256;

impl SignatureVerificationAlgorithm for EcdsaP256 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2026.
    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        match u8::try_from(content.len()) {
            Ok(length) if length < 0x80 => [&[0x30, length], &content[..]].concat(),
            Ok(length) => [&[0x30, 0x81, length], &content[..]].concat(),
            Err(_) => element(0x30, &content),
        }
    }

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_slice(&[byte; 32]).unwrap()
    }

    fn name(letter: u8) -> Vec<u8> {
        let pair = [0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, letter];
        sequence(&[&[0x31, 10], &pair])
    }

    /// A certificate for the private key of 32 such bytes: subject and issuer are one letter each (RFC 5280 section 4.1).
    fn certificate((subject, own): (u8, u8), (issuer, signer): (u8, u8), is_authority: bool) -> Vec<u8> {
        let ecdsa_with_sha256 = sequence(&[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let times = sequence(&[b"\x17\x0d200101000000Z", b"\x17\x0d400101000000Z"]);
        let basic: &[u8] = if is_authority { &[4, 5, 0x30, 3, 1, 1, 0xff] } else { &[4, 2, 0x30, 0] };
        let extension = sequence(&[&[6, 3, 0x55, 0x1d, 0x13], basic]);
        let extensions = sequence(&[&extension]);
        let extensions = [&[0xa3, u8::try_from(extensions.len()).unwrap()], &extensions[..]].concat();
        let public = key(own).verifying_key().to_public_key_der().unwrap();
        let signed = sequence(&[
            &[0xa0, 3, 2, 1, 2, 2, 1, own],
            &ecdsa_with_sha256,
            &name(issuer),
            &times,
            &name(subject),
            public.as_bytes(),
            &extensions,
        ]);
        let signature: Signature = key(signer).sign(&signed);
        let signature = signature.to_der();
        let head = [3, u8::try_from(signature.as_bytes().len()).unwrap() + 1, 0];
        sequence(&[&signed, &ecdsa_with_sha256, &head, signature.as_bytes()])
    }

    fn is_believed(chain: &[&[u8]]) -> bool {
        let root = Bytes::from(certificate((b'R', 1), (b'R', 1), true));
        let server = [
            &[0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a][..],
            &[0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20],
            &[9; 32],
        ];
        let credential = Credential::new(&server.concat()).unwrap().with_trust_anchors(&[root]).unwrap();
        credential.verify_chain(chain, NOW).is_some()
    }

    #[test]
    fn a_chain_leads_to_an_anchor_by_one_path() {
        let device = certificate((b'd', 7), (b'B', 3), false);
        let lower = certificate((b'B', 3), (b'A', 2), true);
        let upper = certificate((b'A', 2), (b'R', 1), true);
        let root = certificate((b'R', 1), (b'R', 1), true);
        assert!(is_believed(&[&device, &lower, &upper]));
        assert!(is_believed(&[&device, &upper, &lower]), "in any order");
        assert!(is_believed(&[&device, &lower, &upper, &root]), "the anchor may be among them");
        assert!(is_believed(&[&device, &lower, &upper, b"of a kind that nobody reads"]));
        assert!(!is_believed(&[&device, &lower]));
        // Two that may have signed what is below them: it would be looked for which one.
        let twin = certificate((b'A', 4), (b'R', 5), true);
        assert!(!is_believed(&[&device, &lower, &upper, &twin]));
        assert!(!is_believed(&[&device, &lower, &upper, &upper]));
        let likeness = [11, 12, 13, 14, 15].map(|own| certificate((b'R', own), (b'R', own), true));
        let bare: Vec<CertificateDer<'_>> =
            likeness.iter().map(|one| CertificateDer::from(&one[..])).collect();
        assert!(is_one_path(&bare[..1]) && !is_one_path(&bare));
    }
}
