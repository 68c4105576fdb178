//! The drop-in for Azure's stateful device bridge (reference, section 2): its routes with its JSON, on the bridge's own
//! device state, commands and delivery. Where that bridge answered every trouble with an empty 500, the answers here say
//! what is wrong (`docs/azure-bridge.md`). Not here: the calls of callbacks, which others make.

mod read;
mod route;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bridge_core::DeviceId;
use bridge_core::counters::Refusal;
use bridge_core::ports::{DeviceRecord, Subscriptions};
use bridge_core::subscription::{ConnectionStatus, Subscription, SubscriptionKind, Told};
use bridge_core::trace::{Step, Tracer};
use bridge_core::twin::Twin;
use bytes::Bytes;
use edge::{Fault, Items};
use http::request::Parts as Head;
use http::{HeaderMap, Method, StatusCode, header};
use http_edge::{Problem, Refused, SecretDigest, body, refused};
use serde_json::{Map, Value, json};

use crate::api::{Arrived, Current, DeviceApi, Request, check_share, idempotency_key, store_failed};
use crate::caller::Caller;
use crate::route::Route;
use crate::settings::Settings;
use crate::{INTEGRATION, answer};

pub(crate) use route::{Place, Resource};

/// Where its clients carry their key.
const KEY: &str = "x-api-key";
/// The challenge of a 401. The scheme is nobody's but ours: that bridge sends none.
const CHALLENGE: &str = "ApiKey realm=\"devices\"";
const MEDIA_TYPES: &[&str] = &["application/json"];

/// What the callbacks of devices need of others.
pub struct Callbacks {
    /// Keeps them.
    pub store: Arc<dyn Subscriptions>,
    /// Whether a URL may be called.
    pub check: Box<CheckUrl>,
    /// Told when a callback may have something to be told: it is new, or its device asks for it.
    pub changed: Box<Changed>,
}

/// A text for whoever chose the URL when it may not be called.
pub type CheckUrl = dyn Fn(&str) -> Result<(), String> + Send + Sync;
/// Takes the device and the kind of a callback.
pub type Changed = dyn Fn(&DeviceId, SubscriptionKind) + Send + Sync;

