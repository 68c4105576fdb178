//! Several processes on one table: each rule holds whoever writes.

use bridge_core::DeviceId;
use bridge_core::command::{Awaits, Flight, Resend};
use bridge_core::ports::{Commands, Insert, Inserted, Outbox, QueueLimits, Registry, StoreError, Twins};
use bridge_core::testing::contract;
use bridge_core::twin::Twin;
use futures_util::future::join_all;
use std::time::Duration;
use store_dynamodb::{DynamoStore, Settings};

use crate::faults::behind;
use crate::moto::{aws, endpoint, unique};
use crate::proxy::Fault;

#[tokio::test]
async fn of_many_writers_one_wins() {
    let (store, _proxy) = behind(|_, _| Fault::Pass).await;
    let device = DeviceId::parse("d1").unwrap();
    let twin = Twin::default();
    let wins = join_all((0..30).map(|_| store.put(&device, &twin))).await;
    assert_eq!(wins.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(store.counts().conditions_lost, 29);

    let devices: Vec<_> = (0..10).map(|n| contract::device(&format!("d{n}"), "E1")).collect();
    let inserted = join_all(devices.iter().map(|device| Registry::insert(&store, device))).await;
    let created = inserted.iter().filter(|insert| matches!(insert, Ok(Insert::Created))).count();
    let exists = inserted.iter().filter(|insert| matches!(insert, Ok(Insert::Exists(_)))).count();
    assert_eq!((created, exists), (1, 9), "{inserted:?}");
    assert_eq!(Registry::version(&store).await.unwrap(), 1);
}

#[tokio::test]
async fn the_limits_of_a_device_hold_for_all() {
    let (store, _proxy) = behind(|_, _| Fault::Pass).await;
    let limits = QueueLimits { per_device: 3, total: 100 };
    let commands: Vec<_> = (1..=8).map(|number| contract::command(number, "d1")).collect();
    let inserted =
        join_all(commands.iter().map(|command| Commands::insert(&store, command, None, limits))).await;
    let stored = inserted.iter().filter(|one| matches!(one, Ok(Inserted::Stored { .. }))).count();
    assert_eq!(stored, 3, "{inserted:?}");
    assert_eq!(store.count_open().await.unwrap(), 3);

    let device = DeviceId::parse("d1").unwrap();
    let mut open = store.open(&device, 9).await.unwrap();
    let flight = Flight {
        resend: Resend::Never,
        awaits: Awaits::Acknowledgement,
        within: Duration::from_secs(50),
        patience: Duration::from_secs(10),
    };
    for command in &mut open {
        command.begin(flight, command.expires.minus(Duration::from_secs(90))).unwrap();
    }
    let started = join_all(open.iter().map(|command| store.start(command, 0))).await;
    assert_eq!(started.into_iter().filter(|one| *one.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn an_outbox_belongs_to_the_last_bridge_that_claimed_it() {
    let table = unique("table");
    let open = || DynamoStore::new(&aws(endpoint()), Settings::new(&table));
    let (first, second) = (open(), open());
    first.create_table().await.unwrap();
    let unclaimed = first.append(&[contract::entry(1, "a")]).await;
    assert!(
        matches!(&unclaimed, Err(StoreError::Damaged(why)) if why.contains("not claimed")),
        "{unclaimed:?}"
    );
    first.claim_outbox().await.unwrap();
    first.append(&[contract::entry(1, "a")]).await.unwrap();
    second.claim_outbox().await.unwrap();
    let late = first.append(&[contract::entry(2, "a")]).await;
    assert!(matches!(&late, Err(StoreError::Damaged(why)) if why.contains("taken over")), "{late:?}");
    assert_eq!(second.backlog().await.unwrap().last_seq, 1, "nothing of what was answered is lost");
    second.append(&[contract::entry(2, "a")]).await.unwrap();
}
