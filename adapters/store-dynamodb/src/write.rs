//! Writes with conditions, one or several at once. A condition that does not hold is an answer; throttling and collisions
//! are tried again until the store's wait is over; a write whose answer was lost is recognised by the mark that it left.
//! Not here: what is written.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValue,
    ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem, Update,
};
use bridge_core::ports::{StoreError, StoreResult};

use crate::DynamoStore;
use crate::error::{is_throttling, said_error, store_error};
use crate::item::{Attributes, Item, key_attributes, text};
use crate::keys::Key;

/// The attribute that names the write which made the item what it is.
const MARK: &str = "w";
/// Items that one transaction may write.
pub(crate) const MOST: usize = 100;

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    kind: Kind,
    key: Key,
    /// With `#name` for attributes and `:name` for values.
    condition: Option<String>,
    values: Attributes,
}

#[derive(Debug, Clone)]
enum Kind {
    Put(Attributes),
    Update { set: Vec<String>, add: Vec<String>, remove: Vec<String> },
    Delete,
}

/// What became of writes.
#[derive(Debug)]
pub(crate) enum Written {
    /// All are done. With the old item of a single deletion.
    Done(Option<Item>),
    /// None is done. For each write: whether its condition did not hold, and the item as it is.
    Refused(Vec<Option<Option<Item>>>),
}

impl Written {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

impl Write {
    /// Replaces the item.
    pub(crate) fn put(key: Key, attributes: Attributes) -> Self {
        Self::of(Kind::Put(attributes), key)
    }

    /// Changes attributes of the item, which is made when it is not there.
    pub(crate) fn update(key: Key) -> Self {
        Self::of(Kind::Update { set: Vec::new(), add: Vec::new(), remove: Vec::new() }, key)
    }

    pub(crate) fn delete(key: Key) -> Self {
        Self::of(Kind::Delete, key)
    }

    fn of(kind: Kind, key: Key) -> Self {
        Self { kind, key, condition: None, values: HashMap::new() }
    }

    /// Only when this holds.
    pub(crate) fn when(mut self, condition: &str) -> Self {
        self.condition = Some(condition.to_owned());
        self
    }

    pub(crate) fn when_absent(self) -> Self {
        self.when("attribute_not_exists(#pk)")
    }

    pub(crate) fn when_present(self) -> Self {
        self.when("attribute_exists(#pk)")
    }

    /// A value of the condition.
    pub(crate) fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    pub(crate) fn set(mut self, name: &str, value: AttributeValue) -> Self {
        if let Kind::Update { set, .. } = &mut self.kind {
            set.push(format!("#{name} = :{name}"));
        }
        self.value(name, value)
    }

    /// Sets it when it is not there.
    pub(crate) fn set_if_absent(mut self, name: &str, value: AttributeValue) -> Self {
        if let Kind::Update { set, .. } = &mut self.kind {
            set.push(format!("#{name} = if_not_exists(#{name}, :{name})"));
        }
        self.value(name, value)
    }

    /// Sets it, or removes it when there is no value.
    pub(crate) fn set_or_remove(self, name: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Adds to a number, which is 0 when it is not there.
    pub(crate) fn add(mut self, name: &str, value: AttributeValue) -> Self {
        if let Kind::Update { add, .. } = &mut self.kind {
            add.push(format!("#{name} :{name}"));
        }
        self.value(name, value)
    }

    pub(crate) fn remove(mut self, name: &str) -> Self {
        if let Kind::Update { remove, .. } = &mut self.kind {
            remove.push(format!("#{name}"));
        }
        self
    }

    fn marked(self, mark: &str) -> Self {
        match self.kind {
            Kind::Delete => self,
            Kind::Put(mut attributes) => {
                attributes.insert(MARK.to_owned(), text(mark));
                Self { kind: Kind::Put(attributes), ..self }
            }
            Kind::Update { .. } => self.set(MARK, text(mark)),
        }
    }

    fn item(&self) -> Option<Attributes> {
        let Kind::Put(attributes) = &self.kind else { return None };
        let mut item = key_attributes(&self.key);
        item.extend(attributes.clone());
        Some(item)
    }

    fn expression(&self) -> Option<String> {
        let Kind::Update { set, add, remove } = &self.kind else { return None };
        let part = |word: &str, list: &[String]| {
            if list.is_empty() { String::new() } else { format!("{word} {} ", list.join(", ")) }
        };
        Some(format!("{}{}{}", part("SET", set), part("ADD", add), part("REMOVE", remove)))
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        names(&[self.expression().as_deref(), self.condition.as_deref()])
    }

    fn values(&self) -> Option<Attributes> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    fn in_transaction(&self, table: &str) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let builder = TransactWriteItem::builder();
        Ok(match &self.kind {
            Kind::Put(_) => builder.put(
                Put::builder()
                    .table_name(table)
                    .set_item(self.item())
                    .set_condition_expression(self.condition.clone())
                    .set_expression_attribute_names(self.names())
                    .set_expression_attribute_values(self.values())
                    .return_values_on_condition_check_failure(OnFailure::AllOld)
                    .build()?,
            ),
            Kind::Update { .. } => builder.update(
                Update::builder()
                    .table_name(table)
                    .set_key(Some(key_attributes(&self.key)))
                    .set_update_expression(self.expression())
                    .set_condition_expression(self.condition.clone())
                    .set_expression_attribute_names(self.names())
                    .set_expression_attribute_values(self.values())
                    .return_values_on_condition_check_failure(OnFailure::AllOld)
                    .build()?,
            ),
            Kind::Delete => builder.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key_attributes(&self.key)))
                    .set_condition_expression(self.condition.clone())
                    .set_expression_attribute_names(self.names())
                    .set_expression_attribute_values(self.values())
                    .return_values_on_condition_check_failure(OnFailure::AllOld)
                    .build()?,
            ),
        }
        .build())
    }
}

