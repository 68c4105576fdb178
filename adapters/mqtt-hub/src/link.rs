//! The life of one link: connect, say hello, follow every publish to its answer, and on the first error throw the
//! connection away and start over after a while. Not here: resending anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::Message;
use bridge_core::ports::{HubRefusal, LinkId, Token};
use tokio::sync::Notify;

use crate::backoff::{Backoff, GOOD};
use crate::connection::Connection;
use crate::dialect::Publication;
use crate::hub::Shared;
use crate::in_flight::InFlight;
use crate::wire::{self, ConnAck, Incoming, Session};

/// What callers and the link's task share.
pub(crate) struct Link {
    id: LinkId,
    state: Mutex<State>,
    /// Wakes the task when there is something to publish, or the link is to close.
    woken: Notify,
}

#[derive(Default)]
struct State {
    up: bool,
    /// To be published, in order.
    queue: Vec<(Token, Arc<Message>)>,
    closing: bool,
}

/// Bytes of a PUBLISH beside topic and payload, generously.
const PACKET_OVERHEAD: usize = 512;

impl Link {
    pub(crate) fn new(id: LinkId) -> Self {
        Self { id, state: Mutex::default(), woken: Notify::new() }
    }

    /// Hands a publish to the link's task. While the link is down it is dropped: its outcome is the `link_down` that was
    /// or will be reported.
    pub(crate) fn publish(&self, token: Token, message: Arc<Message>) {
        let mut state = self.state();
        if !state.up {
            return;
        }
        state.queue.push((token, message));
        if state.queue.len() == 1 {
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Ends the link after what is queued; link 0 says good-bye for the bridge.
    pub(crate) fn close(&self) {
        self.state().closing = true;
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
        let config = &self.shared.config;
        let client_id = format!("{}-{}", config.client_id, self.link.id.0);
        let will = self.is_primary().then(|| self.shared.dialect.death());
        let opening =
            Connection::open(config, self.shared.tls.as_ref(), &client_id, will.as_ref(), Session::Clean);
        let opened = tokio::select! {
            opened = tokio::time::timeout(config.connect_timeout, opening) => opened,
            () = self.closed() => return (false, "closed".into()),
        };
        let (connection, granted) = match opened {
            Err(_) => return (false, "the hub did not answer in time".into()),
            Ok(Err(reason)) => return (false, reason),
            Ok(Ok(opened)) => opened,
        };
        let reason = self.follow(Epoch::new(self, connection, &granted), &granted).await;
        let mut state = self.link.state();
        state.up = false;
        state.queue = Vec::new();
        (true, reason)
    }

    /// Follows publishes to their answers until the connection ends.
    async fn follow(&self, mut epoch: Epoch<'_>, granted: &ConnAck) -> String {
        if self.is_primary() {
            epoch.publish(None, &self.shared.dialect.birth(self.shared.clock.wall()));
        }
        let window = self.window(granted);
        self.link.state().up = true;
        tracing::info!(link = self.link.id.0, window, hub = %self.shared.config.address, "connected to the hub");
        if let Some(events) = self.shared.events.get() {
            events.link_up(self.link.id, window);
        }
        let mut queue = Vec::new();
        loop {
            let closing = {
                let mut state = self.link.state();
                std::mem::swap(&mut queue, &mut state.queue);
                state.closing
            };
            for (token, message) in queue.drain(..) {
                epoch.publish(Some(token), &self.shared.dialect.publication(&message));
            }
            epoch.report();
            if closing {
                return self.say_goodbye(epoch).await;
            }
            let first = match epoch.connection.turn(self.link.woken.notified()).await {
                Ok(first) => first,
                Err(reason) => return reason,
            };
            if first.is_none() {
                // Who woke this task is one of many that are ready: what they have to say goes into the same write.
                tokio::task::yield_now().await;
            }
            if let Err(reason) = epoch.heed(first) {
                return reason;
            }
        }
    }

    async fn say_goodbye(&self, mut epoch: Epoch<'_>) -> String {
        if self.is_primary() {
            epoch.publish(None, &self.shared.dialect.death());
        }
        wire::disconnect(&mut epoch.connection.output);
        // The broker may be gone: what is not acknowledged is in the outbox.
        match tokio::time::timeout(self.shared.config.connect_timeout, epoch.connection.finish()).await {
            Ok(Ok(())) => "closed".into(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the hub took no good-bye".into(),
        }
    }

    /// The bridge's own publishes take part of what the broker grants.
    fn window(&self, granted: &ConnAck) -> usize {
        let own = if self.is_primary() { OWN_PUBLISHES } else { 0 };
        let granted = granted.receive_maximum.unwrap_or(u16::MAX).saturating_sub(own);
        usize::from(self.shared.config.window.min(granted).max(1))
    }

    fn is_primary(&self) -> bool {
        self.link.id == LinkId(0)
    }

    async fn closed(&self) {
        while !self.link.state().closing {
            self.link.woken.notified().await;
        }
    }
}

/// Room for the bridge's own birth and death beside the window.
const OWN_PUBLISHES: u16 = 2;

/// One connection and what is on its way on it.
struct Epoch<'a> {
    shared: &'a Shared,
    connection: Connection,
    in_flight: InFlight,
    max_packet: usize,
    takes_retained: bool,
    /// To be reported together: the receiver takes a lock.
    acknowledged: Vec<Token>,
    refused: Vec<(Token, HubRefusal)>,
}

impl<'a> Epoch<'a> {
    fn new(task: &'a LinkTask, connection: Connection, granted: &ConnAck) -> Self {
        Self {
            shared: &task.shared,
            connection,
            in_flight: InFlight::default(),
            max_packet: task.shared.config.max_packet.min(granted.maximum_packet.unwrap_or(u32::MAX))
                as usize,
            takes_retained: granted.takes_retained,
            acknowledged: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Puts a publish behind what is to be written.
    fn publish(&mut self, token: Option<Token>, publication: &Publication<'_>) {
        let size = publication.payload.len() + publication.topic.len();
        let refusal = if size + PACKET_OVERHEAD > self.max_packet {
            HubRefusal::Never(format!("the message of {size} bytes is larger than the hub takes"))
        } else if publication.retain && !self.takes_retained {
            HubRefusal::Never("the hub keeps no retained messages".into())
        } else if let Some(id) = self.in_flight.insert(token) {
            let output = &mut self.connection.output;
            return wire::publish(output, self.shared.config.protocol, id, publication);
        } else {
            HubRefusal::Later("every packet identifier is in flight".into())
        };
        self.refused.extend(token.map(|token| (token, refusal)));
    }

    /// Heeds a packet and all that came with it.
    ///
    /// # Errors
    /// When it ends the connection.
    fn heed(&mut self, first: Option<Incoming>) -> Result<(), String> {
        let mut next = first;
        let mut ended = Ok(());
        while let Some(incoming) = next {
            match incoming {
                Incoming::PubAck(id, code) => match self.in_flight.remove(id) {
                    None => {
                        ended = Err(format!("the hub acknowledged packet {id}, which was not in flight"));
                        break;
                    }
                    Some(None) => {}
                    Some(Some(token)) => match wire::publish_answer(code) {
                        Ok(()) => self.acknowledged.push(token),
                        Err(refusal) => self.refused.push((token, refusal)),
                    },
                },
                Incoming::Disconnect(code, reason) => {
                    ended = Err(wire::disconnect_reason(code, reason.as_deref()));
                    break;
                }
                // A publisher subscribes to nothing.
                Incoming::ConnAck(_) | Incoming::Publish(_) | Incoming::SubAck(..) | Incoming::Other => {}
            }
            next = match self.connection.received() {
                Ok(next) => next,
                Err(reason) => {
                    ended = Err(reason);
                    break;
                }
            };
        }
        // Also when the connection ends: what was acknowledged is acknowledged.
        self.report();
        ended
    }

    fn report(&mut self) {
        let Some(events) = self.shared.events.get() else { return };
        if !self.acknowledged.is_empty() {
            events.acknowledged(&self.acknowledged);
            self.acknowledged.clear();
        }
        for (token, refusal) in self.refused.drain(..) {
            events.refused(token, refusal);
        }
    }
}
