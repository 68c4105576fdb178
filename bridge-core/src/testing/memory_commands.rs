//! The command port in memory. Slow and plain: it looks at every command each time.

use std::collections::{BTreeMap, BTreeSet};

use super::MemoryStore;
use crate::command::{Cancelled, Command, CommandId, Phase, Reference, queue};
use crate::id::DeviceId;
use crate::ports::{BoxFuture, CommandFilter, Commands, Inserted, QueueLimits, StoreResult};
use crate::time::Timestamp;

type All = BTreeMap<CommandId, Command>;

impl Commands for MemoryStore {
    fn insert<'a>(
        &'a self,
        command: &'a Command,
        begun: Option<&'a Command>,
        limits: QueueLimits,
    ) -> BoxFuture<'a, StoreResult<Inserted>> {
        self.run(|state| insert(&mut state.commands, command, begun, limits))
    }

    fn get(&self, id: CommandId) -> BoxFuture<'_, StoreResult<Option<Command>>> {
        self.run(|state| state.commands.get(&id).cloned())
    }

    fn list<'a>(
        &'a self,
        filter: &'a CommandFilter,
        before: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Command>>> {
        let wanted = |command: &&Command| {
            before.is_none_or(|before| command.id < before)
                && filter.device.as_ref().is_none_or(|device| *device == command.device)
                && filter.state.is_none_or(|state| state == command.state())
                && filter.done.is_none_or(|done| done == command.is_done())
        };
        self.run(|state| state.commands.values().rev().filter(wanted).take(limit).cloned().collect())
    }

    fn open<'a>(&'a self, device: &'a DeviceId, waiting: usize) -> BoxFuture<'a, StoreResult<Vec<Command>>> {
        self.run(|state| {
            let mut open: Vec<Command> = open(&state.commands, device).cloned().collect();
            open.sort_by_key(queue::place);
            let mut left = waiting;
            open.retain(|command| {
                let taken = command.is_in_flight() || left > 0;
                left -= usize::from(taken && !command.is_in_flight());
                taken
            });
            open
        })
    }

    fn update<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| update(&mut state.commands, command))
    }

    fn start<'a>(&'a self, command: &'a Command, others: usize) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            let other = |other: &&Command| other.is_in_flight() && other.id != command.id;
            let flying = open(&state.commands, &command.device).filter(other).count();
            flying <= others && update(&mut state.commands, command)
        })
    }

    fn ready<'a>(
        &'a self,
        now: Timestamp,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>> {
        self.run(|state| {
            let busy: BTreeSet<&DeviceId> = state
                .commands
                .values()
                .filter(|command| command.is_in_flight())
                .map(|command| &command.device)
                .collect();
            let due: BTreeSet<&DeviceId> = state
                .commands
                .values()
                .filter(
                    |command| matches!(command.phase(), Phase::Waiting { not_before, pushed: true } if not_before <= now),
                )
                .map(|command| &command.device)
                .collect();
            let ready = due.difference(&busy).filter(|device| after.is_none_or(|after| **device > after));
            ready.take(limit).map(|device| (*device).clone()).collect()
        })
    }

    fn due(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        self.run(|state| {
            let due = |command: &&Command| command.due().is_some_and(|due| due <= now);
            let mut due: Vec<Command> = state.commands.values().filter(due).cloned().collect();
            due.sort_by_key(|command| (command.due(), command.id));
            due.truncate(limit);
            due
        })
    }

    fn sending(&self, after: Option<CommandId>, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        self.run(|state| {
            let sending = |command: &&Command| {
                matches!(command.phase(), Phase::Sending { .. })
                    && after.is_none_or(|after| command.id > after)
            };
            state.commands.values().filter(sending).take(limit).cloned().collect()
        })
    }

    fn find<'a>(
        &'a self,
        device: &'a DeviceId,
        reference: &'a Reference,
    ) -> BoxFuture<'a, StoreResult<Option<Command>>> {
        self.run(|state| {
            let wanted =
                |command: &&Command| command.device == *device && command.attempt_of(reference).is_some();
            state.commands.values().rev().find(wanted).cloned()
        })
    }

    fn unpublished(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        self.run(|state| {
            let wanted = |command: &&Command| {
                command.published < command.changes() && after.is_none_or(|after| command.id > after)
            };
            state.commands.values().filter(wanted).take(limit).cloned().collect()
        })
    }

    fn published<'a>(&'a self, changes: &'a [(CommandId, u32)]) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            for (id, number) in changes {
                if let Some(command) = state.commands.get_mut(id) {
                    command.published = command.published.max(*number);
                }
            }
        })
    }

    fn purge(&self, before: Timestamp, keep: u64, limit: usize) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| {
            let mut over: Vec<(Timestamp, CommandId)> = state
                .commands
                .values()
                .filter_map(|command| command.finished().map(|finished| (finished, command.id)))
                .collect();
            over.sort_unstable();
            let excess = over.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
            let goes = |place: usize, finished: Timestamp| place < excess || finished < before;
            let all = &mut state.commands;
            let gone: Vec<CommandId> = over
                .iter()
                .enumerate()
                .filter(|(place, (finished, _))| goes(*place, *finished))
                .map(|(_, (_, id))| *id)
                .filter(|id| all.get(id).is_some_and(|command| command.published >= command.changes()))
                .take(limit)
                .collect();
            gone.iter().for_each(|id| drop(all.remove(id)));
            gone.len() as u64
        })
    }

    fn count_open(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.run(|state| state.commands.values().filter(|command| !command.is_done()).count() as u64)
    }
}

fn open<'a>(all: &'a All, device: &DeviceId) -> impl Iterator<Item = &'a Command> {
    all.values().filter(move |command| command.device == *device && !command.is_done())
}

fn insert(all: &mut All, command: &Command, begun: Option<&Command>, limits: QueueLimits) -> Inserted {
    let key = command.draft.key.as_ref();
    let same = |other: &&Command| other.device == command.device && other.draft.key.as_ref() == key;
    if let Some(known) = key.and_then(|_| all.values().find(same)) {
        return Inserted::Exists(Box::new(known.clone()));
    }
    let replace = command.draft.replace.as_ref();
    let mut superseded: Vec<Command> = open(all, &command.device)
        .filter(|other| replace.is_some() && other.draft.replace.as_ref() == replace && !other.is_withdrawn())
        .cloned()
        .collect();
    let freed =
        superseded.iter_mut().filter_map(|older| (older.supersede(command) == Cancelled::Done).then_some(()));
    let freed = freed.count();
    let others = open(all, &command.device).count() - freed;
    if others >= limits.per_device {
        return Inserted::DeviceFull;
    }
    if all.values().filter(|command| !command.is_done()).count() - freed >= limits.total {
        return Inserted::Full;
    }
    for older in &mut superseded {
        update(all, older);
        older.version += 1;
    }
    let begun = begun.filter(|_| others == 0 && superseded.is_empty());
    all.insert(command.id, begun.unwrap_or(command).clone().stored(1, 0));
    Inserted::Stored { superseded, others, begun: begun.is_some() }
}

fn update(all: &mut All, command: &Command) -> bool {
    match all.get_mut(&command.id).filter(|known| known.version == command.version) {
        None => false,
        Some(known) => {
            let published = known.published;
            *known = command.clone().stored(command.version + 1, published);
            true
        }
    }
}
