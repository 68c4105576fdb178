//! Tests of [`super`] over a fake hub and a clock that only moves when told.

use bridge_core::testing::{FakeHub, ManualClock};

use super::*;
use crate::samples::message;

struct World {
    hub: Arc<FakeHub>,
    clock: Arc<ManualClock>,
    links: Arc<Links>,
}

const KEEP_ALIVE: Duration = Duration::from_secs(30);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn now() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

impl World {
    fn new() -> Self {
        let (hub, clock) = (Arc::new(FakeHub::default()), Arc::new(ManualClock::default()));
        let links = Arc::new(Links::new(hub.clone(), clock.clone(), LinkRules::new(KEEP_ALIVE)));
        Self { hub, clock, links }
    }

    /// A connection that comes up at once.
    async fn up(&self) -> Fresh {
        assert!(self.links.fresh(now()).await.is_none(), "nobody has connected yet");
        let link = *self.hub.open_links().last().unwrap();
        self.links.link_up(link, 2);
        self.links.fresh(soon()).await.unwrap()
    }

    async fn publish(&self, fresh: &Fresh) -> Option<Flying> {
        self.links.publish(fresh, Arc::new(message(1, "d1")), now()).await
    }

    fn token(&self) -> Token {
        self.hub.take().pop().unwrap().1
    }
}

#[tokio::test]
async fn a_connection_is_trusted_for_half_the_keep_alive_by_wall_clock() {
    let world = World::new();
    let fresh = world.up().await;
    assert_ne!(fresh.id, LinkId(0), "link 0 speaks for the whole bridge");
    world.clock.advance(KEEP_ALIVE / 2);
    assert_eq!(world.links.fresh(soon()).await.unwrap().id, fresh.id);
    let flying = world.publish(&fresh).await.unwrap();
    world.links.acknowledged(&[world.token()]);
    assert_eq!(world.links.answer(flying, soon()).await, Answer::Taken);
    // The acknowledgement was a word of the hub.
    world.clock.advance(KEEP_ALIVE / 2);
    assert_eq!(world.links.fresh(soon()).await.unwrap().id, fresh.id);
    world.clock.advance(Duration::from_millis(1));
    assert!(world.links.fresh(now()).await.is_none());
    assert_eq!(world.links.counts(), (2, 1));
    assert!(world.publish(&fresh).await.is_none(), "the old one is not used any more");
    let open = world.hub.open_links();
    assert!(open.len() == 1 && open[0] != fresh.id);
}

#[tokio::test]
async fn a_half_open_connection_is_not_used_after_an_hour_in_the_freezer() {
    let world = World::new();
    let fresh = world.up().await;
    // The hub has long hung up, and nobody has said so.
    world.clock.advance(Duration::from_secs(3600));
    assert!(world.links.fresh(now()).await.is_none());
    assert!(world.publish(&fresh).await.is_none());
    assert_eq!(world.links.counts(), (2, 1));
    world.links.link_up(*world.hub.open_links().last().unwrap(), 2);
    let again = world.links.fresh(soon()).await.unwrap();
    assert_ne!(again.id, fresh.id);
    let flying = world.publish(&again).await.unwrap();
    world.links.acknowledged(&[world.token()]);
    assert_eq!(world.links.answer(flying, soon()).await, Answer::Taken);
}

#[tokio::test]
async fn a_lost_connection_ends_what_was_on_it() {
    let world = World::new();
    let fresh = world.up().await;
    let flying = world.publish(&fresh).await.unwrap();
    world.links.link_down(fresh.id, "gone");
    assert_eq!(world.links.answer(flying, soon()).await, Answer::Unknown);
    assert!(world.publish(&fresh).await.is_none());
}

#[tokio::test]
async fn a_connection_without_an_answer_in_time_is_not_used_again() {
    let world = World::new();
    let fresh = world.up().await;
    let flying = world.publish(&fresh).await.unwrap();
    assert_eq!(world.links.answer(flying, now()).await, Answer::Unknown);
    assert!(world.publish(&fresh).await.is_none());
    assert!(world.hub.open_links().is_empty());
}

#[tokio::test]
async fn room_is_given_back_with_the_answer() {
    let world = World::new();
    let fresh = world.up().await;
    let first = world.publish(&fresh).await.unwrap();
    let token = world.token();
    let _second = world.publish(&fresh).await.unwrap();
    assert!(world.publish(&fresh).await.is_none(), "the window is two");
    world.links.refused(token, HubRefusal::Later("busy".into()));
    assert!(world.publish(&fresh).await.is_some());
    let answer = world.links.answer(first, soon()).await;
    assert_eq!(answer, Answer::Refused(HubRefusal::Later("busy".into())));
}

#[tokio::test]
async fn after_a_failure_nobody_waits_for_a_while() {
    let world = World::new();
    assert!(world.links.fresh(now()).await.is_none());
    let begun = Instant::now();
    assert!(world.links.fresh(soon()).await.is_none());
    assert!(begun.elapsed() < Duration::from_secs(5), "it did not wait");
    // It comes up all the same.
    world.links.link_up(world.hub.open_links()[0], 1);
    assert!(world.links.fresh(soon()).await.is_some());
}

#[tokio::test]
async fn another_hub_takes_over() {
    let world = World::new();
    let fresh = world.up().await;
    let other = Arc::new(FakeHub::default());
    world.links.replace(other.clone());
    assert!(world.hub.open_links().is_empty());
    assert!(world.links.fresh(now()).await.is_none());
    assert_eq!(other.open_links().len(), 1);
    assert!(world.publish(&fresh).await.is_none());
}
