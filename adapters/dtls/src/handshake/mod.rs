//! One handshake, from a ClientHello with a valid cookie to the Finished messages: RFC 6347 section 4.2, RFC 5246 section 7.3.
//! Not here: cookies, addresses, limits (`server`), certificates (`credential`).

mod certificates;
mod flight;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};
use p256::SecretKey;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::association::Association;
use crate::core::Core;
use crate::event::{Event, Identity, Psk, RequestId};
use crate::hello::{ClientHello, extension};
use crate::inbox::{self, Fragment, Inbox, Message, Refused};
use crate::negotiate::{Choice, alert};
use crate::prf::{self, Master};
use crate::protect::{self, Keys};
use crate::record::{ALERT, HANDSHAKE, Record, VERSION};
use crate::replay::Window;
use crate::resumption::Resumable;
use crate::wire::{Reader, vector};

use self::flight::{Line, Outbox};
use crate::credential::PeerKey;

/// Handshake message types.
pub(crate) mod kind {
    pub(crate) const CLIENT_HELLO: u8 = 1;
    pub(crate) const SERVER_HELLO: u8 = 2;
    pub(crate) const HELLO_VERIFY_REQUEST: u8 = 3;
    pub(crate) const CERTIFICATE: u8 = 11;
    pub(crate) const SERVER_KEY_EXCHANGE: u8 = 12;
    pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
    pub(crate) const SERVER_HELLO_DONE: u8 = 14;
    pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
    pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub(crate) const FINISHED: u8 = 20;
}

/// How many protected records wait for keys, and their bytes.
const EARLY: (usize, usize) = (4, 2048);
/// Longer PSK identities are unknown; RFC 4279 section 5.3 asks for 128.
const MAX_IDENTITY: usize = 256;
/// How often a repeated ClientHello gets the flight again, beside the timer.
const REPEATS: u32 = 8;

/// What a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Certificate,
    KeyExchange,
    /// The key of an identity, from the application.
    Key,
    CertificateVerify,
    /// Whether a proven identity may come in, from the application.
    Verdict,
    Finished,
}

/// What came of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes on.
    Waits,
    /// It is complete.
    Done,
    /// It is over.
    Failed(Failure),
}

/// Why a handshake broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client's Finished does not decrypt.
    WrongKey,
    /// A message was wrong; with the alert for the client.
    Protocol(u8),
    /// A certificate or public key was refused; with the alert for the client.
    Refused(u8),
    /// The client broke off.
    Aborted,
}

struct Secrets {
    master: Master,
    keys: Keys,
}

pub(crate) struct Handshake {
    pub(crate) peer: SocketAddr,
    pub(crate) client_random: [u8; 32],
    pub(crate) own_cid: Option<u64>,
    /// When its timer goes off.
    pub(crate) alarm: Instant,
    /// The question that it waits for.
    pub(crate) request: Option<RequestId>,
    /// The one that was answered.
    pub(crate) answered: Option<RequestId>,
    pub(crate) resumed: bool,
    pub(crate) session_id: Vec<u8>,
    choice: Choice,
    server_random: [u8; 32],
    transcript: Sha256,
    inbox: Inbox,
    outbox: Outbox,
    /// Protected records that came before their keys.
    early: Vec<Vec<u8>>,
    expects: Expects,
    secrets: Option<Secrets>,
    identity: Option<Identity>,
    ecdh: Option<SecretKey>,
    peer_key: Option<PeerKey>,
    /// What our last Finished says.
    verify_data: [u8; 12],
    window: Window,
    wait: Duration,
    attempts: u32,
    repeats: u32,
}

/// A ClientHello with its place in the stream of records and messages.
pub(crate) struct Opening<'a> {
    pub(crate) hello: &'a ClientHello<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) record_seq: u64,
    pub(crate) message_seq: u16,
}

impl Handshake {
    /// Answers a ClientHello: with a whole handshake, or with a short one when its session can be resumed.
    pub(crate) fn begin(
        core: &mut Core,
        now: Instant,
        peer: SocketAddr,
        opening: &Opening<'_>,
        choice: Choice,
        own_cid: Option<u64>,
        resumable: Option<&Resumable>,
    ) -> Handshake {
        let resumes =
            if core.config.limits.resumable > 0 { core.random::<32>().to_vec() } else { Vec::new() };
        let mut handshake = Handshake {
            peer,
            client_random: opening.hello.random,
            own_cid,
            alarm: now,
            request: None,
            answered: None,
            resumed: resumable.is_some(),
            session_id: resumable.map_or(resumes, |_| opening.hello.session_id.to_vec()),
            expects: if choice.suite.is_psk() { Expects::KeyExchange } else { Expects::Certificate },
            choice,
            server_random: core.random(),
            transcript: Sha256::new(),
            inbox: Inbox::new(opening.message_seq + 1, core.config.limits.handshake_bytes),
            outbox: Outbox::new(opening.message_seq, opening.record_seq),
            early: Vec::new(),
            secrets: None,
            identity: None,
            ecdh: None,
            peer_key: None,
            verify_data: [0; 12],
            window: Window::default(),
            wait: core.config.timing.first_retransmission,
            attempts: 0,
            repeats: 0,
        };
        handshake.transcript.update(inbox::message(kind::CLIENT_HELLO, opening.message_seq, opening.body));
        let hello = handshake.server_hello(core);
        handshake.say(kind::SERVER_HELLO, &hello);
        match resumable {
            Some(resumable) => handshake.resume(resumable),
            None => handshake.first_flight(core),
        }
        handshake.transmit(core, now);
        handshake
    }

