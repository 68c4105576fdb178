//! The function: an event in, its answer out, within the time of whoever waits for it. What has to outlive the answer is at
//! the hub, in SQS or in the table before. Not here: the runtime (`main.rs`), and each handler's work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use app::config::{Broker, Config, Durability};
use app::function::{Arrived, Parts};
use app::{App, SystemClock};
use axum::response::IntoResponse;
use bridge_core::Timestamp;
use bridge_core::ports::Clock;
use http_body_util::BodyExt;
use lambda_runtime::{Context, Diagnostic};
use serde_json::{Value, json};
use store_dynamodb::{Aws, DynamoStore, Queue};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tower::ServiceExt;
use webhook::receiver::Problem;

use crate::configuration::{self, Loaded};
use crate::drain::Drain;
use crate::event::{Event, SqsRecord};
use crate::handover::{Handed, Handover, HandoverConfig};
use crate::http_event::{self, HttpEvent};
use crate::links::{LinkRules, Links};
use crate::metrics::{self, Measures};
use crate::remote::Remote;
use crate::settings::Settings;

/// Reads an environment variable.
pub type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The function. Cheap to clone; takes several events at once.
#[derive(Clone)]
pub struct Function(Arc<Inner>);

struct Inner {
    settings: Settings,
    env: Env,
    remote: Remote,
    app: App,
    store: Arc<DynamoStore>,
    links: Arc<Links>,
    handover: Handover,
    drain: Drain,
    clock: SystemClock,
    /// Makes the client ids of this execution environment its own.
    environment: String,
    state: Mutex<State>,
    reported: std::sync::Mutex<Reported>,
}

/// What is looked at again from time to time, by wall clock.
struct State {
    hub: app::config::Hub,
    is_remote: bool,
    loaded: Timestamp,
    refreshed: Timestamp,
    heard: Timestamp,
}

/// What the metrics have been told so far.
#[derive(Default)]
struct Reported {
    handed: Handed,
    links: (u64, u64),
    store: store_dynamodb::Counts,
}

/// Why an event has no answer.
#[derive(Debug)]
pub struct Failure {
    kind: &'static str,
    message: String,
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.kind.into(), error_message: failure.message }
    }
}

/// A cloud gives up after 5 seconds at the earliest (The Things Stack, ChirpStack), counted from its own request.
const WEBHOOK: Duration = Duration::from_millis(4200);
/// API Gateway gives up after 30 seconds; devices may wait that long for news.
const REQUEST: Duration = Duration::from_secs(28);
/// What is kept of the function's own time-out for the answer itself.
const MARGIN: Duration = Duration::from_millis(500);
/// The age of a request that is believed.
const OLDEST: Duration = Duration::from_secs(10);
/// How often the bridge is opened when the table does not answer: within the 10 seconds that Lambda gives.
const START_ATTEMPTS: u32 = 3;
/// At least so much is left for settling when the work was slow.
const SETTLE: Duration = Duration::from_millis(200);
/// How long caches of devices and tokens are used.
const CACHED: Duration = Duration::from_secs(2);
/// How often it is written when devices were last heard.
const NOTE_HEARD: Duration = Duration::from_secs(10);
/// A refused secret has the secrets read again when they are older than that.
const ROTATED: Duration = Duration::from_secs(10);
/// How long reading a configuration anew may take.
const RELOAD: Duration = Duration::from_millis(1500);
/// After it failed, it is tried again then.
const RELOAD_AGAIN: Duration = Duration::from_secs(30);

