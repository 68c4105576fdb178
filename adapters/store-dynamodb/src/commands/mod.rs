//! The command port. A command is its record; beside it, and in one transaction with it, stands the queue of its device: its
//! open commands in few words. The queue has a version, so that rules about several commands of one device hold whoever
//! writes. Not here: any rule of their life but the call of [`Command::supersede`].

mod find;
mod purge;
mod queue;

use bridge_core::command::{Cancelled, Command, CommandId, Reference};
use bridge_core::ports::{
    BoxFuture, CommandFilter, Commands, Inserted, QueueLimits, StoreError, StoreResult,
};
use bridge_core::{DeviceId, Timestamp};

use self::queue::{Queue, queue_key};
use crate::DynamoStore;
use crate::item::{Item, attributes, bytes, number, text};
use crate::keys::{Key, moment, sharded};
use crate::numbers::count;
use crate::table::{FLAG, OWNER, TIME};
use crate::write::{Write, Written, pause};

const COMMAND: &str = "command";
/// Counts commands that are not over.
const OPEN: &str = "commands-open";
/// Counts commands that are over.
const OVER: &str = "commands-over";
/// Open commands of one device, whatever the limit: their queue has to fit into an item.
const MOST_OPEN: usize = 5000;
/// Partitions of the index by time.
const DUE: &str = "due";
const ENDED: &str = "ended";

impl Commands for DynamoStore {
    fn insert<'a>(
        &'a self,
        command: &'a Command,
        begun: Option<&'a Command>,
        limits: QueueLimits,
    ) -> BoxFuture<'a, StoreResult<Inserted>> {
        Box::pin(self.bounded(async move {
            for attempt in 0.. {
                if let Some(inserted) = self.try_insert(command, begun, limits).await? {
                    return Ok(inserted);
                }
                pause(attempt).await;
            }
            Err(changing())
        }))
    }

    fn get(&self, id: CommandId) -> BoxFuture<'_, StoreResult<Option<Command>>> {
        Box::pin(async move { self.read(&key(id)).await?.as_ref().map(command).transpose() })
    }

    fn list<'a>(
        &'a self,
        filter: &'a CommandFilter,
        before: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Command>>> {
        Box::pin(self.list_commands(filter, before, limit))
    }

    fn open<'a>(&'a self, device: &'a DeviceId, waiting: usize) -> BoxFuture<'a, StoreResult<Vec<Command>>> {
        Box::pin(async move {
            let wanted = self.queue(device).await?.wanted(waiting);
            let mut open = self.commands(wanted).await?;
            open.retain(|command| !command.is_done());
            open.sort_by_key(bridge_core::command::queue::place);
            Ok(open)
        })
    }

    fn update<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(self.replace(command, None))
    }

    fn start<'a>(&'a self, command: &'a Command, others: usize) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(self.replace(command, Some(others)))
    }

    fn ready<'a>(
        &'a self,
        now: Timestamp,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>> {
        Box::pin(self.ready_devices(now, after, limit))
    }

    fn due(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        Box::pin(self.due_commands(now, limit))
    }

    fn sending(&self, after: Option<CommandId>, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        Box::pin(self.sending_commands(after, limit))
    }

    fn find<'a>(
        &'a self,
        device: &'a DeviceId,
        reference: &'a Reference,
    ) -> BoxFuture<'a, StoreResult<Option<Command>>> {
        Box::pin(self.command_called(device, reference))
    }

    fn unpublished(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        Box::pin(self.untold(after, limit))
    }

    fn published<'a>(&'a self, changes: &'a [(CommandId, u32)]) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let note =
                |(id, up_to): &(CommandId, u32)| Write::update(key(*id)).set("published", number(up_to));
            let all = changes.iter().map(|change| {
                let told = "attribute_exists(#pk) AND #published < :published AND #changes <= :published";
                note(change).remove(FLAG.keys.partition).remove(FLAG.keys.sort).when(told)
            });
            let written = self.write_each(all.collect()).await?;
            // Those that are not all told, or not there, or told further already.
            let rest = changes.iter().zip(written).filter(|(_, written)| !written.is_done());
            let rest = rest
                .map(|(change, _)| note(change).when("attribute_exists(#pk) AND #published < :published"));
            self.write_each(rest.collect()).await.map(drop)
        })
    }

    fn purge(&self, before: Timestamp, keep: u64, limit: usize) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.purge_commands(before, keep, limit))
    }

    fn count_open(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.counted(OPEN))
    }
}

