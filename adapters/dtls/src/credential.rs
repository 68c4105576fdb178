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
        let (time, usage) = (UnixTime::since_unix_epoch(unix), KeyUsage::client_auth());
        own.verify_for_usage(&[&EcdsaP256], &self.anchors, &others, time, usage, None, None).ok()?;
        PeerKey::from_der(own.subject_public_key_info().as_ref())
    }
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
