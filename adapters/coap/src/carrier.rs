//! What carries messages between devices and the endpoint, and whom it has proven: UDP as it is. Not here: DTLS
//! ([`crate::secure`]), sockets and tasks ([`crate::server`]).

use std::collections::VecDeque;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Instant;

use bridge_core::DeviceId;
use bridge_core::ports::BoxFuture;
use bytes::Bytes;
use coap_proto::{Endpoint, Transmit};

use crate::api::{CarriedStats, CoapApi};

/// Who asks, as far as the way that the request came says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// It says nothing: there must be a token in the request.
    Unproven,
    /// A device that has proven itself.
    Device(DeviceId),
    /// One whose key has been taken away or replaced since it proved itself.
    Revoked,
    /// It cannot be looked up now.
    Unknown,
}

/// Between what carries messages and an endpoint.
pub(crate) trait Carrier: Send {
    /// What the endpoint tells devices apart by.
    type Peer: Clone + Eq + Hash + Send + Sync + 'static;

    /// Takes a message of the endpoint.
    fn carry(&mut self, message: Transmit<Self::Peer>);
    /// Hands on what has happened since.
    fn settle(&mut self, now: Instant, endpoint: &mut Endpoint<Self::Peer>);
    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    fn next_timeout(&self) -> Option<Instant>;
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
    /// Who asks there.
    fn caller(&self, peer: &Self::Peer) -> BoxFuture<'static, Caller>;
    /// Has nothing to do with that peer any more.
    fn revoke(&mut self, now: Instant, endpoint: &mut Endpoint<Self::Peer>, peer: &Self::Peer);
    /// Tells what was counted, and how many observe.
    fn report(&self, api: &CoapApi, endpoint: &Endpoint<Self::Peer>, observers: usize);
}

/// One that carries messages in datagrams.
pub(crate) trait Datagrams: Carrier {
    /// Takes a datagram.
    fn take(&mut self, now: Instant, endpoint: &mut Endpoint<Self::Peer>, from: SocketAddr, datagram: &[u8]);
    /// The next datagram to send.
    fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)>;
    /// Completes when a question of its own was answered. May be dropped at any time.
    fn answered(&mut self) -> impl Future<Output = ()> + Send;
}

/// UDP as it is: a peer is an address, and has proven nothing.
#[derive(Default)]
pub(crate) struct Plain(VecDeque<(SocketAddr, Bytes)>);

impl Carrier for Plain {
    type Peer = SocketAddr;

    fn carry(&mut self, message: Transmit<SocketAddr>) {
        self.0.push_back((message.peer, message.payload));
    }

    fn settle(&mut self, _: Instant, _: &mut Endpoint<SocketAddr>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn caller(&self, _: &SocketAddr) -> BoxFuture<'static, Caller> {
        Box::pin(std::future::ready(Caller::Unproven))
    }

    fn revoke(&mut self, now: Instant, endpoint: &mut Endpoint<SocketAddr>, peer: &SocketAddr) {
        endpoint.forget_peer(now, peer);
    }

    fn report(&self, api: &CoapApi, endpoint: &Endpoint<SocketAddr>, observers: usize) {
        api.set_stats(CarriedStats { endpoint: endpoint.stats(), observers });
    }
}

impl Datagrams for Plain {
    fn take(&mut self, now: Instant, endpoint: &mut Endpoint<SocketAddr>, from: SocketAddr, datagram: &[u8]) {
        endpoint.handle_datagram(now, from, datagram);
    }

    fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.0.pop_front()
    }

    fn answered(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}
