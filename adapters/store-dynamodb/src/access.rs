//! Reads by key, one or many, always of what was written last; and many writes at once that need not go together.
//! Not here: lists in order ([`crate::walk`]).

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use bridge_core::ports::{StoreError, StoreResult};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::DynamoStore;
use crate::error::store_error;
use crate::item::{Attributes, Item, key_attributes};
use crate::keys::Key;
use crate::write::{Write, Written, pause};

/// Keys that one request may name.
const READ_AT_ONCE: usize = 100;
/// Requests under way at once for one call of a port.
pub(crate) const AT_ONCE: usize = 16;

impl DynamoStore {
    /// The item with that key.
    pub(crate) async fn read(&self, key: &Key) -> StoreResult<Option<Item>> {
        let table = &self.settings().table;
        let get = self.client().get_item().table_name(table).set_key(Some(key_attributes(key)));
        let answer = get.consistent_read(true).send().await.map_err(|error| store_error(&error, table))?;
        Ok(answer.item.map(Item))
    }

    /// The items that are there, in the order of the keys, each once.
    pub(crate) async fn read_all(&self, keys: &[Key]) -> StoreResult<Vec<Item>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let chunks = keys.chunks(READ_AT_ONCE).map(|chunk| self.bounded(self.read_chunk(chunk)));
        let found: Vec<HashMap<Key, Item>> =
            stream::iter(chunks.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
        let mut found: HashMap<Key, Item> = found.into_iter().flatten().collect();
        Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
    }

    async fn read_chunk(&self, keys: &[Key]) -> StoreResult<HashMap<Key, Item>> {
        let table = &self.settings().table;
        let mut found = HashMap::new();
        let mut unique: Vec<&Key> = Vec::with_capacity(keys.len());
        keys.iter().for_each(|key| {
            if !unique.contains(&key) {
                unique.push(key);
            }
        });
        let mut left: Vec<Attributes> = unique.into_iter().map(key_attributes).collect();
        for attempt in 0.. {
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
            // invariant: keys are given.
            let wanted = wanted.map_err(|error| StoreError::Damaged(error.to_string()))?;
            let answer = self.client().batch_get_item().request_items(table, wanted).send().await;
            let mut answer = answer.map_err(|error| store_error(&error, table))?;
            let items = answer.responses.as_mut().and_then(|tables| tables.remove(table)).unwrap_or_default();
            for item in items.into_iter().map(Item) {
                found.insert(item.key()?, item);
            }
            let unprocessed = answer.unprocessed_keys.as_mut().and_then(|tables| tables.remove(table));
            left = unprocessed.map(|unprocessed| unprocessed.keys).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            pause(attempt).await;
        }
        Ok(found)
    }

    /// Carries out writes that need not go together, several at a time. Each is done or refused; the first that fails ends
    /// it.
    pub(crate) async fn write_each(&self, writes: Vec<Write>) -> StoreResult<Vec<Written>> {
        stream::iter(writes.into_iter().map(|write| self.write(vec![write])))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }
}
