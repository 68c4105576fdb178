//! The API: each request through route, method, caller, scope, rate, body, device, delivery, answer, in this order. Not
//! here: what a body says ([`edge::body`], [`crate::azure`]), and statuses ([`crate::answer`]).

mod desired;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use bridge_core::counters::{Counter, IntegrationCounters, Refusal};
use bridge_core::keyring::Keyring;
use bridge_core::naming::{Case, NamingRule};
use bridge_core::pipeline::{Intake, Integration, Pipeline};
use bridge_core::ports::RawRequest;
use bridge_core::registrar::{DeviceRule, Register};
use bridge_core::trace::{End, Step, Tracer};
use bridge_core::{
    Decoded, DeviceId, ExternalDevice, IntegrationName, MessageId, Reason, Timestamp, Verdict,
};
use bytes::Bytes;
use edge::waiters::Waiters;
use edge::{Fault, Formats, Items, Mailbox, mailbox, properties};
use http::request::Parts as Head;
use http_edge::{LogGate, Problem, Refused, Tasks, body, refused};
use serde_json::Value;

use crate::answer::{self, Named};
use crate::caller::{AZURE_CHALLENGE, CHALLENGE, Caller, Denied, Doorman};
use crate::route::Route;
use crate::settings::Settings;
use crate::signed::{BodyDigest, Replays};
use crate::stateful::{Callbacks, Place, Resource};
use crate::{INTEGRATION, azure, commands};

/// Answers devices and gateways. Cheap to clone.
#[derive(Clone)]
pub struct DeviceApi(pub(crate) Arc<Inner>);

/// What the API is made of.
pub struct Parts {
    /// [`INTEGRATION`] as a name.
    pub name: IntegrationName,
    /// Where messages go.
    pub pipeline: Arc<Pipeline>,
    /// Whose token is whose.
    pub keyring: Arc<Keyring>,
    /// What devices are asked to do.
    pub mailbox: Arc<Mailbox>,
    /// Where devices have their events sent.
    pub callbacks: Callbacks,
    /// For bodies that are not JSON.
    pub formats: Arc<dyn Formats>,
    /// Never the same twice, also not after a restart: the key of an item that has none.
    pub unique: Box<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// Keeps what outlives its request.
    pub tasks: Tasks,
    /// For a body to arrive.
    pub body_timeout: Duration,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    /// Who waits for what is wanted of a device.
    wishers: Arc<Waiters>,
    current: RwLock<Arc<Current>>,
    pub(crate) counters: Arc<IntegrationCounters>,
    refusal_log: LogGate,
    /// Signatures that were there already.
    replays: Mutex<Replays>,
    /// Headers about client certificates that came from nobody who is believed.
    certificates_ignored: Counter,
    denial_log: LogGate,
}

/// Settings, and what follows from them.
pub(crate) struct Current {
    pub(crate) settings: Arc<Settings>,
    /// For devices that speak for themselves.
    pub(crate) own: Integration,
    /// For devices that a gateway speaks for.
    pub(crate) guests: Integration,
}

