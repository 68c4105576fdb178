//! The command port. A command is its record; columns beside it are copies for finding it, written together. Not here: any
//! rule of their life but the call of [`Command::supersede`].

mod changed;
#[cfg(test)]
mod tests;
mod untold;

use bridge_core::command::{Cancelled, Command, CommandId, CommandState, Reference, ReplaceKey, RequestKey};
use bridge_core::ports::{Asked, BoxFuture, CommandFilter, Commands, Inserted, QueueLimits, StoreResult};
use bridge_core::{DeviceId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, params};

use self::changed::{Changed, Copies};
pub(crate) use self::untold::Untold;
use crate::EmbeddedStore;
use crate::dead_letters::parsed;
use crate::outbox::{OPEN_COMMANDS, meta};
use crate::writer::Session;

const COLUMNS: &str = "record, version, \
                       coalesce((SELECT published FROM command_news AS news WHERE news.id = commands.id), changes)";
/// Above every id.
const LAST: [u8; 16] = [0xFF; 16];
/// Commands with a `wake` that is too early, beyond which they are put right: looking at so many takes a millisecond.
const STALE: usize = 1024;
/// As many are put right at once.
const SETTLE: usize = 4096;

impl Commands for EmbeddedStore {
    fn insert<'a>(
        &'a self,
        command: &'a Command,
        begun: Option<&'a Command>,
        limits: QueueLimits,
    ) -> BoxFuture<'a, StoreResult<Inserted>> {
        // As it is stored most often.
        let row = Row::of(begun.unwrap_or(command));
        let is_begun = begun.is_some();
        self.write_alone((command.clone(), row), move |session, (command, row)| {
            insert(session, command, row, is_begun, limits)
        })
    }

    fn get(&self, id: CommandId) -> BoxFuture<'_, StoreResult<Option<Command>>> {
        self.read(move |connection| one(connection, "id = ?1", [id.as_bytes()]))
    }

    fn list<'a>(
        &'a self,
        filter: &'a CommandFilter,
        before: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Command>>> {
        let device = filter.device.as_ref().map(ToString::to_string);
        let (state, done) = (filter.state.map(CommandState::as_str), filter.done);
        let before = before.map_or(LAST, |id| *id.as_bytes());
        // Two texts, so that each can use its index.
        let of = if device.is_some() { "device = ?2" } else { "?2 IS NULL" };
        let wanted = format!(
            "{of} AND id < ?1 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR (phase = 3) = ?4) \
             ORDER BY id DESC LIMIT ?5"
        );
        self.read(move |connection| many(connection, &wanted, params![before, device, state, done, limit]))
    }

    fn open<'a>(&'a self, device: &'a DeviceId, waiting: usize) -> BoxFuture<'a, StoreResult<Vec<Command>>> {
        let device = device.to_string();
        self.read(move |connection| open(connection, &device, waiting))
    }

    fn asked<'a>(
        &'a self,
        device: &'a DeviceId,
        exchange: &'a Reference,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Asked>> {
        let (device, exchange) = (device.to_string(), exchange.to_string());
        self.read(move |connection| {
            if let Some(known) = find(connection, &device, &exchange)? {
                return Ok(Asked::Known(Box::new(known)));
            }
            let open = open(connection, &device, 1)?;
            let newest = match open.is_empty() {
                true => Vec::new(),
                false => many(connection, "device = ?1 ORDER BY id DESC LIMIT ?2", params![device, limit])?,
            };
            Ok(Asked::New { open, newest })
        })
    }

    fn update<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, StoreResult<bool>> {
        let row = Changed::of(command);
        self.write_alone(row, |session, row| row.write(session, None))
    }

    fn start<'a>(&'a self, command: &'a Command, others: usize) -> BoxFuture<'a, StoreResult<bool>> {
        let row = Changed::of(command);
        self.write_alone(row, move |session, row| row.write(session, Some(others)))
    }

    fn ready<'a>(
        &'a self,
        now: Timestamp,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT DISTINCT device FROM commands AS ready INDEXED BY commands_wake \
                     WHERE wake IS NOT NULL AND wake <= ?1 AND not_before <= ?1 AND device > ?2 AND NOT EXISTS \
                     (SELECT 1 FROM commands WHERE wake IS NOT NULL AND device = ready.device AND phase IN (1, 2)) \
                     ORDER BY device LIMIT ?3",
                )?
                .query_map(params![now.as_millis(), after, limit], |row| {
                    parsed(0, &row.get::<_, String>(0)?, |text| DeviceId::parse(text).ok())
                })?
                .collect()
        })
    }

    fn due(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        let read = self.read(move |connection| {
            let stale: usize = connection
                .prepare_cached(
                    "SELECT count(*) FROM commands WHERE wake IS NOT NULL AND wake <= ?1 \
                     AND min(coalesce(not_before, due), due) > ?1",
                )?
                .query_row([now.as_millis()], |row| row.get(0))?;
            let wanted = "wake IS NOT NULL AND wake <= ?1 AND due <= ?1 ORDER BY due, id LIMIT ?2";
            Ok((many(connection, wanted, params![now.as_millis(), limit])?, stale))
        });
        Box::pin(async move {
            let (due, stale) = read.await?;
            if stale > STALE {
                self.settle(now).await?;
            }
            Ok(due)
        })
    }

    fn sending(&self, after: Option<CommandId>, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        let after = after.map_or([0; 16], |id| *id.as_bytes());
        self.read(move |connection| {
            let wanted = "wake IS NOT NULL AND phase = 1 AND +id > ?1 ORDER BY +id LIMIT ?2";
            many(connection, wanted, params![after, limit])
        })
    }

    fn find<'a>(
        &'a self,
        device: &'a DeviceId,
        reference: &'a Reference,
    ) -> BoxFuture<'a, StoreResult<Option<Command>>> {
        let (device, reference) = (device.to_string(), reference.to_string());
        self.read(move |connection| find(connection, &device, &reference))
    }

    fn unpublished(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        let after = after.map_or([0; 16], |id| *id.as_bytes());
        self.read(move |connection| {
            let wanted = "id IN (SELECT id FROM command_news WHERE id > ?1 ORDER BY id LIMIT ?2) ORDER BY id";
            many(connection, wanted, params![after, limit])
        })
    }

    fn published<'a>(&'a self, changes: &'a [(CommandId, u32)]) -> BoxFuture<'a, StoreResult<()>> {
        let changes = changes.to_vec();
        self.write(move |session| {
            let mut told = session.prepare_cached(
                "DELETE FROM command_news WHERE id = ?1 AND ?2 >= (SELECT changes FROM commands WHERE id = ?1)",
            )?;
            let mut partly = session
                .prepare_cached("UPDATE command_news SET published = ?2 WHERE id = ?1 AND published < ?2")?;
            let mut known = session.prepare_cached("DELETE FROM command_news WHERE id = ?1")?;
            for (id, number) in &changes {
                if session.untold().changes(*id).is_some_and(|changes| changes <= *number) {
                    known.execute([id.as_bytes()])?;
                    session.untold().forget(*id);
                } else if told.execute(params![id.as_bytes(), number])? == 0 {
                    partly.execute(params![id.as_bytes(), number])?;
                } else {
                    session.untold().forget(*id);
                }
            }
            Ok(())
        })
    }

    fn purge(&self, before: Timestamp, keep: u64, limit: usize) -> BoxFuture<'_, StoreResult<u64>> {
        self.write(move |connection| {
            // What is over and not among the newest `keep`: everything up to this one.
            let last: Option<(i64, [u8; 16])> = connection
                .prepare_cached(
                    "SELECT finished, id FROM commands WHERE finished IS NOT NULL \
                     ORDER BY finished DESC, id DESC LIMIT 1 OFFSET ?1",
                )?
                .query_row([keep], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (finished, id) = last.unwrap_or((-1, [0; 16]));
            let gone: Vec<[u8; 16]> = connection
                .prepare_cached(
                    "SELECT id FROM commands WHERE finished IS NOT NULL \
                     AND NOT EXISTS (SELECT 1 FROM command_news AS news WHERE news.id = commands.id) \
                     AND (finished < ?1 OR (finished, id) <= (?2, ?3)) ORDER BY finished, id LIMIT ?4",
                )?
                .query_map(params![before.as_millis(), finished, id, limit], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let mut names = connection.prepare_cached("DELETE FROM command_references WHERE command = ?1")?;
            let mut delete = connection.prepare_cached("DELETE FROM commands WHERE id = ?1")?;
            for id in &gone {
                names.execute([id])?;
                delete.execute([id])?;
            }
            Ok(gone.len() as u64)
        })
    }

    fn count_open(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.read(|connection| meta(connection, OPEN_COMMANDS))
    }
}