impl DeviceApi {
    /// Answers the routes of devices.
    pub(crate) async fn answer_stateful<B>(
        &self,
        current: Arc<Current>,
        place: Place,
        request: http::Request<B>,
    ) -> Response
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let parts = &self.0.parts;
        let pipeline = &parts.pipeline;
        let entered = pipeline.clock.now();
        self.0.counters.received.add(1);
        let _in_flight = self.0.counters.in_flight.enter();
        let number = pipeline.traces.next_request();
        let (head, body) = request.into_parts();
        let admitted = self.admit_stateful(&current, &place, &head, body).await;
        let received_at = pipeline.clock.wall();
        let tracer = Tracer::start(number, parts.name.clone(), received_at, pipeline.clock.now());
        let served = match admitted {
            Err(refused) => Err((tracer, refused)),
            Ok((caller, device, request)) => {
                let arrived = Arrived { request, received_at };
                self.serve(current, &head, (caller, device, arrived), tracer).await
            }
        };
        let response = match served {
            Ok(response) => response,
            Err((tracer, refused)) => return self.refuse(tracer, *refused),
        };
        self.0.counters.latency.observe(pipeline.clock.now().saturating_duration_since(entered));
        response
    }

    /// Whether the bridge takes what is sent now.
    pub(crate) fn answer_health(&self, method: &Method) -> Response {
        if !matches!(*method, Method::GET) {
            return Problem::method(&[Method::GET]).into_response();
        }
        let (status, text) = match self.0.parts.pipeline.delivery.store_error() {
            None => (StatusCode::OK, "Healthy"),
            Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy"),
        };
        (status, [(header::CONTENT_TYPE, "text/plain")], text).into_response()
    }

    /// Method, key, device, scope, rate, body; in this order.
    async fn admit_stateful<B>(
        &self,
        current: &Arc<Current>,
        place: &Place,
        head: &Head,
        body: B,
    ) -> Result<(Caller, DeviceId, Request), Refused>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let settings = &current.settings;
        let methods = place.resource.methods();
        if !methods.contains(&head.method) {
            return Err(refused(Refusal::Method, Problem::method(methods)));
        }
        let caller = caller(settings, &head.headers).ok_or_else(|| answer::unauthorized(CHALLENGE))?;
        if let Some(rate) = caller.gateway().and_then(|gateway| gateway.rate.as_ref()) {
            rate.admit().map_err(answer::overload)?;
        }
        let device = place.device.clone().ok_or_else(answer::unknown_device)?;
        check_share(settings, &caller, &device)?;
        let takes_body = matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
            && place.resource != Resource::Resync;
        let media_type = body::media_type(&head.headers);
        if takes_body && !media_type.is_empty() && !MEDIA_TYPES.contains(&media_type.as_ref()) {
            return Err(refused(Refusal::Encoding, Problem::media_type(MEDIA_TYPES)));
        }
        let key = idempotency_key(head).ok_or_else(answer::bad_key)?;
        let body = match takes_body {
            true => body::read(&head.headers, body, settings.body_limit, self.0.parts.body_timeout).await?,
            false => Bytes::new(),
        };
        let media_type = MEDIA_TYPES[0].into();
        let route = Route::Stateful(place.clone());
        Ok((caller, device, Request { route, media_type, key, takes_commands: false, body }))
    }

    async fn serve(
        &self,
        current: Arc<Current>,
        head: &Head,
        (caller, device, arrived): (Caller, DeviceId, Arrived),
        mut tracer: Tracer,
    ) -> Result<Response, (Tracer, Refused)> {
        let clock = &self.0.parts.pipeline.clock;
        tracer.step(Step::Authenticated, clock.now());
        tracer.trace_mut().device = Some(device.clone());
        let Route::Stateful(Place { resource, .. }) = arrived.request.route else {
            return Err((tracer, answer::unknown_device()));
        };
        if let Resource::Subscription(kind) = resource {
            let body = &arrived.request.body;
            let answered = self.subscription(&current, &head.method, (&device, kind), body).await;
            return answered.map_err(|refused| (tracer, refused));
        }
        if resource == Resource::Status {
            return self.status(&device).await.map_err(|refused| (tracer, refused));
        }
        let items = match arrived.request.items() {
            Ok(items) => items,
            Err(fault) => return Err((tracer, answer::faulty(&arrived.request.route, &fault))),
        };
        tracer.step(Step::Decoded, clock.now());
        if let Err(refused) = self.let_in(current.integration(&caller), &device, arrived.received_at).await {
            return Err((tracer, refused));
        }
        match items {
            Some(items) => Ok(self.deliver(current, caller, arrived, device, items, tracer).await),
            None => self.serve_state(&device, resource).await.map_err(|refused| (tracer, refused)),
        }
    }

    /// What needs no message.
    async fn serve_state(&self, device: &DeviceId, resource: Resource) -> Result<Response, Refused> {
        let parts = &self.0.parts;
        match resource {
            Resource::Twin => {
                let twin = self.twin(device).await?;
                Ok(json_answer(StatusCode::OK, &write_twin(&twin)))
            }
            Resource::Reported => Ok(StatusCode::NO_CONTENT.into_response()),
            Resource::Resync => {
                for kind in SubscriptionKind::ALL {
                    (parts.callbacks.changed)(device, kind);
                }
                parts.mailbox.dispatcher().wake(device).await.map_err(|error| store_failed(&error))?;
                Ok(StatusCode::ACCEPTED.into_response())
            }
            _ => Ok(StatusCode::OK.into_response()),
        }
    }

    async fn status(&self, device: &DeviceId) -> Result<Response, Refused> {
        let record = self.record(device).await?.ok_or_else(answer::unknown_device)?;
        let status = ConnectionStatus::of(self.is_hub_up(), record.state);
        Ok(json_answer(StatusCode::OK, &status.to_members().into()))
    }

    async fn subscription(
        &self,
        current: &Current,
        method: &Method,
        (device, kind): (&DeviceId, SubscriptionKind),
        body: &[u8],
    ) -> Result<Response, Refused> {
        let parts = &self.0.parts;
        let store = &parts.callbacks.store;
        if *method == Method::DELETE {
            store.remove(device, kind).await.map_err(|error| store_failed(&error))?;
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        if *method == Method::GET {
            let found = store.get(device, kind).await.map_err(|error| store_failed(&error))?;
            let found = found.ok_or_else(no_subscription)?;
            return self.show(&found).await;
        }
        let url = read::callback(body).and_then(|url| match (parts.callbacks.check)(&url) {
            Ok(()) => Ok(url),
            Err(why) => Err(Fault::at("/callbackUrl", format!("cannot be called: {why}"))),
        });
        let place = Place { device: None, resource: Resource::Subscription(kind) };
        let url = url.map_err(|fault| answer::faulty(&Route::Stateful(place), &fault))?;
        let now = parts.pipeline.clock.wall();
        self.let_in(&current.guests, device, now).await?;
        // A callback is told of changes; what is there already can be asked for.
        let told = match kind {
            SubscriptionKind::DesiredProperties => {
                let twin = self.twin(device).await?;
                Told { number: twin.desired_version, state: twin.desired }
            }
            SubscriptionKind::ConnectionStatus => {
                let state = self.record(device).await?.map(|record| record.state);
                let status = state.map(|state| ConnectionStatus::of(self.is_hub_up(), state));
                Told { number: 0, state: status.map(ConnectionStatus::to_members).unwrap_or_default() }
            }
            SubscriptionKind::Methods | SubscriptionKind::C2dMessages => Told::default(),
        };
        let subscription =
            Subscription { device: device.clone(), kind, callback_url: url, created: now, told };
        store.put(&subscription).await.map_err(|error| store_failed(&error))?;
        if matches!(kind, SubscriptionKind::Methods | SubscriptionKind::C2dMessages) {
            parts.mailbox.dispatcher().push(device).await.map_err(|error| store_failed(&error))?;
        }
        (parts.callbacks.changed)(device, kind);
        self.show(&subscription).await
    }

    async fn show(&self, subscription: &Subscription) -> Result<Response, Refused> {
        let Subscription { device, kind, callback_url, created, .. } = subscription;
        let mut body = json!({
            "deviceId": device.as_str(),
            "subscriptionType": kind.as_str(),
            "callbackUrl": callback_url,
            "createdAt": created.to_string(),
        });
        if *kind != SubscriptionKind::ConnectionStatus {
            let state = self.record(device).await?.map(|record| record.state);
            let status = state.map(|state| ConnectionStatus::of(self.is_hub_up(), state));
            body["status"] = status.map_or("Stopped", ConnectionStatus::of_subscription).into();
        }
        Ok(json_answer(StatusCode::OK, &body))
    }

    async fn twin(&self, device: &DeviceId) -> Result<Twin, Refused> {
        match &self.0.parts.pipeline.twins {
            Some(twins) => twins.get(device).await.map_err(|error| store_failed(&error)),
            None => Ok(Twin::default()),
        }
    }

    /// The record of a device of this API.
    async fn record(&self, device: &DeviceId) -> Result<Option<DeviceRecord>, Refused> {
        let known =
            self.0.parts.pipeline.registrar.known(device).await.map_err(|error| store_failed(&error))?;
        Ok(known.filter(|record| record.integration.as_str() == INTEGRATION))
    }

    fn is_hub_up(&self) -> bool {
        self.0.parts.pipeline.delivery.stats().links_up > 0
    }
}

