//! Counters that many write at once (in shards, together with what they count), and numbers that are given out once.

use aws_sdk_dynamodb::types::ReturnValue;
use bridge_core::ports::StoreResult;

use crate::DynamoStore;
use crate::error::store_error;
use crate::item::{Item, attributes, key_attributes, number, text};
use crate::keys::{Key, shard, shards};
use crate::write::{Write, names};

const VALUE: &str = "n";

/// A write that adds to a counter; it goes along with what is counted. `by` chooses the shard.
pub(crate) fn count(name: &str, by: &str, change: i64) -> Write {
    Write::update(Key::alone(format!("counter#{name}#{}", shard(by)))).add(VALUE, number(change))
}

impl DynamoStore {
    /// The sum of a counter.
    pub(crate) async fn counted(&self, name: &str) -> StoreResult<u64> {
        let keys: Vec<Key> = shards(&format!("counter#{name}")).map(Key::alone).collect();
        let mut sum = 0_i64;
        for item in self.read_all(&keys).await? {
            sum += item.number::<i64>(VALUE)?;
        }
        Ok(u64::try_from(sum).unwrap_or(0))
    }

    /// Gives out `many` numbers that nobody had before; the first of them. Some may stay unused.
    pub(crate) async fn numbers(&self, name: &str, many: u64) -> StoreResult<u64> {
        let table = &self.settings().table;
        let add = format!("ADD #{VALUE} :many");
        let update = self
            .client()
            .update_item()
            .table_name(table)
            .set_key(Some(key_attributes(&number_key(name))))
            .set_expression_attribute_names(names(&[Some(&add)]))
            .update_expression(add)
            .set_expression_attribute_values(Some(attributes([(":many", number(many))])))
            .return_values(ReturnValue::UpdatedNew);
        let answer = update.send().await.map_err(|error| store_error(&error, table))?;
        let mut item = Item(answer.attributes.unwrap_or_default());
        item.0.insert("pk".into(), text(format!("number#{name}")));
        Ok(item.number::<u64>(VALUE)? - many + 1)
    }

    /// The last number that was given out; 0 before the first.
    pub(crate) async fn last_number(&self, name: &str) -> StoreResult<u64> {
        self.read(&number_key(name)).await?.map_or(Ok(0), |item| item.number(VALUE))
    }
}

fn number_key(name: &str) -> Key {
    Key::alone(format!("number#{name}"))
}
