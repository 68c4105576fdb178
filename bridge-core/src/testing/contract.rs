//! What every implementation of the store ports must do. Each function wants a store that holds nothing yet.

mod commands;
mod subscriptions;
mod twins;

use std::time::Duration;

pub use commands::{command, commands};
pub use subscriptions::subscriptions;
pub use twins::twins;

use crate::id::{DeviceId, ExternalId, IdempotencyKey, IntegrationName, MessageId};
use crate::ports::{
    Archive, ArchiveFilter, Archived, Credential, Credentials, DeadLetterFilter, DeadLetters, Dedup,
    DeviceFilter, DeviceRecord, DeviceState, Insert, NewDeadLetter, Outbox, OutboxEntry, Proof, RawRequest,
    Registry, Seq, TokenDigest, Vault,
};
use crate::seal::Sealed;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// An entry of the outbox.
pub fn entry(seq: Seq, lane: &str) -> OutboxEntry {
    let at = Timestamp::from_seconds(1000 + i64::try_from(seq).unwrap()).unwrap();
    OutboxEntry { seq, id: message_id(seq), lane: lane.into(), at, record: vec![7; 10] }
}

/// A message id.
pub fn message_id(number: u64) -> MessageId {
    let integration = IntegrationName::parse("contract").unwrap();
    MessageId::new(&integration, &IdempotencyKey::from_texts(&[&number.to_string()]))
}

/// A device.
pub fn device(id: &str, external: &str) -> DeviceRecord {
    DeviceRecord {
        id: DeviceId::parse(id).unwrap(),
        integration: IntegrationName::parse("farm").unwrap(),
        external: ExternalId::parse(external).unwrap(),
        scope: Some("app".into()),
        name: None,
        hub_id: None,
        codec: None,
        tags: vec!["roof".into()],
        state: DeviceState::Active,
        first_seen: Timestamp::from_seconds(5).unwrap(),
        last_seen: None,
    }
}

