//! The archive port. Uplinks have numbers in the order in which they were kept; there is no index by device, for it would
//! be paid for with every message and is used when an operator corrects the past.

use bridge_core::ports::{Archive, ArchiveFilter, Archived, BoxFuture, StoreResult};
use bridge_core::{DeviceId, Timestamp};

use crate::DynamoStore;
use crate::item::{attributes, text, time};
use crate::keys::{Key, digits};
use crate::walk::Range;
use crate::write::{MOST, Write};

const ARCHIVE: &str = "archive";
const RECORD: &str = "record";
/// Uplinks that one call removes at most.
const REMOVED_AT_ONCE: usize = 10_000;
/// Bytes that one transaction takes; DynamoDB refuses more than 4 MB.
pub(crate) const TRANSACTION_BYTES: usize = 3 << 20;

impl Archive for DynamoStore {
    fn keep<'a>(&'a self, uplinks: &'a [Archived]) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            if uplinks.is_empty() {
                return Ok(());
            }
            let mut number = self.numbers(ARCHIVE, uplinks.len() as u64).await?;
            let mut kept = Vec::new();
            let stored = self.bounded(async {
                for batch in batches(uplinks, |uplink| uplink.record.len()) {
                    let mut writes = Vec::with_capacity(batch.len());
                    let first = number;
                    for uplink in batch {
                        let item = attributes([
                            ("owner", text(uplink.device.as_str())),
                            ("at_ms", time(uplink.at)),
                            (RECORD, self.shelve(&uplink.record).await?),
                        ]);
                        writes.push(Write::put(Key::numbered(ARCHIVE, number), item));
                        number += 1;
                    }
                    self.write(writes).await?;
                    kept.extend(first..number);
                }
                Ok(())
            });
            let stored = stored.await;
            let undone = kept.into_iter().map(|number| Key::numbered(ARCHIVE, number));
            if stored.is_err()
                && let Err(error) = self.remove_with_parts(undone).await
            {
                tracing::warn!(%error, "some payloads are archived although their batch failed");
            }
            stored
        })
    }

    fn uplinks<'a>(
        &'a self,
        filter: &'a ArchiveFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(u64, Archived)>>> {
        Box::pin(async move {
            let mut walk = self.walk(None, ARCHIVE, Range::After(digits(after)), limit);
            let mut found = Vec::new();
            while found.len() < limit
                && let Some(item) = walk.next().await?
            {
                let at = item.time("at_ms")?;
                let device = item.parsed("owner", |text| DeviceId::parse(text).ok())?;
                let is_wanted = filter.device.as_ref().is_none_or(|wanted| *wanted == device);
                if is_wanted && at >= filter.from && at < filter.to {
                    let record = self.unshelve(&item, RECORD).await?;
                    let number = item.parsed("sk", |text| text.parse().ok())?;
                    found.push((number, Archived { device, at, record }));
                }
            }
            Ok(found)
        })
    }

    fn discard(&self, before: Timestamp, most: u64) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(async move {
            // Numbers that were given out and not used count as well: what is kept may be a little less than `most`.
            let beyond = self.last_number(ARCHIVE).await?.saturating_sub(most);
            let mut walk = self.walk(None, ARCHIVE, Range::All, 100);
            let mut gone = Vec::new();
            // Times are almost in the order of the numbers: what is too old stands at the beginning.
            while gone.len() < REMOVED_AT_ONCE
                && let Some(item) = walk.next().await?
            {
                let number: u64 = item.parsed("sk", |text| text.parse().ok())?;
                if number > beyond && item.time("at_ms")? >= before {
                    break;
                }
                gone.push(item.key()?);
            }
            self.remove_with_parts(gone.into_iter()).await
        })
    }
}

/// Cuts a list into what fits into one transaction, with room for one write more.
pub(crate) fn batches<T>(mut all: &[T], size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut batches = Vec::new();
    while !all.is_empty() {
        let (mut taken, mut bytes) = (0, 0);
        while taken < all.len().min(MOST - 1) {
            bytes += size(&all[taken]) + 1024;
            if taken > 0 && bytes > TRANSACTION_BYTES {
                break;
            }
            taken += 1;
        }
        let (batch, rest) = all.split_at(taken);
        batches.push(batch);
        all = rest;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_into_transactions() {
        let lengths =
            |sizes: &[usize]| batches(sizes, |size| *size).iter().map(|b| b.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&[10; 250]), [99, 99, 52]);
        assert_eq!(lengths(&[1 << 20, 1 << 20, 1 << 20, 10]), [2, 2]);
        assert_eq!(lengths(&[9 << 20]), [1]);
        assert!(lengths(&[]).is_empty());
    }
}
