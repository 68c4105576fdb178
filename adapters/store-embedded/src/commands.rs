//! The command port. A command is its record; columns beside it are copies for finding it, written together. Not here: any
//! rule of their life but the call of [`Command::supersede`].

use bridge_core::command::{
    Cancelled, Command, CommandId, CommandState, Phase, Reference, ReplaceKey, RequestKey,
};
use bridge_core::ports::{BoxFuture, CommandFilter, Commands, Inserted, QueueLimits, StoreResult};
use bridge_core::{DeviceId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::EmbeddedStore;
use crate::dead_letters::parsed;
use crate::outbox::meta;

const COLUMNS: &str = "record, version, published";
/// Above every id.
const LAST: [u8; 16] = [0xFF; 16];

impl Commands for EmbeddedStore {
    fn insert<'a>(
        &'a self,
        command: &'a Command,
        limits: QueueLimits,
    ) -> BoxFuture<'a, StoreResult<Inserted>> {
        let (command, record) = (command.clone(), command.to_record());
        self.write(move |connection| insert(connection, &command, &record, limits))
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
        self.read(move |connection| {
            let mut open = many(
                connection,
                "phase < 3 AND device = ?1 AND phase = 0 ORDER BY priority DESC, id LIMIT ?2",
                params![device, waiting],
            )?;
            open.extend(many(connection, "phase < 3 AND device = ?1 AND phase IN (1, 2)", [&device])?);
            open.sort_by_key(bridge_core::command::queue::place);
            Ok(open)
        })
    }

    fn update<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, StoreResult<bool>> {
        let (command, record) = (command.clone(), command.to_record());
        self.write(move |connection| update(connection, &command, &record))
    }

    fn start<'a>(&'a self, command: &'a Command, others: usize) -> BoxFuture<'a, StoreResult<bool>> {
        let (command, record) = (command.clone(), command.to_record());
        self.write(move |connection| {
            let flying: usize = connection
                .prepare_cached(
                    "SELECT count(*) FROM commands \
                     WHERE phase < 3 AND device = ?1 AND phase IN (1, 2) AND id <> ?2",
                )?
                .query_row(params![command.device.as_str(), command.id.as_bytes()], |row| row.get(0))?;
            Ok(flying <= others && update(connection, &command, &record)?)
        })
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
                    "SELECT DISTINCT device FROM commands AS ready \
                     WHERE not_before IS NOT NULL AND not_before <= ?1 AND device > ?2 AND NOT EXISTS \
                     (SELECT 1 FROM commands WHERE phase < 3 AND device = ready.device AND phase IN (1, 2)) \
                     ORDER BY device LIMIT ?3",
                )?
                .query_map(params![now.as_millis(), after, limit], |row| {
                    parsed(0, &row.get::<_, String>(0)?, |text| DeviceId::parse(text).ok())
                })?
                .collect()
        })
    }

    fn due(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        self.read(move |connection| {
            let wanted = "due IS NOT NULL AND due <= ?1 ORDER BY due, id LIMIT ?2";
            many(connection, wanted, params![now.as_millis(), limit])
        })
    }

    fn sending(&self, after: Option<CommandId>, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        let after = after.map_or([0; 16], |id| *id.as_bytes());
        self.read(move |connection| {
            let wanted = "phase < 3 AND phase = 1 AND id > ?1 ORDER BY id LIMIT ?2";
            many(connection, wanted, params![after, limit])
        })
    }

    fn find<'a>(
        &'a self,
        device: &'a DeviceId,
        reference: &'a Reference,
    ) -> BoxFuture<'a, StoreResult<Option<Command>>> {
        let (device, reference) = (device.to_string(), reference.to_string());
        self.read(move |connection| {
            let wanted =
                "id = (SELECT max(command) FROM command_references WHERE device = ?1 AND reference = ?2)";
            one(connection, wanted, [device, reference])
        })
    }

    fn unpublished(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Command>>> {
        let after = after.map_or([0; 16], |id| *id.as_bytes());
        self.read(move |connection| {
            let wanted = "published < changes AND id > ?1 ORDER BY id LIMIT ?2";
            many(connection, wanted, params![after, limit])
        })
    }

    fn published<'a>(&'a self, changes: &'a [(CommandId, u32)]) -> BoxFuture<'a, StoreResult<()>> {
        let changes = changes.to_vec();
        self.write(move |connection| {
            let mut update = connection
                .prepare_cached("UPDATE commands SET published = ?2 WHERE id = ?1 AND published < ?2")?;
            changes
                .iter()
                .try_for_each(|(id, number)| update.execute(params![id.as_bytes(), number]).map(drop))
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
                    "SELECT id FROM commands WHERE finished IS NOT NULL AND published >= changes \
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
        self.read(|connection| meta(connection, "open_commands"))
    }
}

/// `record` is the command's: written on the caller's thread, for the writing one is everybody's.
fn insert(
    connection: &Connection,
    command: &Command,
    record: &[u8],
    limits: QueueLimits,
) -> rusqlite::Result<Inserted> {
    let device = command.device.as_str();
    if let Some(key) = &command.draft.key {
        let wanted = "request_key IS NOT NULL AND device = ?1 AND request_key = ?2";
        if let Some(known) = one(connection, wanted, [device, key.as_str()])? {
            return Ok(Inserted::Exists(Box::new(known)));
        }
    }
    let mut superseded = match &command.draft.replace {
        None => Vec::new(),
        Some(key) => {
            let wanted = "phase < 3 AND device = ?1 AND replace_key = ?2 ORDER BY id";
            many(connection, wanted, [device, key.as_str()])?
        }
    };
    superseded.retain(|older| !older.is_withdrawn());
    let freed =
        superseded.iter_mut().filter_map(|older| (older.supersede(command) == Cancelled::Done).then_some(()));
    let freed = freed.count() as u64;
    let queued: u64 = connection
        .prepare_cached("SELECT count(*) FROM commands WHERE phase < 3 AND device = ?1")?
        .query_row([device], |row| row.get(0))?;
    if queued - freed >= limits.per_device as u64 {
        return Ok(Inserted::DeviceFull);
    }
    if meta(connection, "open_commands")? - freed >= limits.total as u64 {
        return Ok(Inserted::Full);
    }
    for older in &mut superseded {
        update(connection, older, &older.to_record())?;
        older.version += 1;
    }
    let copies = Copies::of(command);
    connection
        .prepare_cached(
            "INSERT INTO commands (id, device, version, state, phase, priority, not_before, due, finished, \
             request_key, replace_key, changes, published, record) \
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?12)",
        )?
        .execute(params![
            command.id.as_bytes(),
            device,
            command.state().as_str(),
            copies.phase,
            command.draft.priority.rank(),
            copies.not_before,
            copies.due,
            copies.finished,
            command.draft.key.as_ref().map(RequestKey::as_str),
            command.draft.replace.as_ref().map(ReplaceKey::as_str),
            command.changes(),
            record,
        ])?;
    refer(connection, command)?;
    Ok(Inserted::Stored { superseded })
}

fn update(connection: &Connection, command: &Command, record: &[u8]) -> rusqlite::Result<bool> {
    let copies = Copies::of(command);
    let updated = connection
        .prepare_cached(
            "UPDATE commands SET version = version + 1, state = ?3, phase = ?4, not_before = ?5, due = ?6, \
             finished = ?7, changes = ?8, record = ?9 WHERE id = ?1 AND version = ?2",
        )?
        .execute(params![
            command.id.as_bytes(),
            command.version,
            command.state().as_str(),
            copies.phase,
            copies.not_before,
            copies.due,
            copies.finished,
            command.changes(),
            record,
        ])?;
    if updated > 0 {
        refer(connection, command)?;
    }
    Ok(updated > 0)
}

fn refer(connection: &Connection, command: &Command) -> rusqlite::Result<()> {
    for (reference, _) in command.references() {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO command_references (device, reference, command) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![command.device.as_str(), reference.as_str(), command.id.as_bytes()])?;
    }
    Ok(())
}

/// Columns that follow from the phase.
struct Copies {
    phase: u8,
    not_before: Option<i64>,
    due: Option<i64>,
    finished: Option<i64>,
}

impl Copies {
    fn of(command: &Command) -> Self {
        let (phase, not_before) = match command.phase() {
            Phase::Waiting { not_before, pushed } => (0, pushed.then_some(not_before.as_millis())),
            Phase::Sending { .. } => (1, None),
            Phase::Awaiting { .. } => (2, None),
            Phase::Done => (3, None),
        };
        let due = command.due().map(Timestamp::as_millis);
        Self { phase, not_before, due, finished: command.finished().map(Timestamp::as_millis) }
    }
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

fn command(row: &Row<'_>) -> rusqlite::Result<Command> {
    let record = row.get_ref(0)?.as_blob()?;
    let command = Command::from_record(record).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error.into())
    })?;
    Ok(command.stored(row.get(1)?, row.get(2)?))
}

