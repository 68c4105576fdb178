//! Lists in order: the shards of one kind, each read page by page, merged. Not here: which items match.

use std::collections::VecDeque;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use bridge_core::ports::StoreResult;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::DynamoStore;
use crate::access::AT_ONCE;
use crate::error::store_error;
use crate::item::{Attributes, Item, text};
use crate::keys::{Key, shards};
use crate::table::{Index, KEYS};
use crate::write::names;

/// Which part of a partition, by sort key.
#[derive(Debug, Clone)]
pub(crate) enum Range {
    All,
    /// Above this.
    After(String),
    /// Below this.
    Before(String),
    /// This and above.
    From(String),
    /// Beginning with this.
    Prefix(String),
}

impl Range {
    /// After the text, or all.
    pub(crate) fn after(text: Option<impl ToString>) -> Self {
        text.map_or(Self::All, |text| Self::After(text.to_string()))
    }

    fn condition(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::All => None,
            Self::After(text) => Some(("#S > :s", text)),
            Self::Before(text) => Some(("#S < :s", text)),
            Self::From(text) => Some(("#S >= :s", text)),
            Self::Prefix(text) => Some(("begins_with(#S, :s)", text)),
        }
    }
}

/// A way through one or several partitions, in the order of the sort key.
pub(crate) struct Walk<'a> {
    store: &'a DynamoStore,
    index: Option<Index>,
    range: Range,
    descending: bool,
    page: i32,
    cursors: Vec<Cursor>,
}

struct Cursor {
    partition: String,
    found: VecDeque<Item>,
    next: Option<Attributes>,
    ended: bool,
}

/// The largest page.
const PAGE: usize = 4000;

impl DynamoStore {
    /// Through all shards of `kind`. `page` is how many items are likely to be wanted of all.
    pub(crate) fn walk(&self, index: Option<Index>, kind: &str, range: Range, page: usize) -> Walk<'_> {
        self.walk_in(index, shards(kind).collect(), range, page)
    }

    /// Through these partitions.
    pub(crate) fn walk_in(
        &self,
        index: Option<Index>,
        partitions: Vec<String>,
        range: Range,
        page: usize,
    ) -> Walk<'_> {
        let cursor = |partition| Cursor { partition, found: VecDeque::new(), next: None, ended: false };
        // Of many shards each has only some of what is wanted; those that have more are asked again.
        let page = (page.clamp(1, PAGE) * 2).div_ceil(partitions.len().max(1)).max(1);
        Walk {
            store: self,
            index,
            range,
            descending: false,
            page: i32::try_from(page).unwrap_or(i32::MAX),
            cursors: partitions.into_iter().map(cursor).collect(),
        }
    }

    /// Up to `limit` items that an index names, as the table has them, and only if the table agrees.
    pub(crate) async fn hits<T>(
        &self,
        mut walk: Walk<'_>,
        limit: usize,
        mut accept: impl FnMut(&Item) -> StoreResult<Option<T>>,
    ) -> StoreResult<Vec<T>> {
        let mut accepted = Vec::new();
        while accepted.len() < limit {
            let mut keys: Vec<Key> = Vec::new();
            while keys.len() < (limit - accepted.len()).min(PAGE)
                && let Some(hit) = walk.next().await?
            {
                keys.push(hit.key()?);
            }
            if keys.is_empty() {
                break;
            }
            for item in self.read_all(&keys).await? {
                accepted.extend(accept(&item)?);
            }
        }
        Ok(accepted)
    }
}

impl Walk<'_> {
    /// The other way round.
    pub(crate) fn descending(self) -> Self {
        Self { descending: true, ..self }
    }

    /// The next item, whole in the table, keys only in an index.
    pub(crate) async fn next(&mut self) -> StoreResult<Option<Item>> {
        self.fill().await?;
        let index = self.index;
        let first =
            self.cursors.iter_mut().filter(|cursor| !cursor.found.is_empty()).reduce(|best, other| {
                let place = |cursor: &Cursor| cursor.found.front().map(|item| item.place(index).to_owned());
                let is_before =
                    if self.descending { place(other) > place(best) } else { place(other) < place(best) };
                if is_before { other } else { best }
            });
        Ok(first.and_then(|cursor| cursor.found.pop_front()))
    }

    /// Up to `limit` items that match.
    pub(crate) async fn take<T>(
        mut self,
        limit: usize,
        mut accept: impl FnMut(&Item) -> StoreResult<Option<T>>,
    ) -> StoreResult<Vec<T>> {
        let mut accepted = Vec::new();
        while accepted.len() < limit
            && let Some(item) = self.next().await?
        {
            accepted.extend(accept(&item)?);
        }
        Ok(accepted)
    }

    /// Reads on in every partition of which nothing is at hand: only then is the smallest of all known.
    async fn fill(&mut self) -> StoreResult<()> {
        let (store, index, range) = (self.store, self.index, &self.range);
        let (descending, page) = (self.descending, self.page);
        let empty = self.cursors.iter_mut().filter(|cursor| cursor.found.is_empty() && !cursor.ended);
        let fills: Vec<_> = empty
            .map(|cursor| async move {
                while cursor.found.is_empty() && !cursor.ended {
                    let answer = store.bounded(store.page(index, range, descending, page, cursor)).await?;
                    cursor.found.extend(answer.items.unwrap_or_default().into_iter().map(Item));
                    cursor.next = answer.last_evaluated_key;
                    cursor.ended = cursor.next.is_none();
                }
                Ok(())
            })
            .collect();
        stream::iter(fills).buffer_unordered(AT_ONCE).try_collect().await
    }
}

impl DynamoStore {
    async fn page(
        &self,
        index: Option<Index>,
        range: &Range,
        descending: bool,
        page: i32,
        cursor: &Cursor,
    ) -> StoreResult<QueryOutput> {
        let table = &self.settings().table;
        let keys = index.map_or(KEYS, |index| index.keys);
        let (mut condition, mut values) = ("#P = :p".to_owned(), Attributes::new());
        values.insert(":p".into(), text(&cursor.partition));
        if let Some((part, bound)) = range.condition() {
            condition.push_str(&format!(" AND {part}"));
            values.insert(":s".into(), text(bound));
        }
        let condition = condition.replace("#P", &format!("#{}", keys.partition));
        let condition = condition.replace("#S", &format!("#{}", keys.sort));
        let query = self
            .client()
            .query()
            .table_name(table)
            .set_index_name(index.map(|index| index.name.to_owned()))
            // An index cannot be asked for what was written last.
            .consistent_read(index.is_none())
            .set_expression_attribute_names(names(&[Some(&condition)]))
            .key_condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .scan_index_forward(!descending)
            .limit(page)
            .set_exclusive_start_key(cursor.next.clone());
        query.send().await.map_err(|error| store_error(&error, table))
    }
}