impl DeviceApi {
    /// An API of these parts.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let counters = Arc::new(IntegrationCounters::default());
        let current = RwLock::new(Arc::new(Current::new(&parts.name, &counters, settings)));
        let replays = Mutex::new(Replays::new(seconds(parts.pipeline.clock.wall())));
        Self(Arc::new(Inner {
            parts,
            wishers: Waiters::new(),
            current,
            counters,
            refusal_log: LogGate::default(),
            replays,
            certificates_ignored: Counter::default(),
            denial_log: LogGate::default(),
        }))
    }

    /// Answers the paths of [`is_ours`](Self::is_ours).
    pub fn router(&self) -> Router {
        let api = self.clone();
        let answer = async move |request: axum::extract::Request| match Self::is_ours(request.uri().path()) {
            true => api.answer(request).await,
            false => Problem::not_found().into_response(),
        };
        Router::new()
            .route("/v1/devices/{*path}", axum::routing::any(answer.clone()))
            .route("/api/{function}", axum::routing::any(answer.clone()))
            .route("/devices/{*path}", axum::routing::any(answer.clone()))
            .route("/health", axum::routing::any(answer))
    }

    /// Whether a path is one of the API's; what it names is seen later.
    pub fn is_ours(path: &str) -> bool {
        Route::is_ours(path) || Place::is_ours(path)
    }

    /// Puts other settings in their place; requests under way end with the old ones. Rates begin anew.
    pub fn replace(&self, settings: Settings) {
        let current = Current::new(&self.0.parts.name, &self.0.counters, settings);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
    }

    /// From now on no request waits for commands: the bridge is going down.
    pub fn set_closing(&self) {
        self.0.parts.mailbox.close();
        self.0.wishers.close();
    }

    /// What it has counted.
    pub fn counters(&self) -> &IntegrationCounters {
        &self.0.counters
    }

    /// How many headers about client certificates came from nobody who is believed.
    pub fn certificates_ignored(&self) -> u64 {
        self.0.certificates_ignored.get()
    }

    /// Whose token is whose; to be refreshed from time to time.
    pub fn keyring(&self) -> &Keyring {
        &self.0.parts.keyring
    }

    /// Answers a request. A server calls it without a router in between, with its peer as the extension
    /// `ConnectInfo<SocketAddr>`: without that no proxy is believed.
    pub async fn answer<B>(&self, request: http::Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let current = self.current();
        let path = request.uri().path();
        if Place::is_health(path) {
            return self.answer_health(request.method());
        }
        let route = current.settings.enabled.then(|| Route::of(path)).flatten();
        let Some(route) = route else { return Problem::not_found().into_response() };
        if let Route::Stateful(place) = route {
            return self.answer_stateful(current, place, request).await;
        }
        if route.is_of_commands() {
            return self.answer_commands(&current, route, request).await;
        }
        let Parts { pipeline, .. } = &self.0.parts;
        let entered = pipeline.clock.now();
        self.0.counters.received.add(1);
        let _in_flight = self.0.counters.in_flight.enter();
        let number = pipeline.traces.next_request();
        let (head, body) = request.into_parts();
        if let Route::Desired(_) = &route {
            let (at, entered) = (pipeline.clock.wall(), pipeline.clock.now());
            let tracer = Tracer::start(number, self.0.parts.name.clone(), at, entered);
            return self.desired(&current, &route, &head, tracer).await;
        }
        let admitted = self.admit(&current, route, &head, body).await;
        let received_at = pipeline.clock.wall();
        let mut tracer = Tracer::start(number, self.0.parts.name.clone(), received_at, pipeline.clock.now());
        let (caller, arrived) = match admitted {
            Ok((caller, request)) => (caller, Arrived { request, received_at }),
            Err(refused) => return self.refuse(tracer, *refused),
        };
        tracer.step(Step::Authenticated, pipeline.clock.now());
        let understood = match arrived.decode(&*self.0.parts.formats) {
            Ok((device, items)) => {
                tracer.step(Step::Decoded, pipeline.clock.now());
                tracer.trace_mut().device = Some(device.clone());
                let placed = self.place(&current, &caller, &arrived, &device).await;
                placed.map(|()| (device, items))
            }
            Err(fault) => Err(answer::faulty(&arrived.request.route, &fault)),
        };
        let (device, items) = match understood {
            Ok(understood) => understood,
            Err(refused) => return self.refuse(tracer, *refused),
        };
        let response = self.deliver(current, caller, arrived, device, items, tracer).await;
        self.0.counters.latency.observe(pipeline.clock.now().saturating_duration_since(entered));
        response
    }

    /// Sends a dead letter's request through again.
    pub async fn replay(&self, request: &RawRequest) -> Vec<Verdict> {
        let Parts { pipeline, formats, unique, name, .. } = &self.0.parts;
        let received_at = pipeline.clock.wall();
        let current = self.current();
        let arrived = Arrived { request: Request::of_raw(request), received_at };
        let decoded = match arrived.decode(&**formats) {
            Ok((device, items)) => {
                let uplinks = items.into_uplinks(&device, None, unique);
                Decoded { uplinks, problems: Vec::new() }
            }
            Err(fault) => Decoded::problem(Reason::Unmappable, fault.detail),
        };
        let number = pipeline.traces.next_request();
        let intake = Intake {
            integration: &current.own,
            decoded,
            received_at,
            request: &|| request.clone(),
            replayed: true,
            tracer: Tracer::start(number, name.clone(), received_at, pipeline.clock.now()),
        };
        pipeline.accept(intake).await
    }
}

