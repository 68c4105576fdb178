//! All store ports in memory: the reference that the contract is read from.

use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Bound;
use std::sync::Mutex;

use crate::command::{Command, CommandId};
use crate::id::{DeviceId, ExternalId, IntegrationName, MessageId};
use crate::ports::{
    Archive, ArchiveFilter, Archived, Backlog, BoxFuture, Credential, Credentials, DeadLetter,
    DeadLetterFilter, DeadLetters, Dedup, DeviceFilter, DeviceRecord, Insert, NewDeadLetter, Outbox,
    OutboxEntry, Proof, Registry, Seq, StoreError, StoreResult, TokenDigest, Vault,
};
use crate::seal::Sealed;
use crate::signal::lock;
use crate::subscription::{Subscription, SubscriptionKind};
use crate::time::Timestamp;
use crate::twin::Twin;

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) commands: BTreeMap<CommandId, Command>,
    pub(super) twins: BTreeMap<DeviceId, Twin>,
    pub(super) subscriptions: BTreeMap<(SubscriptionKind, DeviceId), Subscription>,
    outbox: BTreeMap<Seq, OutboxEntry>,
    last_seq: Seq,
    seen: BTreeMap<MessageId, Timestamp>,
    letters: BTreeMap<u64, DeadLetter>,
    last_letter: u64,
    devices: BTreeMap<DeviceId, DeviceRecord>,
    version: u64,
    archive: BTreeMap<u64, Archived>,
    last_archived: u64,
    tokens: BTreeMap<(DeviceId, TokenDigest), Credential>,
    vault: BTreeMap<String, Sealed>,
    tokens_version: u64,
}

impl MemoryStore {
    pub(super) fn run<'a, T: Send + 'a>(
        &self,
        work: impl FnOnce(&mut State) -> T,
    ) -> BoxFuture<'a, StoreResult<T>> {
        let result = work(&mut lock(&self.0));
        Box::pin(ready(Ok(result)))
    }
}

impl Outbox for MemoryStore {
    fn append<'a>(&'a self, entries: &'a [OutboxEntry]) -> BoxFuture<'a, StoreResult<()>> {
        let mut state = lock(&self.0);
        if entries.iter().any(|entry| state.outbox.contains_key(&entry.seq)) {
            return Box::pin(ready(Err(StoreError::Unavailable("a seq is used twice".into()))));
        }
        for entry in entries {
            state.last_seq = state.last_seq.max(entry.seq);
            state.outbox.insert(entry.seq, entry.clone());
        }
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, seqs: &'a [Seq]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| state.outbox.retain(|seq, _| !seqs.contains(seq)))
    }

    fn load(&self, after: Seq, limit: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxEntry>>> {
        self.run(|state| {
            state
                .outbox
                .range((Bound::Excluded(after), Bound::Unbounded))
                .take(limit)
                .map(|(_, entry)| entry.clone())
                .collect()
        })
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        self.run(|state| {
            let mut lanes: BTreeMap<String, u64> = BTreeMap::new();
            for entry in state.outbox.values() {
                *lanes.entry(entry.lane.clone()).or_default() += 1;
            }
            Backlog {
                lanes: lanes.into_iter().collect(),
                last_seq: state.last_seq,
                oldest: state.outbox.values().map(|entry| entry.at).min(),
                bytes: state.outbox.values().map(|entry| entry.record.len() as u64).sum(),
            }
        })
    }
}

impl Dedup for MemoryStore {
    fn seen(
        &self,
        id: MessageId,
        since: Timestamp,
        _known_from: Option<Timestamp>,
    ) -> BoxFuture<'_, StoreResult<bool>> {
        self.run(|state| state.seen.get(&id).is_some_and(|at| *at >= since))
    }

    fn recent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(MessageId, Timestamp)>>> {
        self.run(|state| {
            let mut recent: Vec<_> =
                state.seen.iter().filter(|(_, at)| **at >= since).map(|(id, at)| (*id, *at)).collect();
            recent.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
            recent.truncate(limit);
            recent
        })
    }

