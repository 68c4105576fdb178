//! A client for tests: pre-shared keys, raw public keys and certificates, Connection IDs both ways, resumption, fragments, and bad manners on request. It takes
//! and gives datagrams as the server does. Not here: anything that a product should use; it does not defend itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BufMut;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use p256::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::core::Random;
use crate::handshake::kind;
use crate::hello::extension;
use crate::inbox::{self, Fragment, HEADER, Inbox, Message, Refused};
use crate::negotiate::{ECDSA_SHA256, SECP256R1};
use crate::prf::{self, Master};
use crate::protect::{self, Head, Keys};
use crate::record::{
    self, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Record, TLS12_CID, VERSION,
};
use crate::suite::CipherSuite;
use crate::wire::{Reader, vector};

/// How often a flight is sent again.
const RETRANSMISSIONS: u32 = 7;

/// What a client offers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its PSK identity.
    pub identity: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its suites, by number.
    pub suites: Vec<u16>,
    /// Whether it offers extended master secret.
    pub extended_master_secret: bool,
    /// Whether it offers encrypt-then-MAC.
    pub encrypt_then_mac: bool,
    /// The Connection ID that it wants to see; may be empty.
    pub connection_id: Option<Vec<u8>>,
    /// Code of RFC 6066 section 4.
    pub max_fragment_length: Option<u8>,
    /// The longest piece of a handshake message that it sends, after its hello.
    pub fragment: usize,
    /// When it first sends a flight again.
    pub timeout: Duration,
    /// The session to go on with.
    pub resume: Option<Session>,
    /// The version that it says.
    pub version: u16,
    /// The private key (P-256) of a device that proves itself by its raw public key, with a suite of ECDSA.
    pub raw_key: Option<[u8; 32]>,
    /// The DER certificates that it shows instead of that raw public key, its own first.
    pub chain: Vec<Vec<u8>>,
}

impl Settings {
    /// A device as most are: TLS_PSK_WITH_AES_128_CCM_8 with extended master secret.
    pub fn new(identity: &str, key: &[u8]) -> Settings {
        Settings {
            identity: identity.into(),
            key: key.into(),
            suites: vec![CipherSuite::PskAes128Ccm8.code()],
            extended_master_secret: true,
            encrypt_then_mac: true,
            connection_id: None,
            max_fragment_length: None,
            fragment: 1000,
            timeout: Duration::from_secs(2),
            resume: None,
            version: VERSION,
            raw_key: None,
            chain: Vec::new(),
        }
    }
}

/// What a client can resume.
#[derive(Debug, Clone)]
pub struct Session {
    id: Vec<u8>,
    master: Master,
}

/// What happened to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The handshake is complete.
    Connected {
        /// Whether it was a short one.
        resumed: bool,
        /// The id that the server wants to see.
        server_cid: Option<Vec<u8>>,
    },
    /// Data of the server.
    Data(Vec<u8>),
    /// An alert: its number, and whether it was protected.
    Alert(u8, bool),
    /// The handshake was given up.
    TimedOut,
}

enum Part {
    Clear(Vec<u8>),
    ChangeCipherSpec,
    Sealed(Vec<u8>),
}

/// A DTLS client for tests.
pub struct Client {
    settings: Settings,
    random: Random,
    client_random: [u8; 32],
    server_random: [u8; 32],
    cookie: Vec<u8>,
    session_id: Vec<u8>,
    suite: CipherSuite,
    extended: bool,
    server_cid: Option<Vec<u8>>,
    resumed: bool,
    connected: bool,
    transcript: Sha256,
    inbox: Inbox,
    message_seq: u16,
    seqs: [u64; 2],
    flight: Vec<Part>,
    /// The server's point of the key exchange.
    point: Option<PublicKey>,
    master: Option<Master>,
    keys: Option<Keys>,
    alarm: Option<Instant>,
    attempts: u32,
    transmits: VecDeque<Vec<u8>>,
    seen: VecDeque<Seen>,
}

