//! The outbox on SQS: order per lane, large bodies, messages that are handed out again, SQS away.

use std::time::Duration;

use bridge_core::Timestamp;
use bridge_core::ports::StoreError;
use bridge_core::testing::contract;
use store_dynamodb::{DynamoStore, Queue, Queued, Settings, Waiting};

use crate::faults::hasty;
use crate::moto::{aws, endpoint, fresh, items, new_queue, send};
use crate::proxy::{Fault, Proxy};

/// Long enough for a test, so that nothing is handed out again by itself.
const MINE: Duration = Duration::from_secs(600);
const AT_ONCE: Duration = Duration::ZERO;

fn waiting(number: u64, lane: &str) -> Waiting {
    let entry = contract::entry(number, lane);
    Waiting { id: entry.id, lane: entry.lane, at: entry.at, record: entry.record }
}

async fn open() -> (Queue, DynamoStore) {
    let store = fresh().await;
    (Queue::new(&aws(endpoint()), new_queue(true).await, store.clone()), store)
}

/// What is handed out now; all of it can be read.
async fn take(queue: &Queue) -> Vec<Queued> {
    let taken = queue.take(AT_ONCE, MINE).await.unwrap();
    taken.into_iter().map(Result::unwrap).collect()
}

fn messages(taken: &[Queued]) -> Vec<Waiting> {
    taken.iter().map(|queued| queued.message.clone()).collect()
}

#[tokio::test]
async fn order_is_kept_within_a_lane_and_lanes_do_not_wait_for_each_other() {
    let (queue, _) = open().await;
    queue.check().await.unwrap();
    for (number, lane) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
        queue.put(&waiting(number, lane)).await.unwrap();
    }
    let taken = take(&queue).await;
    let of = |lane: &str| -> Vec<Waiting> {
        messages(&taken).into_iter().filter(|message| message.lane == lane).collect()
    };
    assert_eq!(of("a")[0], waiting(1, "a"));
    assert!(of("a").iter().map(|message| message.at).is_sorted());
    assert_eq!(of("b"), [waiting(3, "b")]);
    // While the first of a lane is handed out and not done, nobody else gets one of the lane.
    assert!(take(&queue).await.iter().all(|queued| queued.message.lane != "a"));
    queue.put(&waiting(5, "c")).await.unwrap();
    assert_eq!(messages(&take(&queue).await), [waiting(5, "c")]);
}

#[tokio::test]
async fn a_lane_is_busy_until_its_last_message_is_done() {
    let (queue, store) = open().await;
    assert!(!queue.is_busy("a").await.unwrap());
    queue.put(&waiting(1, "a")).await.unwrap();
    queue.put(&waiting(2, "a")).await.unwrap();
    assert!(queue.is_busy("a").await.unwrap() && !queue.is_busy("b").await.unwrap());
    let mut left = 2;
    while left > 0 {
        for queued in take(&queue).await {
            assert!(queue.is_busy("a").await.unwrap());
            queue.done(&queued).await.unwrap();
            left -= 1;
        }
    }
    assert!(!queue.is_busy("a").await.unwrap());
    assert!(items(&store).await.iter().all(|item| item["pk"].as_s().unwrap() == "outbox"), "nothing is left");
}

#[tokio::test]
async fn what_is_not_done_is_handed_out_again_with_the_same_id() {
    let (queue, _) = open().await;
    queue.put(&waiting(1, "a")).await.unwrap();
    let first = take(&queue).await;
    queue.give_back(&first[0], AT_ONCE).await.unwrap();
    let again = take(&queue).await;
    assert_eq!((&again[0].message, again[0].times), (&first[0].message, 2));
    assert!(queue.is_busy("a").await.unwrap());
    queue.done(&again[0]).await.unwrap();
    // Done twice, as when an answer was lost.
    queue.settle(&again[0]).await.unwrap();
    assert!(take(&queue).await.is_empty());
}