#[cfg(test)]
mod tests {
    use bridge_core::ports::Outbox;
    use bridge_core::testing::{block_on, contract};

    use super::*;
    use crate::{FILE, Mode};

    fn open(folder: &std::path::Path) -> EmbeddedStore {
        EmbeddedStore::open(folder, Mode::Tool, 1 << 30).unwrap()
    }

    #[test]
    fn a_store_of_version_1_is_brought_up_to_date_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        // As the first release wrote it.
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let entry = contract::entry(7, "a");
        connection
            .execute(
                "INSERT INTO outbox (seq, id, lane, at, record) VALUES (7, ?1, 'a', ?2, ?3)",
                rusqlite::params![entry.id.as_bytes(), entry.at.as_millis(), entry.record],
            )
            .unwrap();
        connection.execute("UPDATE meta SET value = 7 WHERE key = 'last_seq'", []).unwrap();
        drop(connection);

        let store = open(folder.path());
        assert_eq!(block_on(store.load(0, 9)).unwrap(), [entry]);
        assert_eq!(block_on(store.backlog()).unwrap().last_seq, 7);
        let command = contract::command(1, "d1");
        block_on(store.insert(&command, QueueLimits::default())).unwrap();
        drop(store);
        let store = open(folder.path());
        assert_eq!(block_on(store.get(command.id)).unwrap(), Some(command.stored(1, 0)));
        assert_eq!(block_on(store.count_open()).unwrap(), 1);
    }

    /// Queries of the command port that run for every command, or once a second.
    #[test]
    fn commands_are_found_by_index() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        for (wanted, index) in [
            ("phase < 3 AND device = 'd' AND phase = 0 ORDER BY priority DESC, id LIMIT 1", "commands_open"),
            ("phase < 3 AND device = 'd' AND phase IN (1, 2)", "commands_open"),
            ("request_key IS NOT NULL AND device = 'd' AND request_key = 'k'", "commands_request"),
            ("not_before IS NOT NULL AND not_before <= 5 AND device > 'd'", "commands_ready"),
            ("due IS NOT NULL AND due <= 5 ORDER BY due, id LIMIT 5", "commands_due"),
            ("published < changes AND id > x'00' ORDER BY id LIMIT 5", "commands_unpublished"),
            ("device = 'd' AND id < x'00' ORDER BY id DESC LIMIT 5", "commands_device"),
        ] {
            let plan: Vec<String> = connection
                .prepare(&format!("EXPLAIN QUERY PLAN SELECT record FROM commands WHERE {wanted}"))
                .unwrap()
                .query_map([], |row| row.get(3))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            let plan = plan.join("; ");
            assert!(plan.contains(&format!("INDEX {index} ")) && !plan.contains("TEMP"), "{wanted}: {plan}");
        }
    }
}