impl Function {
    /// Reads the configuration and opens the bridge. Nothing is said to the hub yet.
    ///
    /// # Errors
    /// What the operator has to mend, or what AWS did not answer.
    pub async fn start(env: Env) -> anyhow::Result<Self> {
        let settings = Settings::read(&*env)?;
        let aws = Aws::from_environment(None).await;
        let remote = Remote::new(aws.clone())?;
        let Loaded { config, is_remote } = configuration::load(&settings, &remote, &*env).await?;
        crate::log::start(&config)?;
        ensure!(
            matches!(config.hub.broker, Broker::Remote(_)),
            "a function has no embedded broker: set hub.url in the configuration"
        );
        let clock = SystemClock;
        let store = DynamoStore::new(&aws, store_settings(&settings, &config));
        let queue = Queue::new(&aws, &settings.queue_url, store.clone());
        let environment = format!("{:08x}", fastrand::u32(..));
        let hub = Arc::new(app::mqtt_hub(&config, client_id(&config, &environment))?);
        let links = Arc::new(Links::new(hub.clone(), Arc::new(clock), LinkRules::new(config.hub.keep_alive)));
        hub.start(links.clone());
        let handover_config = HandoverConfig {
            ack_wait: config.delivery.ack_wait,
            outbox_first: config.delivery.durability == Durability::DiskFirst,
            max_waiting: config.delivery.max_waiting,
        };
        let outbox = Arc::new(queue.clone());
        let handover =
            Handover::new(handover_config, links.clone(), outbox, Arc::new(clock), Handle::current());
        let store = Arc::new(store);
        let mut attempts = 1..=START_ATTEMPTS;
        let app = loop {
            let parts = Parts { store: store.clone(), delivery: Arc::new(handover.clone()) };
            match App::open_function(&config, parts).await {
                Ok(app) => break app,
                Err(error) if attempts.next() == Some(START_ATTEMPTS) => return Err(error),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the bridge does not open; once more");
                }
            }
        };
        let dead_letters = app.dead_letters().clone();
        let drain = Drain { queue, links: links.clone(), dead_letters, clock: Arc::new(clock) };
        let now = clock.wall();
        let state = State { hub: config.hub.clone(), is_remote, loaded: now, refreshed: now, heard: now };
        Ok(Self(Arc::new(Inner {
            settings,
            env,
            remote,
            app,
            store,
            links,
            handover,
            drain,
            clock,
            environment,
            state: Mutex::new(state),
            reported: std::sync::Mutex::default(),
        })))
    }

    /// Answers one event, and writes its metrics.
    ///
    /// # Errors
    /// When the event is none of ours, or its source shall send it again.
    pub async fn handle(&self, event: Value, context: &Context) -> Result<Value, Failure> {
        let inner = &self.0;
        let begun = Instant::now();
        let left = Duration::from_millis(context.deadline).saturating_sub(Duration::from_millis(
            u64::try_from(inner.clock.wall().as_millis()).unwrap_or(0),
        ));
        let until = begun + left.saturating_sub(MARGIN);
        let mut measures = Measures::default();
        let (kind, result) = match Event::parse(event) {
            Ok(event) => {
                let kind = event.kind();
                (kind, self.dispatch(event, &context.request_id, until, &mut measures).await)
            }
            Err(message) => {
                tracing::warn!(message, "an event was refused");
                measures.count("ForeignEvents", 1);
                ("foreign", Err(Failure { kind: "ForeignEvent", message }))
            }
        };
        measures.count("Failures", u64::from(result.is_err()));
        measures.milliseconds("Handled", begun.elapsed().as_secs_f64() * 1000.0);
        inner.report(&mut measures);
        let names = (inner.settings.namespace.as_str(), inner.settings.function.as_str());
        metrics::write(&measures.line(inner.clock.wall().as_millis(), names, kind, &context.request_id));
        result
    }

    async fn dispatch(
        &self,
        event: Event,
        request: &str,
        until: Instant,
        measures: &mut Measures,
    ) -> Result<Value, Failure> {
        let inner = &self.0;
        match event {
            Event::Http(event) => Ok(self.http(&event, until, measures).await),
            Event::Sqs(records) => {
                inner.look_again(inner.settings.refresh, measures).await;
                Ok(inner.drain(&records, until, measures).await)
            }
            Event::Scheduled => {
                inner.look_again(inner.settings.refresh, measures).await;
                let done =
                    tokio::time::timeout_at(until.into(), inner.app.keep_house()).await.unwrap_or(false);
                measures.count("HousekeepingFailed", u64::from(!done));
                Ok(json!({ "done": done }))
            }
            Event::Topic { topic, payload } => {
                inner.look_again(inner.settings.refresh, measures).await;
                let arrived =
                    tokio::time::timeout_at(until.into(), inner.app.arrive(&topic, payload, request));
                let arrived = arrived.await.unwrap_or(Arrived::Later);
                self.settle(until, measures).await;
                match arrived {
                    Arrived::Taken => {
                        measures.count("Commands", 1);
                        Ok(json!({ "taken": true }))
                    }
                    Arrived::Later => Err(Failure {
                        kind: "Unavailable",
                        message: "What came by the topic could not be kept; send it again.".into(),
                    }),
                    Arrived::Foreign => {
                        measures.count("ForeignEvents", 1);
                        let message = "The topic is neither one of commands nor one of desired properties.";
                        Err(Failure { kind: "ForeignEvent", message: message.into() })
                    }
                }
            }
            Event::Command(command) => {
                inner.look_again(inner.settings.refresh, measures).await;
                self.command(&command, request, until, measures).await
            }
        }
    }

    /// A request for the router.
    async fn http(&self, event: &HttpEvent, until: Instant, measures: &mut Measures) -> Value {
        let inner = &self.0;
        let is_webhook = event.path().contains("/webhooks/");
        let patience = if is_webhook { WEBHOOK } else { REQUEST };
        let patience = patience.saturating_sub(event.age(inner.clock.wall(), OLDEST));
        let until = until.min(Instant::now() + patience);
        let work = async {
            inner.look_again(inner.settings.refresh, measures).await;
            let answer = inner.route(event).await;
            // Perhaps the secret was rotated, and this function has the old one.
            if answer.0.status == http::StatusCode::UNAUTHORIZED && inner.look_again(ROTATED, measures).await
            {
                return inner.route(event).await;
            }
            answer
        };
        let answered = tokio::time::timeout_at(until.into(), work).await;
        let (parts, body) = match answered {
            Ok(answer) => answer,
            Err(_) => {
                measures.count("AnsweredLate", 1);
                tracing::warn!(
                    "a request could not be answered in time; its sender was told to send it again"
                );
                split(late()).await
            }
        };
        measures.count("Requests", 1);
        measures.count("Refused4xx", u64::from(parts.status.is_client_error()));
        measures.count("Refused5xx", u64::from(parts.status.is_server_error()));
        self.settle(until, measures).await;
        http_event::answer(&parts, &body)
    }

    /// A command of somebody who may invoke the function.
    async fn command(
        &self,
        command: &Value,
        request: &str,
        until: Instant,
        measures: &mut Measures,
    ) -> Result<Value, Failure> {
        let body = command.to_string();
        let taken = tokio::time::timeout_at(until.into(), self.0.app.command(body.as_bytes(), request)).await;
        let Ok(response) = taken else {
            let message = "The command could not be kept in time; send it again.".into();
            return Err(Failure { kind: "Unavailable", message });
        };
        let (parts, body) = split(response).await;
        self.settle(until, measures).await;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if parts.status.is_server_error() {
            let message =
                body.get("detail").and_then(Value::as_str).unwrap_or("The command could not be kept.");
            return Err(Failure { kind: "Unavailable", message: message.to_owned() });
        }
        measures.count(if parts.status.is_success() { "Commands" } else { "CommandsRefused" }, 1);
        Ok(json!({ "statusCode": parts.status.as_u16(), "body": body }))
    }

    /// Does what is left to do before the answer. What does not end in time goes on with the next event, or is found by the
    /// next housekeeping.
    async fn settle(&self, until: Instant, measures: &mut Measures) {
        let function = self.clone();
        let work = tokio::spawn(async move { function.0.settle().await });
        let until = until.max(Instant::now() + SETTLE);
        let settled = match tokio::time::timeout_at(until.into(), work).await {
            Ok(Ok(settled)) => settled,
            Ok(Err(_)) | Err(_) => false,
        };
        measures.count("Unsettled", u64::from(!settled));
    }
}

