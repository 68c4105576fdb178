//! A UDP socket around an endpoint: one task that receives, does what is due and sends, and a task for each request. No error
//! of a datagram ends it. Not here: the protocol (`coap-proto`), what lies between the two ([`crate::carrier`]), what requests
//! mean ([`crate::api`]).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coap_proto::{Blockwise, Config, Endpoint, Event, Instead, RequestId, Response, Unverified};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use crate::api::CoapApi;
use crate::carrier::{Caller, Carrier, Plain};
use crate::secure::{Associations, Secure};
use crate::{answer, random, resource};

/// The longest datagram of UDP fits.
const BUFFER: usize = 65_536;
/// Datagrams taken at once before answers leave.
const BATCH: usize = 64;

/// How serving ends.
pub struct Closing {
    /// Turns true: requests that come now are refused, those under way get their answers.
    pub begins: watch::Receiver<bool>,
    /// For those under way at most.
    pub grace: Duration,
}

/// Serves on a socket until `closing` begins, then until every request has its answer or the grace is over.
pub async fn serve(socket: UdpSocket, api: CoapApi, closing: Closing) {
    let config = Config { unverified: Some(small_blocks()), ..config(&api) };
    let endpoint = Endpoint::new(config, Instant::now(), random::numbers(api.seed()));
    run(socket, api, (endpoint, Plain::default()), closing).await;
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
    let secure = run(socket, api, (endpoint, secure), closing).await;
    secure.end(Instant::now(), random::bytes(seeds[2]))
}

async fn run<C: Carrier>(
    socket: UdpSocket,
    api: CoapApi,
    (mut endpoint, carrier): (Endpoint<C::Peer>, C),
    closing: Closing,
) -> C {
    let Closing { mut begins, grace } = closing;
    let (answers, mut answered) = mpsc::unbounded_channel();
    endpoint.set_links(resource::links());
    let mut server = Server { socket, api, endpoint, carrier, answers, open: 0, ends: None };
    let mut buffer = vec![0; BUFFER];
    loop {
        server.flush().await;
        if let Some(ends) = server.ends
            && (server.open == 0 || ends <= Instant::now())
        {
            break;
        }
        let due = [server.endpoint.next_timeout(), server.carrier.next_timeout(), server.ends];
        let due = due.into_iter().flatten().min();
        let timer = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        // The guard that it gives must not be held while something else waits.
        let closing = async { drop(begins.wait_for(|begins| *begins).await) };
        tokio::select! {
            received = server.socket.recv_from(&mut buffer) => server.take(received, &mut buffer).await,
            Some(answered) = answered.recv() => server.answer(answered).await,
            () = server.carrier.answered() => {}
            () = timer => {
                server.endpoint.handle_timeout(Instant::now());
                server.carrier.handle_timeout(Instant::now());
            }
            () = closing, if server.ends.is_none() => {
                server.ends = Some(Instant::now() + grace);
            }
        }
    }
    if server.open > 0 {
        tracing::warn!(requests = server.open, "some CoAP requests did not end in time");
    }
    server.carrier
}

fn config(api: &CoapApi) -> Config {
    let blockwise = Blockwise { max_body: api.body_limit(), ..Blockwise::default() };
    Config { blockwise, ..Config::default() }
}

/// Nobody has shown that it receives where it says: answers are three times as long as their requests at most, in small
/// blocks where they would be longer (RFC 7252 section 11.3).
fn small_blocks() -> Unverified {
    Unverified { instead: Instead::SmallBlocks, ..Unverified::default() }
}

struct Server<C: Carrier> {
    socket: UdpSocket,
    api: CoapApi,
    endpoint: Endpoint<C::Peer>,
    carrier: C,
    /// Bounded by the endpoint's limit of pending requests.
    answers: mpsc::UnboundedSender<Answered<C::Peer>>,
    /// Requests without an answer.
    open: usize,
    /// When it ends at the latest; none until closing begins.
    ends: Option<Instant>,
}

struct Answered<P> {
    id: RequestId,
    peer: P,
    response: Response,
    /// Whether there is nothing more to say to that peer.
    revoked: bool,
}

impl<C: Carrier> Server<C> {
    /// A datagram, and those that wait behind it.
    async fn take(&mut self, first: std::io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        let mut received = first;
        for more in (0..BATCH).rev() {
            match received {
                Ok((length, from)) => {
                    let datagram = &buffer[..length];
                    self.carrier.take(Instant::now(), &mut self.endpoint, from, datagram);
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
            received = self.socket.try_recv_from(buffer);
        }
    }

    async fn answer(&mut self, answered: Answered<C::Peer>) {
        let Answered { id, peer, response, revoked } = answered;
        self.open -= 1;
        if let Err(error) = self.endpoint.respond(Instant::now(), id, response) {
            // The device took its request back, or began anew.
            tracing::debug!(%error, "nobody waits for an answer");
        }
        if revoked {
            self.flush().await;
            self.carrier.revoke(Instant::now(), &mut self.endpoint, &peer);
        }
    }

    /// Begins what was asked for and sends what is to be sent.
    async fn flush(&mut self) {
        self.carrier.settle(Instant::now(), &mut self.endpoint);
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Request { id, peer, request, .. } = event {
                self.begin(id, peer, request);
            }
        }
        while let Some(message) = self.endpoint.poll_transmit() {
            self.carrier.carry(message);
        }
        while let Some((to, datagram)) = self.carrier.poll_transmit() {
            if let Err(error) = self.socket.send_to(&datagram, to).await {
                // The device sends its request again, and gets the same answer.
                tracing::debug!(%error, "cannot send a datagram");
            }
        }
        self.carrier.report(&self.api, &self.endpoint);
    }

    fn begin(&mut self, id: RequestId, peer: C::Peer, request: coap_proto::Request) {
        if self.ends.is_some() {
            // Cannot fail: the request came this moment.
            let _ = self.endpoint.respond(Instant::now(), id, answer::closing());
            return;
        }
        self.open += 1;
        let (api, answers) = (self.api.clone(), self.answers.clone());
        let caller = self.carrier.caller(&peer);
        let work = self.api.tasks().to_the_end(async move {
            let caller = caller.await;
            let revoked = caller == Caller::Revoked;
            (api.answer(request, caller).await, revoked)
        });
        tokio::spawn(async move {
            let (response, revoked) = work.await.unwrap_or_else(|panicked| {
                tracing::error!(error = %panicked, "a request could not be brought to its end");
                (answer::internal(), false)
            });
            // Without a receiver the server has ended, and with it the wish for an answer.
            let _ = answers.send(Answered { id, peer, response, revoked });
        });
    }
}
