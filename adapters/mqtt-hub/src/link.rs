//! The life of one link: connect, say hello, follow every publish to its answer, and on the first error throw the
//! connection away and start over after a while. Not here: resending anything.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::ports::{HubRefusal, LinkId, Token};
use tokio::sync::Notify;

use crate::backoff::{Backoff, GOOD};
use crate::client::{self, Client, Connection, Happening, OWN_PUBLISHES};
use crate::dialect::{Dialect, Publication};
use crate::hub::Shared;

/// What callers and the link's task share.
pub(crate) struct Link {
    id: LinkId,
    state: Mutex<State>,
    /// Wakes the task when a publish was refused before it was sent, or the link is to close.
    woken: Notify,
}

#[derive(Default)]
struct State {
    /// Set while the link is up.
    epoch: Option<Epoch>,
    /// Refused before they were sent; the task reports them, because callers must not be called back.
    refused: Vec<(Token, HubRefusal)>,
    closing: bool,
}

/// What is on its way on the current connection.
struct Epoch {
    client: Client,
    /// Handed to the client, in order; none for the bridge's own. The client reports packet identifiers in this order.
    queued: VecDeque<Option<Token>>,
    max_payload: usize,
}

/// Bytes of a PUBLISH beside topic, payload and properties, generously.
const PACKET_OVERHEAD: usize = 512;

impl Link {
    pub(crate) fn new(id: LinkId) -> Self {
        Self { id, state: Mutex::default(), woken: Notify::new() }
    }

    /// Hands a publish to the connection. While the link is down it is dropped: its outcome is the `link_down` that was
    /// or will be reported.
    pub(crate) fn publish(&self, token: Token, publication: Publication) {
        let mut state = self.state();
        let Some(epoch) = &mut state.epoch else { return };
        let size = publication.payload.len() + publication.topic.len();
        if size > epoch.max_payload {
            let detail = format!("the message of {size} bytes is larger than the hub takes");
            state.refused.push((token, HubRefusal::Never(detail)));
            return self.woken.notify_one();
        }
        epoch.queued.push_back(Some(token));
        if !epoch.client.publish(publication) {
            // The connection has ended; its task is about to say so.
            epoch.queued.pop_back();
        }
    }

    /// Ends the link after what is queued; link 0 says good-bye for the bridge.
    pub(crate) fn close(&self, dialect: &dyn Dialect) {
        let mut state = self.state();
        state.closing = true;
        if let Some(epoch) = &mut state.epoch {
            if self.id == LinkId(0) && epoch.client.publish(dialect.death()) {
                epoch.queued.push_back(None);
            }
            epoch.client.disconnect();
        }
        self.woken.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a link.
pub(crate) struct LinkTask {
    link: Arc<Link>,
    shared: Arc<Shared>,
}

impl LinkTask {
    pub(crate) fn new(link: Arc<Link>, shared: Arc<Shared>) -> Self {
        Self { link, shared }
    }

    /// Runs until the link is closed.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        let link = self.link.id.0;
        while !self.link.state().closing {
            let started = self.shared.clock.now();
            let (was_up, reason) = self.epoch().await;
            let ended = self.shared.clock.now();
            self.link.state().refused.clear();
            if was_up && let Some(events) = self.shared.events.get() {
                events.link_down(self.link.id, &reason);
            }
            if self.link.state().closing {
                tracing::info!(link, "connection to the hub closed");
                return;
            }
            if was_up && ended.saturating_duration_since(started) >= GOOD {
                backoff.reset();
            }
            let wait = backoff.next(fastrand::f64());
            tracing::warn!(link, %reason, wait_ms = wait.as_millis() as u64, "no connection to the hub");
            tokio::select! {
                () = self.shared.clock.sleep_until(ended + wait) => {}
                () = self.link.woken.notified() => {}
            }
        }
    }

    /// One connection, from CONNECT to its end: whether it was up, and why it ended.
    async fn epoch(&self) -> (bool, String) {
        let shared = &*self.shared;
        let primary = self.link.id == LinkId(0);
        let client_id = format!("{}-{}", shared.config.client_id, self.link.id.0);
        let will = primary.then(|| shared.dialect.death());
        let (client, mut connection) = client::open(&shared.config, shared.tls.as_ref(), client_id, will);
        let first = tokio::select! {
            first = tokio::time::timeout(shared.config.connect_timeout, connection.next()) => first,
            () = self.closed() => return (false, "closed".into()),
        };
        let (receive_maximum, maximum_packet) = match first {
            Err(_) => return (false, "the hub did not answer in time".into()),
            Ok(Err(reason)) => return (false, reason),
            Ok(Ok(Happening::Connected { receive_maximum, maximum_packet })) => {
                (receive_maximum, maximum_packet)
            }
            Ok(Ok(other)) => return (false, format!("unexpected {other:?} before CONNACK")),
        };
        let max_packet = shared.config.max_packet.min(maximum_packet.unwrap_or(u32::MAX)) as usize;
        let mut epoch = Epoch {
            client,
            queued: VecDeque::new(),
            max_payload: max_packet.saturating_sub(PACKET_OVERHEAD),
        };
        if primary && epoch.client.publish(shared.dialect.birth(shared.clock.wall())) {
            epoch.queued.push_back(None);
        }
        // The bridge's own publishes take part of what the broker grants.
        let granted =
            receive_maximum.unwrap_or(u16::MAX).saturating_sub(if primary { OWN_PUBLISHES } else { 0 });
        let window = usize::from(shared.config.window.min(granted).max(1));
        self.link.state().epoch = Some(epoch);
        tracing::info!(link = self.link.id.0, window, hub = %shared.config.address, "connected to the hub");
        if let Some(events) = shared.events.get() {
            events.link_up(self.link.id, window);
        }
        let reason = self.follow(&mut connection).await;
        self.link.state().epoch = None;
        (true, reason)
    }

    /// Follows publishes to their answers until the connection ends.
    async fn follow(&self, connection: &mut Connection) -> String {
        let mut in_flight: HashMap<u16, Option<Token>> = HashMap::new();
        loop {
            let happening = tokio::select! {
                happening = connection.next() => happening,
                () = self.link.woken.notified() => {
                    self.report_refused();
                    continue;
                }
            };
            let events = self.shared.events.get();
            match happening {
                Err(reason) => return reason,
                Ok(Happening::Disconnected) => return "closed".into(),
                Ok(Happening::Sent(pkid)) => {
                    let queued = self.link.state().epoch.as_mut().and_then(|epoch| epoch.queued.pop_front());
                    match queued {
                        Some(token) => drop(in_flight.insert(pkid, token)),
                        None => return "a publish was sent that nobody made".into(),
                    }
                }
                Ok(Happening::Answered(pkid, answer)) => match (in_flight.remove(&pkid), events) {
                    (None, _) => {
                        return format!("the hub acknowledged packet {pkid}, which was not in flight");
                    }
                    (Some(Some(token)), Some(events)) => match answer {
                        Ok(()) => events.acknowledged(token),
                        Err(refusal) => events.refused(token, refusal),
                    },
                    (Some(_), _) => {}
                },
                Ok(Happening::Connected { .. } | Happening::Other) => {}
            }
        }
    }

    fn report_refused(&self) {
        let refused = std::mem::take(&mut self.link.state().refused);
        if let Some(events) = self.shared.events.get() {
            for (token, refusal) in refused {
                events.refused(token, refusal);
            }
        }
    }

    async fn closed(&self) {
        while !self.link.state().closing {
            self.link.woken.notified().await;
        }
    }
}