/// The outbox keeps entries in order until they are removed, and never forgets how far it was.
pub async fn outbox(store: &dyn Outbox) {
    assert_eq!(store.backlog().await.unwrap(), crate::ports::Backlog::default());
    store.append(&[entry(1, "a"), entry(2, "b"), entry(3, "a")]).await.unwrap();
    store.append(&[]).await.unwrap();
    assert_eq!(store.load(0, 10).await.unwrap(), [entry(1, "a"), entry(2, "b"), entry(3, "a")]);
    assert_eq!(store.load(1, 1).await.unwrap(), [entry(2, "b")]);
    assert!(store.load(3, 10).await.unwrap().is_empty());
    let backlog = store.backlog().await.unwrap();
    assert_eq!(backlog.lanes, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    assert_eq!((backlog.last_seq, backlog.bytes, backlog.oldest), (3, 30, Some(entry(1, "a").at)));
    assert!(store.append(&[entry(4, "a"), entry(2, "b")]).await.is_err(), "a seq is never used twice");
    assert_eq!(store.load(0, 10).await.unwrap().len(), 3, "all or nothing");
    store.remove(&[1, 3, 99]).await.unwrap();
    assert_eq!(store.load(0, 10).await.unwrap(), [entry(2, "b")]);
    store.remove(&[2]).await.unwrap();
    assert_eq!(store.backlog().await.unwrap().last_seq, 3, "the last seq outlives its entry");
}

/// Ids are remembered with their newest time, and forgotten by time.
pub async fn dedup(store: &dyn Dedup) {
    let at = |seconds| Timestamp::from_seconds(seconds).unwrap();
    store.remember(&[(message_id(1), at(10)), (message_id(2), at(20))]).await.unwrap();
    store.remember(&[(message_id(1), at(30)), (message_id(2), at(5))]).await.unwrap();
    assert!(store.seen(message_id(1), at(30), None).await.unwrap());
    assert!(!store.seen(message_id(1), at(31), None).await.unwrap());
    assert!(store.seen(message_id(2), at(20), None).await.unwrap(), "an older time changes nothing");
    assert!(!store.seen(message_id(3), at(0), None).await.unwrap());
    assert_eq!(store.recent(at(0), 1).await.unwrap(), [(message_id(1), at(30))]);
    assert_eq!(store.recent(at(25), 9).await.unwrap().len(), 1);
    store.forget(at(30)).await.unwrap();
    assert!(!store.seen(message_id(2), at(30), None).await.unwrap());
    assert!(store.seen(message_id(1), at(30), None).await.unwrap());
    assert!(
        store.seen(message_id(1), at(30), Some(at(31))).await.unwrap(),
        "only what is known may be left out"
    );
}

/// Uplinks are found by device and time, in the order in which they came, and go by age and by number.
pub async fn archive(store: &dyn Archive) {
    let at = |seconds| Timestamp::from_seconds(seconds).unwrap();
    let uplink = |device: &str, seconds| Archived {
        device: DeviceId::parse(device).unwrap(),
        at: at(seconds),
        record: vec![u8::try_from(seconds).unwrap()],
    };
    store.keep(&[uplink("a", 10), uplink("b", 20)]).await.unwrap();
    store.keep(&[]).await.unwrap();
    store.keep(&[uplink("a", 30), uplink("a", 40)]).await.unwrap();
    let filter = |device: Option<&str>, from, to| ArchiveFilter {
        device: device.map(|device| DeviceId::parse(device).unwrap()),
        from: at(from),
        to: at(to),
    };
    let all = store.uplinks(&filter(None, 0, 99), 0, 9).await.unwrap();
    assert_eq!(all.iter().map(|(_, uplink)| uplink.at).collect::<Vec<_>>(), [at(10), at(20), at(30), at(40)]);
    assert!(all.is_sorted_by_key(|(number, _)| *number));
    let of_a = store.uplinks(&filter(Some("a"), 10, 40), 0, 9).await.unwrap();
    assert_eq!(
        of_a.iter().map(|(_, uplink)| uplink.clone()).collect::<Vec<_>>(),
        [uplink("a", 10), uplink("a", 30)]
    );
    assert_eq!(store.uplinks(&filter(None, 0, 99), u64::MAX, 9).await.unwrap(), []);
    let rest = store.uplinks(&filter(Some("a"), 10, 99), of_a[0].0, 1).await.unwrap();
    assert_eq!(rest, of_a[1..]);
    assert_eq!(store.discard(at(20), 9).await.unwrap(), 1);
    assert_eq!(store.discard(at(0), 1).await.unwrap(), 2);
    assert_eq!(store.uplinks(&filter(None, 0, 99), 0, 9).await.unwrap(), all[3..]);
}

/// External ids are unique within an integration, device ids everywhere.
pub async fn registry(store: &dyn Registry) {
    let first = device("d1", "E1");
    let version = store.version().await.unwrap();
    assert_eq!(store.insert(&first).await.unwrap(), Insert::Created);
    assert_eq!(store.insert(&device("other", "E1")).await.unwrap(), Insert::Exists(first.clone()));
    assert_eq!(store.insert(&device("d1", "E2")).await.unwrap(), Insert::IdTaken(first.clone()));
    let elsewhere =
        DeviceRecord { integration: IntegrationName::parse("city").unwrap(), ..device("d2", "E1") };
    assert_eq!(store.insert(&elsewhere).await.unwrap(), Insert::Created);
    assert_eq!(store.find(&first.integration, &first.external).await.unwrap(), Some(first.clone()));
    assert_eq!(store.find(&first.integration, &ExternalId::parse("none").unwrap()).await.unwrap(), None);
    assert_eq!(store.get(&elsewhere.id).await.unwrap(), Some(elsewhere.clone()));
    assert_eq!(store.version().await.unwrap(), version + 2, "grows with what changed, and only with that");

    let changed = DeviceRecord {
        name: Some("Tank".into()),
        hub_id: Some("h".into()),
        codec: Some("c".into()),
        tags: vec!["roof".into(), "north;south".into()],
        state: DeviceState::Parked,
        ..first.clone()
    };
    assert!(store.update(&changed).await.unwrap());
    assert_eq!(store.get(&first.id).await.unwrap(), Some(changed.clone()));
    assert!(!store.update(&device("nobody", "E9")).await.unwrap());

    let now = Timestamp::from_seconds(100).unwrap();
    let unknown = DeviceId::parse("unknown").unwrap();
    store.touch(&[(first.id.clone(), now), (unknown, now)]).await.unwrap();
    store.touch(&[(first.id.clone(), now.minus(Duration::from_secs(50)))]).await.unwrap();
    assert_eq!(store.get(&first.id).await.unwrap().unwrap().last_seen, Some(now), "never goes back");
    assert_eq!(store.version().await.unwrap(), version + 3, "being heard is no change");

    let list = async |filter: DeviceFilter, after: Option<&DeviceId>, limit| {
        let found = store.list(&filter, after, limit).await.unwrap();
        found.iter().map(|record| record.id.to_string()).collect::<Vec<_>>()
    };
    let all = DeviceFilter::default();
    assert_eq!(list(all.clone(), None, 10).await, ["d1", "d2"]);
    assert_eq!(list(all.clone(), None, 1).await, ["d1"]);
    assert_eq!(list(all.clone(), Some(&first.id), 10).await, ["d2"]);
    assert_eq!(list(DeviceFilter { tag: Some("north;south".into()), ..all.clone() }, None, 9).await, ["d1"]);
    assert_eq!(list(DeviceFilter { state: Some(DeviceState::Active), ..all.clone() }, None, 9).await, ["d2"]);
    let of_city = DeviceFilter { integration: Some(elsewhere.integration.clone()), ..all };
    assert_eq!(list(of_city, None, 9).await, ["d2"]);

    assert!(store.remove(&first.id).await.unwrap());
    assert!(!store.remove(&first.id).await.unwrap());
    assert_eq!(store.insert(&device("d1", "E2")).await.unwrap(), Insert::Created, "the id is free again");
    assert_eq!(store.version().await.unwrap(), version + 5);
}

/// Letters are numbered, found by filter, marked, and removed for good.
pub async fn dead_letters(store: &dyn DeadLetters) {
    let letter = |integration: &str, device: Option<&str>, reason| NewDeadLetter {
        at: Timestamp::from_seconds(9).unwrap(),
        integration: IntegrationName::parse(integration).unwrap(),
        device: device.map(str::to_owned),
        reason,
        detail: "why".into(),
        request: Some(RawRequest {
            method: "POST".into(),
            path_device: Some("x".into()),
            query: "a=1".into(),
            content_type: None,
            body: vec![0, 255],
        }),
        record: None,
    };
    let plain =
        NewDeadLetter { request: None, record: Some(vec![1]), ..letter("city", Some("d"), Reason::Parked) };
    store.bury(&[letter("farm", None, Reason::Unmappable), plain.clone()]).await.unwrap();
    store.bury(&[letter("farm", Some("d"), Reason::Parked)]).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 3);
    let numbers = async |filter: DeadLetterFilter, after, limit| {
        let found = store.list(&filter, after, limit).await.unwrap();
        found.iter().map(|letter| letter.number).collect::<Vec<_>>()
    };
    let all = DeadLetterFilter::default();
    let every = numbers(all.clone(), 0, 10).await;
    assert!(every.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(numbers(all.clone(), every[0], 1).await, every[1..2]);
    let by_device = DeadLetterFilter { device: Some("d".into()), ..all.clone() };
    assert_eq!(numbers(by_device.clone(), 0, 10).await, every[1..]);
    assert_eq!(
        numbers(DeadLetterFilter { reason: Some(Reason::Unmappable), ..all.clone() }, 0, 9).await,
        every[..1]
    );
    let of_farm = DeadLetterFilter { integration: IntegrationName::parse("farm").ok(), ..by_device.clone() };
    assert_eq!(numbers(of_farm, 0, 9).await, every[2..]);
    let one = DeadLetterFilter { number: Some(every[1]), ..all.clone() };
    assert_eq!(store.list(&one, u64::MAX, 9).await.unwrap(), []);
    assert_eq!(store.list(&one, 0, 9).await.unwrap()[0].letter, plain);
    assert_eq!(store.list(&all, 0, 1).await.unwrap()[0].letter, letter("farm", None, Reason::Unmappable));

    assert_eq!(store.mark_for_replay(&by_device).await.unwrap(), 2);
    assert_eq!(store.mark_for_replay(&by_device).await.unwrap(), 0, "marked already");
    assert_eq!(store.marked(1).await.unwrap()[0].number, every[1]);
    store.unmark(every[1], "and again").await.unwrap();
    let marked: Vec<u64> = store.marked(9).await.unwrap().iter().map(|letter| letter.number).collect();
    assert_eq!(marked, every[2..]);
    assert_eq!(store.list(&one, 0, 9).await.unwrap()[0].letter.detail, "and again");

    store.remove(&[every[2], 999]).await.unwrap();
    assert_eq!(store.trim(1).await.unwrap(), 1);
    assert_eq!(numbers(all.clone(), 0, 9).await, every[1..2], "the oldest goes");
    assert_eq!(store.trim(5).await.unwrap(), 0);
    store.bury(&[letter("farm", None, Reason::Unmappable)]).await.unwrap();
    assert!(numbers(all.clone(), every[1], 9).await[0] > every[2], "a number is never used twice");

    let none = DeadLetterFilter { number: Some(u64::MAX), ..all.clone() };
    assert_eq!(numbers(none.clone(), 0, 9).await, [0; 0], "no number is that great");
    assert_eq!((store.mark_for_replay(&none).await, store.remove_matching(&none, 9).await), (Ok(0), Ok(0)));
    assert_eq!(store.remove_matching(&by_device, 9).await.unwrap(), 1);
    assert_eq!(store.remove_matching(&by_device, 9).await.unwrap(), 0);
    store.bury(&[letter("farm", None, Reason::Unmappable)]).await.unwrap();
    let both = numbers(all.clone(), 0, 9).await;
    assert_eq!(store.remove_matching(&all, 1).await.unwrap(), 1);
    assert_eq!(numbers(all.clone(), 0, 9).await, both[1..], "the oldest goes first");
    assert_eq!(store.remove_matching(&all, 9).await.unwrap(), 1);
    assert_eq!(store.count().await.unwrap(), 0);
}

/// A digest belongs to one device; a device may have several; a removed one is gone.
pub async fn credentials(store: &dyn Credentials) {
    let token = |device: &str, token: &str| Credential {
        digest: TokenDigest::of(token.as_bytes()),
        proof: Proof::Token,
        device: DeviceId::parse(device).unwrap(),
        created: Timestamp::from_seconds(7).unwrap(),
    };
    let version = store.version().await.unwrap();
    let (first, mut second, mut other) = (token("d1", "one"), token("d1", "two"), token("d2", "three"));
    second.proof = Proof::Certificate;
    other.proof = Proof::SigningKey(Sealed::from_bytes(vec![1, 2, 3]));
    for credential in [&first, &second, &other] {
        assert!(store.insert(credential).await.unwrap());
    }
    let stolen = Credential { digest: first.digest, ..other.clone() };
    assert!(!store.insert(&stolen).await.unwrap());
    for credential in [&first, &second, &other] {
        assert_eq!(store.find(&credential.digest).await.unwrap().as_ref(), Some(credential));
    }
    assert_eq!(store.find(&TokenDigest::of(b"none")).await.unwrap(), None);
    assert_eq!(store.version().await.unwrap(), version + 3, "grows with what changed, and only with that");

    let sealed = Sealed::from_bytes(vec![4]);
    assert!(store.reseal(&other.digest, &sealed).await.unwrap());
    assert!(!store.reseal(&first.digest, &sealed).await.unwrap(), "a token is not sealed");
    assert!(!store.reseal(&TokenDigest::of(b"none"), &sealed).await.unwrap());
    assert_eq!(store.version().await.unwrap(), version + 4);
    other.proof = Proof::SigningKey(sealed);
    assert_eq!(store.find(&other.digest).await.unwrap().as_ref(), Some(&other));
    let digest = TokenDigest::of_psk_identity(b"d3");
    let mut psk = Credential { digest, proof: Proof::Psk(Sealed::from_bytes(vec![5])), ..token("d3", "") };
    assert!(store.insert(&psk).await.unwrap());
    psk.proof = Proof::Psk(Sealed::from_bytes(vec![6]));
    assert!(store.reseal(&digest, &Sealed::from_bytes(vec![6])).await.unwrap());
    assert_eq!(store.find(&digest).await.unwrap(), Some(psk));
    assert!(store.remove(&digest).await.unwrap());
    let raw = Credential { proof: Proof::RawPublicKey, ..token("d3", "raw") };
    assert!(store.insert(&raw).await.unwrap());
    assert!(!store.reseal(&raw.digest, &Sealed::from_bytes(vec![6])).await.unwrap(), "it is not sealed");
    assert_eq!(store.find(&raw.digest).await.unwrap().as_ref(), Some(&raw));
    assert!(store.remove(&raw.digest).await.unwrap());

    let mut of_d1 = [first.clone(), second.clone()];
    of_d1.sort_by_key(|credential| credential.digest);
    assert_eq!(store.list(Some(&first.device), None, 9).await.unwrap(), of_d1);
    assert_eq!(store.list(None, None, 2).await.unwrap(), of_d1);
    assert_eq!(store.list(None, Some(&of_d1[0]), 9).await.unwrap(), [of_d1[1].clone(), other.clone()]);
    assert_eq!(store.list(Some(&first.device), Some(&of_d1[1]), 9).await.unwrap(), []);

    assert!(store.remove(&other.digest).await.unwrap());
    assert!(!store.remove(&other.digest).await.unwrap());
    assert_eq!(store.find(&other.digest).await.unwrap(), None);
    assert_eq!(store.remove_all(&first.device).await.unwrap(), 2);
    assert_eq!(store.remove_all(&first.device).await.unwrap(), 0);
    assert_eq!(store.list(None, None, 9).await.unwrap(), []);
    assert_eq!(store.version().await.unwrap(), version + 11);
}

/// Sealed secrets are kept by their names.
pub async fn vault(store: &dyn Vault) {
    let sealed = |byte| Sealed::from_bytes(vec![byte; 3]);
    assert_eq!(store.kept("", 9).await.unwrap(), []);
    for (name, byte) in [("a/2", 1), ("b/1", 2), ("a/1", 3), ("a/2", 4)] {
        store.keep(name, &sealed(byte)).await.unwrap();
    }
    let of_a = [("a/1".to_owned(), sealed(3)), ("a/2".to_owned(), sealed(4))];
    assert_eq!(store.kept("a/", 9).await.unwrap(), of_a);
    assert_eq!(store.kept("a/", 1).await.unwrap(), of_a[..1]);
    assert_eq!(store.kept("", 9).await.unwrap().len(), 3);
    assert!(store.forget("a/1").await.unwrap() && !store.forget("a/1").await.unwrap());
    assert_eq!(store.kept("a/", 9).await.unwrap(), of_a[1..]);
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryStore, block_on};
    use super::*;

    #[test]
    fn the_store_in_memory_keeps_the_contract() {
        block_on(outbox(&MemoryStore::default()));
        block_on(dedup(&MemoryStore::default()));
        block_on(archive(&MemoryStore::default()));
        block_on(registry(&MemoryStore::default()));
        block_on(dead_letters(&MemoryStore::default()));
        block_on(commands(&|| Box::new(MemoryStore::default())));
        block_on(credentials(&MemoryStore::default()));
        block_on(subscriptions(&MemoryStore::default()));
        block_on(twins(&MemoryStore::default()));
        block_on(vault(&MemoryStore::default()));
    }
}