/// Every `#name` in expressions stands for the attribute `name`: none can be a reserved word then.
pub(crate) fn names(expressions: &[Option<&str>]) -> Option<HashMap<String, String>> {
    let mut names = HashMap::new();
    for expression in expressions.iter().flatten() {
        for part in expression.split('#').skip(1) {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            names.insert(format!("#{}", &part[..end]), part[..end].to_owned());
        }
    }
    (!names.is_empty()).then_some(names)
}

impl DynamoStore {
    /// Carries out all writes or none. The first one has to put or update for a lost answer to be recognised.
    pub(crate) async fn write(&self, mut writes: Vec<Write>) -> StoreResult<Written> {
        let mark = format!("{:032x}", fastrand::u128(..));
        if let Some(first) = writes.first_mut() {
            *first = first.clone().marked(&mark);
        }
        let written = self.bounded(async {
            match &writes[..] {
                [] => Ok(Written::Done(None)),
                [one] => self.single(one).await,
                several => self.transaction(several).await,
            }
        });
        Ok(match written.await? {
            // Somebody did what was asked for, and it was this write.
            Written::Refused(refusals) if is_marked(&refusals, &mark) => Written::Done(None),
            refused @ Written::Refused(_) => {
                self.inner.conditions_lost.fetch_add(1, Relaxed);
                refused
            }
            done @ Written::Done(_) => done,
        })
    }

