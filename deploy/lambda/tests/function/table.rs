//! DynamoDB throttled, slow, unreachable, with answers that get lost, and SQS that takes nothing: whoever sent is told in
//! time, nothing is accepted that is not kept, and the metrics say so. Not here: what the store does about each
//! (`adapters/store-dynamodb`).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::emulator::Environment;
use crate::process::wait_until;
use crate::proxy::{Fault, Proxy, Request};
use crate::world::{World, accept, counts, metric, status, uplink};

/// What becomes of a request from now on.
type Decide = Box<dyn FnMut(&Request) -> Fault + Send>;

/// A function whose AWS is behind a proxy.
struct Faulty {
    world: World,
    environment: Arc<Environment>,
    decide: Arc<Mutex<Decide>>,
    _proxy: Proxy,
}

/// The longest that a cloud waits for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Faulty {
    async fn new() -> Self {
        let mut world = World::new("").await;
        let decide: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(|_| Fault::Pass)));
        let now = decide.clone();
        let proxy = Proxy::start(&world.cloud.endpoint, move |request, _| now.lock().unwrap()(request)).await;
        world.go_behind(&proxy.address);
        let environment = world.environment().await;
        Self { world, environment, decide, _proxy: proxy }
    }

    fn decide(&self, decide: impl FnMut(&Request) -> Fault + Send + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    fn metric(&self, name: &str) -> f64 {
        metric(std::slice::from_ref(&self.environment), name)
    }

    async fn counts(&self, name: &str, at_least: f64) {
        counts(std::slice::from_ref(&self.environment), name, |count| count >= at_least).await;
    }

    async fn accepted(&self, counter: u64) {
        accept(&self.environment, "d1", counter).await;
    }

    /// Not accepted, said in time, and with the advice to send it again.
    async fn refused(&self, counter: u64) {
        let begun = Instant::now();
        let answer = self.environment.invoke(uplink("d1", counter)).await.answer();
        assert_eq!(answer["statusCode"], 503, "{answer}");
        assert!(answer["headers"]["retry-after"].is_string(), "{answer}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }

    /// It was not accepted, and is when it comes again.
    async fn comes_again(&self, counter: u64) {
        self.decide(|_| Fault::Pass);
        wait_until("it is taken", async || {
            status(self.environment.invoke(uplink("d1", counter)).await) < 300
        })
        .await;
        self.world.hub.has("d1", 1..=counter).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_throttles_is_said_in_time_and_counted() {
    let faulty = Faulty::new().await;
    faulty.accepted(1).await;
    faulty.decide(|_| Fault::Code("ThrottlingException"));
    faulty.refused(2).await;
    faulty.counts("Refused5xx", 1.0).await;
    faulty.comes_again(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_table_is_waited_for() {
    let faulty = Faulty::new().await;
    faulty.accepted(1).await;
    let slow = Duration::from_millis(150);
    faulty.decide(move |_| Fault::Late(slow));
    let begun = Instant::now();
    faulty.accepted(2).await;
    assert!((slow..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    faulty.world.hub.has("d1", 1..=2).await;
    faulty.counts("Delivered", 2.0).await;
    let is_in_it = |handled: f64| handled >= slow.as_secs_f64() * 1000.0;
    counts(std::slice::from_ref(&faulty.environment), "Handled", is_in_it).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_gone_is_said_in_time_and_no_new_environment_starts_without_it() {
    let mut faulty = Faulty::new().await;
    faulty.accepted(1).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    faulty.world.go_behind(&format!("http://{nobody}"));
    let other = faulty.world.environment().await;
    let within = Duration::from_secs(10);
    let ended = other.invoke_within(uplink("d1", 3), within, within).await;
    assert_eq!(status(ended), 504);
    counts(&[other], "StartFailed", |count| count == 1.0).await;

    faulty.world.cloud.server.kill();
    faulty.refused(2).await;
    faulty.counts("Refused5xx", 1.0).await;
    assert_eq!(faulty.world.hub.telemetry()["d1"].len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_whose_answers_are_lost_count_once() {
    let faulty = Faulty::new().await;
    let lost = Arc::new(AtomicUsize::new(0));
    let (count, mut writes) = (lost.clone(), 0);
    faulty.decide(move |request| {
        let is_write = matches!(request.operation.as_str(), "putitem" | "updateitem" | "transactwriteitems");
        if !is_write || !request.body.contains("ConditionExpression") {
            return Fault::Pass;
        }
        writes += 1;
        // Of each: the write, and not what is tried again.
        if writes % 2 == 0 {
            return Fault::Pass;
        }
        count.fetch_add(1, Relaxed);
        Fault::Lost
    });
    faulty.accepted(1).await;
    faulty.accepted(2).await;
    // The id was remembered.
    faulty.accepted(2).await;
    faulty.world.hub.has("d1", 1..=2).await;
    faulty.counts("Delivered", 2.0).await;
    assert!(lost.load(Relaxed) >= 3, "of a device and of two ids");
    assert_eq!((faulty.metric("Delivered"), faulty.metric("Unsettled")), (2.0, 0.0));
    assert_eq!(faulty.metric("ConditionsLost"), 0.0, "its own writes are not somebody else's");
    assert_eq!(faulty.world.hub.telemetry()["d1"].len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_when_neither_the_hub_nor_sqs_takes_it() {
    let mut faulty = Faulty::new().await;
    faulty.accepted(1).await;
    faulty.world.hub.stop();
    faulty.decide(|request| match request.operation.as_str() {
        "sendmessage" => Fault::Code("RequestThrottled"),
        _ => Fault::Pass,
    });
    faulty.refused(2).await;
    faulty.counts("Unavailable", 1.0).await;
    faulty.world.hub.restart().await;
    faulty.decide(|_| Fault::Pass);
    wait_until("it is taken", async || status(faulty.environment.invoke(uplink("d1", 2)).await) < 300).await;
    faulty.world.cloud.drain(std::slice::from_ref(&faulty.environment)).await;
    faulty.world.hub.has("d1", 1..=2).await;
}