impl Inner {
    async fn route(&self, event: &HttpEvent) -> (http::response::Parts, bytes::Bytes) {
        let request = event.request(self.settings.base_path.as_deref());
        match self.app.function_router().oneshot(request).await {
            Ok(response) => split(response).await,
            Err(never) => match never {},
        }
    }

    async fn drain(&self, records: &[SqsRecord], until: Instant, measures: &mut Measures) -> Value {
        let drained = self.drain.run(records, until).await;
        measures.count("Drained", drained.delivered);
        measures.count("DeadLetters", drained.buried);
        measures.count("ForeignMessages", drained.foreign);
        measures.count("DrainFailures", drained.failures.len() as u64);
        let redelivered = records.iter().filter(|record| record.times > 1).count();
        measures.count("Redelivered", redelivered as u64);
        let failures: Vec<Value> =
            drained.failures.iter().map(|id| json!({ "itemIdentifier": id })).collect();
        json!({ "batchItemFailures": failures })
    }

    async fn settle(&self) -> bool {
        let heard_long_ago = {
            let mut state = self.state.lock().await;
            let now = self.clock.wall();
            let long_ago = !is_within(now, state.heard, NOTE_HEARD);
            if long_ago {
                state.heard = now;
            }
            long_ago
        };
        let settled = self.app.settle().await;
        let noted = if heard_long_ago { self.app.note_heard().await } else { Ok(()) };
        if let Err(error) = settled.and(noted) {
            tracing::warn!(%error, "something is left to do; the next event or housekeeping does it");
            return false;
        }
        true
    }

