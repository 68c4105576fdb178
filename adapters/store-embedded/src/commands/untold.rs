//! Commands that have a row in `command_news`, as far as this process has put them there, with the number of their changes:
//! their next steps need not look. Forgotten as soon as somebody else may have written. Not here: the rows themselves.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use bridge_core::command::CommandId;
use rusqlite::Connection;

/// Commands in memory; beyond it the table is asked.
const MOST: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    changes: RefCell<HashMap<CommandId, u32>>,
    /// `PRAGMA data_version` when somebody looked: another one after another connection has written.
    data_version: Cell<i64>,
}

impl Untold {
    /// At the beginning of a transaction.
    pub(crate) fn look_around(&self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.data_version.replace(version) != version {
            self.forget_all();
        }
        Ok(())
    }

    /// What was written may have been undone.
    pub(crate) fn forget_all(&self) {
        self.changes.borrow_mut().clear();
    }

    /// The command has a row, and so many changes.
    pub(super) fn note(&self, id: CommandId, changes: u32) {
        let mut all = self.changes.borrow_mut();
        if all.len() < MOST || all.contains_key(&id) {
            all.insert(id, changes);
        }
    }

    /// How many changes the command has, where it is known to have a row.
    pub(super) fn changes(&self, id: CommandId) -> Option<u32> {
        self.changes.borrow().get(&id).copied()
    }

    /// Its row goes.
    pub(super) fn forget(&self, id: CommandId) {
        self.changes.borrow_mut().remove(&id);
    }
}
