//! A UDP socket around an endpoint: one task that receives, does what is due and sends, and a task for each request. No error
//! of a datagram ends it. Not here: the protocol (`coap-proto`), what requests mean ([`crate::api`]).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coap_proto::{Blockwise, Config, Endpoint, Event, Instead, RequestId, Response, Unverified};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use crate::api::CoapApi;
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
    let Closing { mut begins, grace } = closing;
    let (answers, mut answered) = mpsc::unbounded_channel();
    let mut endpoint = Endpoint::new(config(api.body_limit()), Instant::now(), random::numbers(api.seed()));
    endpoint.set_links(resource::links());
    let mut server = Server { socket, api, endpoint, answers, open: 0, ends: None };
    let mut buffer = vec![0; BUFFER];
    loop {
        server.flush().await;
        if let Some(ends) = server.ends
            && (server.open == 0 || ends <= Instant::now())
        {
            break;
        }
        let due = server.endpoint.next_timeout().into_iter().chain(server.ends).min();
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
            Some((id, response)) = answered.recv() => server.answer(id, response),
            () = timer => server.endpoint.handle_timeout(Instant::now()),
            () = closing, if server.ends.is_none() => {
                server.ends = Some(Instant::now() + grace);
            }
        }
    }
    if server.open > 0 {
        tracing::warn!(requests = server.open, "some CoAP requests did not end in time");
    }
}

/// Nobody has shown that it receives where it says: answers are three times as long as their requests at most, in small
/// blocks where they would be longer (RFC 7252 section 11.3).
fn config(body_limit: usize) -> Config {
    Config {
        blockwise: Blockwise { max_body: body_limit, ..Blockwise::default() },
        unverified: Some(Unverified { instead: Instead::SmallBlocks, ..Unverified::default() }),
        ..Config::default()
    }
}

struct Server {
    socket: UdpSocket,
    api: CoapApi,
    endpoint: Endpoint<SocketAddr>,
    /// Bounded by the endpoint's limit of pending requests.
    answers: mpsc::UnboundedSender<(RequestId, Response)>,
    /// Requests without an answer.
    open: usize,
    /// When it ends at the latest; none until closing begins.
    ends: Option<Instant>,
}

impl Server {
    /// A datagram, and those that wait behind it.
    async fn take(&mut self, first: std::io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        let mut received = first;
        for more in (0..BATCH).rev() {
            match received {
                Ok((length, peer)) => {
                    self.endpoint.handle_datagram(Instant::now(), peer, &buffer[..length]);
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

    fn answer(&mut self, id: RequestId, response: Response) {
        self.open -= 1;
        if let Err(error) = self.endpoint.respond(Instant::now(), id, response) {
            // The device took its request back, or began anew.
            tracing::debug!(%error, "nobody waits for an answer");
        }
    }

    /// Begins what was asked for and sends what is to be sent.
    async fn flush(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Request { id, request, .. } = event {
                self.begin(id, request);
            }
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            if let Err(error) = self.socket.send_to(&transmit.payload, transmit.peer).await {
                // The device sends its request again, and gets the same answer.
                tracing::debug!(%error, "cannot send a datagram");
            }
        }
        self.api.set_stats(self.endpoint.stats());
    }

    fn begin(&mut self, id: RequestId, request: coap_proto::Request) {
        if self.ends.is_some() {
            // Cannot fail: the request came this moment.
            let _ = self.endpoint.respond(Instant::now(), id, answer::closing());
            return;
        }
        self.open += 1;
        let (api, answers) = (self.api.clone(), self.answers.clone());
        let work = self.api.tasks().to_the_end(async move { api.answer(request).await });
        tokio::spawn(async move {
            let response = work.await.unwrap_or_else(|panicked| {
                tracing::error!(error = %panicked, "a request could not be brought to its end");
                answer::internal()
            });
            // Without a receiver the server has ended, and with it the wish for an answer.
            let _ = answers.send((id, response));
        });
    }
}