impl EmbeddedStore {
    /// Puts the `wake` of commands right that is too early.
    fn settle(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        self.write(move |session| {
            session
                .prepare_cached(
                    "UPDATE commands SET wake = min(coalesce(not_before, due), due) WHERE rowid IN \
                     (SELECT rowid FROM commands WHERE wake IS NOT NULL AND wake <= ?1 \
                     AND min(coalesce(not_before, due), due) > ?1 LIMIT ?2)",
                )?
                .execute(params![now.as_millis(), SETTLE])
                .map(drop)
        })
    }
}

/// What changes of a new command when it is begun. Its record is written on the caller's thread, for the writing one is
/// everybody's.
struct Row {
    state: CommandState,
    copies: Copies,
    changes: u32,
    record: Vec<u8>,
}

impl Row {
    fn of(command: &Command) -> Self {
        Self {
            state: command.state(),
            copies: Copies::of(command),
            changes: command.changes(),
            record: command.to_record(),
        }
    }
}

/// `row` is the command's, or the begun one's.
fn insert(
    session: &Session,
    command: &Command,
    row: &Row,
    is_begun: bool,
    limits: QueueLimits,
) -> rusqlite::Result<Inserted> {
    let device = command.device.as_str();
    if let Some(key) = &command.draft.key {
        let wanted = "request_key IS NOT NULL AND device = ?1 AND request_key = ?2";
        if let Some(known) = one(session, wanted, [device, key.as_str()])? {
            return Ok(Inserted::Exists(Box::new(known)));
        }
    }
    let mut superseded = match &command.draft.replace {
        None => Vec::new(),
        Some(key) => {
            let wanted = "wake IS NOT NULL AND device = ?1 AND replace_key = ?2 ORDER BY id";
            many(session, wanted, [device, key.as_str()])?
        }
    };
    superseded.retain(|older| !older.is_withdrawn());
    let freed =
        superseded.iter_mut().filter_map(|older| (older.supersede(command) == Cancelled::Done).then_some(()));
    let freed = freed.count();
    let queued: usize = session
        .prepare_cached("SELECT count(*) FROM commands WHERE wake IS NOT NULL AND device = ?1")?
        .query_row([device], |row| row.get(0))?;
    let others = queued - freed;
    if others >= limits.per_device {
        return Ok(Inserted::DeviceFull);
    }
    if session.open_commands()? - freed as u64 >= limits.total as u64 {
        return Ok(Inserted::Full);
    }
    if superseded.is_empty() && (others == 0 || !is_begun) {
        put(session, command, row)?;
        return Ok(Inserted::Stored { superseded, others, begun: is_begun });
    }
    session.savepoint(|session| {
        for older in &mut superseded {
            Changed::of(older).write(session, None)?;
            older.version += 1;
        }
        if is_begun { put(session, command, &Row::of(command)) } else { put(session, command, row) }
    })?;
    Ok(Inserted::Stored { superseded, others, begun: false })
}

