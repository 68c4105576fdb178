//! What a store of callbacks must do.

use serde_json::json;

use crate::id::DeviceId;
use crate::ports::Subscriptions;
use crate::subscription::{Subscription, SubscriptionKind, Told};
use crate::time::Timestamp;

/// The contract of [`Subscriptions`].
pub async fn subscriptions(store: &dyn Subscriptions) {
    use SubscriptionKind::{C2dMessages, DesiredProperties, Methods};
    let told = |number, mode: &str| {
        let state = json!({ "z": 1.5, "mode": mode }).as_object().unwrap().clone();
        Told { number, state }
    };
    let make = |device: &str, kind, url: &str, told| Subscription {
        device: DeviceId::parse(device).unwrap(),
        kind,
        callback_url: url.into(),
        created: Timestamp::from_seconds(5).unwrap(),
        told,
    };
    let first = make("d1", DesiredProperties, "https://a.example/x?code=1", told(3, "on"));
    let get = async |kind| store.get(&first.device, kind).await.unwrap();
    assert_eq!(get(DesiredProperties).await, None);
    store.put(&first).await.unwrap();
    assert_eq!(get(DesiredProperties).await.as_ref(), Some(&first));
    assert_eq!(get(Methods).await, None, "each kind has its own");

    let later = Timestamp::from_seconds(9).unwrap();
    let moved = make("d1", DesiredProperties, "https://b.example/", Told::default());
    let moved = Subscription { created: later, ..moved };
    store.put(&moved).await.unwrap();
    let is = Subscription { told: first.told.clone(), ..moved.clone() };
    assert_eq!(get(DesiredProperties).await, Some(is), "another URL, and what was told is known");

    assert!(!store.tell(&first, &told(4, "off")).await.unwrap(), "it went to the old URL");
    assert!(store.tell(&moved, &told(4, "off")).await.unwrap());
    assert!(!store.tell(&moved, &told(4, "on")).await.unwrap(), "told already");
    assert!(!store.tell(&moved, &told(2, "on")).await.unwrap(), "never back");
    assert_eq!(get(DesiredProperties).await.unwrap().told, told(4, "off"));
    let nobody = make("nobody", DesiredProperties, "https://b.example/", Told::default());
    assert!(!store.tell(&nobody, &told(9, "on")).await.unwrap());

    for (device, kind) in [("d3", DesiredProperties), ("d2", DesiredProperties), ("d2", C2dMessages)] {
        store.put(&make(device, kind, "http://c.example/", Told::default())).await.unwrap();
    }
    let names = async |kind, after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(|after| DeviceId::parse(after).unwrap());
        let listed = store.list(kind, after.as_ref(), limit).await.unwrap();
        listed.iter().map(|one| one.device.to_string()).collect()
    };
    assert_eq!(names(DesiredProperties, None, 9).await, ["d1", "d2", "d3"]);
    assert_eq!(names(DesiredProperties, Some("d1"), 1).await, ["d2"]);
    assert_eq!(names(C2dMessages, None, 9).await, ["d2"]);

    assert!(store.remove(&first.device, DesiredProperties).await.unwrap());
    assert!(!store.remove(&first.device, DesiredProperties).await.unwrap());
    assert_eq!(names(DesiredProperties, None, 9).await, ["d2", "d3"]);
    assert!(!store.tell(&moved, &told(9, "on")).await.unwrap(), "what was removed does not come back");
}
