//! DTLS between the socket and the endpoint: a peer is an association, wherever its device is, and has proven an identity.
//! Not here: DTLS (`dtls`), whose identity it is ([`crate::identity`]), how associations are kept over a restart ([`crate::saved`]).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bridge_core::Timestamp;
use bridge_core::ports::BoxFuture;
use bytes::Bytes;
use coap_proto::{Endpoint, Message, Transmit, Type};
use dtls::{
    CipherSuite, Config, ConnectionIds, Event, Identity, Limits, RequestId, SendError, Server, SessionId,
};
use tokio::sync::mpsc;

use crate::api::{CarriedStats, CoapApi};
use crate::carrier::{Caller, Carrier, Datagrams};
use crate::identity::{self, Enrolled};
use crate::keys::{Authorities, DtlsKey};
use crate::{random, saved};

/// What a DTLS server is made of.
pub struct Associations {
    /// The first byte of its Connection IDs: tells nodes behind one address apart.
    pub node: u8,
    /// Must not be guessable, nor ever be the same again: all keys are made of it.
    pub seed: [u8; 32],
    /// What [`serve_secure`](crate::serve_secure) gave at its last end. It must not be there any more for another start.
    pub saved: Option<Vec<u8>>,
    /// For devices with raw public keys or certificates; none: they all have pre-shared keys.
    pub key: Option<DtlsKey>,
}

/// What was counted behind DTLS.
#[derive(Debug, Clone, Copy, Default)]
pub struct SecureStats {
    /// Of CoAP.
    pub coap: CarriedStats,
    /// Of DTLS.
    pub dtls: dtls::Stats,
    /// What is held now.
    pub held: dtls::Held,
    /// Messages not sent, as their device has a new address that it has not confirmed; it asks again.
    pub unconfirmed: u64,
    /// Messages not sent for other reasons: the association had ended, or takes no such long record.
    pub unsent: u64,
    /// Associations closed because the same identity began too many others.
    pub crowded: u64,
}

/// Associations of one identity: a few for a device that restarts at a new address, or several that share one.
const PER_IDENTITY: usize = 8;
/// Message ids remembered for each device at an address that it has not confirmed.
const CONFIRMATIONS: usize = 8;

pub(crate) struct Secure {
    dtls: Server,
    api: CoapApi,
    authorities: Authorities,
    proven: HashMap<SessionId, Proven>,
    /// The associations of each identity, the oldest first: a device alone cannot push out the others.
    of: HashMap<Identity, VecDeque<SessionId>>,
    /// When the credential was made that a handshake under way is to prove: another handshake of the same identity may be about
    /// a newer one.
    proving: HashMap<RequestId, Timestamp>,
    /// Devices at new addresses, and confirmable messages that went there: their acknowledgements prove the address.
    unconfirmed: HashMap<SessionId, VecDeque<u16>>,
    /// Bounded by the limit of handshakes.
    found: (mpsc::UnboundedSender<Found>, mpsc::UnboundedReceiver<Found>),
    not_sent: (u64, u64),
    crowded: u64,
}

/// What an association has shown.
struct Proven {
    identity: Identity,
    /// When the credential was made that it was shown with: another one made later does not show it.
    created: Timestamp,
}

struct Found {
    request: RequestId,
    identity: Identity,
    enrolled: Option<Enrolled>,
}

impl Secure {
    /// A server with the associations that were saved, as far as they can be opened.
    pub(crate) fn new(now: Instant, api: CoapApi, made_of: Associations) -> Self {
        let Associations { node, seed, saved, key } = made_of;
        let server = Server::new(config(node), now, unix(&api), random::bytes(seed));
        let Ok(mut dtls) = server else { unreachable!("the settings are those that are tested") };
        let authorities = key.as_ref().map_or(Authorities::of(Vec::new()), |key| key.authorities);
        dtls.set_credential(key.map(|key| key.credential));
        let mut restored = Vec::new();
        if let (Some(saved), Some(keys)) = (saved, api.settings().seal_keys.clone()) {
            match saved::restore(&mut dtls, now, (&saved, authorities), &keys) {
                Ok(created) => restored = created,
                Err(error) => {
                    tracing::warn!(%error, "DTLS associations are not restored: devices shake hands again");
                }
            }
            tracing::info!(associations = restored.len(), "DTLS associations go on");
        }
        let mut secure = Self {
            dtls,
            api,
            authorities,
            proven: HashMap::new(),
            of: HashMap::new(),
            proving: HashMap::new(),
            unconfirmed: HashMap::new(),
            found: mpsc::unbounded_channel(),
            not_sent: (0, 0),
            crowded: 0,
        };
        for (session, created) in restored {
            if let Some(identity) = secure.dtls.identity(session).cloned() {
                secure.admit(session, identity, created);
            }
        }
        secure
    }

