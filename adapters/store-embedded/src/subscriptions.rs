//! The port of callbacks. Not here: what one is (`bridge_core::subscription`).

use bridge_core::ports::{BoxFuture, StoreResult, Subscriptions};
use bridge_core::subscription::{Subscription, SubscriptionKind, Told};
use bridge_core::{DeviceId, Timestamp};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

use crate::EmbeddedStore;
use crate::dead_letters::parsed;
use crate::sqlite::number;

const COLUMNS: &str = "SELECT kind, device, callback_url, created, number, told FROM subscriptions";

impl Subscriptions for EmbeddedStore {
    fn get<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<Option<Subscription>>> {
        let device = device.to_string();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("{COLUMNS} WHERE kind = ?1 AND device = ?2"))?
                .query_row([kind.as_str(), &device], subscription)
                .optional()
        })
    }

    fn put<'a>(&'a self, subscription: &'a Subscription) -> BoxFuture<'a, StoreResult<()>> {
        let Subscription { device, kind, callback_url, created, told } = subscription.clone();
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO subscriptions VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                     ON CONFLICT DO UPDATE SET callback_url = excluded.callback_url, created = excluded.created",
                )?
                .execute(params![
                    kind.as_str(),
                    device.as_str(),
                    callback_url,
                    created.as_millis(),
                    number(told.number),
                    state(&told)?
                ])
                .map(drop)
        })
    }

    fn remove<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let device = device.to_string();
        self.write(move |connection| {
            let mut delete =
                connection.prepare_cached("DELETE FROM subscriptions WHERE kind = ?1 AND device = ?2")?;
            Ok(delete.execute([kind.as_str(), &device])? > 0)
        })
    }

    fn list<'a>(
        &'a self,
        kind: SubscriptionKind,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Subscription>>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "{COLUMNS} WHERE kind = ?1 AND device > ?2 ORDER BY device LIMIT ?3"
                ))?
                .query_map(params![kind.as_str(), after, limit], subscription)?
                .collect()
        })
    }

    fn tell<'a>(
        &'a self,
        subscription: &'a Subscription,
        told: &'a Told,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let (device, kind) = (subscription.device.to_string(), subscription.kind);
        let (url, told) = (subscription.callback_url.clone(), told.clone());
        self.write(move |connection| {
            let mut update = connection.prepare_cached(
                "UPDATE subscriptions SET number = ?4, told = ?5 \
                 WHERE kind = ?1 AND device = ?2 AND callback_url = ?3 AND number < ?4",
            )?;
            Ok(update.execute(params![kind.as_str(), device, url, number(told.number), state(&told)?])? > 0)
        })
    }
}

fn state(told: &Told) -> rusqlite::Result<Vec<u8>> {
    serde_json::to_vec(&told.state).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    let state = serde_json::from_slice(&row.get::<_, Vec<u8>>(5)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, Type::Blob, Box::new(error)))?;
    Ok(Subscription {
        kind: parsed(0, &row.get::<_, String>(0)?, SubscriptionKind::parse)?,
        device: parsed(1, &row.get::<_, String>(1)?, |text| DeviceId::parse(text).ok())?,
        callback_url: row.get(2)?,
        created: Timestamp::from_millis(row.get(3)?).unwrap_or(Timestamp::EPOCH),
        told: Told { number: row.get(4)?, state },
    })
}