    /// Takes a handshake fragment in the clear.
    pub(crate) fn on_fragment(&mut self, core: &mut Core, now: Instant, fragment: Fragment<'_>) -> Step {
        self.insert(core, 0, fragment);
        self.advance(core, now)
    }

    /// Takes a protected record. `None`: it is not authentic, or is kept until there are keys.
    pub(crate) fn open(&self, record: &Record<'_>) -> Option<(u8, Vec<u8>)> {
        let secrets = self.secrets.as_ref().filter(|_| self.expects == Expects::Finished)?;
        protect::open(secrets.keys.cipher, &secrets.keys.client, record)
    }

    /// Whether protected records can be opened.
    pub(crate) fn is_ready(&self) -> bool {
        self.expects == Expects::Finished
    }

    /// Keeps a protected record until there are keys, as far as there is room.
    pub(crate) fn keep(&mut self, record: &Record<'_>) {
        let held: usize = self.early.iter().map(Vec::len).sum();
        if self.early.len() < EARLY.0 && held + record.bytes.len() <= EARLY.1 {
            self.early.push(record.bytes.to_vec());
        }
    }

    /// What was kept.
    pub(crate) fn take_early(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.early)
    }

    /// Takes the content of a protected record.
    pub(crate) fn on_opened(
        &mut self,
        core: &mut Core,
        now: Instant,
        seq: u64,
        kind: u8,
        content: &[u8],
    ) -> Step {
        if !self.window.is_new(seq) {
            core.stats.replayed += 1;
            return Step::Waits;
        }
        self.window.accept(seq);
        match kind {
            HANDSHAKE => {
                let mut reader = Reader(content);
                while !reader.is_empty() {
                    let Some(fragment) = Fragment::split(&mut reader) else {
                        return Step::Failed(Failure::Protocol(alert::DECODE_ERROR));
                    };
                    self.insert(core, 1, fragment);
                }
                self.advance(core, now)
            }
            ALERT => Step::Failed(Failure::Aborted),
            // Data that overtook the Finished: it comes again, or it was not important.
            _ => {
                core.stats.unexpected += 1;
                Step::Waits
            }
        }
    }

    /// The application's answer to a question for a key. Without one a random key takes its place, so that an unknown
    /// identity ends as a wrong key does (RFC 4279 section 2).
    pub(crate) fn on_key(&mut self, core: &mut Core, now: Instant, key: Option<&Psk>) -> Step {
        self.answered = self.request.take();
        let substitute = Zeroizing::new(core.random::<16>());
        let premaster = prf::psk_premaster(key.map_or(&substitute[..], |key| &key.0));
        self.derive(&premaster);
        self.expects = Expects::Finished;
        self.arm(now);
        Step::Waits
    }

    /// The application's answer to whether a proven identity may come in.
    pub(crate) fn on_verdict(&mut self, now: Instant, accepted: bool) -> Step {
        self.answered = self.request.take();
        if !accepted {
            return Step::Failed(Failure::Refused(alert::CERTIFICATE_UNKNOWN));
        }
        self.expects = Expects::Finished;
        self.arm(now);
        Step::Waits
    }

    /// The client sent its hello again: it gets the flight again, so often.
    pub(crate) fn on_repeated_hello(&mut self, core: &mut Core) {
        if self.request.is_none() && self.repeats < REPEATS {
            self.repeats += 1;
            core.stats.retransmitted += 1;
            self.send_flight(core);
        }
    }

    /// The timer went off: sends the flight again; false when that was often enough.
    pub(crate) fn on_alarm(&mut self, core: &mut Core, now: Instant) -> bool {
        if self.request.is_some() || self.attempts >= core.config.timing.retransmissions {
            return false;
        }
        self.attempts += 1;
        self.wait = (self.wait * 2).min(core.config.timing.longest_retransmission);
        core.stats.retransmitted += 1;
        self.transmit(core, now);
        true
    }

    /// A fatal alert in the clear.
    pub(crate) fn send_alert(&mut self, core: &mut Core, description: u8) {
        let record = self.outbox.clear_record(ALERT, &[2, description]);
        core.transmit(self.peer, record);
    }

    /// The association that the complete handshake made, and what resumes it if that is safe.
    pub(crate) fn finish(self, core: &Core, now: Instant) -> Option<(Association, Option<Resumable>)> {
        let Secrets { master, keys } = self.secrets?;
        let identity = self.identity?;
        let resumable =
            Resumable { master, suite: self.choice.suite, identity: identity.clone(), since: now };
        let association = Association {
            peer: self.peer,
            identity,
            suite: self.choice.suite,
            max_content: self.choice.max_content(),
            keys,
            own_cid: self.own_cid,
            peer_cid: self.choice.peer_cid.unwrap_or_default(),
            client_random: self.client_random,
            write_seq: self.outbox.sealed_seq,
            window: self.window,
            last_flight: (!self.resumed).then_some(crate::association::LastFlight {
                verify_data: self.verify_data,
                message_seq: self.outbox.message_seq.wrapping_sub(1),
                clear_seq: self.outbox.clear_seq,
                until: now + core.config.timing.last_flight,
            }),
            last: now,
            turn: 0,
            rebound: None,
            budget: None,
        };
        let resumable = self.choice.extended_master_secret.then_some(resumable);
        Some((association, resumable))
    }

    fn insert(&mut self, core: &mut Core, epoch: u16, fragment: Fragment<'_>) {
        match self.inbox.insert(epoch, fragment) {
            Ok(()) => {}
            Err(Refused::Repeated) => core.stats.stale += 1,
            Err(Refused::Bad) => core.stats.fragments_refused += 1,
        }
    }

    fn advance(&mut self, core: &mut Core, now: Instant) -> Step {
        while self.request.is_none() {
            let epoch = u16::from(self.expects == Expects::Finished);
            let Some(message) = self.inbox.pop(epoch) else { return Step::Waits };
            match self.on_message(core, now, &message) {
                Ok(Step::Waits) => {}
                Ok(step) => return step,
                Err(failure) => return Step::Failed(failure),
            }
        }
        Step::Waits
    }

    fn on_message(&mut self, core: &mut Core, now: Instant, message: &Message) -> Result<Step, Failure> {
        match (self.expects, message.kind) {
            (Expects::Certificate, kind::CERTIFICATE) => {
                self.on_certificate(core, now, message)?;
                self.transcript.update(&message.bytes);
                self.expects = Expects::KeyExchange;
            }
            (Expects::KeyExchange, kind::CLIENT_KEY_EXCHANGE) => {
                self.transcript.update(&message.bytes);
                if self.choice.suite.is_psk() {
                    self.on_psk_identity(core, now, message)?;
                } else {
                    self.on_ecdh_point(message)?;
                    self.expects = Expects::CertificateVerify;
                }
            }
            (Expects::CertificateVerify, kind::CERTIFICATE_VERIFY) => {
                self.on_certificate_verify(message)?;
                self.transcript.update(&message.bytes);
                self.ask_verdict(core, now);
            }
            (Expects::Finished, kind::FINISHED) => return self.on_finished(core, message),
            _ => return Err(Failure::Protocol(alert::UNEXPECTED_MESSAGE)),
        }
        Ok(Step::Waits)
    }

    fn on_psk_identity(&mut self, core: &mut Core, now: Instant, message: &Message) -> Result<(), Failure> {
        let mut reader = Reader(message.body());
        let identity = reader.vector(2).filter(|_| reader.is_empty());
        let identity = Bytes::copy_from_slice(identity.ok_or(Failure::Protocol(alert::DECODE_ERROR))?);
        self.identity = Some(Identity::Psk(identity.clone()));
        if identity.len() > MAX_IDENTITY {
            self.on_key(core, now, None);
            return Ok(());
        }
        let request = self.ask(core, now, Expects::Key);
        core.events.push_back(Event::KeyRequest { request, identity });
        Ok(())
    }

    fn ask(&mut self, core: &mut Core, now: Instant, expects: Expects) -> RequestId {
        let request = RequestId(core.request());
        self.request = Some(request);
        self.expects = expects;
        self.alarm = now + core.config.timing.lookup;
        request
    }

    fn on_finished(&mut self, core: &mut Core, message: &Message) -> Result<Step, Failure> {
        let Some(secrets) = &self.secrets else { return Err(Failure::Protocol(alert::UNEXPECTED_MESSAGE)) };
        let hash = self.transcript.clone().finalize();
        let expected = prf::verify_data(&secrets.master, false, &hash);
        if !bool::from(expected.ct_eq(message.body())) {
            return Err(Failure::Protocol(alert::DECRYPT_ERROR));
        }
        self.transcript.update(&message.bytes);
        if !self.resumed {
            let hash = self.transcript.clone().finalize();
            let data = prf::verify_data(&secrets.master, true, &hash);
            self.outbox.clear();
            self.verify_data = data;
            self.outbox.finished(kind::FINISHED, &data);
            self.send_flight(core);
        }
        Ok(Step::Done)
    }

    /// RFC 5246 section 7.4.1.3; extensions only as answers to the client's.
    fn server_hello(&self, core: &Core) -> Vec<u8> {
        let choice = &self.choice;
        let mut extensions = Vec::new();
        let mut extension = |number: u16, body: &[u8]| {
            extensions.put_u16(number);
            vector(&mut extensions, 2, body);
        };
        if choice.renegotiation_info {
            extension(extension::RENEGOTIATION_INFO, &[0]);
        }
        if choice.extended_master_secret {
            extension(extension::EXTENDED_MASTER_SECRET, &[]);
        }
        if choice.suite.cipher() == crate::suite::Cipher::CbcThenMac {
            extension(extension::ENCRYPT_THEN_MAC, &[]);
        }
        if let Some(code) = choice.max_fragment_length {
            extension(extension::MAX_FRAGMENT_LENGTH, &[code]);
        }
        if choice.point_formats {
            extension(extension::EC_POINT_FORMATS, &[1, 0]);
        }
        if let (Some((form, true)), false) = (choice.client_form, self.resumed) {
            extension(extension::CLIENT_CERTIFICATE_TYPE, &[form.code()]);
        }
        if let (Some((form, true)), false) = (choice.server_form, self.resumed) {
            extension(extension::SERVER_CERTIFICATE_TYPE, &[form.code()]);
        }
        if let Some(cid) = self.own_cid {
            let cid = cid.to_be_bytes();
            let mut body = Vec::new();
            vector(&mut body, 1, &cid[cid.len() - core.cid_length()..]);
            extension(extension::CONNECTION_ID, &body);
        }
        let mut hello = Vec::new();
        hello.put_u16(VERSION);
        hello.put_slice(&self.server_random);
        vector(&mut hello, 1, &self.session_id);
        hello.put_u16(choice.suite.code());
        hello.put_u8(0);
        if !extensions.is_empty() {
            vector(&mut hello, 2, &extensions);
        }
        hello
    }

    /// What follows the ServerHello when nothing is resumed.
    fn first_flight(&mut self, core: &mut Core) {
        if !self.choice.suite.is_psk() {
            self.prove(core);
        } else if let Some(hint) = core.config.psk_hint.clone() {
            let mut body = Vec::new();
            vector(&mut body, 2, hint.as_bytes());
            self.say(kind::SERVER_KEY_EXCHANGE, &body);
        }
        self.say(kind::SERVER_HELLO_DONE, &[]);
    }

    fn resume(&mut self, resumable: &Resumable) {
        self.identity = Some(resumable.identity.clone());
        let keys = self.keys(&resumable.master);
        let hash = self.transcript.clone().finalize();
        let data = prf::verify_data(&resumable.master, true, &hash);
        let bytes = self.outbox.finished(kind::FINISHED, &data);
        self.transcript.update(&bytes);
        self.secrets = Some(Secrets { master: resumable.master.clone(), keys });
        self.expects = Expects::Finished;
    }

    /// Keys from the premaster secret and the transcript up to the key exchange.
    fn derive(&mut self, premaster: &[u8]) {
        let master = if self.choice.extended_master_secret {
            prf::extended_master(premaster, &self.transcript.clone().finalize())
        } else {
            prf::master(premaster, &self.client_random, &self.server_random)
        };
        let keys = self.keys(&master);
        self.secrets = Some(Secrets { master, keys });
    }

    fn keys(&self, master: &Master) -> Keys {
        Keys::derive(self.choice.suite.cipher(), master, &self.client_random, &self.server_random)
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        let bytes = self.outbox.message(kind, body);
        self.transcript.update(bytes);
    }

    fn transmit(&mut self, core: &mut Core, now: Instant) {
        self.send_flight(core);
        self.arm(now);
    }

    fn arm(&mut self, now: Instant) {
        self.alarm = now + self.wait;
    }

    fn send_flight(&mut self, core: &mut Core) {
        let line = Line {
            peer: self.peer,
            keys: self.secrets.as_ref().map(|secrets| &secrets.keys),
            cid: self.choice.peer_cid.as_deref().unwrap_or_default(),
            max_content: self.choice.max_content(),
        };
        self.outbox.transmit(core, &line);
    }
}
