//! What each test has of the stand-in: tables and queues of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use store_dynamodb::table::FACTS;
use store_dynamodb::{Aws, DynamoStore, Settings};

pub use crate::server::endpoint;

/// Tables and queues have names that no other test has.
pub fn unique(kind: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{kind}-{}", NUMBER.fetch_add(1, Relaxed))
}

const REGION: &str = "eu-central-1";

/// The stand-in, or a proxy before it.
pub fn aws(endpoint: &str) -> Aws {
    Aws::stand_in(endpoint, REGION)
}

/// Patient: the stand-in is slow when the machine is busy, and knows no two transactions at once.
pub fn settings() -> Settings {
    let (wait, attempt) = (Duration::from_secs(40), Duration::from_secs(20));
    Settings { wait, attempt, ..Settings::new(unique("table")) }
}

/// A store on a table of its own.
pub async fn fresh() -> DynamoStore {
    let store = DynamoStore::new(&aws(endpoint()), settings());
    store.create_table().await.unwrap();
    store.check_table().await.unwrap();
    store.claim_outbox().await.unwrap();
    store
}

/// What every client of the stand-in says.
macro_rules! config {
    ($service:ident) => {
        $service::Config::builder()
            .behavior_version($service::config::BehaviorVersion::latest())
            .region($service::config::Region::new(REGION))
            .credentials_provider($service::config::Credentials::new(
                "stand-in", "stand-in", None, None, "stand-in",
            ))
            .endpoint_url(endpoint())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    };
}

/// Everything in the table of a store.
pub async fn items(store: &DynamoStore) -> Vec<HashMap<String, AttributeValue>> {
    let client = aws_sdk_dynamodb::Client::from_conf(config!(aws_sdk_dynamodb));
    client.scan().table_name(store.table()).send().await.unwrap().items.unwrap_or_default()
}

/// A new queue: its URL.
pub async fn new_queue(is_fifo: bool) -> String {
    let client = aws_sdk_sqs::Client::from_conf(config!(aws_sdk_sqs));
    let create = if is_fifo {
        let create = client.create_queue().queue_name(format!("{}.fifo", unique("queue")));
        FACTS
            .queue_attributes
            .iter()
            .fold(create, |create, (name, value)| create.attributes((*name).into(), *value))
    } else {
        client.create_queue().queue_name(unique("queue"))
    };
    create.send().await.unwrap().queue_url.unwrap()
}

/// Puts a text into a queue, as a stranger would.
pub async fn send(url: &str, body: &str) {
    let client = aws_sdk_sqs::Client::from_conf(config!(aws_sdk_sqs));
    let send = client.send_message().queue_url(url).message_body(body);
    send.message_group_id("x").message_deduplication_id("x").send().await.unwrap();
}
