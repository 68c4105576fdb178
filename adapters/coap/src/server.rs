//! A UDP socket around an endpoint: one task that receives, does what is due and sends. No error of a datagram ends it. Not here: the protocol (`coap-proto`), what lies between the two ([`crate::carrier`]), what goes on
//! around an endpoint ([`crate::work`]).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coap_proto::{Blockwise, Config, Endpoint, Instead, Limits, Unverified};
use edge::waiters;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::CoapApi;
use crate::carrier::{Datagrams, Plain};
use crate::random;
use crate::secure::{Associations, Secure};
use crate::tick::Tick;
use crate::work::{BATCH, Work};

/// The longest datagram of UDP fits.
const BUFFER: usize = 65_536;

/// How serving ends.
pub struct Closing {
    /// Turns true: requests that come now are refused, those under way get their answers.
    pub begins: watch::Receiver<bool>,
    /// For those under way at most.
    pub grace: Duration,
}

impl Closing {
    /// Completes when it begins.
    pub(crate) async fn begun(&mut self) {
        // The guard that it gives must not be held while something else waits.
        drop(self.begins.wait_for(|begins| *begins).await);
    }
}

/// Serves on a socket until `closing` begins, then until every request has its answer or the grace is over.
pub async fn serve(socket: UdpSocket, api: CoapApi, closing: Closing) {
    let config = Config { unverified: Some(small_blocks()), ..config(&api) };
    let endpoint = Endpoint::new(config, Instant::now(), random::numbers(api.seed()));
    run(&socket, api, (endpoint, Plain::default()), closing).await;
}

/// The same over DTLS. Gives what its associations need to go on at the next start, sealed: whoever starts with it must not have
/// it any more when the first datagram leaves. None when it cannot be sealed.
pub async fn serve_secure(
    socket: UdpSocket,
    api: CoapApi,
    associations: Associations,
    closing: Closing,
) -> Option<Vec<u8>> {
    let seeds = [b'c', b'd', b's'].map(|purpose| random::derive(associations.seed, purpose));
    let endpoint = Endpoint::new(config(&api), Instant::now(), random::numbers(seeds[0]));
    let associations = Associations { seed: seeds[1], ..associations };
    let secure = Secure::new(Instant::now(), api.clone(), associations);
    let secure = run(&socket, api, (endpoint, secure), closing).await;
    secure.end(Instant::now(), random::bytes(seeds[2]))
}

async fn run<C: Datagrams>(
    socket: &UdpSocket,
    api: CoapApi,
    (endpoint, carrier): (Endpoint<C::Peer>, C),
    mut closing: Closing,
) -> C {
    let (mut work, mut finished) = Work::new(api, endpoint, carrier);
    let (mut buffer, mut tick) = (vec![0; BUFFER], Tick::default());
    loop {
        work.go_on();
        send(socket, &mut work.carrier).await;
        if work.is_over() {
            break;
        }
        tick.set(work.next_timeout());
        let is_closing = work.is_closing();
        tokio::select! {
            received = socket.recv_from(&mut buffer) => take(socket, &mut work, received, &mut buffer).await,
            Some(done) = finished.recv() => work.finish(done, &mut finished),
            () = work.carrier.answered() => {}
            () = tick.fired() => work.pass(),
            () = closing.begun(), if !is_closing => work.close(closing.grace),
        }
    }
    work.end()
}

/// A datagram, and those that wait behind it.
async fn take<C: Datagrams>(
    socket: &UdpSocket,
    work: &mut Work<C>,
    first: std::io::Result<(usize, SocketAddr)>,
    buffer: &mut [u8],
) {
    let mut received = first;
    for more in (0..BATCH).rev() {
        match received {
            Ok((length, from)) => {
                work.carrier.take(Instant::now(), &mut work.endpoint, from, &buffer[..length]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => {
                // Of a datagram that did not arrive somewhere, mostly; or the system is short of memory.
                tracing::debug!(%error, "cannot receive a datagram");
                return sleep(Duration::from_millis(10)).await;
            }
        }
        if more == 0 {
            return;
        }
        received = socket.try_recv_from(buffer);
    }
}

async fn send<C: Datagrams>(socket: &UdpSocket, carrier: &mut C) {
    while let Some((to, datagram)) = carrier.poll_transmit() {
        if let Err(error) = socket.send_to(&datagram, to).await {
            // The device sends its request again, and gets the same answer.
            tracing::debug!(%error, "cannot send a datagram");
        }
    }
}

pub(crate) fn config(api: &CoapApi) -> Config {
    let blockwise = Blockwise { max_body: api.body_limit(), ..Blockwise::default() };
    let Limits { observers_per_peer, pending_per_peer, .. } = Limits::default();
    // Each of them has one message in the queue at most: none has to be dropped.
    let queue_per_peer = observers_per_peer + pending_per_peer;
    let limits = Limits { observers: waiters::MOST, queue_per_peer, ..Limits::default() };
    Config { blockwise, limits, ..Config::default() }
}

/// Nobody has shown that it receives where it says: answers are three times as long as their requests at most, in small
/// blocks where they would be longer (RFC 7252 section 11.3).
fn small_blocks() -> Unverified {
    Unverified { instead: Instead::SmallBlocks, ..Unverified::default() }
}