    fn remember<'a>(&'a self, ids: &'a [(MessageId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            for (id, at) in ids {
                let known = state.seen.entry(*id).or_insert(*at);
                *known = (*known).max(*at);
            }
        })
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.run(|state| state.seen.retain(|_, at| *at >= before))
    }
}

fn matches(letter: &DeadLetter, filter: &DeadLetterFilter) -> bool {
    let DeadLetter { number, letter, .. } = letter;
    filter.integration.as_ref().is_none_or(|wanted| *wanted == letter.integration)
        && (filter.device.is_none() || filter.device == letter.device)
        && filter.reason.is_none_or(|wanted| wanted == letter.reason)
        && filter.number.is_none_or(|wanted| wanted == *number)
}

impl DeadLetters for MemoryStore {
    fn bury<'a>(&'a self, letters: &'a [NewDeadLetter]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            for letter in letters {
                state.last_letter += 1;
                let number = state.last_letter;
                state.letters.insert(number, DeadLetter { number, letter: letter.clone(), replay: false });
            }
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetter>>> {
        self.run(|state| {
            let letters =
                state.letters.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, letter)| letter);
            letters.filter(|letter| matches(letter, filter)).take(limit).cloned().collect()
        })
    }

    fn mark_for_replay<'a>(&'a self, filter: &'a DeadLetterFilter) -> BoxFuture<'a, StoreResult<u64>> {
        self.run(|state| {
            let mut marked = 0;
            for letter in state.letters.values_mut().filter(|letter| matches(letter, filter)) {
                marked += u64::from(!std::mem::replace(&mut letter.replay, true));
            }
            marked
        })
    }

    fn marked(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<DeadLetter>>> {
        self.run(|state| state.letters.values().filter(|letter| letter.replay).take(limit).cloned().collect())
    }

    fn unmark<'a>(&'a self, number: u64, detail: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            if let Some(letter) = state.letters.get_mut(&number) {
                letter.replay = false;
                detail.clone_into(&mut letter.letter.detail);
            }
        })
    }

    fn remove<'a>(&'a self, numbers: &'a [u64]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| state.letters.retain(|number, _| !numbers.contains(number)))
    }

    fn remove_matching<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        self.run(|state| {
            let mut removed = 0;
            state.letters.retain(|_, letter| {
                let goes = removed < limit && matches(letter, filter);
                removed += usize::from(goes);
                !goes
            });
            removed as u64
        })
    }

    fn trim(&self, keep: u64) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| {
            let mut removed = 0;
            while state.letters.len() as u64 > keep {
                state.letters.pop_first();
                removed += 1;
            }
            removed
        })
    }

    fn count(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| state.letters.len() as u64)
    }
}

impl Archive for MemoryStore {
    fn keep<'a>(&'a self, uplinks: &'a [Archived]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            for uplink in uplinks {
                state.last_archived += 1;
                state.archive.insert(state.last_archived, uplink.clone());
            }
        })
    }

    fn uplinks<'a>(
        &'a self,
        filter: &'a ArchiveFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(u64, Archived)>>> {
        self.run(|state| {
            let matching =
                state.archive.range((Bound::Excluded(after), Bound::Unbounded)).filter(|(_, uplink)| {
                    (filter.from..filter.to).contains(&uplink.at)
                        && filter.device.as_ref().is_none_or(|device| *device == uplink.device)
                });
            matching.take(limit).map(|(number, uplink)| (*number, uplink.clone())).collect()
        })
    }

    fn discard(&self, before: Timestamp, most: u64) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| {
            let count = state.archive.len();
            state.archive.retain(|_, uplink| uplink.at >= before);
            while state.archive.len() as u64 > most {
                state.archive.pop_first();
            }
            (count - state.archive.len()) as u64
        })
    }
}

