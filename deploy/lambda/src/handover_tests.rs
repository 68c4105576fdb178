//! Tests of [`super`] over a hub and an outbox that do what they are told.

use bridge_core::ports::{Hub, HubEvents, LinkId, StoreError, Token};
use bridge_core::testing::ManualClock;

use super::*;
use crate::links::LinkRules;
use crate::samples::message;

/// What the hub does with the publishes to come.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    Refuses,
    Silent,
    Away,
}

struct MoodyHub {
    mood: Mutex<Mood>,
    links: Mutex<Option<Arc<Links>>>,
    seen: Mutex<Vec<Arc<Message>>>,
}

impl MoodyHub {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn say(&self, what: impl FnOnce(&Links) + Send + 'static) {
        let links = self.links.lock().unwrap().clone().unwrap();
        // Never from within the call: the caller holds its lock.
        tokio::spawn(async move { what(&links) });
    }
}

impl Hub for MoodyHub {
    fn open(&self, link: LinkId) {
        if self.mood() != Mood::Away {
            self.say(move |links| links.link_up(link, 10));
        }
    }

    fn publish(&self, _link: LinkId, token: Token, message: Arc<Message>) {
        match self.mood() {
            Mood::Takes => {
                self.seen.lock().unwrap().push(message);
                self.say(move |links| links.acknowledged(&[token]));
            }
            Mood::Refuses => {
                self.say(move |links| links.refused(token, HubRefusal::Never("too large".into())));
            }
            Mood::Silent | Mood::Away => {}
        }
    }

    fn close(&self, _link: LinkId) {}
}

#[derive(Default)]
struct Shelf {
    kept: Mutex<Vec<Waiting>>,
    broken: std::sync::atomic::AtomicBool,
}

impl Shelf {
    fn fault(&self) -> StoreResult<()> {
        match self.broken.load(Relaxed) {
            true => Err(StoreError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

impl SharedOutbox for Shelf {
    fn is_busy<'a>(&'a self, lane: &'a str) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async move {
            self.fault()?;
            Ok(self.kept.lock().unwrap().iter().any(|message| message.lane == lane))
        })
    }

    fn put<'a>(&'a self, message: &'a Waiting) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            self.fault()?;
            self.kept.lock().unwrap().push(message.clone());
            Ok(())
        })
    }
}

struct World {
    hub: Arc<MoodyHub>,
    shelf: Arc<Shelf>,
    handover: Handover,
}

fn world(mood: Mood) -> World {
    let clock = Arc::new(ManualClock::default());
    let hub = MoodyHub { mood: Mutex::new(mood), links: Mutex::default(), seen: Mutex::default() };
    let (hub, shelf) = (Arc::new(hub), Arc::new(Shelf::default()));
    let links = Arc::new(Links::new(hub.clone(), clock.clone(), LinkRules::new(Duration::from_secs(30))));
    *hub.links.lock().unwrap() = Some(links.clone());
    let config = HandoverConfig { ack_wait: Duration::from_millis(50), outbox_first: false, max_waiting: 3 };
    let handover = Handover::new(config, links, shelf.clone(), clock, Handle::current());
    World { hub, shelf, handover }
}

impl World {
    fn submit(&self, number: u64, lane: &str) -> oneshot::Receiver<Outcome> {
        self.handover.submit(Arc::new(message(number, lane)))
    }

    fn kept(&self) -> usize {
        self.shelf.kept.lock().unwrap().len()
    }
}

#[tokio::test]
async fn the_hub_or_the_outbox_has_it_before_the_answer() {
    let world = world(Mood::Takes);
    assert_eq!(world.submit(1, "a").await, Ok(Outcome::Delivered));
    *world.hub.mood.lock().unwrap() = Mood::Silent;
    assert_eq!(world.submit(2, "a").await, Ok(Outcome::Stored));
    assert_eq!(world.kept(), 1);
    *world.hub.mood.lock().unwrap() = Mood::Refuses;
    assert_eq!(world.submit(3, "b").await, Ok(Outcome::Refused("too large".into())));
    world.shelf.broken.store(true, Relaxed);
    assert_eq!(world.submit(4, "b").await, Ok(Outcome::Unavailable));
    assert!(world.handover.store_error().is_some());
    let handed = Handed { delivered: 1, stored: 1, refused: 1, unavailable: 1 };
    assert_eq!(world.handover.handed(), handed);
    assert_eq!(world.handover.stats().waiting, 0);
}

#[tokio::test]
async fn nothing_overtakes_what_waits() {
    let world = world(Mood::Away);
    assert_eq!(world.submit(1, "a").await, Ok(Outcome::Stored));
    *world.hub.mood.lock().unwrap() = Mood::Takes;
    let (second, third) = (world.submit(2, "a"), world.submit(3, "a"));
    assert_eq!((second.await, third.await), (Ok(Outcome::Stored), Ok(Outcome::Stored)));
    let kept: Vec<_> = world.shelf.kept.lock().unwrap().iter().map(|kept| kept.id).collect();
    assert_eq!(kept, [1, 2, 3].map(|number| message(number, "a").id));
    assert!(world.hub.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn more_than_may_wait_are_turned_away() {
    let world = world(Mood::Silent);
    let answers: Vec<_> = (1..=4).map(|number| world.submit(number, "a")).collect();
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Unavailable).count(), 1);
    assert_eq!(world.kept(), 3);
}