impl DeviceApi {
    fn current(&self) -> Arc<Current> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything before the body is looked into, and the body.
    async fn admit<B>(
        &self,
        current: &Arc<Current>,
        route: Route,
        head: &Head,
        body: B,
    ) -> Result<(Caller, Request), Refused>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let settings = &current.settings;
        let (caller, signed) = self.identify(settings, &route, head).await?;
        let taken = route.media_types();
        let media_type = Some(body::media_type(&head.headers)).filter(|given| !given.is_empty());
        let media_type = media_type.unwrap_or_else(|| taken.first().copied().unwrap_or_default().into());
        if !taken.contains(&media_type.as_ref()) {
            return Err(refused(Refusal::Encoding, Problem::media_type(taken)));
        }
        let key = idempotency_key(head).ok_or_else(answer::bad_key)?;
        let body = self.read_body(settings, head, body, signed).await?;
        let takes_commands = matches!(route, Route::Telemetry(_)) && commands::are_preferred(&head.headers);
        Ok((caller, Request { route, media_type, key, takes_commands, body }))
    }

    /// The body, when it is what was signed.
    pub(crate) async fn read_body<B>(
        &self,
        settings: &Settings,
        head: &Head,
        body: B,
        signed: Option<BodyDigest>,
    ) -> Result<Bytes, Refused>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let check = |body: &[u8]| match signed {
            Some(signed) if !signed.is_of(body) => {
                Err(self.denied(CHALLENGE, Denied::Unproved("the body is not the one that was signed")))
            }
            _ => Ok(()),
        };
        let timeout = self.0.parts.body_timeout;
        body::read_checked(&head.headers, body, settings.body_limit, timeout, check).await
    }

    /// Method, caller, rate, scope; and what the body must be, when that was signed.
    pub(crate) async fn identify(
        &self,
        settings: &Arc<Settings>,
        route: &Route,
        head: &Head,
    ) -> Result<(Caller, Option<BodyDigest>), Refused> {
        if head.method != route.method() {
            return Err(refused(Refusal::Method, Problem::method(&[route.method()])));
        }
        let (caller, signed) = if *route == Route::Azure {
            let query = head.uri.query().unwrap_or_default();
            let caller = Caller::of_azure(settings, &head.headers, query);
            (caller.ok_or_else(|| answer::unauthorized(AZURE_CHALLENGE))?, None)
        } else {
            let doorman = Doorman {
                settings,
                keyring: &self.0.parts.keyring,
                replays: &self.0.replays,
                ignored: &self.0.certificates_ignored,
                now: seconds(self.0.parts.pipeline.clock.wall()),
            };
            doorman.caller(head).await.map_err(|denied| self.denied(CHALLENGE, denied))?
        };
        if let Some(rate) = caller.gateway().and_then(|gateway| gateway.rate.as_ref()) {
            rate.admit().map_err(answer::overload)?;
        }
        if *route != Route::Azure {
            let device = route.device().ok_or_else(answer::unknown_device)?;
            check_share(settings, &caller, device)?;
        }
        Ok((caller, signed))
    }

    /// The reason is for the log alone.
    fn denied(&self, challenge: &'static str, denied: Denied) -> Refused {
        match denied {
            Denied::Unproved(why) => {
                if let Some(suppressed) = self.0.denial_log.admit(self.0.parts.pipeline.clock.now()) {
                    tracing::warn!(integration = INTEGRATION, why, suppressed, "nobody was let in");
                }
                answer::unauthorized(challenge)
            }
            Denied::TooMany(after) => answer::overload(after),
            Denied::Store(error) => store_failed(&error),
        }
    }

    /// Whether the device may pass: the caller may speak for it, and the registry lets it in.
    async fn place(
        &self,
        current: &Current,
        caller: &Caller,
        arrived: &Arrived,
        device: &DeviceId,
    ) -> Result<(), Refused> {
        if arrived.request.route == Route::Azure {
            check_share(&current.settings, caller, device)?;
        }
        self.let_in(current.integration(caller), device, arrived.received_at).await
    }

    /// Whether the registry lets the device in.
    pub(crate) async fn let_in(
        &self,
        integration: &Integration,
        device: &DeviceId,
        at: Timestamp,
    ) -> Result<(), Refused> {
        let external = ExternalDevice::new(device.as_str());
        let registrar = &self.0.parts.pipeline.registrar;
        match registrar.resolve(&integration.name, &integration.devices, &external, at).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((reason, _))) => Err(answer::not_admitted(reason)),
            Err(error) => Err(store_failed(&error)),
        }
    }

    pub(crate) async fn deliver(
        &self,
        current: Arc<Current>,
        caller: Caller,
        arrived: Arrived,
        device: DeviceId,
        items: Items,
        tracer: Tracer,
    ) -> Response {
        let inner = self.0.clone();
        // When the sender hangs up, what was begun is still brought to its end.
        let work = self.0.parts.tasks.to_the_end(async move {
            let integration = current.integration(&caller);
            let is_batch = items.is_batch;
            let ids: Vec<Option<String>> = items.items.iter().map(|item| item.id.clone()).collect();
            let key = arrived.request.key.as_deref();
            let uplinks = items.into_uplinks(&device, key, &inner.parts.unique);
            let message = |key| MessageId::new(&integration.name, key);
            let names: Vec<Named> = ids
                .into_iter()
                .zip(&uplinks)
                .map(|(id, uplink)| Named { id, message: message(&uplink.key) })
                .collect();
            let intake = Intake {
                integration,
                decoded: Decoded { uplinks, problems: Vec::new() },
                received_at: arrived.received_at,
                request: &|| arrived.request.to_raw(),
                replayed: false,
                tracer,
            };
            let verdicts = inner.parts.pipeline.accept(intake).await;
            let offered = match arrived.request.takes_commands && answer::is_taken(is_batch, &verdicts) {
                true => inner.offered(&device).await,
                false => None,
            };
            answer::answer(&arrived.request.route, is_batch, (&names, &verdicts), offered)
        });
        match work.await {
            Ok(response) => response,
            Err(panicked) => {
                tracing::error!(error = %panicked, "a request could not be brought to its end");
                Problem::internal().into_response()
            }
        }
    }

    pub(crate) fn refuse(&self, tracer: Tracer, (refusal, problem): (Refusal, Problem)) -> Response {
        self.0.counters.refuse(refusal);
        if let Some(suppressed) = self.0.refusal_log.admit(self.0.parts.pipeline.clock.now()) {
            let (refusal, detail) = (refusal.as_str(), problem.detail());
            tracing::warn!(integration = INTEGRATION, refusal, detail, suppressed, "request refused");
        }
        let detail = problem.detail().to_owned();
        self.0.parts.pipeline.traces.keep(tracer.end(End::Refused(refusal), Some(detail)));
        problem.into_response()
    }
}

