//! The registry port.

use bridge_core::ports::{BoxFuture, DeviceFilter, DeviceRecord, DeviceState, Insert, Registry, StoreResult};
use bridge_core::{DeviceId, ExternalId, IntegrationName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::EmbeddedStore;
use crate::dead_letters::parsed;
use crate::outbox::meta;

const COLUMNS: &str =
    "id, integration, external, scope, name, hub_id, codec, tags, state, first_seen, last_seen";

impl Registry for EmbeddedStore {
    fn find<'a>(
        &'a self,
        integration: &'a IntegrationName,
        external: &'a ExternalId,
    ) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
        let (integration, external) = (integration.to_string(), external.to_string());
        self.read(move |connection| find(connection, &integration, &external))
    }

    fn get<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
        let id = id.to_string();
        self.read(move |connection| get(connection, &id))
    }

    fn insert<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<Insert>> {
        let record = record.clone();
        self.write(move |connection| {
            if let Some(known) = find(connection, record.integration.as_str(), record.external.as_str())? {
                return Ok(Insert::Exists(known));
            }
            if let Some(other) = get(connection, record.id.as_str())? {
                return Ok(Insert::IdTaken(other));
            }
            connection
                .prepare_cached(&format!(
                    "INSERT INTO devices ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                ))?
                .execute(params![
                    record.id.as_str(),
                    record.integration.as_str(),
                    record.external.as_str(),
                    record.scope,
                    record.name,
                    record.hub_id,
                    record.codec,
                    tags(&record),
                    record.state.as_str(),
                    record.first_seen.as_millis(),
                    record.last_seen.map(Timestamp::as_millis),
                ])?;
            changed(connection)?;
            Ok(Insert::Created)
        })
    }

    fn update<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        self.write(move |connection| {
            let updated = connection
                .prepare_cached(
                    "UPDATE devices SET name = ?2, hub_id = ?3, codec = ?4, tags = ?5, state = ?6 WHERE id = ?1",
                )?
                .execute(params![
                    record.id.as_str(),
                    record.name,
                    record.hub_id,
                    record.codec,
                    tags(&record),
                    record.state.as_str()
                ])?;
            changed_when(connection, updated > 0)
        })
    }

    fn remove<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
        let id = id.to_string();
        self.write(move |connection| {
            let removed = connection.prepare_cached("DELETE FROM devices WHERE id = ?1")?.execute([id])?;
            changed_when(connection, removed > 0)
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a DeviceFilter,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceRecord>>> {
        let integration = filter.integration.as_ref().map(ToString::to_string);
        let (tag, state) = (filter.tag.clone(), filter.state.map(DeviceState::as_str));
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM devices WHERE id > ?1 AND (?2 IS NULL OR integration = ?2) \
                     AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?3)) \
                     AND (?4 IS NULL OR state = ?4) ORDER BY id LIMIT ?5"
                ))?
                .query_map(params![after, integration, tag, state, limit], record)?
                .collect()
        })
    }

    fn touch<'a>(&'a self, seen: &'a [(DeviceId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        let seen = seen.to_vec();
        self.write(move |connection| {
            let mut update = connection.prepare_cached(
                "UPDATE devices SET last_seen = ?2 WHERE id = ?1 AND (last_seen IS NULL OR last_seen < ?2)",
            )?;
            seen.iter()
                .try_for_each(|(id, at)| update.execute(params![id.as_str(), at.as_millis()]).map(drop))
        })
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.read(|connection| meta(connection, "registry_version"))
    }
}

fn find(
    connection: &Connection,
    integration: &str,
    external: &str,
) -> rusqlite::Result<Option<DeviceRecord>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM devices WHERE integration = ?1 AND external = ?2"))?
        .query_row([integration, external], record)
        .optional()
}

fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<DeviceRecord>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM devices WHERE id = ?1"))?
        .query_row([id], record)
        .optional()
}

/// Tells every cache, also in other processes.
fn changed(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'registry_version'")?
        .execute([])
        .map(drop)
}

fn changed_when(connection: &Connection, yes: bool) -> rusqlite::Result<bool> {
    if yes {
        changed(connection)?;
    }
    Ok(yes)
}

fn tags(record: &DeviceRecord) -> String {
    serde_json::Value::from(record.tags.clone()).to_string()
}

fn record(row: &Row<'_>) -> rusqlite::Result<DeviceRecord> {
    let text = |column: usize| row.get::<_, String>(column);
    let time = |ms: i64| Timestamp::from_millis(ms).unwrap_or(Timestamp::EPOCH);
    let state =
        |text: &str| [DeviceState::Active, DeviceState::Parked].into_iter().find(|s| s.as_str() == text);
    Ok(DeviceRecord {
        id: parsed(0, &text(0)?, |text| DeviceId::parse(text).ok())?,
        integration: parsed(1, &text(1)?, |text| IntegrationName::parse(text).ok())?,
        external: parsed(2, &text(2)?, |text| ExternalId::parse(text).ok())?,
        scope: row.get(3)?,
        name: row.get(4)?,
        hub_id: row.get(5)?,
        codec: row.get(6)?,
        tags: parsed(7, &text(7)?, |text| serde_json::from_str(text).ok())?,
        state: parsed(8, &text(8)?, state)?,
        first_seen: time(row.get(9)?),
        last_seen: row.get::<_, Option<i64>>(10)?.map(time),
    })
}