impl Request {
    /// What there is to deliver; none when the request is about state.
    pub(crate) fn items(&self) -> Result<Option<Items>, Fault> {
        let Route::Stateful(Place { device, resource }) = &self.route else { return Ok(None) };
        match resource {
            Resource::Events => read::event(&self.body).map(Some),
            Resource::Reported => {
                let items = read::reported(&self.body)?;
                let is_empty = items.items.iter().all(|item| item.content.measurements.is_empty());
                Ok((!is_empty).then_some(items))
            }
            Resource::Registration => match device {
                Some(device) => read::registration(&self.body, device),
                None => Ok(None),
            },
            Resource::Twin | Resource::Status | Resource::Resync | Resource::Subscription(_) => Ok(None),
        }
    }
}

/// Whoever has the key.
fn caller(settings: &Arc<Settings>, headers: &HeaderMap) -> Option<Caller> {
    let key = headers.get(KEY)?;
    let client = settings.stateful.as_ref()?;
    SecretDigest::any_of(&client.secrets, key.as_bytes()).then(|| Caller::Stateful(settings.clone()))
}

/// `{"twin": {"properties": {"desired": {..., "$version": n}, "reported": {..., "$version": n}}}}`.
fn write_twin(twin: &Twin) -> Value {
    let half = |state: &Map<String, Value>, version: u64| {
        let mut half = state.clone();
        half.insert("$version".into(), version.into());
        half
    };
    json!({ "twin": { "properties": {
        "desired": half(&twin.desired, twin.desired_version),
        "reported": half(&twin.reported, twin.reported_version),
    } } })
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}

fn no_subscription() -> Refused {
    let detail = "The device has no subscription of this kind.";
    let problem = Problem::new(StatusCode::NOT_FOUND, "no-subscription", "No subscription", detail);
    refused(Refusal::Malformed, problem)
}
