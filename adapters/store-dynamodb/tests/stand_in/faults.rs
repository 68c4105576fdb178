//! DynamoDB throttled, slow, silent, unreachable, and answers that get lost: nothing takes longer than it may, every error
//! says what is wrong, and a write whose answer was lost counts once.

use std::time::{Duration, Instant};

use bridge_core::DeviceId;
use bridge_core::command::{Awaits, Flight, Resend};
use bridge_core::ports::{
    Commands, Credential, Credentials, DeadLetters, DeviceRecord, Insert, Inserted, Outbox, Proof,
    QueueLimits, Registry, StoreError, Subscriptions, TokenDigest, Twins,
};
use bridge_core::subscription::{Subscription, SubscriptionKind, Told};
use bridge_core::testing::contract;
use bridge_core::twin::Twin;
use store_dynamodb::{DynamoStore, Settings};

use crate::moto::{aws, endpoint, settings};
use crate::proxy::{Fault, Proxy, Request};

/// A store behind a proxy, on a table of its own.
pub async fn behind(decide: impl FnMut(&Request, usize) -> Fault + Send + 'static) -> (DynamoStore, Proxy) {
    behind_with(settings(), decide).await
}

/// Does not wait long for what never comes.
pub fn hasty() -> Settings {
    Settings { wait: Duration::from_secs(3), attempt: Duration::from_millis(700), ..settings() }
}

async fn behind_with(
    settings: Settings,
    decide: impl FnMut(&Request, usize) -> Fault + Send + 'static,
) -> (DynamoStore, Proxy) {
    let patient =
        Settings { wait: Duration::from_secs(40), attempt: Duration::from_secs(20), ..settings.clone() };
    let direct = DynamoStore::new(&aws(endpoint()), patient);
    direct.create_table().await.unwrap();
    direct.claim_outbox().await.unwrap();
    let proxy = Proxy::start(endpoint(), decide).await;
    (DynamoStore::new(&aws(&proxy.address), settings), proxy)
}

fn device() -> DeviceRecord {
    contract::device("d1", "E1")
}

fn why(error: StoreError) -> String {
    let StoreError::Unavailable(why) = error else { panic!("{error} is not for later") };
    why
}

#[tokio::test]
async fn throttling_that_passes_is_waited_for() {
    for code in [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "InternalServerError",
    ] {
        let (store, proxy) =
            behind(move |_, number| if number < 2 { Fault::Code(code) } else { Fault::Pass }).await;
        assert_eq!(Registry::insert(&store, &device()).await.unwrap(), Insert::Created, "{code}");
        assert_eq!(proxy.seen().len(), 3, "{code}");
    }
}

#[tokio::test]
async fn throttling_that_lasts_is_an_error_in_time() {
    let (store, proxy) = behind_with(hasty(), |_, _| Fault::Code("ThrottlingException")).await;
    let before = Instant::now();
    let error = why(Registry::insert(&store, &device()).await.unwrap_err());
    assert!(error.contains("throttles"), "{error}");
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    assert!((2..=5).contains(&proxy.seen().len()), "{} requests", proxy.seen().len());
}

#[tokio::test]
async fn a_silent_and_an_unreachable_service_are_errors_in_time() {
    let (store, _proxy) = behind_with(hasty(), |_, _| Fault::Silence).await;
    let before = Instant::now();
    let error = why(Registry::get(&store, &device().id).await.unwrap_err());
    assert!(error.contains("in time") || error.contains("within"), "{error}");
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());

    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nowhere = DynamoStore::new(&aws(&format!("http://{free}")), Settings::new("t"));
    let error = why(Registry::get(&nowhere, &device().id).await.unwrap_err());
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn a_slow_service_is_waited_for_within_bounds() {
    let (store, _proxy) = behind(|_, _| Fault::Late(Duration::from_millis(300))).await;
    assert_eq!(Registry::insert(&store, &device()).await.unwrap(), Insert::Created);
}

#[tokio::test]
async fn what_is_for_the_operator_to_mend_says_so() {
    let store = DynamoStore::new(&aws(endpoint()), Settings::new("no-such-table"));
    for error in
        [store.check_table().await.unwrap_err(), Registry::get(&store, &device().id).await.unwrap_err()]
    {
        assert!(matches!(&error, StoreError::Damaged(why) if why.contains("no-such-table")), "{error}");
    }
    let (store, _proxy) = behind(|_, _| Fault::Code("AccessDeniedException")).await;
    let error = Registry::get(&store, &device().id).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("permit")), "{error}");
}