impl Registry for MemoryStore {
    fn find<'a>(
        &'a self,
        integration: &'a IntegrationName,
        external: &'a ExternalId,
    ) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
        self.run(|state| {
            let is_it =
                |record: &&DeviceRecord| record.integration == *integration && record.external == *external;
            state.devices.values().find(is_it).cloned()
        })
    }

    fn get<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
        self.run(|state| state.devices.get(id).cloned())
    }

    fn insert<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<Insert>> {
        self.run(|state| {
            let same = |known: &&DeviceRecord| {
                known.integration == record.integration && known.external == record.external
            };
            if let Some(known) = state.devices.values().find(same) {
                return Insert::Exists(known.clone());
            }
            if let Some(other) = state.devices.get(&record.id) {
                return Insert::IdTaken(other.clone());
            }
            state.devices.insert(record.id.clone(), record.clone());
            state.version += 1;
            Insert::Created
        })
    }

    fn update<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            let Some(known) = state.devices.get_mut(&record.id) else { return false };
            known.name.clone_from(&record.name);
            known.hub_id.clone_from(&record.hub_id);
            known.codec.clone_from(&record.codec);
            known.tags.clone_from(&record.tags);
            known.state = record.state;
            state.version += 1;
            true
        })
    }

    fn remove<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            let removed = state.devices.remove(id).is_some();
            state.version += u64::from(removed);
            removed
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a DeviceFilter,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceRecord>>> {
        self.run(|state| {
            let wanted = |record: &&DeviceRecord| {
                after.is_none_or(|after| record.id > *after)
                    && filter
                        .integration
                        .as_ref()
                        .is_none_or(|integration| *integration == record.integration)
                    && filter.tag.as_ref().is_none_or(|tag| record.tags.contains(tag))
                    && filter.state.is_none_or(|state| state == record.state)
            };
            state.devices.values().filter(wanted).take(limit).cloned().collect()
        })
    }

    fn touch<'a>(&'a self, seen: &'a [(DeviceId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            for (id, at) in seen {
                if let Some(record) = state.devices.get_mut(id) {
                    record.last_seen = record.last_seen.max(Some(*at));
                }
            }
        })
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| state.version)
    }
}

impl Credentials for MemoryStore {
    fn insert<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            if state.tokens.values().any(|known| known.digest == credential.digest) {
                return false;
            }
            state.tokens.insert((credential.device.clone(), credential.digest), credential.clone());
            state.tokens_version += 1;
            true
        })
    }

    fn find<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<Option<Credential>>> {
        self.run(|state| state.tokens.values().find(|known| known.digest == *digest).cloned())
    }

    fn list<'a>(
        &'a self,
        device: Option<&'a DeviceId>,
        after: Option<&'a Credential>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Credential>>> {
        self.run(|state| {
            let wanted = |known: &&Credential| {
                device.is_none_or(|device| known.device == *device)
                    && after.is_none_or(|after| (&known.device, known.digest) > (&after.device, after.digest))
            };
            state.tokens.values().filter(wanted).take(limit).cloned().collect()
        })
    }

    fn reseal<'a>(&'a self, digest: &'a TokenDigest, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            let key = state.tokens.values_mut().find(|known| known.digest == *digest);
            let Some(Proof::SigningKey(kept) | Proof::Psk(kept)) = key.map(|key| &mut key.proof) else {
                return false;
            };
            *kept = sealed.clone();
            state.tokens_version += 1;
            true
        })
    }

    fn remove<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| state.remove_tokens(|known| known.digest == *digest) > 0)
    }

    fn remove_all<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<u64>> {
        self.run(|state| state.remove_tokens(|known| known.device == *device))
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| state.tokens_version)
    }
}

impl Vault for MemoryStore {
    fn keep<'a>(&'a self, name: &'a str, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| drop(state.vault.insert(name.to_owned(), sealed.clone())))
    }

    fn kept<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(String, Sealed)>>> {
        self.run(|state| {
            let wanted = state.vault.iter().filter(|(name, _)| name.starts_with(prefix)).take(limit);
            wanted.map(|(name, sealed)| (name.clone(), sealed.clone())).collect()
        })
    }

    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| state.vault.remove(name).is_some())
    }
}

impl State {
    fn remove_tokens(&mut self, gone: impl Fn(&Credential) -> bool) -> u64 {
        let count = self.tokens.len();
        self.tokens.retain(|_, known| !gone(known));
        let removed = (count - self.tokens.len()) as u64;
        self.tokens_version += u64::from(removed > 0);
        removed
    }
}