impl DynamoStore {
    /// None when somebody else changed the queue meanwhile.
    async fn try_insert(
        &self,
        new: &Command,
        begun: Option<&Command>,
        limits: QueueLimits,
    ) -> StoreResult<Option<Inserted>> {
        let request = new.draft.key.as_ref().map(|key| request_key(&new.device, key.as_str()));
        if let Some(request) = &request
            && let Some(known) = self.read(request).await?
        {
            let id = known.parsed("id", |text| CommandId::parse(text).ok())?;
            // Gone meanwhile, with the key: look again.
            return Ok(Commands::get(self, id).await?.map(|known| Inserted::Exists(Box::new(known))));
        }
        let mut queue = self.queue(&new.device).await?;
        let mut superseded = match &new.draft.replace {
            None => Vec::new(),
            Some(_) => self.commands(queue.ids()).await?,
        };
        superseded.retain(|older| {
            older.draft.replace == new.draft.replace && !older.is_withdrawn() && !older.is_done()
        });
        superseded.sort_by_key(|older| older.id);
        let freed =
            superseded.iter_mut().filter_map(|older| (older.supersede(new) == Cancelled::Done).then_some(()));
        let freed = freed.count();
        let others = queue.len().saturating_sub(freed);
        if others >= limits.per_device.min(MOST_OPEN) {
            return Ok(Some(Inserted::DeviceFull));
        }
        // The devices do not wait for each other: several that insert at once may pass this limit by their number.
        if self.counted(OPEN).await?.saturating_sub(freed as u64) >= limits.total as u64 {
            return Ok(Some(Inserted::Full));
        }
        let begun = begun.filter(|_| others == 0 && superseded.is_empty());
        let new = begun.unwrap_or(new);
        let mut writes = vec![Write::put(key(new.id), fresh_item(new)).when_absent()];
        for older in &superseded {
            queue.set(older);
            writes.push(replacement(older));
        }
        queue.set(new);
        writes.push(queue.write(&new.device));
        if let Some(request) = request {
            let pointer = attributes([("id", text(new.id.to_string()))]);
            writes.push(Write::put(request, pointer).when_absent());
        }
        let freed = i64::try_from(freed).unwrap_or(i64::MAX);
        writes.push(count(OPEN, new.device.as_str(), 1 - freed));
        if freed > 0 {
            writes.push(count(OVER, new.device.as_str(), freed));
        }
        if !self.write(writes).await?.is_done() {
            return Ok(None);
        }
        for older in &mut superseded {
            older.version += 1;
        }
        Ok(Some(Inserted::Stored { superseded, others, begun: begun.is_some() }))
    }

    /// Replaces a command when it has the version still, and not too many others are in flight.
    async fn replace(&self, changed: &Command, others: Option<usize>) -> StoreResult<bool> {
        self.bounded(async {
            for attempt in 0.. {
                if let Some(replaced) = self.try_replace(changed, others).await? {
                    return Ok(replaced);
                }
                pause(attempt).await;
            }
            Err(changing())
        })
        .await
    }