impl Inner {
    /// The commands for the answer to telemetry; none when the store failed, which costs the telemetry nothing.
    async fn offered(&self, device: &DeviceId) -> Option<Value> {
        match self.parts.mailbox.offer(device).await {
            Ok(commands) => Some(mailbox::write(&commands)),
            Err(error) => {
                tracing::warn!(%error, %device, "commands could not be looked up");
                None
            }
        }
    }
}

impl Current {
    fn new(name: &IntegrationName, counters: &Arc<IntegrationCounters>, settings: Settings) -> Self {
        let integration = |register| Integration {
            name: name.clone(),
            source: INTEGRATION,
            devices: DeviceRule {
                register,
                // The id in the path is the id in the hub.
                naming: NamingRule { case: Case::Keep, ..NamingRule::default() },
            },
            counters: counters.clone(),
        };
        let (own, guests) = (integration(Register::Off), integration(settings.register));
        Self { settings: Arc::new(settings), own, guests }
    }

    pub(crate) fn integration(&self, caller: &Caller) -> &Integration {
        match caller {
            Caller::Device(_) => &self.own,
            Caller::Gateway(..) | Caller::Stateful(_) => &self.guests,
        }
    }
}

/// A request that has passed all checks but those of its content.
pub(crate) struct Request {
    pub(crate) route: Route,
    pub(crate) media_type: Cow<'static, str>,
    pub(crate) key: Option<String>,
    pub(crate) takes_commands: bool,
    pub(crate) body: Bytes,
}

