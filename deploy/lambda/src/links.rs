//! One connection to the hub at a time, used only while it is provably fresh: it was heard of by wall clock less than half
//! the keep alive ago. A process that was frozen meanwhile reads a monotonic clock that may have stood still; the wall clock
//! has gone on. A connection that is not fresh is thrown away, not tried. Every publish is followed to its answer.
//! Not here: MQTT (`mqtt-hub`), and what becomes of what was not acknowledged ([`crate::handover`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::ports::{Clock, Hub, HubEvents, HubRefusal, LinkId, Token};
use bridge_core::{Message, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The hub has taken responsibility.
    Taken,
    /// The hub said no.
    Refused(HubRefusal),
    /// Nobody knows: the connection is gone, or there was no answer in time.
    Unknown,
}

/// How the connection is used.
#[derive(Debug, Clone, Copy)]
pub struct LinkRules {
    /// MQTT keep alive. Half of it is how long a connection is trusted without a word from the hub.
    pub keep_alive: Duration,
    /// After an attempt to connect failed, nobody waits for the next one within this time.
    pub rest: Duration,
    /// A connection that is not up after this time is begun anew.
    pub patience: Duration,
}

impl LinkRules {
    /// The usual rests over this keep alive.
    pub fn new(keep_alive: Duration) -> Self {
        Self { keep_alive, rest: Duration::from_secs(3), patience: Duration::from_secs(5) }
    }

    fn trust(&self) -> Duration {
        self.keep_alive / 2
    }
}

/// See the module.
pub struct Links {
    state: Mutex<State>,
    changed: Notify,
    clock: Arc<dyn Clock>,
    rules: LinkRules,
    stale: AtomicU64,
    opened: AtomicU64,
}

struct State {
    hub: Arc<dyn Hub>,
    current: Option<Current>,
    waiters: HashMap<Token, Waiter>,
    next_link: u32,
    next_token: u64,
    /// Nobody waits for a connection until then.
    rests_until: Option<Timestamp>,
}

/// Somebody who waits for an answer. The room is given back with it.
struct Waiter {
    link: LinkId,
    sender: oneshot::Sender<Answer>,
    _room: OwnedSemaphorePermit,
}

struct Current {
    id: LinkId,
    opened: Timestamp,
    /// When the hub was last heard on it, and room for publishes; none while it is not up.
    up: Option<(Timestamp, Arc<Semaphore>)>,
}

/// A connection that was fresh a moment ago.
#[derive(Clone)]
pub struct Fresh {
    id: LinkId,
    room: Arc<Semaphore>,
}

/// A publish on its way.
pub struct Flying {
    answer: oneshot::Receiver<Answer>,
    link: LinkId,
}

impl Links {
    /// Over this hub; nothing is opened yet. The events of the hub have to come here.
    pub fn new(hub: Arc<dyn Hub>, clock: Arc<dyn Clock>, rules: LinkRules) -> Self {
        let state = State {
            hub,
            current: None,
            waiters: HashMap::new(),
            // Link 0 carries a birth and a will of the whole bridge: an environment that is frozen is not the bridge.
            next_link: 1,
            next_token: 0,
            rests_until: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            clock,
            rules,
            stale: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }
    }

    /// Connects to another hub from now on; what is under way ends as unknown.
    pub fn replace(&self, hub: Arc<dyn Hub>) {
        let mut state = self.state();
        state.close();
        state.hub = hub;
        state.rests_until = None;
    }

