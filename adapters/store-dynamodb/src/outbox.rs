//! The outbox port, for the long-running service. An outbox has one owner, who numbers its entries: whoever claimed it last.
//! Not here: the outbox of a serverless deployment ([`crate::Queue`]).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use bridge_core::MessageId;
use bridge_core::ports::{Backlog, BoxFuture, Outbox, OutboxEntry, Seq, StoreError, StoreResult};

use crate::DynamoStore;
use crate::archive::batches;
use crate::item::{Item, attributes, number, text, time};
use crate::keys::{Key, digits};
use crate::walk::Range;
use crate::write::{Write, Written};

const OUTBOX: &str = "outbox";
const RECORD: &str = "record";

impl Outbox for DynamoStore {
    fn append<'a>(&'a self, entries: &'a [OutboxEntry]) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let mut appended = Vec::new();
            let stored = self.bounded(async {
                for batch in batches(entries, |entry| entry.record.len()) {
                    self.append_batch(batch).await?;
                    appended.extend(batch.iter().map(|entry| entry.seq));
                }
                Ok(())
            });
            let stored = stored.await;
            // Nobody is told that these are accepted. Should this fail, too, they are delivered all the same, and what their
            // source sends again has the same message ids.
            if stored.is_err()
                && let Err(error) = Outbox::remove(self, &appended).await
            {
                tracing::warn!(%error, "some entries are in the outbox although their batch failed");
            }
            stored
        })
    }

    fn remove<'a>(&'a self, seqs: &'a [Seq]) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            self.remove_with_parts(seqs.iter().map(|seq| Key::numbered(OUTBOX, *seq))).await.map(drop)
        })
    }

    fn load(&self, after: Seq, limit: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxEntry>>> {
        Box::pin(async move {
            let walk = self.walk(None, OUTBOX, Range::After(digits(after)), limit);
            let items = walk.take(limit, |item| Ok(Some(item.clone()))).await?;
            let mut entries = Vec::with_capacity(items.len());
            for item in items {
                entries.push(OutboxEntry {
                    seq: item.parsed("sk", |text| text.parse().ok())?,
                    id: item.parsed("id", |text| MessageId::parse(text).ok())?,
                    lane: item.text("lane")?.to_owned(),
                    at: item.time("at_ms")?,
                    record: self.unshelve(&item, RECORD).await?,
                });
            }
            Ok(entries)
        })
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        Box::pin(async move {
            let mut lanes = BTreeMap::new();
            let mut backlog = Backlog { last_seq: self.head().await?.last, ..Backlog::default() };
            let mut walk = self.walk(None, OUTBOX, Range::All, 1000);
            while let Some(item) = walk.next().await? {
                *lanes.entry(item.text("lane")?.to_owned()).or_default() += 1;
                backlog.bytes += item.number::<u64>("size")?;
                let at = item.time("at_ms")?;
                backlog.oldest = Some(backlog.oldest.map_or(at, |oldest| oldest.min(at)));
            }
            Ok(Backlog { lanes: lanes.into_iter().collect(), ..backlog })
        })
    }
}

/// Who owns the outbox, and the last seq.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    epoch: u64,
    last: Seq,
}

impl DynamoStore {
    /// Makes this process the owner of the outbox. Another one that is the owner cannot append from then on, and says why.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn claim_outbox(&self) -> StoreResult<()> {
        let epoch = self.bounded(async {
            loop {
                let head = self.head().await?;
                let claim = Write::update(head_key())
                    .set("epoch", number(head.epoch + 1))
                    .when("attribute_not_exists(#epoch) OR #epoch = :known")
                    .value("known", number(head.epoch));
                if self.write(vec![claim]).await?.is_done() {
                    return Ok(head.epoch + 1);
                }
            }
        });
        self.inner.epoch.store(epoch.await?, SeqCst);
        Ok(())
    }

    async fn head(&self) -> StoreResult<Head> {
        let Some(item) = self.read(&head_key()).await? else { return Ok(Head::default()) };
        Ok(Head { epoch: item.number("epoch")?, last: item.maybe_number("last").unwrap_or(0) })
    }

    /// Stores up to a transaction of entries, all or none.
    async fn append_batch(&self, batch: &[OutboxEntry]) -> StoreResult<()> {
        let seqs = || batch.iter().map(|entry| entry.seq);
        let (Some(first), Some(last)) = (seqs().min(), seqs().max()) else { return Ok(()) };
        let epoch = self.inner.epoch.load(SeqCst);
        let head = Write::update(head_key())
            .set("last", number(last))
            .when("#epoch = :epoch AND (attribute_not_exists(#last) OR #last < :first)")
            .value("epoch", number(epoch))
            .value("first", number(first));
        let mut writes = vec![head];
        for entry in batch {
            let item = attributes([
                ("id", text(entry.id.to_string())),
                ("lane", text(&entry.lane)),
                ("at_ms", time(entry.at)),
                ("size", number(entry.record.len())),
                (RECORD, self.shelve(&entry.record).await?),
            ]);
            writes.push(Write::put(Key::numbered(OUTBOX, entry.seq), item).when_absent());
        }
        match self.write(writes).await? {
            Written::Done(_) => Ok(()),
            Written::Refused(refusals) => Err(self.why_refused(&refusals, epoch)),
        }
    }

    fn why_refused(&self, refusals: &[Option<Option<Item>>], epoch: u64) -> StoreError {
        let table = &self.settings().table;
        let owner = refusals.first().cloned().flatten().flatten();
        let owner: Option<u64> = owner.and_then(|head| head.maybe_number("epoch"));
        StoreError::Damaged(if epoch == 0 {
            format!("this process has not claimed the outbox in the table {table}")
        } else if owner.is_some_and(|owner| owner != epoch) {
            format!(
                "another bridge has taken over the outbox in the table {table}; two may not share a table"
            )
        } else {
            format!("the outbox in the table {table} has an entry with that number already")
        })
    }
}

fn head_key() -> Key {
    Key::alone(OUTBOX)
}
