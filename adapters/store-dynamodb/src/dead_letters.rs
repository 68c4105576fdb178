//! The dead letter port.

use bridge_core::ports::{
    BoxFuture, DeadLetter, DeadLetterFilter, DeadLetters, NewDeadLetter, RawRequest, StoreResult,
};
use bridge_core::{IntegrationName, Reason};

use crate::DynamoStore;
use crate::archive::batches;
use crate::item::{Attributes, Item, attributes, text, time};
use crate::keys::{Key, digits};
use crate::numbers::count;
use crate::table::FLAG;
use crate::walk::Range;
use crate::write::Write;

const LETTER: &str = "letter";
const COUNT: &str = "letters";
/// Letters that one call removes at most.
const TRIMMED_AT_ONCE: u64 = 10_000;

impl DeadLetters for DynamoStore {
    fn bury<'a>(&'a self, letters: &'a [NewDeadLetter]) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            if letters.is_empty() {
                return Ok(());
            }
            let mut number = self.numbers(LETTER, letters.len() as u64).await?;
            let mut buried = Vec::new();
            let stored = self.bounded(async {
                for batch in batches(letters, size) {
                    let mut writes = Vec::with_capacity(batch.len() + 1);
                    let first = number;
                    for letter in batch {
                        let item = self.letter_item(letter).await?;
                        writes.push(Write::put(Key::numbered(LETTER, number), item));
                        number += 1;
                    }
                    let many = i64::try_from(batch.len()).unwrap_or(i64::MAX);
                    writes.push(count(COUNT, &digits(first), many));
                    self.write(writes).await?;
                    buried.extend(first..number);
                }
                Ok(())
            });
            let stored = stored.await;
            // Should this fail, too, they are there twice in the end.
            if stored.is_err()
                && let Err(error) = DeadLetters::remove(self, &buried).await
            {
                tracing::warn!(%error, "some dead letters are kept although their batch failed");
            }
            stored
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetter>>> {
        Box::pin(async move {
            let mut letters = Vec::new();
            for item in self.matching(filter, after, limit, |_| true).await? {
                letters.push(self.letter(&item).await?);
            }
            Ok(letters)
        })
    }

    fn mark_for_replay<'a>(&'a self, filter: &'a DeadLetterFilter) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(async move {
            let (mut marked, mut after) = (0, 0);
            loop {
                let found = self.matching(filter, after, 500, |item| !is_marked(item)).await?;
                let Some(last) = found.last() else { return Ok(marked) };
                after = number(last)?;
                let mark = |item: &Item| {
                    let key = item.key()?;
                    Ok(Write::update(key.clone())
                        .set(FLAG.keys.partition, text(&key.pk))
                        .set(FLAG.keys.sort, text(&key.sk))
                        .when("attribute_exists(#pk) AND attribute_not_exists(#fp)"))
                };
                let writes: StoreResult<Vec<Write>> = found.iter().map(mark).collect();
                let written = self.write_each(writes?).await?;
                marked += written.iter().filter(|written| written.is_done()).count() as u64;
            }
        })
    }

    fn marked(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<DeadLetter>>> {
        Box::pin(async move {
            let walk = self.walk(Some(FLAG), LETTER, Range::All, limit);
            let items = self.hits(walk, limit, |item| Ok(Some(item.clone()).filter(is_marked))).await?;
            let mut letters = Vec::new();
            for item in items {
                letters.push(self.letter(&item).await?);
            }
            Ok(letters)
        })
    }

    fn unmark<'a>(&'a self, number: u64, detail: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        let unmark = Write::update(Key::numbered(LETTER, number))
            .set("detail", text(detail))
            .remove(FLAG.keys.partition)
            .remove(FLAG.keys.sort)
            .when_present();
        Box::pin(async move { self.write(vec![unmark]).await.map(drop) })
    }

    fn remove<'a>(&'a self, numbers: &'a [u64]) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move { self.remove_letters(numbers).await.map(drop) })
    }

    fn trim(&self, keep: u64) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(async move {
            let excess = self.counted(COUNT).await?.saturating_sub(keep).min(TRIMMED_AT_ONCE);
            let excess = usize::try_from(excess).unwrap_or(usize::MAX);
            if excess == 0 {
                return Ok(0);
            }
            let oldest =
                self.walk(None, LETTER, Range::All, excess).take(excess, |item| number(item).map(Some));
            self.remove_letters(&oldest.await?).await
        })
    }

    fn count(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.counted(COUNT))
    }
}