    /// A fresh connection, made when there is none; none when there is none by `until`, or an attempt failed just before.
    pub async fn fresh(&self, until: Instant) -> Option<Fresh> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let now = self.clock.wall();
                let mut state = self.state();
                if let Some(fresh) = self.look(&mut state, now) {
                    return Some(fresh);
                }
                if state.rests_until.is_some_and(|rest| rest > now && rest.since(now) <= self.rules.rest) {
                    return None;
                }
            }
            if tokio::time::timeout_at(until.into(), changed).await.is_err() {
                self.state().rests_until = Some(self.clock.wall().plus(self.rules.rest));
                return None;
            }
        }
    }

    /// The connection when it is fresh. Otherwise one is under way when this returns.
    fn look(&self, state: &mut State, now: Timestamp) -> Option<Fresh> {
        if let Some(current) = &state.current {
            match &current.up {
                Some((heard, room)) if is_within(now, *heard, self.rules.trust()) => {
                    return Some(Fresh { id: current.id, room: room.clone() });
                }
                Some(_) => {
                    self.stale.fetch_add(1, Relaxed);
                    tracing::info!("the connection to the hub is not provably fresh; it is made anew");
                }
                None if is_within(now, current.opened, self.rules.patience) => return None,
                None => {}
            }
        }
        state.close();
        let id = LinkId(state.next_link);
        state.next_link += 1;
        state.current = Some(Current { id, opened: now, up: None });
        self.opened.fetch_add(1, Relaxed);
        state.hub.open(id);
        None
    }

    /// Publishes on this connection, in order of the calls; none when it has gone meanwhile, or has no room by `until`.
    pub async fn publish(&self, fresh: &Fresh, message: Arc<Message>, until: Instant) -> Option<Flying> {
        let room =
            tokio::time::timeout_at(until.into(), fresh.room.clone().acquire_owned()).await.ok()?.ok()?;
        let mut state = self.state();
        state.current.as_ref().filter(|current| current.id == fresh.id && current.up.is_some())?;
        let token = Token(state.next_token);
        state.next_token += 1;
        let (sender, answer) = oneshot::channel();
        state.waiters.insert(token, Waiter { link: fresh.id, sender, _room: room });
        state.hub.publish(fresh.id, token, message);
        Some(Flying { answer, link: fresh.id })
    }

    /// Waits for the answer. A connection on which one did not come by `until` is not trusted any more.
    pub async fn answer(&self, flying: Flying, until: Instant) -> Answer {
        match tokio::time::timeout_at(until.into(), flying.answer).await {
            Ok(answer) => answer.unwrap_or(Answer::Unknown),
            Err(_) => {
                let mut state = self.state();
                if state.current.as_ref().is_some_and(|current| current.id == flying.link) {
                    state.close();
                }
                Answer::Unknown
            }
        }
    }

    /// Whether it is up, and how many publishes have no answer yet.
    pub fn now(&self) -> (bool, usize) {
        let state = self.state();
        (state.current.as_ref().is_some_and(|current| current.up.is_some()), state.waiters.len())
    }

    /// Connections begun, and connections thrown away because they were not provably fresh.
    pub fn counts(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.stale.load(Relaxed))
    }

    fn heard(&self, state: &mut State, link: LinkId) {
        if let Some(current) = state.current.as_mut().filter(|current| current.id == link)
            && let Some((heard, _)) = &mut current.up
        {
            *heard = self.clock.wall();
        }
    }

    fn end(&self, token: Token, answer: Answer) {
        let mut state = self.state();
        let Some(waiter) = state.waiters.remove(&token) else { return };
        self.heard(&mut state, waiter.link);
        // Whoever waited may have given up.
        let _ = waiter.sender.send(answer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.hub.close(current.id);
        self.forget(current.id);
    }

    /// What is on its way on this connection has an unknown outcome: its receivers see their senders go.
    fn forget(&mut self, link: LinkId) {
        self.waiters.retain(|_, waiter| waiter.link != link);
    }
}

impl HubEvents for Links {
    fn link_up(&self, link: LinkId, window: usize) {
        let mut state = self.state();
        state.rests_until = None;
        if let Some(current) = state.current.as_mut().filter(|current| current.id == link) {
            current.up = Some((self.clock.wall(), Arc::new(Semaphore::new(window.max(1)))));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn link_down(&self, link: LinkId, _reason: &str) {
        let mut state = self.state();
        state.forget(link);
        if let Some(current) = state.current.as_mut().filter(|current| current.id == link) {
            current.up = None;
            current.opened = self.clock.wall();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn acknowledged(&self, tokens: &[Token]) {
        tokens.iter().for_each(|token| self.end(*token, Answer::Taken));
    }

    fn refused(&self, token: Token, refusal: HubRefusal) {
        self.end(token, Answer::Refused(refusal));
    }
}

/// Whether `then` is at most `span` ago. A clock that went back proves nothing.
fn is_within(now: Timestamp, then: Timestamp, span: Duration) -> bool {
    then <= now && now.since(then) <= span
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
