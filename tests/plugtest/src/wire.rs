//! What lies between socket and endpoint: UDP as it is, or DTLS as the bridge sets it up, with the key of the plugtests. Not
//! here: sockets.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use coap_proto::{Endpoint, Transmit};
use dtls::{ConnectionIds, Credential, Event, Identity, Limits, Psk, Server, SessionId};

/// Of TD_COAP_DTLS_01.
const IDENTITY: &[u8] = b"password";
const KEY: &[u8] = b"sesame";

/// What the endpoint tells clients apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    Address(SocketAddr),
    Session(SessionId),
}

pub(crate) enum Wire {
    Plain(VecDeque<(SocketAddr, Bytes)>),
    Secure(Box<Secure>),
}

pub(crate) struct Secure {
    dtls: Server,
    trusted: Option<Bytes>,
}

impl Wire {
    pub(crate) fn plain() -> Self {
        Self::Plain(VecDeque::new())
    }

    /// With the files of a raw key, and of the one that is trusted.
    pub(crate) fn secure(raw: Option<(&String, &String)>) -> Self {
        let config = dtls::Config {
            connection_ids: Some(ConnectionIds::default()),
            limits: Limits { resumable: 0, ..Limits::default() },
            ..dtls::Config::default()
        };
        let mut urandom = File::open("/dev/urandom").unwrap();
        let random = move |bytes: &mut [u8]| urandom.read_exact(bytes).unwrap();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut dtls = Server::new(config, Instant::now(), unix, random).unwrap();
        let trusted = raw.map(|(key, trusted)| {
            let credential = Credential::new(&std::fs::read(key).unwrap()).unwrap();
            dtls.set_credential(Some(credential.with_raw_public_keys()));
            Bytes::from(std::fs::read(trusted).unwrap())
        });
        Self::Secure(Box::new(Secure { dtls, trusted }))
    }

    pub(crate) fn take(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint<Peer>,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        match self {
            Self::Plain(_) => endpoint.handle_datagram(now, Peer::Address(from), datagram),
            Self::Secure(secure) => secure.dtls.handle_datagram(now, from, datagram),
        }
    }

    pub(crate) fn carry(&mut self, message: Transmit<Peer>) {
        match (self, message.peer) {
            (Self::Plain(queue), Peer::Address(to)) => queue.push_back((to, message.payload)),
            // It may have ended.
            (Self::Secure(secure), Peer::Session(session)) => {
                let _ = secure.dtls.send(session, &message.payload);
            }
            _ => unreachable!("there is one kind of peer"),
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        match self {
            Self::Plain(queue) => queue.pop_front(),
            Self::Secure(secure) => secure.dtls.poll_transmit().map(|sent| (sent.peer, sent.payload)),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(secure) => secure.dtls.next_timeout(),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Self::Secure(secure) = self {
            secure.dtls.handle_timeout(now);
        }
    }

    pub(crate) fn settle(&mut self, now: Instant, endpoint: &mut Endpoint<Peer>) {
        let Self::Secure(secure) = self else { return };
        while let Some(event) = secure.dtls.poll_event() {
            match event {
                Event::KeyRequest { request, identity } => {
                    let key = Psk::new(KEY).filter(|_| identity == IDENTITY);
                    secure.dtls.provide_key(now, request, key.as_ref());
                }
                Event::VerdictRequest { request, identity } => {
                    let trusted = match &identity {
                        Identity::PublicKey(key) => Some(key) == secure.trusted.as_ref(),
                        _ => false,
                    };
                    secure.dtls.provide_verdict(now, request, trusted);
                }
                Event::Connected { .. } => println!("connected"),
                Event::Data { session, data } => {
                    endpoint.handle_datagram(now, Peer::Session(session), &data);
                }
                Event::Closed { session, .. } => endpoint.forget_peer(now, &Peer::Session(session)),
                Event::Rebound { .. } => {}
            }
        }
    }
}
