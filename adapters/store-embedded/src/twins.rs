//! The port of the states of devices.

use bridge_core::DeviceId;
use bridge_core::ports::{BoxFuture, StoreResult, Twins};
use bridge_core::twin::Twin;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

use crate::EmbeddedStore;
use crate::dead_letters::parsed;

impl Twins for EmbeddedStore {
    fn get<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<Twin>>> {
        let device = device.to_string();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT version, record FROM twins WHERE device = ?1")?
                .query_row([device], twin)
                .optional()
        })
    }

    fn put<'a>(&'a self, device: &'a DeviceId, twin: &'a Twin) -> BoxFuture<'a, StoreResult<bool>> {
        let (device, version, pending) = (device.to_string(), twin.version, !twin.delta().is_empty());
        let record = serde_json::to_vec(twin);
        self.write(move |connection| {
            let record = record.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            let sql = match version {
                0 => {
                    "INSERT INTO twins (device, version, pending, record) VALUES (?1, ?2 + 1, ?3, ?4) \
                     ON CONFLICT DO NOTHING"
                }
                _ => {
                    "UPDATE twins SET version = ?2 + 1, pending = ?3, record = ?4 WHERE device = ?1 AND version = ?2"
                }
            };
            Ok(connection.prepare_cached(sql)?.execute(params![device, version, pending, record])? > 0)
        })
    }

    fn pending<'a>(
        &'a self,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT device FROM twins WHERE pending = 1 AND device > ?1 ORDER BY device LIMIT ?2",
                )?
                .query_map(params![after, limit], |row| {
                    parsed(0, &row.get::<_, String>(0)?, |text| DeviceId::parse(text).ok())
                })?
                .collect()
        })
    }

    fn remove<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
        let device = device.to_string();
        self.write(move |connection| {
            Ok(connection.prepare_cached("DELETE FROM twins WHERE device = ?1")?.execute([device])? > 0)
        })
    }
}

fn twin(row: &Row<'_>) -> rusqlite::Result<Twin> {
    let twin: Twin = serde_json::from_slice(&row.get::<_, Vec<u8>>(1)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, Box::new(error)))?;
    Ok(twin.at_version(row.get(0)?))
}