    /// Ends it; what has to be kept for the next start. None when it cannot be sealed.
    pub(crate) fn end(self, now: Instant, mut random: impl FnMut(&mut [u8])) -> Option<Vec<u8>> {
        let keys = self.api.settings().seal_keys.clone()?;
        let created = self.proven.iter().map(|(session, proven)| (*session, proven.created));
        saved::save(self.dtls, now, (created, self.authorities), &keys, &mut random)
    }

    fn look_up(&self, request: RequestId, identity: Identity) {
        let (api, found) = (self.api.clone(), self.found.0.clone());
        tokio::spawn(async move {
            match identity::enrolled(&api, &identity).await {
                // Without a receiver the server has ended.
                Ok(enrolled) => drop(found.send(Found { request, identity, enrolled })),
                // No answer is no verdict: the handshake comes to no end, and the device begins another one.
                Err(error) => tracing::warn!(%error, "an identity could not be looked up"),
            }
        });
    }

    fn forget(&mut self, now: Instant, endpoint: &mut Endpoint<SessionId>, session: SessionId) {
        self.unconfirmed.remove(&session);
        endpoint.forget_peer(now, &session);
        let Some(Proven { identity, .. }) = self.proven.remove(&session) else { return };
        if let Some(all) = self.of.get_mut(&identity) {
            all.retain(|one| *one != session);
            if all.is_empty() {
                self.of.remove(&identity);
            }
        }
    }

    /// Takes note of an association; the one that has to go for it, when there are too many.
    fn admit(&mut self, session: SessionId, identity: Identity, created: Timestamp) -> Option<SessionId> {
        let all = self.of.entry(identity.clone()).or_default();
        all.push_back(session);
        self.proven.insert(session, Proven { identity, created });
        all.front().copied().filter(|_| all.len() > PER_IDENTITY)
    }

    /// Handshakes that came to nothing prove nothing: as many stay as are under way, twice at most.
    fn forget_failed(&mut self) {
        if self.proving.len() > 2 * self.dtls.held().handshakes {
            self.proving.retain(|request, _| self.dtls.is_under_way(*request));
        }
    }

    /// What came says whether the device receives at its address: message ids of ours cannot be guessed.
    fn confirm(&mut self, session: SessionId, data: &[u8]) {
        let Some(sent) = self.unconfirmed.get(&session) else { return };
        let Ok(message) = Message::decode(data, 8) else { return };
        if matches!(message.kind, Type::Acknowledgement | Type::Reset) && sent.contains(&message.mid) {
            self.unconfirmed.remove(&session);
            self.dtls.confirm_address(session);
        }
    }
}

/// The time since 1970.
fn unix(api: &CoapApi) -> Duration {
    Duration::from_millis(u64::try_from(api.now().as_millis()).unwrap_or_default())
}

/// The defaults, but no session is resumed: whose key is taken away is to have nothing that is still good. And who offers
/// pre-shared keys has one, while many offer ECDSA without a key for it.
fn config(node: u8) -> Config {
    let mut suites = CipherSuite::ALL.to_vec();
    suites.sort_by_key(|suite| !suite.is_psk());
    Config {
        suites,
        connection_ids: Some(ConnectionIds { node, ..ConnectionIds::default() }),
        limits: Limits { resumable: 0, ..Limits::default() },
        ..Config::default()
    }
}

impl Carrier for Secure {
    type Peer = SessionId;

