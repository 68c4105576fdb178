//! What goes on around an endpoint, whatever carries its messages: requests begin and end, observers are told, and the end comes
//! in order. Not here: sockets ([`crate::server`]), what requests mean ([`crate::api`]), observers ([`crate::observe`]).

use std::time::{Duration, Instant};

use coap_proto::{Endpoint, Event, ObservationId, Request, RequestId, Response};
use edge::waiters::Woken;
use tokio::sync::mpsc;

use crate::api::{Answer, CoapApi};
use crate::carrier::{Caller, Carrier};
use crate::observe::{Observer, Observers};
use crate::{answer, resource};

/// An endpoint with its carrier, and everything under way.
pub(crate) struct Work<C: Carrier> {
    pub(crate) api: CoapApi,
    pub(crate) endpoint: Endpoint<C::Peer>,
    pub(crate) carrier: C,
    /// Bounded by the endpoint's limits of pending requests and of observers.
    pub(crate) done: mpsc::UnboundedSender<Done<C::Peer>>,
    pub(crate) observers: Observers<C::Peer>,
    /// Requests without an answer.
    open: usize,
    /// When it ends at the latest; none until closing begins.
    ends: Option<Instant>,
}

/// Messages, or reports of tasks, taken at once before answers leave.
pub(crate) const BATCH: usize = 64;

/// What tasks report.
pub(crate) enum Done<P> {
    /// A request has its answer.
    Answered {
        id: RequestId,
        peer: P,
        answer: Answer,
        /// Whether there is nothing more to say to that peer.
        revoked: bool,
    },
    /// An observer waits no longer.
    Woken { id: ObservationId, observer: Observer, woken: Woken },
    /// What there is to tell an observer.
    Looked { id: ObservationId, observer: Observer, news: Option<Response>, revoked: bool },
}

impl<C: Carrier> Work<C> {
    /// With what comes out of its tasks.
    pub(crate) fn new(
        api: CoapApi,
        mut endpoint: Endpoint<C::Peer>,
        carrier: C,
    ) -> (Self, mpsc::UnboundedReceiver<Done<C::Peer>>) {
        let (done, finished) = mpsc::unbounded_channel();
        endpoint.set_links(resource::links());
        let observers = Observers::new();
        (Self { api, endpoint, carrier, done, observers, open: 0, ends: None }, finished)
    }

    /// Begins what was asked for, and hands the carrier what is to be sent.
    pub(crate) fn go_on(&mut self) {
        // Before anybody is let go.
        self.hand_over();
        self.carrier.settle(Instant::now(), &mut self.endpoint);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { id, peer, request, observe, .. } => self.begin(id, peer, request, observe),
                Event::Acknowledged { id } => self.acknowledged(id),
                Event::ObservationEnded { id, .. } => self.ended(id),
                _ => {}
            }
        }
        self.hand_over();
        self.carrier.report(&self.api, &self.endpoint, self.observers.len());
    }

    /// Takes what a task has to say, and what others have said meanwhile: what follows from all of it is sent together.
    pub(crate) fn finish(
        &mut self,
        first: Done<C::Peer>,
        others: &mut mpsc::UnboundedReceiver<Done<C::Peer>>,
    ) {
        self.finish_one(first);
        for _ in 1..BATCH {
            match others.try_recv() {
                Ok(next) => self.finish_one(next),
                Err(_) => return,
            }
        }
    }

    fn finish_one(&mut self, done: Done<C::Peer>) {
        match done {
            Done::Answered { id, peer, answer, revoked } => self.answer(id, &peer, answer, revoked),
            Done::Woken { id, observer, woken } => self.woken(id, observer, woken),
            Done::Looked { id, observer, news, revoked } => self.looked(id, observer, news, revoked),
        }
    }

    /// When [`pass`](Self::pass) has something to do, as it is known now.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let due = [self.endpoint.next_timeout(), self.carrier.next_timeout(), self.ends];
        due.into_iter().flatten().min()
    }

    /// Does what is due, if anything is.
    pub(crate) fn pass(&mut self) {
        self.endpoint.handle_timeout(Instant::now());
        self.carrier.handle_timeout(Instant::now());
    }

    /// No more requests from now on; those under way have that long.
    pub(crate) fn close(&mut self, grace: Duration) {
        self.ends = Some(Instant::now() + grace);
        self.dismiss_observers();
        self.hand_over();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.ends.is_some()
    }

    /// Whether everything has its answer, or the grace is over.
    pub(crate) fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| self.open == 0 || ends <= Instant::now())
    }

    /// The end: what is left of the carrier.
    pub(crate) fn end(self) -> C {
        if self.open > 0 {
            tracing::warn!(requests = self.open, "some CoAP requests did not end in time");
        }
        self.carrier
    }

    /// Nothing more is said to that peer than what is on its way.
    pub(crate) fn hang_up(&mut self, peer: &C::Peer) {
        self.hand_over();
        self.carrier.revoke(Instant::now(), &mut self.endpoint, peer);
    }

    fn hand_over(&mut self) {
        while let Some(message) = self.endpoint.poll_transmit() {
            self.carrier.carry(message);
        }
    }

    fn answer(&mut self, id: RequestId, peer: &C::Peer, answer: Answer, revoked: bool) {
        self.open -= 1;
        let Answer { response, watch } = answer;
        match watch.filter(|_| !self.is_closing()) {
            Some(watch) => self.register(id, peer.clone(), response, *watch),
            None => {
                if let Err(error) = self.endpoint.respond(Instant::now(), id, response) {
                    // The device took its request back, or began anew.
                    tracing::debug!(%error, "nobody waits for an answer");
                }
            }
        }
        if revoked {
            self.hang_up(peer);
        }
    }

    fn begin(&mut self, id: RequestId, peer: C::Peer, request: Request, observe: bool) {
        if self.is_closing() {
            // Cannot fail: the request came this moment.
            let _ = self.endpoint.respond(Instant::now(), id, answer::closing());
            return;
        }
        self.open += 1;
        let (api, done) = (self.api.clone(), self.done.clone());
        let caller = self.carrier.caller(&peer);
        let work = self.api.tasks().to_the_end(async move {
            let caller = caller.await;
            let revoked = caller == Caller::Revoked;
            (api.answer(request, caller, observe).await, revoked)
        });
        tokio::spawn(async move {
            let (answer, revoked) = work.await.unwrap_or_else(|panicked| {
                tracing::error!(error = %panicked, "a request could not be brought to its end");
                (answer::internal().into(), false)
            });
            // Without a receiver the server has ended, and with it the wish for an answer.
            let _ = done.send(Done::Answered { id, peer, answer, revoked });
        });
    }
}