    async fn try_replace(&self, changed: &Command, others: Option<usize>) -> StoreResult<Option<bool>> {
        let items = self.read_all(&[key(changed.id), queue_key(&changed.device)]).await?;
        let known = items.iter().find(|item| item.maybe_text("pk") == Some(&key(changed.id).pk));
        let Some(known) = known.map(command).transpose()? else { return Ok(Some(false)) };
        let mut queue = Queue::read(
            items.iter().find(|item| item.maybe_text("pk") == Some(&queue_key(&changed.device).pk)),
        )?;
        if known.version != changed.version
            || others.is_some_and(|others| queue.flying_beside(changed.id) > others)
        {
            return Ok(Some(false));
        }
        let mut writes = vec![replacement(changed)];
        for (reference, _) in changed.references() {
            if known.attempt_of(reference).is_none() {
                let pointer = attributes([("id", text(changed.id.to_string()))]);
                writes.push(Write::put(reference_key(&changed.device, reference, changed.id), pointer));
            }
        }
        let dropped = known.references().filter(|(reference, _)| changed.attempt_of(reference).is_none());
        let dropped = dropped.map(|(reference, _)| reference_key(&changed.device, reference, changed.id));
        writes.extend(dropped.map(Write::delete));
        if queue.set(changed) || others.is_some() {
            writes.push(queue.write(&changed.device));
        }
        if changed.is_done() && !known.is_done() {
            writes.push(count(OPEN, changed.device.as_str(), -1));
            writes.push(count(OVER, changed.device.as_str(), 1));
        }
        match self.write(writes).await? {
            Written::Done(_) => Ok(Some(true)),
            Written::Refused(refusals) if refusals.first().is_some_and(Option::is_some) => Ok(Some(false)),
            // The queue has changed: look again.
            Written::Refused(_) => Ok(None),
        }
    }

    async fn queue(&self, device: &DeviceId) -> StoreResult<Queue> {
        Queue::read(self.read(&queue_key(device)).await?.as_ref())
    }

    async fn commands(&self, ids: Vec<CommandId>) -> StoreResult<Vec<Command>> {
        let keys: Vec<Key> = ids.into_iter().map(key).collect();
        self.read_all(&keys).await?.iter().map(command).collect()
    }
}

fn changing() -> StoreError {
    StoreError::Unavailable("the commands of the device change faster than they can be written".into())
}

fn key(id: CommandId) -> Key {
    Key::named(COMMAND, &id.to_string())
}

fn request_key(device: &DeviceId, key: &str) -> Key {
    Key::alone(format!("request#{}#{key}", device.as_str()))
}

fn reference_partition(device: &DeviceId, reference: &Reference) -> String {
    format!("reference#{}#{}", device.as_str(), reference.as_str())
}

fn reference_key(device: &DeviceId, reference: &Reference, id: CommandId) -> Key {
    Key::new(reference_partition(device, reference), id.to_string())
}

/// The item of a new command.
fn fresh_item(command: &Command) -> crate::item::Attributes {
    let (partition, place) = time_keys(command);
    let id = command.id.to_string();
    attributes([
        ("record", bytes(command.to_record())),
        ("version", number(1)),
        ("changes", number(command.changes())),
        ("published", number(0)),
        (TIME.keys.partition, text(partition)),
        (TIME.keys.sort, text(place)),
        (OWNER.keys.partition, text(format!("{COMMAND}#{}", command.device.as_str()))),
        (OWNER.keys.sort, text(&id)),
        (FLAG.keys.partition, text(sharded(COMMAND, &id))),
        (FLAG.keys.sort, text(id)),
    ])
}

/// Writes a command over the one that has its version.
fn replacement(command: &Command) -> Write {
    let (partition, place) = time_keys(command);
    let write = Write::update(key(command.id))
        .set("record", bytes(command.to_record()))
        .set("version", number(command.version + 1))
        .set("changes", number(command.changes()))
        .set(TIME.keys.partition, text(partition))
        .set(TIME.keys.sort, text(place))
        .when("#version = :known")
        .value("known", number(command.version));
    if command.changes() <= command.published {
        return write;
    }
    let id = command.id.to_string();
    write.set(FLAG.keys.partition, text(sharded(COMMAND, &id))).set(FLAG.keys.sort, text(id))
}

/// Where it stands in the index by time.
fn time_keys(command: &Command) -> (String, String) {
    let id = command.id.to_string();
    let (kind, at) = match (command.due(), command.finished()) {
        (Some(due), _) => (DUE, due),
        (None, finished) => (ENDED, finished.unwrap_or(Timestamp::EPOCH)),
    };
    (sharded(kind, &id), format!("{}#{id}", moment(at)))
}

fn command(item: &Item) -> StoreResult<Command> {
    let command = Command::from_record(item.bytes("record")?).map_err(|_| item.damaged("record"))?;
    Ok(command.stored(item.number("version")?, item.number("published")?))
}