    fn carry(&mut self, message: Transmit<SessionId>) {
        match self.dtls.send(message.peer, &message.payload) {
            Ok(()) => {
                let Some(sent) = self.unconfirmed.get_mut(&message.peer) else { return };
                let Ok(Message { kind: Type::Confirmable, mid, .. }) = Message::decode(&message.payload, 8)
                else {
                    return;
                };
                if sent.len() == CONFIRMATIONS {
                    sent.pop_front();
                }
                sent.push_back(mid);
            }
            Err(SendError::Unconfirmed) => self.not_sent.0 += 1,
            Err(error) => {
                tracing::debug!(%error, "a message is not sent");
                self.not_sent.1 += 1;
            }
        }
    }

    fn settle(&mut self, now: Instant, endpoint: &mut Endpoint<SessionId>) {
        while let Some(event) = self.dtls.poll_event() {
            match event {
                Event::KeyRequest { request, identity } => self.look_up(request, Identity::Psk(identity)),
                Event::VerdictRequest { request, identity } => self.look_up(request, identity),
                Event::Connected { session, identity, request, replaces, .. } => {
                    if let Some(old) = replaces {
                        self.forget(now, endpoint, old);
                    }
                    if let Some(created) = request.and_then(|request| self.proving.remove(&request))
                        && let Some(oldest) = self.admit(session, identity, created)
                    {
                        self.crowded += 1;
                        self.revoke(now, endpoint, &oldest);
                    }
                }
                Event::Data { session, data } => {
                    self.confirm(session, &data);
                    endpoint.handle_datagram(now, session, &data);
                }
                Event::Rebound { session, .. } => {
                    self.unconfirmed.insert(session, VecDeque::new());
                }
                Event::Closed { session, .. } => self.forget(now, endpoint, session),
            }
        }
        self.forget_failed();
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.dtls.next_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.dtls.handle_timeout(now);
    }

    fn caller(&self, peer: &SessionId) -> BoxFuture<'static, Caller> {
        let Some(Proven { identity, created }) = self.proven.get(peer) else {
            return Box::pin(std::future::ready(Caller::Revoked));
        };
        let (api, identity, created) = (self.api.clone(), identity.clone(), *created);
        Box::pin(async move { identity::caller(&api, &identity, created).await })
    }

    fn revoke(&mut self, now: Instant, endpoint: &mut Endpoint<SessionId>, peer: &SessionId) {
        self.dtls.close(*peer);
        self.forget(now, endpoint, *peer);
    }

    fn report(&self, api: &CoapApi, endpoint: &Endpoint<SessionId>, observers: usize) {
        let (unconfirmed, unsent) = self.not_sent;
        let (dtls, held) = (self.dtls.stats(), self.dtls.held());
        let coap = CarriedStats { endpoint: endpoint.stats(), observers };
        api.set_secure_stats(SecureStats { coap, dtls, held, unconfirmed, unsent, crowded: self.crowded });
    }
}

impl Datagrams for Secure {
    fn take(&mut self, now: Instant, _: &mut Endpoint<SessionId>, from: SocketAddr, datagram: &[u8]) {
        // A gateway without a battery for its clock gets the time from the network, later.
        self.dtls.set_clock(now, unix(&self.api));
        self.dtls.handle_datagram(now, from, datagram);
    }

    fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.dtls.poll_transmit().map(|transmit| (transmit.peer, transmit.payload))
    }

    async fn answered(&mut self) {
        // It has a sender of its own, so that there is always another.
        let Some(Found { request, identity, enrolled }) = self.found.1.recv().await else { return };
        if let Some(enrolled) = &enrolled {
            self.proving.insert(request, enrolled.created);
        }
        match identity {
            Identity::Psk(_) => {
                let psk = enrolled.as_ref().and_then(|enrolled| enrolled.psk.as_ref());
                self.dtls.provide_key(Instant::now(), request, psk);
            }
            _ => self.dtls.provide_verdict(Instant::now(), request, enrolled.is_some()),
        }
    }
}

#[cfg(test)]
impl Secure {
    /// The one association that there is.
    pub(crate) fn only_session(&self) -> SessionId {
        assert_eq!(self.proven.len(), 1);
        *self.proven.keys().next().unwrap()
    }

    /// Handshakes of which it is known what they are to prove.
    pub(crate) fn proving(&self) -> usize {
        self.proving.len()
    }

    /// Messages that were not sent.
    pub(crate) fn not_sent(&self) -> u64 {
        self.not_sent.0 + self.not_sent.1
    }
}