/// When the first statement fails, nothing is changed; what fails the second ends the transaction.
fn put(session: &Session, command: &Command, row: &Row) -> rusqlite::Result<()> {
    let copies = &row.copies;
    session
        .prepare_cached(
            "INSERT INTO commands (id, device, version, state, phase, priority, not_before, due, wake, \
             request_key, replace_key, changes, record) \
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            command.id.as_bytes(),
            command.device.as_str(),
            row.state.as_str(),
            copies.phase,
            command.draft.priority.rank(),
            copies.not_before,
            copies.due,
            copies.wake,
            command.draft.key.as_ref().map(RequestKey::as_str),
            command.draft.replace.as_ref().map(ReplaceKey::as_str),
            row.changes,
            row.record,
        ])?;
    session
        .prepare_cached("INSERT OR IGNORE INTO command_news (id, published) VALUES (?1, 0)")?
        .execute([command.id.as_bytes()])?;
    session.untold().note(command.id, row.changes);
    session.count_open(1);
    Ok(())
}

fn open(connection: &Connection, device: &str, waiting: usize) -> rusqlite::Result<Vec<Command>> {
    let mut open = many(
        connection,
        "wake IS NOT NULL AND device = ?1 AND phase = 0 ORDER BY priority DESC, id LIMIT ?2",
        params![device, waiting],
    )?;
    open.extend(many(connection, "wake IS NOT NULL AND device = ?1 AND phase IN (1, 2)", [device])?);
    open.sort_by_key(bridge_core::command::queue::place);
    Ok(open)
}

fn find(connection: &Connection, device: &str, reference: &str) -> rusqlite::Result<Option<Command>> {
    let wanted = "id = (SELECT max(command) FROM command_references WHERE device = ?1 AND reference = ?2)";
    one(connection, wanted, [device, reference])
}

fn one(connection: &Connection, wanted: &str, values: impl Params) -> rusqlite::Result<Option<Command>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM commands WHERE {wanted}"))?
        .query_row(values, command)
        .optional()
}

fn many(connection: &Connection, wanted: &str, values: impl Params) -> rusqlite::Result<Vec<Command>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM commands WHERE {wanted}"))?
        .query_map(values, command)?
        .collect()
}

fn command(row: &rusqlite::Row<'_>) -> rusqlite::Result<Command> {
    let record = row.get_ref(0)?.as_blob()?;
    let command = Command::from_record(record).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error.into())
    })?;
    Ok(command.stored(row.get(1)?, row.get(2)?))
}
