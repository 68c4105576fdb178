//! The contract that every store keeps, and what is special about this one: large values, long lists, large batches.

use std::cell::RefCell;

use bridge_core::ports::{
    Archive, ArchiveFilter, Archived, DeadLetterFilter, DeadLetters, DeviceFilter, NewDeadLetter, Outbox,
    OutboxEntry, RawRequest, Registry,
};
use bridge_core::testing::contract;
use bridge_core::{DeviceId, IntegrationName, Reason, Timestamp};

use crate::moto::{fresh, items};

#[tokio::test]
async fn it_keeps_the_contract() {
    contract::outbox(&fresh().await).await;
    contract::dedup(&fresh().await).await;
    contract::archive(&fresh().await).await;
    contract::registry(&fresh().await).await;
    contract::dead_letters(&fresh().await).await;
    contract::credentials(&fresh().await).await;
    contract::twins(&fresh().await).await;
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(fresh().await);
    }
    let stores = RefCell::new(stores);
    contract::commands(&|| Box::new(stores.borrow_mut().pop().expect("a store for each part"))).await;
}

#[tokio::test]
async fn values_larger_than_an_item_are_kept_in_parts() {
    let store = fresh().await;
    let large: Vec<u8> = (0..900_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let entry = OutboxEntry { record: large.clone(), ..contract::entry(1, "a") };
    store.append(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(store.load(0, 9).await.unwrap(), [entry]);
    assert_eq!(store.backlog().await.unwrap().bytes, 900_000);
    Outbox::remove(&store, &[1]).await.unwrap();

    let at = Timestamp::from_seconds(9).unwrap();
    let letter = NewDeadLetter {
        at,
        integration: IntegrationName::parse("farm").unwrap(),
        device: None,
        reason: Reason::Unmappable,
        detail: "d".into(),
        request: Some(RawRequest { method: "POST".into(), body: large.clone(), ..RawRequest::default() }),
        record: Some(vec![1; 200_000]),
    };
    store.bury(std::slice::from_ref(&letter)).await.unwrap();
    let letters = DeadLetters::list(&store, &DeadLetterFilter::default(), 0, 9).await.unwrap();
    assert_eq!(letters.iter().map(|found| &found.letter).collect::<Vec<_>>(), [&letter]);
    assert_eq!(store.trim(0).await.unwrap(), 1);

    let uplink = Archived { device: DeviceId::parse("d1").unwrap(), at, record: large };
    store.keep(std::slice::from_ref(&uplink)).await.unwrap();
    let all = ArchiveFilter {
        device: None,
        from: Timestamp::EPOCH,
        to: at.plus(std::time::Duration::from_secs(1)),
    };
    assert_eq!(store.uplinks(&all, 0, 9).await.unwrap()[0].1, uplink);
    assert_eq!(store.discard(at, 0).await.unwrap(), 1);
    let left = items(&store).await.into_iter().filter(|item| item["pk"].as_s().unwrap().starts_with("part#"));
    assert_eq!(left.count(), 0, "no part is left");
}

#[tokio::test]
async fn batches_larger_than_a_transaction_are_stored_whole() {
    let store = fresh().await;
    let entries: Vec<_> = (1..=150).map(|seq| contract::entry(seq, "a")).collect();
    store.append(&entries).await.unwrap();
    assert_eq!(store.load(0, 999).await.unwrap(), entries);
    assert_eq!(store.load(100, 50).await.unwrap(), entries[100..150]);
    // The last of them is there already: none of the others stays.
    let again: Vec<_> =
        (151..=260).map(|seq| contract::entry(seq, "a")).chain([entries[149].clone()]).collect();
    store.append(&again).await.unwrap_err();
    assert_eq!(store.load(0, 999).await.unwrap(), entries);
}

#[tokio::test]
async fn long_lists_come_in_order_and_in_pages() {
    let store = fresh().await;
    let mut ids: Vec<String> = (0..60).map(|n| format!("device-{:03}", n * 7 % 60)).collect();
    for id in &ids {
        Registry::insert(&store, &contract::device(id, id)).await.unwrap();
    }
    ids.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = Registry::list(&store, &DeviceFilter::default(), after.as_ref(), 16).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        listed.extend(page.into_iter().map(|device| device.id.to_string()));
    }
    assert_eq!(listed, ids);
    assert_eq!(Registry::version(&store).await.unwrap(), 60);
}
