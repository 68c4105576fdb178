//! What the table and the queue must look like, and what a program may do with them: for Terraform's test to compare to,
//! and for making a table on a stand-in.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};
use bridge_core::ports::{StoreError, StoreResult};

use crate::DynamoStore;
use crate::error::store_error;

/// A pair of key attributes, both texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The partition key.
    pub partition: &'static str,
    /// The sort key.
    pub sort: &'static str,
}

/// A global secondary index; it projects keys only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its keys; only items that have both are in it.
    pub keys: Keys,
}

/// What must be provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The keys of the table. Billing by request.
    pub keys: Keys,
    /// Its indexes.
    pub indexes: [Index; 3],
    /// The attribute with the time to live: seconds since 1970.
    pub ttl: &'static str,
    /// IAM actions on the table and on its indexes (`TABLE/index/*`).
    pub table_actions: &'static [&'static str],
    /// IAM actions on the queue.
    pub queue_actions: &'static [&'static str],
    /// How the queue must be made (names of CloudFormation and of the SQS API).
    pub queue_attributes: &'static [(&'static str, &'static str)],
}

/// The index by time.
pub(crate) const TIME: Index = Index { name: "time", keys: Keys { partition: "tp", sort: "ts" } };
/// The index by owner.
pub(crate) const OWNER: Index = Index { name: "owner", keys: Keys { partition: "op", sort: "os" } };
/// The index of what needs attention.
pub(crate) const FLAG: Index = Index { name: "flag", keys: Keys { partition: "fp", sort: "fs" } };
/// The keys of the table.
pub(crate) const KEYS: Keys = Keys { partition: "pk", sort: "sk" };
/// The attribute with the time to live.
pub(crate) const TTL: &str = "ttl";

/// What must be provided.
pub const FACTS: Facts = Facts {
    keys: KEYS,
    indexes: [TIME, OWNER, FLAG],
    ttl: TTL,
    table_actions: &[
        "dynamodb:BatchGetItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeTable",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    ],
    queue_actions: &[
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    ],
    queue_attributes: &[
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "false"),
        ("DeduplicationScope", "messageGroup"),
        ("FifoThroughputLimit", "perMessageGroupId"),
        ("MessageRetentionPeriod", "1209600"),
    ],
};

impl DynamoStore {
    /// Says what is wrong with the table, if anything: missing, other keys, an index that is not there.
    ///
    /// # Errors
    /// `Damaged` when it is not the table that [`FACTS`] describe, `Unavailable` when DynamoDB does not say.
    pub async fn check_table(&self) -> StoreResult<()> {
        let name = &self.settings().table;
        let answer = self.client().describe_table().table_name(name).send().await;
        let answer = answer.map_err(|error| store_error(&error, name))?;
        let table = answer.table();
        let keys = |schema: &[KeySchemaElement]| {
            let of = |kind: &KeyType| {
                schema.iter().find(|key| key.key_type() == kind).map(|key| key.attribute_name().to_owned())
            };
            (of(&KeyType::Hash), of(&KeyType::Range))
        };
        let wanted = |keys: Keys| (Some(keys.partition.to_owned()), Some(keys.sort.to_owned()));
        let damaged = |what: String| {
            Err(StoreError::Damaged(format!("the table {name} {what}; apply the Terraform module again")))
        };
        if table.is_none_or(|table| keys(table.key_schema()) != wanted(KEYS)) {
            return damaged("does not have the keys pk and sk".into());
        }
        let indexes = table
            .map(aws_sdk_dynamodb::types::TableDescription::global_secondary_indexes)
            .unwrap_or_default();
        for index in FACTS.indexes {
            let found = indexes.iter().find(|found| found.index_name() == Some(index.name));
            if found.is_none_or(|found| keys(found.key_schema()) != wanted(index.keys)) {
                return damaged(format!(
                    "has no index {:?} with the keys {} and {}",
                    index.name, index.keys.partition, index.keys.sort
                ));
            }
        }
        Ok(())
    }

    /// Makes the table: for stand-ins and first tries. Real ones are Terraform's.
    ///
    /// # Errors
    /// When DynamoDB does not make it, for example because it is there.
    pub async fn create_table(&self) -> StoreResult<()> {
        let name = &self.settings().table;
        let damaged = |error: aws_sdk_dynamodb::error::BuildError| StoreError::Damaged(error.to_string());
        let mut create =
            self.client().create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let mut all = vec![KEYS];
        for index in FACTS.indexes {
            all.push(index.keys);
            let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
            create = create.global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(index.name)
                    .set_key_schema(Some(schema(index.keys).map_err(damaged)?))
                    .projection(projection)
                    .build()
                    .map_err(damaged)?,
            );
        }
        for name in all.iter().flat_map(|keys| [keys.partition, keys.sort]) {
            let attribute =
                AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
            create = create.attribute_definitions(attribute.build().map_err(damaged)?);
        }
        let create = create.set_key_schema(Some(schema(KEYS).map_err(damaged)?));
        create.send().await.map_err(|error| store_error(&error, name))?;
        let ttl =
            TimeToLiveSpecification::builder().attribute_name(TTL).enabled(true).build().map_err(damaged)?;
        let update = self.client().update_time_to_live().table_name(name).time_to_live_specification(ttl);
        update.send().await.map_err(|error| store_error(&error, name))?;
        Ok(())
    }
}

fn schema(keys: Keys) -> Result<Vec<KeySchemaElement>, aws_sdk_dynamodb::error::BuildError> {
    [(keys.partition, KeyType::Hash), (keys.sort, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build())
        .collect()
}
