//! Observers of commands (RFC 7641): each waits for something new, is told, and is told the next thing once it has acknowledged
//! that. Not here: messages and who is taken as an observer (`coap-proto`), what there is to tell ([`crate::commands`]).

use std::collections::HashMap;
use std::time::Instant;

use coap_proto::{ObservationId, Response};
use edge::waiters::{Place, Woken};
use tokio::task::AbortHandle;

use crate::answer;
use crate::carrier::{Caller, Carrier};
use crate::commands::Watch;
use crate::work::{Done, Work};

/// What an observer is told, and its place among those who wait.
pub(crate) type Observer = Box<(Watch, Place)>;

/// The observers of one endpoint: as many as the endpoint takes.
pub(crate) struct Observers<P>(HashMap<ObservationId, (P, Stage)>);

enum Stage {
    /// Until there may be something new.
    Waiting(AbortHandle),
    /// It is being looked for.
    Looking,
    /// A notification is on its way.
    Told(Observer),
}

impl<P> Observers<P> {
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<C: Carrier> Work<C> {
    /// Answers a request whose sender wants to observe. Without room it gets the same answer, and observes nothing.
    pub(crate) fn register(
        &mut self,
        id: coap_proto::RequestId,
        peer: C::Peer,
        response: Response,
        watch: Watch,
    ) {
        let now = Instant::now();
        let Ok(place) = self.api.enter(&watch) else {
            // The device may have taken its request back.
            let _ = self.endpoint.respond(now, id, response);
            return;
        };
        match self.endpoint.respond_observing(now, id, response) {
            Ok(Some(observation)) => {
                self.observers.0.insert(observation, (peer, Stage::Looking));
                self.wait(observation, Box::new((watch, place)));
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "nobody waits for an answer"),
        }
    }

    /// An observer's waiting is over.
    pub(crate) fn woken(&mut self, id: ObservationId, observer: Observer, woken: Woken) {
        let Some((peer, stage)) = self.observers.0.get_mut(&id) else { return };
        match woken {
            Woken::Displaced => self.tell(id, answer::displaced(), None),
            Woken::Closing => self.tell(id, answer::closing(), None),
            Woken::Arrived | Woken::Late => {
                *stage = Stage::Looking;
                let (api, done, caller) = (self.api.clone(), self.done.clone(), self.carrier.caller(peer));
                let mut observer = observer;
                // What is handed out here is written down before it leaves: it has to come to its end.
                let look = self.api.tasks().to_the_end(async move {
                    let caller = caller.await;
                    let revoked = caller == Caller::Revoked;
                    let news = api.news(&mut observer.0, caller).await;
                    (observer, news, revoked)
                });
                tokio::spawn(async move {
                    match look.await {
                        // Without a receiver the server has ended.
                        Ok((observer, news, revoked)) => {
                            drop(done.send(Done::Looked { id, observer, news, revoked }));
                        }
                        Err(panicked) => tracing::error!(error = %panicked, "an observer is not told"),
                    }
                });
            }
        }
    }

    /// It has been looked for news.
    pub(crate) fn looked(
        &mut self,
        id: ObservationId,
        observer: Observer,
        news: Option<Response>,
        revoked: bool,
    ) {
        let Some((peer, _)) = self.observers.0.get(&id) else { return };
        let peer = peer.clone();
        match news {
            None => self.wait(id, observer),
            Some(news) => self.tell(id, news, Some(observer)),
        }
        if revoked {
            self.hang_up(&peer);
        }
    }

    /// An observer has what it was told.
    pub(crate) fn acknowledged(&mut self, id: ObservationId) {
        let Some((_, stage)) = self.observers.0.get_mut(&id) else { return };
        if let Stage::Told(observer) = std::mem::replace(stage, Stage::Looking) {
            self.wait(id, observer);
        }
    }

    /// An observer is none any more. What it was given and did not get, it gets when it asks again.
    pub(crate) fn ended(&mut self, id: ObservationId) {
        if let Some((_, Stage::Waiting(task))) = self.observers.0.remove(&id) {
            task.abort();
        }
    }

    /// The bridge goes down: observers shall register anew, with the next one.
    pub(crate) fn dismiss_observers(&mut self) {
        let all: Vec<ObservationId> = self.observers.0.keys().copied().collect();
        for id in all {
            self.tell(id, answer::closing(), None);
        }
    }

    fn wait(&mut self, id: ObservationId, mut observer: Observer) {
        let Some((_, stage)) = self.observers.0.get_mut(&id) else { return };
        let (api, done) = (self.api.clone(), self.done.clone());
        let task = tokio::spawn(async move {
            let (watch, place) = &mut *observer;
            let woken = watch.wait(place, &api).await;
            // Without a receiver the server has ended.
            drop(done.send(Done::Woken { id, observer, woken }));
        });
        *stage = Stage::Waiting(task.abort_handle());
    }

    /// Sends a notification; an error is the last one. Without an observer nothing is told afterwards.
    fn tell(&mut self, id: ObservationId, response: Response, observer: Option<Observer>) {
        if let Some((_, stage)) = self.observers.0.get_mut(&id) {
            if let Stage::Waiting(task) = &stage {
                task.abort();
            }
            *stage = observer.map_or(Stage::Looking, Stage::Told);
        }
        if self.endpoint.notify(Instant::now(), id, response, true).is_err() {
            self.observers.0.remove(&id);
        }
    }
}
