//! What a store of the states of devices must do.

use serde_json::json;

use crate::id::DeviceId;
use crate::measurement::Measurement;
use crate::ports::Twins;
use crate::time::Timestamp;
use crate::twin::{Twin, TwinLimits};

/// The contract of [`Twins`].
pub async fn twins(store: &dyn Twins) {
    let id = |text| DeviceId::parse(text).unwrap();
    let (limits, at) = (TwinLimits::default(), Timestamp::from_seconds(5).unwrap());
    let d1 = id("d1");
    assert_eq!(store.get(&d1).await.unwrap(), None);

    let mut twin = Twin::default();
    twin.report(&[Measurement::new("z", 1.5).with_unit("Cel"), Measurement::new("a", "x")], at, at, &limits)
        .unwrap();
    assert!(store.put(&d1, &twin).await.unwrap());
    assert!(!store.put(&d1, &twin).await.unwrap(), "one is there already");
    twin.version = 1;
    assert_eq!(store.get(&d1).await.unwrap().as_ref(), Some(&twin), "as it was written, with its version");
    let names: Vec<String> = store.get(&d1).await.unwrap().unwrap().reported.keys().cloned().collect();
    assert_eq!(names, ["z", "a"], "the order of the members is kept");
    assert!(store.pending(None, 9).await.unwrap().is_empty(), "nothing is wanted");

    let other = twin.clone();
    twin.desire(json!({ "mode": "on", "n": { "x": [1, null] } }).as_object().unwrap(), at, &limits).unwrap();
    assert!(store.put(&d1, &twin).await.unwrap());
    assert!(!store.put(&d1, &other).await.unwrap(), "the slower of two writers has to look again");
    assert!(!store.put(&d1, &other.at_version(7)).await.unwrap());

    let mut wanted = Twin::default();
    wanted.desire(json!({ "mode": "on" }).as_object().unwrap(), at, &limits).unwrap();
    for device in ["d3", "d2"] {
        assert!(store.put(&id(device), &wanted).await.unwrap());
    }
    assert_eq!(store.pending(None, 9).await.unwrap(), [d1.clone(), id("d2"), id("d3")]);
    assert_eq!(store.pending(Some(&d1), 1).await.unwrap(), [id("d2")]);
    wanted.version = 1;
    wanted.report(&[Measurement::new("mode", "on")], at, at, &limits).unwrap();
    assert!(store.put(&id("d2"), &wanted).await.unwrap());
    assert_eq!(store.pending(None, 9).await.unwrap(), [d1.clone(), id("d3")], "what is reported is done");

    assert!(store.remove(&d1).await.unwrap());
    assert!(!store.remove(&d1).await.unwrap());
    assert_eq!(store.get(&d1).await.unwrap(), None);
    assert_eq!(store.pending(None, 9).await.unwrap(), [id("d3")]);
    assert!(!store.put(&d1, &twin).await.unwrap(), "what was removed does not come back");
}