pub(crate) struct Arrived {
    pub(crate) request: Request,
    pub(crate) received_at: Timestamp,
}

/// In the query of a request that was kept: it came by a path of Azure's stateful bridge.
const STATEFUL: &str = "stateful";

impl Arrived {
    fn decode(&self, formats: &dyn Formats) -> Result<(DeviceId, Items), Fault> {
        let Request { route, media_type, body, .. } = &self.request;
        if *route == Route::Azure {
            return azure::read(body);
        }
        let device = route.device().cloned().ok_or_else(|| Fault::at("", "the path names no device"))?;
        let items = match route {
            Route::Properties(_) => properties::read(body)?,
            Route::Stateful(_) => {
                self.request.items()?.ok_or_else(|| Fault::at("", "there is nothing to deliver"))?
            }
            _ => edge::body::read(media_type, body, formats, self.received_at)?,
        };
        Ok((device, items))
    }
}

impl Request {
    fn to_raw(&self) -> RawRequest {
        let device = self.route.device();
        RawRequest {
            method: self.route.method().to_string(),
            path_device: device.map(ToString::to_string),
            // Not that of the request: a key of Azure's clients stands in it.
            query: if matches!(self.route, Route::Stateful(_)) { STATEFUL.into() } else { String::new() },
            content_type: Some(self.media_type.clone().into_owned()),
            body: self.body.to_vec(),
        }
    }

    fn of_raw(raw: &RawRequest) -> Self {
        let device = raw.path_device.as_deref().map(|device| DeviceId::parse(device).ok());
        let route = match (raw.method.as_str(), device) {
            ("PATCH", Some(device)) if raw.query == STATEFUL => Route::stateful(device, Resource::Reported),
            (_, Some(device)) if raw.query == STATEFUL => Route::stateful(device, Resource::Events),
            (_, None) => Route::Azure,
            ("PATCH", Some(device)) => Route::Properties(device),
            (_, Some(device)) => Route::Telemetry(device),
        };
        let media_type = raw.content_type.clone().unwrap_or_default().into();
        Self { route, media_type, key: None, takes_commands: false, body: raw.body.clone().into() }
    }
}

/// Scope, then rate: whoever may not speak for a device does not use up its share.
pub(crate) fn check_share(settings: &Settings, caller: &Caller, device: &DeviceId) -> Result<(), Refused> {
    if !caller.may_speak_for(device) {
        return Err(answer::out_of_scope());
    }
    match &settings.rate {
        Some(rate) => rate.admit(&device.to_shared()).map_err(answer::overload),
        None => Ok(()),
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

pub(crate) fn store_failed(error: &bridge_core::ports::StoreError) -> Refused {
    tracing::warn!(%error, "a device could not be looked up");
    answer::unavailable()
}

/// The key of the request (draft-ietf-httpapi-idempotency-key-header: a structured string; bare words are common). None when
/// it cannot be one; none within when there is none.
#[allow(clippy::option_option, reason = "absent and wrong are two things")]
pub(crate) fn idempotency_key(head: &Head) -> Option<Option<String>> {
    const LONGEST: usize = 256;
    let mut values = head.headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Some(None) };
    let text = value.to_str().ok()?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    };
    let is_good = values.next().is_none() && (1..=LONGEST).contains(&key.len());
    is_good.then_some(Some(key))
}