    /// Nothing takes longer than the store's wait, whatever it is made of.
    pub(crate) async fn bounded<T>(&self, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let wait = self.settings().wait;
        match tokio::time::timeout(wait, work).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::Unavailable(format!(
                "nothing came of it within {wait:?} on the table {}",
                self.settings().table
            ))),
        }
    }

    async fn single(&self, write: &Write) -> StoreResult<Written> {
        let (client, table) = (self.client(), &self.settings().table);
        let refused = |item: Option<Attributes>| Ok(Written::Refused(vec![Some(item.map(Item))]));
        match &write.kind {
            Kind::Put(_) => {
                let put = client
                    .put_item()
                    .table_name(table)
                    .set_item(write.item())
                    .set_condition_expression(write.condition.clone())
                    .set_expression_attribute_names(write.names())
                    .set_expression_attribute_values(write.values())
                    .return_values_on_condition_check_failure(OnFailure::AllOld);
                match put.send().await {
                    Ok(_) => Ok(Written::Done(None)),
                    Err(error) => match error.as_service_error() {
                        Some(aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
                            failed,
                        )) => refused(failed.item().cloned()),
                        _ => Err(store_error(&error, table)),
                    },
                }
            }
            Kind::Update { .. } => {
                let update = client
                    .update_item()
                    .table_name(table)
                    .set_key(Some(key_attributes(&write.key)))
                    .set_update_expression(write.expression())
                    .set_condition_expression(write.condition.clone())
                    .set_expression_attribute_names(write.names())
                    .set_expression_attribute_values(write.values())
                    .return_values_on_condition_check_failure(OnFailure::AllOld);
                match update.send().await {
                    Ok(_) => Ok(Written::Done(None)),
                    Err(error) => match error.as_service_error() {
                        Some(
                            aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                                failed,
                            ),
                        ) => refused(failed.item().cloned()),
                        _ => Err(store_error(&error, table)),
                    },
                }
            }
            Kind::Delete => {
                let delete = client
                    .delete_item()
                    .table_name(table)
                    .set_key(Some(key_attributes(&write.key)))
                    .set_condition_expression(write.condition.clone())
                    .set_expression_attribute_names(write.names())
                    .set_expression_attribute_values(write.values())
                    .return_values(ReturnValue::AllOld);
                match delete.send().await {
                    Ok(answer) => Ok(Written::Done(answer.attributes.map(Item))),
                    Err(error) => match error.as_service_error() {
                        Some(
                            aws_sdk_dynamodb::operation::delete_item::DeleteItemError::ConditionalCheckFailedException(
                                failed,
                            ),
                        ) => refused(failed.item().cloned()),
                        _ => Err(store_error(&error, table)),
                    },
                }
            }
        }
    }

    async fn transaction(&self, writes: &[Write]) -> StoreResult<Written> {
        let table = &self.settings().table;
        let built: Result<Vec<_>, _> = writes.iter().map(|write| write.in_transaction(table)).collect();
        // invariant: every builder above is given all that it needs.
        let items = built.map_err(|error| StoreError::Damaged(error.to_string()))?;
        for attempt in 0.. {
            let answer =
                self.client().transact_write_items().set_transact_items(Some(items.clone())).send().await;
            let Err(error) = answer else { return Ok(Written::Done(None)) };
            let service = error.as_service_error();
            match service {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    match judge(cancelled.cancellation_reasons(), table)? {
                        Some(refusals) => return Ok(Written::Refused(refusals)),
                        None => pause(attempt).await,
                    }
                }
                Some(said) if said.code() == Some("TransactionInProgressException") => pause(attempt).await,
                _ => return Err(store_error(&error, table)),
            }
        }
        // invariant: the loop above ends by returning, or by the bound around it.
        Err(StoreError::Unavailable("no transaction was made".into()))
    }
}

/// Which conditions did not hold; none when only others were in the way and it is worth another try.
fn judge(reasons: &[CancellationReason], table: &str) -> StoreResult<Option<Vec<Option<Option<Item>>>>> {
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    if reasons.iter().any(|reason| code(reason) == "ConditionalCheckFailed") {
        let refusal = |reason: &CancellationReason| {
            (code(reason) == "ConditionalCheckFailed").then(|| reason.item().cloned().map(Item))
        };
        return Ok(Some(reasons.iter().map(refusal).collect()));
    }
    for reason in reasons {
        let code = code(reason);
        if !matches!(code.as_str(), "None" | "TransactionConflict") && !is_throttling(&code) {
            let code = if code == "ValidationError" { "ValidationException" } else { &code };
            return Err(said_error(code, reason.message(), table));
        }
    }
    Ok(None)
}

fn is_marked(refusals: &[Option<Option<Item>>], mark: &str) -> bool {
    matches!(refusals.first(), Some(Some(Some(item))) if item.maybe_text(MARK) == Some(mark))
}

/// Waits before another try: 25 ms at first, twice as long each time, 1 second at most, and never in step with others.
pub(crate) async fn pause(attempt: u32) {
    let longest = Duration::from_millis(25 << attempt.min(6)).min(Duration::from_secs(1));
    tokio::time::sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_name_what_they_use() {
        let write = Write::update(Key::alone("k")).set("a", text("x")).remove("state").add("n", text("1"));
        let write = write.when("attribute_exists(#pk) AND #ver = :ver").value("ver", text("1"));
        assert_eq!(write.expression().as_deref(), Some("SET #a = :a ADD #n :n REMOVE #state "));
        let names = write.names().unwrap();
        let mut names: Vec<_> = names.values().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "n", "pk", "state", "ver"]);
    }

    #[test]
    fn a_cancelled_transaction_is_tried_again_only_for_what_passes() {
        let reasons = |codes: &[&str]| -> Vec<_> {
            codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
        };
        assert!(matches!(judge(&reasons(&["None", "TransactionConflict"]), "t"), Ok(None)));
        assert!(matches!(judge(&reasons(&["ThrottlingError", "None"]), "t"), Ok(None)));
        let refused =
            judge(&reasons(&["TransactionConflict", "ConditionalCheckFailed"]), "t").unwrap().unwrap();
        assert_eq!(refused, [None, Some(None)]);
        assert!(matches!(judge(&reasons(&["ValidationError"]), "t"), Err(StoreError::Damaged(_))));
    }
}