    /// Takes over what has changed in AWS since the last look: configuration and secrets when they are older than `oldest`,
    /// devices and tokens. Whether a configuration was taken over.
    async fn look_again(&self, oldest: Duration, measures: &mut Measures) -> bool {
        let mut state = self.state.lock().await;
        let now = self.clock.wall();
        if !is_within(now, state.refreshed, CACHED) {
            match self.app.refresh().await {
                Ok(()) => state.refreshed = now,
                Err(error) => tracing::warn!(%error, "what others changed in the table cannot be read"),
            }
        }
        if !state.is_remote || is_within(now, state.loaded, oldest) {
            return false;
        }
        let load = configuration::load(&self.settings, &self.remote, &*self.env);
        let loaded = match tokio::time::timeout(RELOAD, load).await {
            Ok(loaded) => loaded,
            Err(_) => Err(anyhow::anyhow!("AWS did not answer in time")),
        };
        let taken = loaded.and_then(|loaded| {
            self.app.reload(&loaded.config)?;
            if loaded.config.hub != state.hub {
                let hub = app::mqtt_hub(&loaded.config, client_id(&loaded.config, &self.environment))?;
                let hub = Arc::new(hub);
                hub.start(self.links.clone());
                self.links.replace(hub);
                state.hub = loaded.config.hub.clone();
            }
            Ok(())
        });
        match taken {
            Ok(()) => {
                state.loaded = now;
                measures.count("Reloaded", 1);
                true
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the configuration cannot be read again; the old one holds"
                );
                state.loaded = now.minus(self.settings.refresh.saturating_sub(RELOAD_AGAIN));
                measures.count("ReloadFailed", 1);
                false
            }
        }
    }

    /// What was handed over since the last report: with several events at once, each count is in one of them.
    fn report(&self, measures: &mut Measures) {
        let (handed, links, store) = (self.handover.handed(), self.links.counts(), self.store.counts());
        let mut reported = self.reported.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = std::mem::replace(&mut *reported, Reported { handed, links, store });
        measures.count("Delivered", handed.delivered.saturating_sub(before.handed.delivered));
        measures.count("Stored", handed.stored.saturating_sub(before.handed.stored));
        measures.count("RefusedByHub", handed.refused.saturating_sub(before.handed.refused));
        measures.count("Unavailable", handed.unavailable.saturating_sub(before.handed.unavailable));
        measures.count("ConnectionsOpened", links.0.saturating_sub(before.links.0));
        measures.count("ConnectionsStale", links.1.saturating_sub(before.links.1));
        let lost = store.conditions_lost.saturating_sub(before.store.conditions_lost);
        measures.count("ConditionsLost", lost);
        measures.count("PutAside", store.put_aside.saturating_sub(before.store.put_aside));
    }
}

/// One id per execution environment: two with the same one would throw each other out.
fn client_id(config: &Config, environment: &str) -> String {
    format!("{}-{environment}", config.hub.client_id)
}

/// Shorter bounds than those of a service: a webhook has to be answered, whatever the table does.
fn store_settings(settings: &Settings, config: &Config) -> store_dynamodb::Settings {
    let usual = store_dynamodb::Settings::new(&settings.table);
    store_dynamodb::Settings {
        wait: Duration::from_millis(1500),
        attempt: Duration::from_millis(700),
        attempts: 3,
        // An id has to be there at least as long as it is asked for.
        remember: usual.remember.max(config.dedup.window * 2),
        ..usual
    }
}

/// What a sender reads that would have waited longer than it does.
fn late() -> axum::response::Response {
    let detail = "The bridge could not take the message in time. It may or may not be taken; send it again.";
    let problem = Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, "late", "Too late", detail);
    problem.with(http::header::RETRY_AFTER, "5").into_response()
}

async fn split(response: axum::response::Response) -> (http::response::Parts, bytes::Bytes) {
    let (parts, body) = response.into_parts();
    // Bodies of the router are in memory: collecting them cannot fail.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (parts, body)
}

fn is_within(now: Timestamp, then: Timestamp, span: Duration) -> bool {
    then <= now && now.since(then) < span
}
