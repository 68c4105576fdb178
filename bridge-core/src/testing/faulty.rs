//! A store that fails on demand, before it has done its work or after it: the answer that got lost.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::Poll;

use crate::command::{Command, CommandId, Reference};
use crate::id::{DeviceId, ExternalId, IntegrationName, MessageId};
use crate::ports::{
    Backlog, BoxFuture, CommandFilter, Commands, Credential, Credentials, DeadLetter, DeadLetterFilter,
    DeadLetters, Dedup, DeviceFilter, DeviceRecord, Insert, Inserted, NewDeadLetter, Outbox, OutboxEntry,
    QueueLimits, Registry, Seq, StoreError, StoreResult, Subscriptions, TokenDigest, Twins, Vault,
};
use crate::seal::Sealed;
use crate::signal::lock;
use crate::subscription::{Subscription, SubscriptionKind, Told};
use crate::time::Timestamp;
use crate::twin::Twin;

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every call fails and does nothing.
    Before,
    /// Every call does its work and fails.
    After,
    /// Every call does its work; its answer comes when the fault is another. For futures that are polled by hand: the
    /// change wakes nobody.
    Held,
}

/// Wraps a store; with [`Fault::None`] it is that store.
#[derive(Debug, Default)]
pub struct Faulty<S> {
    inner: S,
    fault: Mutex<Fault>,
}

impl<S> Faulty<S> {
    /// A wrapper that does nothing yet.
    pub fn new(inner: S) -> Self {
        Self { inner, fault: Mutex::default() }
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        *lock(&self.fault) = fault;
    }

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&'a S) -> BoxFuture<'a, StoreResult<T>>,
    ) -> BoxFuture<'a, StoreResult<T>> {
        let error = || Err(StoreError::Unavailable("injected".into()));
        match *lock(&self.fault) {
            Fault::None => work(&self.inner),
            Fault::Before => Box::pin(async move { error() }),
            Fault::After => {
                let done = work(&self.inner);
                Box::pin(async move { done.await.and_then(|_| error()) })
            }
            Fault::Held => {
                let (done, fault) = (work(&self.inner), &self.fault);
                Box::pin(async move {
                    let answer = done.await;
                    poll_fn(|_| match *lock(fault) {
                        Fault::Held => Poll::Pending,
                        _ => Poll::Ready(()),
                    })
                    .await;
                    answer
                })
            }
        }
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        fn $name<'a>(&'a self, $($argument: $type),*) -> BoxFuture<'a, StoreResult<$output>> {
            self.call(|inner| inner.$name($($argument),*))
        }
    )*};
}

impl<S: Outbox> Outbox for Faulty<S> {
    forward! {
        append(entries: &'a [OutboxEntry]) -> ();
        remove(seqs: &'a [Seq]) -> ();
        load(after: Seq, limit: usize) -> Vec<OutboxEntry>;
        backlog() -> Backlog;
    }
}

impl<S: Dedup> Dedup for Faulty<S> {
    forward! {
        seen(id: MessageId, since: Timestamp, known_from: Option<Timestamp>) -> bool;
        recent(since: Timestamp, limit: usize) -> Vec<(MessageId, Timestamp)>;
        remember(ids: &'a [(MessageId, Timestamp)]) -> ();
        forget(before: Timestamp) -> ();
    }
}

impl<S: DeadLetters> DeadLetters for Faulty<S> {
    forward! {
        bury(letters: &'a [NewDeadLetter]) -> ();
        list(filter: &'a DeadLetterFilter, after: u64, limit: usize) -> Vec<DeadLetter>;
        mark_for_replay(filter: &'a DeadLetterFilter) -> u64;
        marked(limit: usize) -> Vec<DeadLetter>;
        unmark(number: u64, detail: &'a str) -> ();
        remove(numbers: &'a [u64]) -> ();
        remove_matching(filter: &'a DeadLetterFilter, limit: usize) -> u64;
        trim(keep: u64) -> u64;
        count() -> u64;
    }
}

impl<S: Registry> Registry for Faulty<S> {
    forward! {
        find(integration: &'a IntegrationName, external: &'a ExternalId) -> Option<DeviceRecord>;
        get(id: &'a DeviceId) -> Option<DeviceRecord>;
        insert(record: &'a DeviceRecord) -> Insert;
        update(record: &'a DeviceRecord) -> bool;
        remove(id: &'a DeviceId) -> bool;
        list(filter: &'a DeviceFilter, after: Option<&'a DeviceId>, limit: usize) -> Vec<DeviceRecord>;
        touch(seen: &'a [(DeviceId, Timestamp)]) -> ();
        version() -> u64;
    }
}

impl<S: Commands> Commands for Faulty<S> {
    forward! {
        insert(command: &'a Command, begun: Option<&'a Command>, limits: QueueLimits) -> Inserted;
        get(id: CommandId) -> Option<Command>;
        list(filter: &'a CommandFilter, before: Option<CommandId>, limit: usize) -> Vec<Command>;
        open(device: &'a DeviceId, waiting: usize) -> Vec<Command>;
        update(command: &'a Command) -> bool;
        start(command: &'a Command, others: usize) -> bool;
        ready(now: Timestamp, after: Option<&'a DeviceId>, limit: usize) -> Vec<DeviceId>;
        due(now: Timestamp, limit: usize) -> Vec<Command>;
        sending(after: Option<CommandId>, limit: usize) -> Vec<Command>;
        find(device: &'a DeviceId, reference: &'a Reference) -> Option<Command>;
        unpublished(after: Option<CommandId>, limit: usize) -> Vec<Command>;
        published(changes: &'a [(CommandId, u32)]) -> ();
        purge(before: Timestamp, keep: u64, limit: usize) -> u64;
        count_open() -> u64;
    }
}

impl<S: Credentials> Credentials for Faulty<S> {
    forward! {
        insert(credential: &'a Credential) -> bool;
        find(digest: &'a TokenDigest) -> Option<Credential>;
        reseal(digest: &'a TokenDigest, sealed: &'a Sealed) -> bool;
        list(device: Option<&'a DeviceId>, after: Option<&'a Credential>, limit: usize) -> Vec<Credential>;
        remove(digest: &'a TokenDigest) -> bool;
        remove_all(device: &'a DeviceId) -> u64;
        version() -> u64;
    }
}

impl<S: Vault> Vault for Faulty<S> {
    forward! {
        keep(name: &'a str, sealed: &'a Sealed) -> ();
        kept(prefix: &'a str, limit: usize) -> Vec<(String, Sealed)>;
        forget(name: &'a str) -> bool;
    }
}

impl<S: Twins> Twins for Faulty<S> {
    forward! {
        get(device: &'a DeviceId) -> Option<Twin>;
        put(device: &'a DeviceId, twin: &'a Twin) -> bool;
        pending(after: Option<&'a DeviceId>, limit: usize) -> Vec<DeviceId>;
        remove(device: &'a DeviceId) -> bool;
    }
}

impl<S: Subscriptions> Subscriptions for Faulty<S> {
    forward! {
        get(device: &'a DeviceId, kind: SubscriptionKind) -> Option<Subscription>;
        put(subscription: &'a Subscription) -> ();
        remove(device: &'a DeviceId, kind: SubscriptionKind) -> bool;
        list(kind: SubscriptionKind, after: Option<&'a DeviceId>, limit: usize) -> Vec<Subscription>;
        tell(subscription: &'a Subscription, told: &'a Told) -> bool;
    }
}