impl DynamoStore {
    /// Removes letters that are there; how many were.
    async fn remove_letters(&self, numbers: &[u64]) -> StoreResult<u64> {
        let mut gone = 0;
        for number in numbers {
            let key = Key::numbered(LETTER, *number);
            let Some(item) = self.read(&key).await? else { continue };
            let writes = vec![Write::delete(key).when_present(), count(COUNT, &digits(*number), -1)];
            if self.write(writes).await?.is_done() {
                gone += 1;
                self.drop_parts(&item.0).await?;
            }
        }
        Ok(gone)
    }

    async fn matching(
        &self,
        filter: &DeadLetterFilter,
        after: u64,
        limit: usize,
        also: impl Fn(&Item) -> bool + Send,
    ) -> StoreResult<Vec<Item>> {
        if let Some(number) = filter.number {
            let item = if number > after { self.read(&Key::numbered(LETTER, number)).await? } else { None };
            return Ok(item
                .filter(|item| matches(filter, item) && also(item))
                .into_iter()
                .take(limit)
                .collect());
        }
        let walk = self.walk(None, LETTER, Range::After(digits(after)), limit);
        walk.take(limit, |item| Ok((matches(filter, item) && also(item)).then(|| item.clone()))).await
    }

    async fn letter_item(&self, letter: &NewDeadLetter) -> StoreResult<Attributes> {
        let mut item = attributes([
            ("at_ms", time(letter.at)),
            ("integration", text(letter.integration.as_str())),
            ("reason", text(letter.reason.as_str())),
            ("detail", text(&letter.detail)),
        ]);
        let mut add = |name: &str, value: Option<&String>| {
            item.extend(value.map(|value| (name.to_owned(), text(value))));
        };
        add("device", letter.device.as_ref());
        if let Some(request) = &letter.request {
            add("method", Some(&request.method));
            add("path_device", request.path_device.as_ref());
            add("query", Some(&request.query));
            add("content_type", request.content_type.as_ref());
            item.insert("body".into(), self.shelve(&request.body).await?);
        }
        if let Some(record) = &letter.record {
            item.insert("record".into(), self.shelve(record).await?);
        }
        Ok(item)
    }

    async fn letter(&self, item: &Item) -> StoreResult<DeadLetter> {
        let request = match item.owned("method") {
            None => None,
            Some(method) => Some(RawRequest {
                method,
                path_device: item.owned("path_device"),
                query: item.owned("query").unwrap_or_default(),
                content_type: item.owned("content_type"),
                body: self.unshelve(item, "body").await?,
            }),
        };
        let record = match item.get("record") {
            None => None,
            Some(_) => Some(self.unshelve(item, "record").await?),
        };
        let letter = NewDeadLetter {
            at: item.time("at_ms")?,
            integration: item.parsed("integration", |text| IntegrationName::parse(text).ok())?,
            device: item.owned("device"),
            reason: item.parsed("reason", Reason::parse)?,
            detail: item.text("detail")?.to_owned(),
            request,
            record,
        };
        Ok(DeadLetter { number: number(item)?, letter, replay: is_marked(item) })
    }
}

fn size(letter: &NewDeadLetter) -> usize {
    let body = letter.request.as_ref().map_or(0, |request| request.body.len() + request.query.len());
    body + letter.record.as_ref().map_or(0, Vec::len) + letter.detail.len()
}

fn number(item: &Item) -> StoreResult<u64> {
    item.parsed("sk", |text| text.parse().ok())
}

fn is_marked(item: &Item) -> bool {
    item.get(FLAG.keys.partition).is_some()
}

fn matches(filter: &DeadLetterFilter, item: &Item) -> bool {
    let is =
        |name: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| item.maybe_text(name) == Some(wanted));
    is("integration", filter.integration.as_ref().map(IntegrationName::as_str))
        && is("device", filter.device.as_deref())
        && is("reason", filter.reason.map(Reason::as_str))
}
