//! A step of a command as it is written. Not here: its insertion, and any rule of its life.

use bridge_core::command::{Command, CommandId, CommandState, Phase, Reference};
use bridge_core::{DeviceId, Timestamp};
use rusqlite::{Connection, params};

use crate::writer::Session;

/// A command as it is to be from now on; the record is written on the caller's thread.
pub(super) struct Changed {
    id: CommandId,
    /// Which it replaces.
    version: u64,
    device: DeviceId,
    state: CommandState,
    copies: Copies,
    changes: u32,
    /// An attempt begins: that is no change that is told.
    begins: bool,
    references: Vec<Reference>,
    record: Vec<u8>,
}

impl Changed {
    pub(super) fn of(command: &Command) -> Self {
        Self {
            id: command.id,
            version: command.version,
            device: command.device.clone(),
            state: command.state(),
            copies: Copies::of(command),
            changes: command.changes(),
            begins: matches!(command.phase(), Phase::Sending { .. }) && !command.is_withdrawn(),
            references: command.references().map(|(reference, _)| reference.clone()).collect(),
            record: command.to_record(),
        }
    }

    /// Whether it still had that version, and not more others of its device than so many are in flight. One statement is
    /// whole by itself: only for several a savepoint is worth its while.
    pub(super) fn write(&self, session: &Session, others: Option<usize>) -> rusqlite::Result<bool> {
        if let Some(others) = others
            && self.flying_beside(session)? > others
        {
            return Ok(false);
        }
        if self.references.is_empty() && (self.begins || self.is_news(session)?) {
            let replaced = self.replace(session)?;
            if replaced && !self.begins {
                session.untold().note(self.id, self.changes);
            }
            return Ok(replaced);
        }
        session.savepoint(|session| {
            self.keep_untold(session)?;
            let replaced = self.replace(session)?;
            if replaced {
                refer(session, self.id, &self.device, self.references.iter())?;
                // If it had no row, it may have got one here: that depends on what was told.
                if session.untold().changes(self.id).is_some() {
                    session.untold().note(self.id, self.changes);
                }
            }
            Ok(replaced)
        })
    }

    /// Not everything is told of it.
    fn is_news(&self, session: &Session) -> rusqlite::Result<bool> {
        if session.untold().changes(self.id).is_some() {
            return Ok(true);
        }
        session.prepare_cached("SELECT 1 FROM command_news WHERE id = ?1")?.exists([self.id.as_bytes()])
    }

    /// How many others of its device are in flight.
    fn flying_beside(&self, session: &Session) -> rusqlite::Result<usize> {
        session
            .prepare_cached(
                "SELECT count(*) FROM commands WHERE wake IS NOT NULL AND device = ?1 AND phase IN (1, 2) AND id <> ?2",
            )?
            .query_row(params![self.device.as_str(), self.id.as_bytes()], |row| row.get(0))
    }

    fn replace(&self, session: &Session) -> rusqlite::Result<bool> {
        match self.copies.wake {
            Some(wake) => self.step(session, wake),
            None => self.end(session),
        }
    }

    /// A change of a command that stays open.
    fn step(&self, session: &Session, wake: i64) -> rusqlite::Result<bool> {
        let (id, state) = (self.id.as_bytes(), self.state.as_str());
        let Copies { phase, not_before, due, .. } = self.copies;
        let values =
            params![id, self.version, state, phase, not_before, due, self.changes, self.record, wake];
        // Most often it is looked at early enough: then no index changes.
        let step = "UPDATE commands SET version = version + 1, state = ?3, phase = ?4, not_before = ?5, due = ?6, \
                    changes = ?7, record = ?8 WHERE id = ?1 AND version = ?2 AND wake <= ?9";
        if session.prepare_cached(step)?.execute(values)? > 0 {
            return Ok(true);
        }
        let earlier = "UPDATE commands SET version = version + 1, state = ?3, phase = ?4, not_before = ?5, due = ?6, \
             changes = ?7, record = ?8, wake = ?9 WHERE id = ?1 AND version = ?2 AND wake > ?9";
        Ok(session.prepare_cached(earlier)?.execute(values)? > 0)
    }

    /// The end of a command, or a change after it.
    fn end(&self, session: &Session) -> rusqlite::Result<bool> {
        let (id, state) = (self.id.as_bytes(), self.state.as_str());
        let Copies { phase, finished, .. } = self.copies;
        let values = params![id, self.version, state, phase, finished, self.changes, self.record];
        let ends = "UPDATE commands SET version = version + 1, state = ?3, phase = ?4, not_before = NULL, due = NULL, \
             finished = ?5, changes = ?6, record = ?7, wake = NULL \
             WHERE id = ?1 AND version = ?2 AND wake IS NOT NULL";
        if session.prepare_cached(ends)?.execute(values)? > 0 {
            session.count_open(-1);
            return Ok(true);
        }
        let after = "UPDATE commands SET version = version + 1, state = ?3, phase = ?4, finished = ?5, changes = ?6, \
                     record = ?7 WHERE id = ?1 AND version = ?2 AND wake IS NULL";
        Ok(session.prepare_cached(after)?.execute(values)? > 0)
    }

    /// Before a change: what was told of all is not any more, when there is more.
    fn keep_untold(&self, session: &Session) -> rusqlite::Result<()> {
        session
            .prepare_cached(
                "INSERT OR IGNORE INTO command_news (id, published) \
                 SELECT id, changes FROM commands WHERE id = ?1 AND version = ?2 AND changes < ?3",
            )?
            .execute(params![self.id.as_bytes(), self.version, self.changes])
            .map(drop)
    }
}

fn refer<'a>(
    connection: &Connection,
    id: CommandId,
    device: &DeviceId,
    references: impl Iterator<Item = &'a Reference>,
) -> rusqlite::Result<()> {
    for reference in references {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO command_references (device, reference, command) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![device.as_str(), reference.as_str(), id.as_bytes()])?;
    }
    Ok(())
}

/// Columns that follow from the phase.
pub(super) struct Copies {
    pub(super) phase: u8,
    pub(super) not_before: Option<i64>,
    pub(super) due: Option<i64>,
    /// When somebody has to look at it.
    pub(super) wake: Option<i64>,
    pub(super) finished: Option<i64>,
}

impl Copies {
    pub(super) fn of(command: &Command) -> Self {
        let (phase, not_before) = match command.phase() {
            Phase::Waiting { not_before, pushed } => (0, pushed.then_some(not_before.as_millis())),
            Phase::Sending { .. } => (1, None),
            Phase::Awaiting { .. } => (2, None),
            Phase::Done => (3, None),
        };
        let due = command.due().map(Timestamp::as_millis);
        let wake = due.map(|due| not_before.unwrap_or(due).min(due));
        Self { phase, not_before, due, wake, finished: command.finished().map(Timestamp::as_millis) }
    }
}
