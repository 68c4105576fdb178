//! The dedup port. An id has an item of its own, which DynamoDB removes some time after its time to live; that is a matter
//! of money alone, for every question names the time from which on it counts.

use bridge_core::ports::{BoxFuture, Dedup, StoreResult};
use bridge_core::{MessageId, Timestamp};

use crate::DynamoStore;
use crate::item::{number, text, time};
use crate::keys::{Key, moment, parse_moment, sharded};
use crate::table::{TIME, TTL};
use crate::walk::Range;
use crate::write::Write;

const SEEN: &str = "seen";
/// Ids that one call forgets at most.
const FORGOTTEN_AT_ONCE: usize = 10_000;

impl Dedup for DynamoStore {
    fn seen(
        &self,
        id: MessageId,
        since: Timestamp,
        _known_from: Option<Timestamp>,
    ) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(async move {
            let known = self.read(&key(id)).await?;
            Ok(known.map(|item| item.time("at_ms")).transpose()?.is_some_and(|at| at >= since))
        })
    }

    fn recent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(MessageId, Timestamp)>>> {
        let walk = self.walk(Some(TIME), SEEN, Range::From(moment(since)), limit).descending();
        // The index says it all: an id that it does not name yet is asked for by itself.
        Box::pin(walk.take(limit, |hit| {
            let place = hit.place(Some(TIME));
            let id = place.get(21..).and_then(|text| MessageId::parse(text).ok());
            Ok(Some(id.zip(parse_moment(place)).ok_or_else(|| hit.damaged(TIME.keys.sort))?))
        }))
    }

    fn remember<'a>(&'a self, ids: &'a [(MessageId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        let keep = i64::try_from(self.settings().remember.as_secs()).unwrap_or(i64::MAX);
        let remember = |(id, at): &(MessageId, Timestamp)| {
            Write::update(key(*id))
                .set("at_ms", time(*at))
                .set(TTL, number((at.as_millis() / 1000).saturating_add(keep)))
                .set(TIME.keys.partition, text(sharded(SEEN, &id.to_string())))
                .set(TIME.keys.sort, text(format!("{}#{id}", moment(*at))))
                .when("attribute_not_exists(#at_ms) OR #at_ms < :at_ms")
        };
        let writes = ids.iter().map(remember).collect();
        Box::pin(async move { self.write_each(writes).await.map(drop) })
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let walk = self.walk(Some(TIME), SEEN, Range::Before(moment(before)), FORGOTTEN_AT_ONCE);
            let keys = walk.take(FORGOTTEN_AT_ONCE, |hit| hit.key().map(Some)).await?;
            let forget = |key| Write::delete(key).when("#at_ms < :before").value("before", time(before));
            self.write_each(keys.into_iter().map(forget).collect()).await.map(drop)
        })
    }
}

fn key(id: MessageId) -> Key {
    Key::alone(format!("{SEEN}#{id}"))
}
