//! Where moto_server 5.2.5 is not DynamoDB, and what the store relies on instead.
//!
//! | DynamoDB | moto_server | relied on instead |
//! |---|---|---|
//! | replays a transaction with the same `ClientRequestToken` as done | carries it out again | the mark of a write (`faults.rs`); that the token is the same is tested here |
//! | takes back a cancelled transaction | puts the table back as it was, with what others wrote meanwhile | where several write at once, the proxy lets one request through at a time (`sharing.rs`) |
//! | removes items some time after their time to live | never | times in questions, never the absence of an item |
//! | indexes lag behind the table | never | what an index names is read again and checked again |
//! | throttles, cancels conflicting transactions, leaves keys of batches unprocessed | never | the proxy does (`faults.rs`) |
//! | limits a transaction to 4 MB and an item to 400 KB | items only | batches are cut to 3 MB (`archive.rs`), values to 128 KB (`parts.rs`) |
//! | SQS: a message group is held back while one of its messages is handed out | also | `queue.rs` |
//! | SQS keeps what it has acknowledged | forgets what is sent while something is deleted | the proxy lets one request through at a time (`deploy/lambda`, `load.rs`) |
//! | SQS hands out again what nobody has deleted, at times also what was deleted | the former | the message id is the same (`queue.rs`) |

use bridge_core::ports::{Dedup, Registry, Twins};
use bridge_core::testing::contract;
use bridge_core::twin::{Twin, TwinLimits};
use bridge_core::{DeviceId, Measurement, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use store_dynamodb::table::FACTS;

use crate::faults::behind;
use crate::moto::{fresh, items};
use crate::proxy::Fault;

#[tokio::test]
async fn a_transaction_keeps_its_token_when_it_is_sent_again() {
    let (store, proxy) =
        behind(|_, number| if number < 2 { Fault::Code("InternalServerError") } else { Fault::Pass }).await;
    Registry::insert(&store, &contract::device("d1", "E1")).await.unwrap();
    let tokens: Vec<String> = proxy
        .seen()
        .iter()
        .map(|request| serde_json::from_str::<serde_json::Value>(&request.body).unwrap())
        .map(|body| body["ClientRequestToken"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tokens.len(), 3);
    assert!(!tokens[0].is_empty() && tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
}

#[tokio::test]
async fn what_is_asked_of_aws_is_what_the_facts_permit() {
    let (store, proxy) = behind(|_, _| Fault::Pass).await;
    store.check_table().await.unwrap();
    store.claim_outbox().await.unwrap();
    contract::outbox(&store).await;
    contract::dedup(&store).await;
    contract::registry(&store).await;
    contract::dead_letters(&store).await;
    contract::credentials(&store).await;
    contract::subscriptions(&store).await;
    contract::twins(&store).await;
    contract::vault(&store).await;
    let asked: BTreeSet<String> = proxy.seen().into_iter().map(|request| request.operation).collect();
    let permitted =
        FACTS.table_actions.iter().map(|action| action.to_ascii_lowercase().replace("dynamodb:", ""));
    // Permitted by the actions of its parts.
    let permitted: BTreeSet<String> = permitted.chain(["transactwriteitems".into()]).collect();
    assert_eq!(asked, permitted, "neither less nor more");
}

#[tokio::test]
async fn an_item_past_its_time_to_live_counts_by_its_time_alone() {
    let store = fresh().await;
    let long_ago = Timestamp::from_seconds(1_000).unwrap();
    store.remember(&[(contract::message_id(1), long_ago)]).await.unwrap();
    let later = Timestamp::from_seconds(1_001).unwrap();
    assert!(!store.seen(contract::message_id(1), later, None).await.unwrap());
    assert!(store.recent(later, 9).await.unwrap().is_empty());
    let item = items(&store).await.pop().unwrap();
    assert_eq!(item[FACTS.ttl].as_n().unwrap(), &(1_000 + 24 * 3600).to_string(), "seconds since 1970");
}

#[tokio::test]
async fn an_index_that_is_behind_is_not_believed() {
    let stale = Arc::new(AtomicBool::new(false));
    let fake = stale.clone();
    let (store, _proxy) = behind(move |request, _| {
        if request.operation != "query" || !fake.load(Relaxed) {
            return Fault::Pass;
        }
        let asked: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        let shard = &asked["ExpressionAttributeValues"][":p"];
        let d1 = serde_json::json!({ "S": "d1" });
        let hit = serde_json::json!({ "pk": shard, "sk": d1, "fp": shard, "fs": d1 });
        Fault::Answer(200, serde_json::json!({ "Items": [hit], "Count": 1, "ScannedCount": 1 }).to_string())
    })
    .await;
    let (device, at, limits) = (DeviceId::parse("d1").unwrap(), Timestamp::EPOCH, TwinLimits::default());
    let mut twin = Twin::default();
    twin.desire(serde_json::json!({ "mode": "on" }).as_object().unwrap(), at, &limits).unwrap();
    assert!(store.put(&device, &twin).await.unwrap());
    stale.store(true, Relaxed);
    assert_eq!(
        store.pending(None, 9).await.unwrap(),
        std::slice::from_ref(&device),
        "each shard names it, one has it"
    );
    twin.version = 1;
    twin.report(&[Measurement::new("mode", "on")], at, at, &limits).unwrap();
    assert!(store.put(&device, &twin).await.unwrap());
    assert!(store.pending(None, 9).await.unwrap().is_empty(), "nothing is wanted any more");
    assert!(Twins::remove(&store, &device).await.unwrap());
    assert!(store.pending(None, 9).await.unwrap().is_empty(), "gone");
}