/// Loses the answer to the first write.
fn lose_one() -> impl FnMut(&Request, usize) -> Fault + Send + 'static {
    let mut lost = false;
    move |request, _| {
        let is_write = matches!(request.operation.as_str(), "putitem" | "updateitem" | "transactwriteitems");
        if is_write && !std::mem::replace(&mut lost, true) { Fault::Lost } else { Fault::Pass }
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_once() {
    let (store, _proxy) = behind(lose_one()).await;
    assert_eq!(Registry::insert(&store, &device()).await.unwrap(), Insert::Created);
    assert_eq!(Registry::version(&store).await.unwrap(), 1);

    let (store, _proxy) = behind(lose_one()).await;
    let (id, twin) = (DeviceId::parse("d1").unwrap(), Twin::default());
    assert!(Twins::put(&store, &id, &twin).await.unwrap());
    assert!(!Twins::put(&store, &id, &twin).await.unwrap(), "but another one is another one");

    let (store, _proxy) = behind(lose_one()).await;
    let credential = Credential {
        digest: TokenDigest::of(b"one"),
        proof: Proof::Token,
        device: id.clone(),
        created: bridge_core::Timestamp::EPOCH,
    };
    assert!(Credentials::insert(&store, &credential).await.unwrap());
    assert!(!Credentials::insert(&store, &credential).await.unwrap());
    assert_eq!(Credentials::version(&store).await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_callback_was_told_is_noted_once_when_the_answer_gets_lost() {
    let mut writes = 0;
    let (store, _proxy) = behind(move |request, _| {
        let is_write = request.operation == "updateitem";
        writes += usize::from(is_write);
        // Of making the callback and of telling it: the write, and not what is tried again.
        if is_write && writes % 2 == 1 { Fault::Lost } else { Fault::Pass }
    })
    .await;
    let subscription = Subscription {
        device: DeviceId::parse("d1").unwrap(),
        kind: SubscriptionKind::Methods,
        callback_url: "https://a.example/".into(),
        created: bridge_core::Timestamp::EPOCH,
        told: Told::default(),
    };
    Subscriptions::put(&store, &subscription).await.unwrap();
    let told = Told { number: 1, ..Told::default() };
    assert!(store.tell(&subscription, &told).await.unwrap(), "it was this one");
    assert!(!store.tell(&subscription, &told).await.unwrap());
}

#[tokio::test]
async fn commands_are_started_once_when_answers_get_lost() {
    let mut writes = 0;
    let (store, _proxy) = behind(move |request, _| {
        writes += usize::from(request.operation == "transactwriteitems");
        // Of the insertion and of the start: the write, and not what is tried again.
        if request.operation == "transactwriteitems" && writes % 2 == 1 { Fault::Lost } else { Fault::Pass }
    })
    .await;
    let command = contract::command(1, "d1");
    let inserted = Commands::insert(&store, &command, None, QueueLimits::default()).await.unwrap();
    assert_eq!(inserted, Inserted::Stored { superseded: vec![], others: 0, begun: false });
    assert_eq!(store.count_open().await.unwrap(), 1);
    let mut command = Commands::get(&store, command.id).await.unwrap().unwrap();
    let flight = Flight {
        resend: Resend::Never,
        awaits: Awaits::Nothing,
        within: Duration::from_secs(50),
        patience: Duration::from_secs(10),
    };
    let now = command.expires.minus(Duration::from_secs(90));
    command.begin(flight, now).unwrap();
    assert!(store.start(&command, 0).await.unwrap(), "it was this one");
    assert!(!store.start(&command, 0).await.unwrap());
}

#[tokio::test]
async fn what_was_appended_is_there_once_when_the_answer_gets_lost() {
    let mut lost = false;
    let (store, _proxy) = behind(move |request, _| {
        let is_append = request.operation == "transactwriteitems";
        if is_append && !std::mem::replace(&mut lost, true) { Fault::Lost } else { Fault::Pass }
    })
    .await;
    store.claim_outbox().await.unwrap();
    let entries = [contract::entry(1, "a"), contract::entry(2, "b")];
    store.append(&entries).await.unwrap();
    assert_eq!(store.load(0, 9).await.unwrap(), entries);
    store.append(&[contract::entry(3, "a")]).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_fails_in_the_middle_is_taken_back() {
    let mut transactions = 0;
    let (store, _proxy) = behind(move |request, _| {
        transactions += usize::from(request.operation == "transactwriteitems");
        let fails = request.operation == "transactwriteitems" && transactions > 1;
        if fails { Fault::Code("ThrottlingException") } else { Fault::Pass }
    })
    .await;
    store.claim_outbox().await.unwrap();
    let entries: Vec<_> = (1..=150).map(|seq| contract::entry(seq, "a")).collect();
    why(store.append(&entries).await.unwrap_err());
    assert!(store.load(0, 999).await.unwrap().is_empty());
}

#[tokio::test]
async fn transactions_in_each_others_way_are_tried_again() {
    let cancelled = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled",
        "CancellationReasons":[{"Code":"TransactionConflict","Message":"busy"},{"Code":"None"},{"Code":"None"}]}"#;
    let (store, proxy) = behind(move |request, number| {
        let is_write = request.operation == "transactwriteitems";
        if is_write && number < 3 { Fault::Answer(400, cancelled.into()) } else { Fault::Pass }
    })
    .await;
    assert_eq!(Registry::insert(&store, &device()).await.unwrap(), Insert::Created);
    assert_eq!(proxy.seen().len(), 4);
}

#[tokio::test]
async fn what_a_batch_read_leaves_out_is_asked_for_again() {
    let mut left_out = false;
    let (store, _proxy) = behind(move |request, _| {
        if request.operation != "batchgetitem" || std::mem::replace(&mut left_out, true) {
            return Fault::Pass;
        }
        let wanted: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        Fault::Answer(
            200,
            serde_json::json!({ "Responses": {}, "UnprocessedKeys": wanted["RequestItems"] }).to_string(),
        )
    })
    .await;
    Registry::insert(&store, &device()).await.unwrap();
    assert_eq!(Registry::version(&store).await.unwrap(), 1);
    assert_eq!(DeadLetters::count(&store).await.unwrap(), 0);
}
