//! Sources that keep the bridge busy: every device sends one uplink after the other, each until it is answered 2xx, as its
//! cloud would. Not here: what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::world::{NoAnswer, World, send, wait_until};

/// Devices that send at once.
pub const DEVICES: u64 = 16;

/// A load under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    tasks: JoinSet<(String, Sent)>,
}

/// What one device knows of its uplinks, by their counters.
#[derive(Debug, Default)]
pub struct Sent {
    /// Answered 2xx.
    pub accepted: BTreeSet<u64>,
    /// How often their answer was lost.
    pub lost: BTreeMap<u64, usize>,
}

impl Load {
    /// Begins.
    pub fn start(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for device in 0..DEVICES {
            let (http, stop, accepted) = (world.http, stop.clone(), accepted.clone());
            tasks.spawn(async move {
                let device = format!("device-{device}");
                let mut sent = Sent::default();
                for counter in 1.. {
                    while !stop.load(SeqCst) {
                        let answer = send(http, &device, counter).await;
                        match answer {
                            Ok(200..=299) => {
                                sent.accepted.insert(counter);
                                accepted.fetch_add(1, SeqCst);
                                break;
                            }
                            Ok(503) | Err(_) => {}
                            Ok(other) => panic!("answered {other}"),
                        }
                        if answer == Err(NoAnswer::Lost) {
                            *sent.lost.entry(counter).or_default() += 1;
                        }
                        // As its cloud would: a little later, again.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    if stop.load(SeqCst) {
                        break;
                    }
                }
                (device, sent)
            });
        }
        Self { stop, accepted, tasks }
    }

    /// Waits until so many more were accepted.
    pub async fn accepts(&self, more: u64) {
        let goal = self.accepted.load(SeqCst) + more;
        wait_until("uplinks are accepted", async || self.accepted.load(SeqCst) >= goal).await;
    }

    /// Lets every device wait for its last answer; what it knows then.
    pub async fn end(self) -> BTreeMap<String, Sent> {
        self.stop.store(true, SeqCst);
        self.tasks.join_all().await.into_iter().collect()
    }
}