#[tokio::test]
async fn a_body_that_sqs_does_not_take_is_put_aside() {
    let (queue, store) = open().await;
    for (number, size) in [(1, 190 * 1024), (2, 300 * 1024), (3, 2 << 20)] {
        let message = Waiting { record: vec![number; size], ..waiting(number.into(), "a") };
        queue.put(&message).await.unwrap();
        let taken = take(&queue).await;
        assert_eq!(messages(&taken), [message]);
        queue.done(&taken[0]).await.unwrap();
    }
    assert!(items(&store).await.iter().all(|item| item["pk"].as_s().unwrap() == "outbox"), "nothing is left");
}

#[tokio::test]
async fn the_same_message_again_is_kept_again_with_the_same_id() {
    let (queue, _) = open().await;
    queue.put(&waiting(1, "a")).await.unwrap();
    let taken = take(&queue).await;
    queue.done(&taken[0]).await.unwrap();
    // As an operator does who replays a dead letter.
    queue.put(&waiting(1, "a")).await.unwrap();
    let taken = take(&queue).await;
    assert_eq!(messages(&taken), [waiting(1, "a")]);
    queue.done(&taken[0]).await.unwrap();
    assert!(!queue.is_busy("a").await.unwrap());
}

/// A queue whose requests go through a proxy; the table's do not.
async fn behind(
    decide: impl FnMut(&crate::proxy::Request, usize) -> Fault + Send + 'static,
) -> (Queue, Queue, Proxy) {
    let store = fresh().await;
    let haste = DynamoStore::new(&aws(endpoint()), Settings { table: store.table().to_owned(), ..hasty() });
    let url = new_queue(true).await;
    let proxy = Proxy::start(endpoint(), decide).await;
    (Queue::new(&aws(&proxy.address), &url, haste), Queue::new(&aws(endpoint()), url, store), proxy)
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_kept_once() {
    let mut lost = false;
    let (queue, direct, _proxy) =
        behind(move |_, _| if std::mem::replace(&mut lost, true) { Fault::Pass } else { Fault::Lost }).await;
    queue.put(&waiting(1, "a")).await.unwrap();
    let taken = take(&direct).await;
    direct.done(&taken[0]).await.unwrap();
    assert!(take(&direct).await.is_empty());
}

#[tokio::test]
async fn nothing_is_accepted_when_sqs_is_away() {
    for fault in [Fault::Code("RequestThrottled"), Fault::Silence, Fault::Code("ServiceUnavailable")] {
        let (queue, direct, _proxy) = behind(move |_, _| fault.clone()).await;
        let error = queue.put(&waiting(1, "a")).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        // The lane counts as busy: safe, and mended by the next message that is delivered through the queue.
        assert!(direct.is_busy("a").await.unwrap());
        let later = waiting(1000, "a");
        direct.put(&later).await.unwrap();
        let taken = take(&direct).await;
        assert_eq!(messages(&taken), [later]);
        direct.done(&taken[0]).await.unwrap();
        assert!(!direct.is_busy("a").await.unwrap());
    }
}

#[tokio::test]
async fn foreign_messages_and_queues_are_named() {
    let (_, store) = open().await;
    let aws = aws(endpoint());
    let standard = Queue::new(&aws, new_queue(false).await, store.clone());
    let error = standard.check().await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("FIFO")), "{error}");
    let missing = Queue::new(&aws, format!("{}/123456789012/none.fifo", endpoint()), store.clone());
    let error = missing.put(&waiting(1, "a")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("does not exist")), "{error}");

    let url = new_queue(true).await;
    let queue = Queue::new(&aws, &url, store);
    send(&url, "hello").await;
    let taken = queue.take(AT_ONCE, MINE).await.unwrap();
    let unread = taken[0].as_ref().unwrap_err();
    let error = &unread.error;
    assert!(matches!(error, StoreError::Damaged(why) if why.contains("not of this bridge")), "{error}");
    queue.discard(&unread.receipt).await.unwrap();
    let gone = r#"{"v":1,"id":"00000000000000000000000000000007","lane":"a","at":5,"record":{"name":"n","parts":1}}"#;
    let error = queue.open(gone, "r", 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("put aside")), "{error}");
    assert_eq!(waiting(1, "a").at, Timestamp::from_seconds(1001).unwrap());
}
