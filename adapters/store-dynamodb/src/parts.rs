//! Values too large for an item (400 KB): kept in parts beside it, written before the item and removed after it. Parts of an
//! item that could not be written stay when it is not known whether it was. Not here: items that hold such values.

use std::sync::atomic::Ordering::Relaxed;

use aws_sdk_dynamodb::types::AttributeValue;
use bridge_core::Timestamp;
use bridge_core::ports::{StoreError, StoreResult};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::DynamoStore;
use crate::item::{Attributes, Item, attributes, bytes, number, text};
use crate::keys::{Key, digits};
use crate::table::TTL;
use crate::write::{Write, Written};

/// Up to this size a value stands in its item: two of them and the rest have room in 400 KB.
const INLINE: usize = 128 * 1024;
const PART: usize = 350 * 1024;
/// 64 MiB: no body is larger.
const MOST_PARTS: usize = 200;
const BYTES: &str = "b";
/// Parts that are written or read at once: a megabyte and a half in memory.
const AT_ONCE: usize = 4;

/// A value that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) parts: usize,
}

impl Claim {
    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..self.parts).map(|part| Key::new(format!("part#{}", self.name), digits(part as u64)))
    }
}

impl DynamoStore {
    /// Makes an attribute of a value, and writes its parts first when it is large.
    pub(crate) async fn shelve(&self, value: &[u8]) -> StoreResult<AttributeValue> {
        if value.len() <= INLINE {
            return Ok(bytes(value));
        }
        let claim = self.put_aside(value, None).await?;
        Ok(AttributeValue::M(attributes([("name", text(claim.name)), ("parts", number(claim.parts))])))
    }

    /// The value of an attribute that [`shelve`](Self::shelve) made.
    pub(crate) async fn unshelve(&self, item: &Item, name: &str) -> StoreResult<Vec<u8>> {
        match claim(item.get(name)) {
            None => item.bytes(name).map(<[u8]>::to_vec),
            Some(claim) => self.fetch(&claim).await?.ok_or_else(|| item.damaged(name)),
        }
    }

    /// Removes items with the parts of their large values; how many were there.
    pub(crate) async fn remove_with_parts(&self, keys: impl Iterator<Item = Key>) -> StoreResult<u64> {
        let mut gone = 0;
        for written in self.write_each(keys.map(Write::delete).collect()).await? {
            if let Written::Done(Some(item)) = written {
                gone += 1;
                self.drop_parts(&item.0).await?;
            }
        }
        Ok(gone)
    }

    /// Removes the parts of every large value of an item that is gone.
    pub(crate) async fn drop_parts(&self, item: &Attributes) -> StoreResult<()> {
        for claim in item.values().filter_map(|value| claim(Some(value))) {
            self.drop_claim(&claim).await?;
        }
        Ok(())
    }

    /// Writes a value in parts; they go by themselves after `until`.
    pub(crate) async fn put_aside(&self, value: &[u8], until: Option<Timestamp>) -> StoreResult<Claim> {
        let claim = Claim { name: format!("{:032x}", fastrand::u128(..)), parts: value.len().div_ceil(PART) };
        if claim.parts > MOST_PARTS {
            return Err(StoreError::Damaged(format!(
                "a value of {} bytes is larger than the store takes ({} bytes)",
                value.len(),
                PART * MOST_PARTS
            )));
        }
        let writes = claim.keys().zip(value.chunks(PART)).map(|(key, part)| {
            let mut item = attributes([(BYTES, bytes(part))]);
            item.extend(until.map(|until| (TTL.to_owned(), number(until.as_millis() / 1000))));
            self.write(vec![Write::put(key, item)])
        });
        let written: Result<Vec<_>, _> =
            stream::iter(writes.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await;
        match written {
            Ok(_) => {
                self.inner.put_aside.fetch_add(1, Relaxed);
                Ok(claim)
            }
            Err(error) => {
                // What could be written is of no use. Should this fail, too, it stays, and nobody ever reads it.
                let _ = self.drop_claim(&claim).await;
                Err(error)
            }
        }
    }

    /// A value that was put aside; none when a part is missing.
    pub(crate) async fn fetch(&self, claim: &Claim) -> StoreResult<Option<Vec<u8>>> {
        let keys: Vec<Key> = claim.keys().take(MOST_PARTS).collect();
        let reads: Vec<_> = keys.iter().map(|key| self.read(key)).collect();
        let parts: Vec<Option<Item>> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let mut value = Vec::new();
        for part in parts {
            let Some(part) = part else { return Ok(None) };
            value.extend_from_slice(part.bytes(BYTES)?);
        }
        Ok(Some(value))
    }

    pub(crate) async fn drop_claim(&self, claim: &Claim) -> StoreResult<()> {
        self.write_each(claim.keys().take(MOST_PARTS).map(Write::delete).collect()).await.map(drop)
    }
}

fn claim(value: Option<&AttributeValue>) -> Option<Claim> {
    let item = Item(value?.as_m().ok()?.clone());
    Some(Claim { name: item.owned("name")?, parts: item.maybe_number("parts")? })
}
