//! The port of sealed secrets.

use bridge_core::ports::{BoxFuture, StoreResult, Vault};
use bridge_core::seal::Sealed;
use rusqlite::params;

use crate::EmbeddedStore;

impl Vault for EmbeddedStore {
    fn keep<'a>(&'a self, name: &'a str, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<()>> {
        let (name, sealed) = (name.to_owned(), sealed.as_bytes().to_vec());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO vault (name, sealed) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
                )?
                .execute(params![name, sealed])?;
            Ok(())
        })
    }

    fn kept<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(String, Sealed)>>> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT name, sealed FROM vault WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 \
                     ORDER BY name LIMIT ?2",
                )?
                .query_map(params![prefix, limit], |row| Ok((row.get(0)?, Sealed::from_bytes(row.get(1)?))))?
                .collect()
        })
    }

    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, StoreResult<bool>> {
        let name = name.to_owned();
        self.write(move |connection| {
            Ok(connection.prepare_cached("DELETE FROM vault WHERE name = ?1")?.execute([name])? > 0)
        })
    }
}