impl Client {
    /// Begins a handshake.
    pub fn connect(
        settings: Settings,
        now: Instant,
        random: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Client {
        let mut client = Client {
            random: Box::new(random),
            client_random: [0; 32],
            server_random: [0; 32],
            cookie: Vec::new(),
            session_id: settings.resume.as_ref().map(|session| session.id.clone()).unwrap_or_default(),
            suite: CipherSuite::PskAes128Ccm8,
            extended: false,
            server_cid: None,
            resumed: false,
            connected: false,
            transcript: Sha256::new(),
            inbox: Inbox::new(0, 1 << 16),
            message_seq: 0,
            seqs: [0; 2],
            flight: Vec::new(),
            point: None,
            master: None,
            keys: None,
            alarm: None,
            attempts: 0,
            transmits: VecDeque::new(),
            seen: VecDeque::new(),
            settings,
        };
        (client.random)(&mut client.client_random);
        client.say_hello(now);
        client
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What happened next.
    pub fn poll_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.alarm
    }

    /// Sends the flight again when it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.alarm.is_none_or(|alarm| alarm > now) {
            return;
        }
        self.attempts += 1;
        if self.attempts > RETRANSMISSIONS {
            self.alarm = None;
            self.seen.push_back(Seen::TimedOut);
            return;
        }
        self.alarm = Some(now + self.settings.timeout * 2u32.pow(self.attempts.min(5)));
        self.send_flight();
    }

    /// Takes a datagram of the server.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let cid_length = self.settings.connection_id.as_ref().map_or(0, Vec::len);
        let mut rest = datagram;
        while let Some((record, after)) = Record::split(rest, cid_length) {
            self.on_record(now, &record);
            rest = after;
        }
    }

    /// Sends data; before the handshake is complete that does nothing.
    pub fn send(&mut self, data: &[u8]) {
        self.send_content(APPLICATION_DATA, data);
    }

    /// Sends a protected record with that content.
    pub fn send_content(&mut self, kind: u8, content: &[u8]) {
        if self.connected
            && let Some(record) = self.sealed(kind, content)
        {
            self.transmits.push_back(record);
        }
    }

    /// Says goodbye.
    pub fn close(&mut self) {
        self.send_content(ALERT, &[1, 0]);
    }

    /// Sends the last flight again, as if the server's had been lost.
    pub fn repeat_flight(&mut self) {
        self.send_flight();
    }

    /// Whether the handshake is complete.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What resumes this session.
    pub fn session(&self) -> Option<Session> {
        let master = self.master.clone()?;
        (self.connected && !self.session_id.is_empty())
            .then(|| Session { id: self.session_id.clone(), master })
    }

    fn on_record(&mut self, now: Instant, record: &Record<'_>) {
        if record.epoch == 0 {
            match record.kind {
                HANDSHAKE => self.on_fragments(now, 0, record.body),
                ALERT if !self.connected => {
                    self.seen.push_back(Seen::Alert(record.body.get(1).copied().unwrap_or(255), false));
                    self.alarm = None;
                }
                _ => {}
            }
            return;
        }
        // With an id of ours agreed, records must have it; with an empty one they must be classic.
        let wants_cid = self.server_cid.is_some()
            && self.settings.connection_id.as_ref().is_some_and(|cid| !cid.is_empty());
        if (record.kind == TLS12_CID) != wants_cid
            || wants_cid && self.settings.connection_id.as_deref() != Some(record.cid)
        {
            return;
        }
        let Some(keys) = &self.keys else { return };
        let Some((kind, content)) = protect::open(keys.cipher, &keys.server, record) else { return };
        match kind {
            HANDSHAKE => self.on_fragments(now, 1, &content),
            APPLICATION_DATA => self.seen.push_back(Seen::Data(content)),
            ALERT => self.seen.push_back(Seen::Alert(content.get(1).copied().unwrap_or(255), true)),
            _ => {}
        }
    }

    fn on_fragments(&mut self, now: Instant, epoch: u16, content: &[u8]) {
        let mut reader = Reader(content);
        let mut repeated = false;
        while let Some(fragment) = Fragment::split(&mut reader) {
            repeated |= self.inbox.insert(epoch, fragment) == Err(Refused::Repeated);
        }
        if repeated && self.connected && self.resumed {
            self.send_flight();
        }
        while let Some(message) = self.inbox.pop(0).or_else(|| self.inbox.pop(1)) {
            self.on_message(now, &message);
        }
    }

    fn on_message(&mut self, now: Instant, message: &Message) {
        if message.kind == kind::HELLO_VERIFY_REQUEST {
            let mut reader = Reader(&message.body()[2..]);
            self.cookie = reader.vector(1).unwrap_or_default().to_vec();
            self.say_hello(now);
            return;
        }
        let before = self.transcript.clone();
        self.transcript.update(&message.bytes);
        match message.kind {
            kind::SERVER_HELLO => {
                // A malformed one is left unanswered, and the test sees a client that times out.
                let _ = self.on_server_hello(message);
            }
            kind::SERVER_KEY_EXCHANGE if !self.suite.is_psk() => {
                // Curve type, curve, point; the signature is for clients that defend themselves.
                let point = Reader(&message.body()[3..]).vector(1).unwrap_or_default();
                self.point = PublicKey::from_sec1_bytes(point).ok();
            }
            kind::SERVER_HELLO_DONE => self.finish_key_exchange(now),
            kind::FINISHED => self.on_finished(&before, message),
            _ => {}
        }
    }

    fn on_server_hello(&mut self, message: &Message) -> Option<()> {
        let mut reader = Reader(message.body());
        reader.u16()?;
        self.server_random = reader.array()?;
        let id = reader.vector(1)?;
        self.resumed = !id.is_empty() && id == self.session_id;
        self.session_id = id.to_vec();
        self.suite = CipherSuite::from_code(reader.u16()?)?;
        reader.u8()?;
        let mut extensions = Reader(reader.vector(2).unwrap_or_default());
        while let (Some(number), Some(body)) = (extensions.u16(), extensions.vector(2)) {
            match number {
                extension::EXTENDED_MASTER_SECRET => self.extended = true,
                extension::CONNECTION_ID => self.server_cid = Some(Reader(body).vector(1)?.to_vec()),
                _ => {}
            }
        }
        if self.resumed {
            self.master = self.settings.resume.as_ref().map(|session| session.master.clone());
            self.derive_keys();
        }
        Some(())
    }

    fn finish_key_exchange(&mut self, now: Instant) {
        self.flight.clear();
        match (self.settings.raw_key, self.point.take()) {
            (Some(key), Some(point)) => self.prove(&key, &point),
            _ => {
                let mut exchange = Vec::new();
                vector(&mut exchange, 2, &self.settings.identity);
                self.say(kind::CLIENT_KEY_EXCHANGE, &exchange);
                self.derive_master(&prf::psk_premaster(&self.settings.key));
            }
        }
        self.say_finished();
        self.start_flight(now);
    }

    /// Certificate, ClientKeyExchange and CertificateVerify; a malformed key of the test sends nothing.
    fn prove(&mut self, key: &[u8; 32], point: &PublicKey) {
        let mut ephemeral = [0; 32];
        (self.random)(&mut ephemeral);
        let (Ok(key), Ok(ephemeral)) = (SigningKey::from_slice(key), SecretKey::from_slice(&ephemeral))
        else {
            return;
        };
        let Ok(public) = key.verifying_key().to_public_key_der() else { return };
        let mut list = Vec::new();
        self.settings.chain.iter().for_each(|der| vector(&mut list, 3, der));
        let shown = if list.is_empty() { public.as_bytes() } else { &list };
        let mut certificate = Vec::new();
        vector(&mut certificate, 3, shown);
        self.say(kind::CERTIFICATE, &certificate);
        let mut exchange = Vec::new();
        vector(&mut exchange, 1, &ephemeral.public_key().to_sec1_bytes());
        self.say(kind::CLIENT_KEY_EXCHANGE, &exchange);
        self.derive_master(ephemeral.diffie_hellman(point).raw_secret_bytes());
        let digest = self.transcript.clone().finalize();
        let Ok(signature) = PrehashSigner::<Signature>::sign_prehash(&key, &digest) else { return };
        let mut verify = Vec::new();
        verify.put_u16(ECDSA_SHA256);
        vector(&mut verify, 2, signature.to_der().as_bytes());
        self.say(kind::CERTIFICATE_VERIFY, &verify);
    }

    fn derive_master(&mut self, premaster: &[u8]) {
        self.master = Some(if self.extended {
            prf::extended_master(premaster, &self.transcript.clone().finalize())
        } else {
            prf::master(premaster, &self.client_random, &self.server_random)
        });
        self.derive_keys();
    }

    fn on_finished(&mut self, before: &Sha256, message: &Message) {
        let Some(master) = &self.master else { return };
        if prf::verify_data(master, true, &before.clone().finalize()) != message.body() {
            return;
        }
        if self.resumed {
            self.flight.clear();
            self.say_finished();
            self.send_flight();
        }
        self.connected = true;
        self.alarm = None;
        self.seen.push_back(Seen::Connected { resumed: self.resumed, server_cid: self.server_cid.clone() });
    }

    fn say_finished(&mut self) {
        let Some(master) = &self.master else { return };
        let data = prf::verify_data(master, false, &self.transcript.clone().finalize());
        let bytes = inbox::message(kind::FINISHED, self.message_seq, &data);
        self.message_seq += 1;
        self.transcript.update(&bytes);
        self.flight.push(Part::ChangeCipherSpec);
        self.flight.push(Part::Sealed(bytes));
    }

    fn derive_keys(&mut self) {
        let master = self.master.clone().unwrap_or_else(|| Zeroizing::new([0; 48]));
        self.keys =
            Some(Keys::derive(self.suite.cipher(), &master, &self.client_random, &self.server_random));
    }

    fn say_hello(&mut self, now: Instant) {
        self.flight.clear();
        self.transcript = Sha256::new();
        let body = self.hello();
        self.say(kind::CLIENT_HELLO, &body);
        self.start_flight(now);
    }

    fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        hello.put_u16(self.settings.version);
        hello.put_slice(&self.client_random);
        vector(&mut hello, 1, &self.session_id);
        vector(&mut hello, 1, &self.cookie);
        let suites: Vec<u8> = self.settings.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        vector(&mut hello, 2, &suites);
        vector(&mut hello, 1, &[0]);
        let mut extensions = Vec::new();
        let mut extension = |number: u16, body: &[u8]| {
            extensions.put_u16(number);
            vector(&mut extensions, 2, body);
        };
        if self.settings.extended_master_secret {
            extension(extension::EXTENDED_MASTER_SECRET, &[]);
        }
        if self.settings.encrypt_then_mac {
            extension(extension::ENCRYPT_THEN_MAC, &[]);
        }
        if let Some(code) = self.settings.max_fragment_length {
            extension(extension::MAX_FRAGMENT_LENGTH, &[code]);
        }
        if let Some(cid) = &self.settings.connection_id {
            let mut body = Vec::new();
            vector(&mut body, 1, cid);
            extension(extension::CONNECTION_ID, &body);
        }
        if self.settings.raw_key.is_some() {
            extension(extension::SUPPORTED_GROUPS, &[0, 2, 0, SECP256R1 as u8]);
            extension(extension::SIGNATURE_ALGORITHMS, &[0, 2, 4, 3]);
        }
        if self.settings.raw_key.is_some() && self.settings.chain.is_empty() {
            extension(extension::CLIENT_CERTIFICATE_TYPE, &[1, 2]);
            extension(extension::SERVER_CERTIFICATE_TYPE, &[1, 2]);
        }
        // Old devices send no extensions at all.
        if !extensions.is_empty() {
            vector(&mut hello, 2, &extensions);
        }
        hello
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        let bytes = inbox::message(kind, self.message_seq, body);
        self.message_seq += 1;
        self.transcript.update(&bytes);
        self.flight.push(Part::Clear(bytes));
    }

    fn start_flight(&mut self, now: Instant) {
        self.attempts = 0;
        self.alarm = Some(now + self.settings.timeout);
        self.send_flight();
    }

    /// One datagram per record: more can happen to them.
    fn send_flight(&mut self) {
        let flight = std::mem::take(&mut self.flight);
        for part in &flight {
            match part {
                Part::Clear(message) => self.send_message(message),
                Part::ChangeCipherSpec => {
                    let record = self.clear(CHANGE_CIPHER_SPEC, &[1]);
                    self.transmits.push_back(record);
                }
                Part::Sealed(message) => {
                    let record = self.sealed(HANDSHAKE, message);
                    self.transmits.extend(record);
                }
            }
        }
        self.flight = flight;
    }

    fn send_message(&mut self, message: &[u8]) {
        let (header, body) = message.split_at(HEADER);
        let longest = if header[0] == kind::CLIENT_HELLO { body.len() } else { self.settings.fragment };
        let seq = u16::from_be_bytes([header[4], header[5]]);
        for (index, piece) in body.chunks(longest.max(1)).enumerate() {
            let mut content = Vec::new();
            inbox::write_fragment(&mut content, header[0], seq, body.len(), index * longest, piece);
            let record = self.clear(HANDSHAKE, &content);
            self.transmits.push_back(record);
        }
    }

    fn clear(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        record::write(&mut bytes, kind, (0, self.seqs[0]), &[], body);
        self.seqs[0] += 1;
        bytes
    }

    fn sealed(&mut self, kind: u8, content: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.as_ref()?;
        let cid = self.server_cid.as_deref().unwrap_or_default();
        let head = Head { kind, epoch: 1, seq: self.seqs[1], cid };
        self.seqs[1] += 1;
        let mut iv = [0; 16];
        (self.random)(&mut iv);
        let mut bytes = Vec::new();
        protect::seal(&mut bytes, keys.cipher, &keys.client, head, content, iv);
        Some(bytes)
    }
}
