//! The messages of a handshake by ECDHE and ECDSA on P-256: RFC 5246 section 7.4, RFC 8422, RFC 7250. Not here: what a
//! certificate is worth (`credential`).

use std::time::Instant;

use bytes::{BufMut, Bytes};
use p256::{PublicKey, SecretKey};
use sha2::Digest;

use crate::core::Core;
use crate::credential::{Form, PeerKey};
use crate::event::{Event, Identity};
use crate::inbox::Message;
use crate::negotiate::{ECDSA_SHA256, SECP256R1, alert};
use crate::wire::{Reader, vector};

use super::{Expects, Failure, Handshake, kind};

/// The certificate type ecdsa_sign and the curve type named_curve.
const ECDSA_SIGN: u8 = 64;
const NAMED_CURVE: u8 = 3;

impl Handshake {
    /// Certificate, ServerKeyExchange and CertificateRequest: devices must prove themselves, too.
    pub(super) fn prove(&mut self, core: &mut Core) {
        let ecdh = loop {
            // One of 2^32 random strings is no key.
            let candidate = zeroize::Zeroizing::new(core.random::<32>());
            if let Ok(key) = SecretKey::from_slice(&*candidate) {
                break key;
            }
        };
        let Some(credential) = &core.credential else { return };
        let mut certificate = Vec::new();
        if self.choice.server_form.is_some_and(|(form, _)| form == Form::RawPublicKey) {
            vector(&mut certificate, 3, credential.public_key());
        } else {
            let mut list = Vec::new();
            credential.chain().iter().for_each(|der| vector(&mut list, 3, der));
            vector(&mut certificate, 3, &list);
        }
        let mut exchange = Vec::new();
        exchange.put_u8(NAMED_CURVE);
        exchange.put_u16(SECP256R1);
        vector(&mut exchange, 1, &ecdh.public_key().to_sec1_bytes());
        let signed = [&self.client_random[..], &self.server_random[..], &exchange[..]].concat();
        exchange.put_u16(ECDSA_SHA256);
        vector(&mut exchange, 2, &credential.sign(&signed));
        let mut request = Vec::new();
        vector(&mut request, 1, &[ECDSA_SIGN]);
        vector(&mut request, 2, &ECDSA_SHA256.to_be_bytes());
        vector(&mut request, 2, &[]);
        self.say(kind::CERTIFICATE, &certificate);
        self.say(kind::SERVER_KEY_EXCHANGE, &exchange);
        self.say(kind::CERTIFICATE_REQUEST, &request);
        self.ecdh = Some(ecdh);
    }

    pub(super) fn on_certificate(
        &mut self,
        core: &Core,
        now: Instant,
        message: &Message,
    ) -> Result<(), Failure> {
        let malformed = Failure::Protocol(alert::DECODE_ERROR);
        let refused = Failure::Refused(alert::CERTIFICATE_UNKNOWN);
        let mut reader = Reader(message.body());
        let content = reader.vector(3).filter(|_| reader.is_empty()).ok_or(malformed)?;
        if content.is_empty() {
            return Err(Failure::Refused(alert::HANDSHAKE_FAILURE));
        }
        if self.choice.client_form.is_some_and(|(form, _)| form == Form::RawPublicKey) {
            self.peer_key = Some(PeerKey::from_der(content).ok_or(refused)?);
            self.identity = Some(Identity::PublicKey(Bytes::copy_from_slice(content)));
            return Ok(());
        }
        let mut list = Reader(content);
        let mut chain = Vec::new();
        while !list.is_empty() {
            chain.push(list.vector(3).ok_or(malformed)?);
        }
        let unix = core.unix(now);
        let key = core.credential.as_ref().and_then(|credential| credential.verify_chain(&chain, unix));
        self.peer_key = Some(key.ok_or(refused)?);
        self.identity = chain.first().map(|own| Identity::Certificate(Bytes::copy_from_slice(own)));
        Ok(())
    }

    pub(super) fn on_ecdh_point(&mut self, message: &Message) -> Result<(), Failure> {
        let mut reader = Reader(message.body());
        let point = reader.vector(1).filter(|_| reader.is_empty());
        let point = point.ok_or(Failure::Protocol(alert::DECODE_ERROR))?;
        let point = PublicKey::from_sec1_bytes(point);
        let (Ok(point), Some(ecdh)) = (point, self.ecdh.take()) else {
            return Err(Failure::Protocol(alert::ILLEGAL_PARAMETER));
        };
        let shared = ecdh.diffie_hellman(&point);
        self.derive(shared.raw_secret_bytes());
        Ok(())
    }

    pub(super) fn on_certificate_verify(&mut self, message: &Message) -> Result<(), Failure> {
        let mut reader = Reader(message.body());
        let (algorithm, signature) = (reader.u16(), reader.vector(2));
        if algorithm != Some(ECDSA_SHA256) || !reader.is_empty() {
            return Err(Failure::Protocol(alert::ILLEGAL_PARAMETER));
        }
        let digest = self.transcript.clone().finalize();
        let proven = self
            .peer_key
            .as_ref()
            .zip(signature)
            .is_some_and(|(key, signature)| key.verify(&digest, signature));
        if proven { Ok(()) } else { Err(Failure::Refused(alert::CERTIFICATE_UNKNOWN)) }
    }

    pub(super) fn ask_verdict(&mut self, core: &mut Core, now: Instant) {
        let Some(identity) = self.identity.clone() else { return };
        let request = self.ask(core, now, Expects::Verdict);
        core.events.push_back(Event::VerdictRequest { request, identity });
    }
}
