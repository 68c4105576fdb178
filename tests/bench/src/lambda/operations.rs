//! What a message asks of DynamoDB and SQS, counted by a proxy in front of the stand-in, and what DynamoDB charges for that
//! (developer guide, "DynamoDB throughput capacity": items below 1 KB written and 4 KB read). Not here: how long it takes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::{Environment, bootstrap};
use crate::process::wait_until;
use crate::proxy::{Fault, Proxy, Request};
use crate::world::{World, status, uplink};

/// Messages of each kind, of which the one in the middle counts.
const MESSAGES: u64 = 9;
/// Longer than devices and tokens are remembered, and than it may take until it is written that a device was heard.
const ALONE: Duration = Duration::from_millis(10_500);
/// How many come alone.
const LONELY: u64 = 3;

/// What one event asked.
#[derive(Debug, Clone, Default)]
struct Asked {
    requests: BTreeMap<String, f64>,
    /// Write request units, those of the indexes among them.
    writes: f64,
    /// Read request units.
    reads: f64,
}

/// A function behind the proxy.
struct Counted {
    environment: Environment,
    proxy: Proxy,
}

/// Counts and prints.
pub(crate) async fn run(world: &mut World) {
    let proxy = Proxy::start(&world.cloud.endpoint, |_, _| Fault::Pass).await;
    let variables = crate::at(&world.variables, &proxy.address);
    let environment = Environment::of(bootstrap(), &variables, 1, false).await;
    let counted = Counted { environment, proxy };
    let mut asked = Vec::new();
    // The first one of a device registers it.
    let first = counted.invoke(uplink("counted", 0)).await;
    for counter in 1..=MESSAGES {
        asked.push(counted.invoke(uplink("counted", counter)).await);
    }
    println!("requests per message, and units that DynamoDB charges for");
    println!("  the first of a device        {first}");
    println!("  at the hub at once, in a row {}", middle(asked));

    let mut asked = Vec::new();
    for counter in 1..=LONELY {
        // Not synchronisation: nothing happens for a while.
        tokio::time::sleep(ALONE).await;
        asked.push(counted.invoke(uplink("counted", MESSAGES + counter)).await);
    }
    println!("  the same, each alone         {}", middle(asked));

    for number in 0..MESSAGES {
        counted.invoke(uplink(&format!("waits-{number}"), 0)).await;
    }
    world.hub.stop();
    // Notes that the hub is away, so that the next ones do not wait for it.
    counted.invoke(uplink("counted", MESSAGES + LONELY + 1)).await;
    let mut asked = Vec::new();
    for number in 0..MESSAGES {
        asked.push(counted.invoke(uplink(&format!("waits-{number}"), 1)).await);
    }
    println!("  into the outbox              {}", middle(asked));

    world.hub.restart().await;
    let (mut drained, mut all) = (Asked::default(), 0.0);
    let mut batches = 0.0;
    wait_until("the outbox is empty", async || {
        let before = counted.proxy.seen().len();
        let Some((event, receipts)) = world.cloud.batch().await else { return true };
        let messages = receipts.len() as f64;
        let answer = counted.environment.invoke(event).await.answer();
        let failed = answer["batchItemFailures"].as_array().unwrap();
        let is_done = failed.is_empty();
        // While the hub was away it is not tried for some seconds.
        let failed: Vec<String> =
            failed.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect();
        world.cloud.finish(receipts, &failed).await;
        if is_done {
            counted.proxy.seen()[before..].iter().for_each(|request| drained.add(request));
            (all, batches) = (all + messages, batches + 1.0);
        }
        world.cloud.queued().await == 0
    })
    .await;
    println!("  and out of it                {}", drained.of(all));
    println!(
        "  SQS besides: a receipt and a deletion per batch of up to 10 messages, here {:.1}",
        all / batches
    );
    counted.environment.end().await;
}

impl Counted {
    async fn invoke(&self, event: Value) -> Asked {
        let before = self.proxy.seen().len();
        assert!(status(self.environment.invoke(event).await) < 300, "it was not accepted");
        let mut asked = Asked::default();
        self.proxy.seen()[before..].iter().for_each(|request| asked.add(request));
        asked
    }
}

impl Asked {
    fn add(&mut self, request: &Request) {
        *self.requests.entry(request.operation.clone()).or_default() += 1.0;
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let list = |of: &Value| of.as_array().map_or(0, Vec::len) as f64;
        // Eventually consistent reads cost half.
        let of_read = |body: &Value| if body["ConsistentRead"] == true { 1.0 } else { 0.5 };
        match request.operation.as_str() {
            "getitem" | "query" => self.reads += of_read(&body),
            "batchgetitem" => {
                let tables = body["RequestItems"].as_object().unwrap();
                self.reads += tables.values().map(|keys| list(&keys["Keys"]) * of_read(keys)).sum::<f64>();
            }
            "putitem" | "updateitem" | "deleteitem" => self.writes += 1.0 + in_indexes(&body),
            "transactwriteitems" => {
                let items = body["TransactItems"].as_array().unwrap();
                let writes = items.iter().flat_map(|item| item.as_object().unwrap().values());
                // A transaction prepares and commits.
                self.writes += writes.map(|write| 2.0 + in_indexes(write)).sum::<f64>();
            }
            _ => {}
        }
    }

    /// The share of one of so many messages.
    fn of(mut self, messages: f64) -> Self {
        self.requests.values_mut().for_each(|count| *count /= messages);
        (self.writes, self.reads) = (self.writes / messages, self.reads / messages);
        self
    }
}

/// In how many indexes a write has an entry: their partition keys are attributes of it.
fn in_indexes(write: &Value) -> f64 {
    let names = write["ExpressionAttributeNames"].as_object();
    let named = names.into_iter().flat_map(|names| names.values()).filter_map(Value::as_str);
    let put = write["Item"].as_object().into_iter().flat_map(|item| item.keys()).map(String::as_str);
    let all: Vec<&str> = named.chain(put).collect();
    let indexes = store_dynamodb::table::FACTS.indexes;
    indexes.iter().filter(|index| all.contains(&index.keys.partition)).count() as f64
}

/// The one in the middle, by what it costs.
fn middle(mut asked: Vec<Asked>) -> Asked {
    asked.sort_by(|a, b| (a.writes * 5.0 + a.reads).total_cmp(&(b.writes * 5.0 + b.reads)));
    asked.swap_remove(asked.len() / 2)
}

impl fmt::Display for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1} units written, {:.1} read:", self.writes, self.reads)?;
        self.requests.iter().try_for_each(|(operation, count)| write!(out, " {operation} {count:.1}"))
    }
}
