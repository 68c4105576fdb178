//! Receives the requests of every integration: one loop of method, authentication, limits, decoding, delivery, answer.
//! A connector cannot forget any of it. Not here: what a body means (connectors), what happens to an uplink (core).

mod announcements;
mod mailboxes;
mod source;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bridge_core::counters::Refusal;
use bridge_core::pipeline::{Intake, Pipeline};
use bridge_core::ports::RawRequest;
use bridge_core::trace::{End, Step, Tracer};
use bridge_core::{Decoded, Timestamp, Verdict};
use http::request::Parts;
use http::{StatusCode, header};
use http_edge::body::media_type;
use http_edge::{Refused, body, client, refused};
use percent_encoding::percent_decode_str;

pub use announcements::Announcements;
pub use http_edge::{Auth, LogGate, Problem, RateLimit, RateLimits, SecretDigest, Tasks};
pub use mailboxes::Mailboxes;
pub use source::{Source, SourceTable};

use crate::connector::{Letter, Reply, Request};

/// Below it are the integrations.
const PREFIX: &str = "/webhooks/";

/// Receives webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Receiver(Arc<Inner>);

struct Inner {
    pipeline: Arc<Pipeline>,
    table: RwLock<Arc<SourceTable>>,
    /// Is this peer a proxy whose `X-Forwarded-For` counts?
    is_trusted_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    body_timeout: Duration,
    tasks: Tasks,
    mailboxes: OnceLock<Arc<dyn Mailboxes>>,
    announcements: OnceLock<Arc<dyn Announcements>>,
}

impl Receiver {
    /// A receiver for these integrations.
    pub fn new(
        pipeline: Arc<Pipeline>,
        table: SourceTable,
        is_trusted_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
        body_timeout: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            pipeline,
            table: RwLock::new(Arc::new(table)),
            is_trusted_proxy,
            body_timeout,
            tasks: Tasks::default(),
            mailboxes: OnceLock::new(),
            announcements: OnceLock::new(),
        }))
    }

    /// From now on answers carry what these have. A second call changes nothing.
    pub fn serve_mailboxes(&self, mailboxes: Arc<dyn Mailboxes>) {
        let _ = self.0.mailboxes.set(mailboxes);
    }

    /// From now on what clouds announce goes there. A second call changes nothing.
    pub fn tell_announcements(&self, announcements: Arc<dyn Announcements>) {
        let _ = self.0.announcements.set(announcements);
    }

    /// Answers the paths of [`is_webhook`](Self::is_webhook).
    pub fn router(&self) -> Router {
        let receiver = self.clone();
        let answer = async move |request: axum::extract::Request| {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
            receiver.answer(request, peer).await
        };
        Router::new().route(&format!("{PREFIX}{{*path}}"), any(answer))
    }

    /// Whether a path is one of webhooks; what it names is seen later.
    pub fn is_webhook(path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    /// Answers a request to `/webhooks/{integration}` or `/webhooks/{integration}/{device}`. A server calls it without
    /// a router in between, which costs a tenth of a request.
    pub async fn answer<B>(&self, request: http::Request<B>, peer: Option<SocketAddr>) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some((source, path_device)) = self.target(request.uri().path()) else {
            return Problem::not_found().into_response();
        };
        let Some(source) = source else { return unknown_integration().into_response() };
        self.handle(source, path_device, request, peer).await
    }

    /// The integrations now.
    pub fn table(&self) -> Arc<SourceTable> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other integrations in their place; requests under way end with the old ones.
    pub fn replace(&self, table: SourceTable) {
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Uplinks that are still under way, also those whose sender has gone.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Sends a dead letter's request through again.
    pub async fn replay(&self, source: &Arc<Source>, request: &RawRequest) -> Vec<Verdict> {
        let (clock, received_at) = (&self.0.pipeline.clock, self.0.pipeline.clock.wall());
        let number = self.0.pipeline.traces.next_request();
        let tracer = Tracer::start(number, source.integration.name.clone(), received_at, clock.now());
        let method = request.method.parse().unwrap_or(http::Method::POST);
        let decoded = source.decode.decode(&Request {
            method: &method,
            path_device: request.path_device.as_deref(),
            query: &request.query,
            content_type: request.content_type.as_deref().unwrap_or_default(),
            body: &request.body,
            received_at,
        });
        let decoded = decoded.unwrap_or_else(|malformed| {
            Decoded::problem(bridge_core::Reason::Unmappable, malformed.to_string())
        });
        let intake = Intake {
            integration: &source.integration,
            decoded,
            received_at,
            request: &|| request.clone(),
            replayed: true,
            tracer,
        };
        self.0.pipeline.accept(intake).await
    }
}

impl Receiver {
    /// The integration and the device that a path names; none when it is no path of ours.
    fn target(&self, path: &str) -> Option<(Option<Arc<Source>>, Option<String>)> {
        let path = path.strip_prefix(PREFIX)?;
        let (integration, device) = match path.split_once('/') {
            None => (path, None),
            Some((integration, device)) => (integration, Some(device)),
        };
        if integration.is_empty() || device.is_some_and(|device| device.is_empty() || device.contains('/')) {
            return None;
        }
        let decoded = |segment| percent_decode_str(segment).decode_utf8().ok();
        let device = match device {
            None => None,
            Some(device) => Some(decoded(device)?.into_owned()),
        };
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        Some((table.find(&decoded(integration)?), device))
    }

    async fn handle<B>(
        &self,
        source: Arc<Source>,
        path_device: Option<String>,
        request: http::Request<B>,
        peer: Option<SocketAddr>,
    ) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let clock = &self.0.pipeline.clock;
        let entered = clock.now();
        let counters = &source.integration.counters;
        counters.received.add(1);
        let _in_flight = counters.in_flight.enter();
        let number = self.0.pipeline.traces.next_request();
        let (parts, body) = request.into_parts();

        let accepted = match self.check(&source, &parts, peer) {
            Ok(query) => match body::read(&parts.headers, body, source.body_limit, self.0.body_timeout).await
            {
                Ok(body) => Ok((query, body)),
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let (received_at, complete) = (clock.wall(), clock.now());
        let mut tracer = Tracer::start(number, source.integration.name.clone(), received_at, complete);
        let (query, body) = match accepted {
            Ok(accepted) => accepted,
            Err(refused) => {
                let (refusal, problem) = *refused;
                return self.refuse(&source, tracer, refusal, problem);
            }
        };
        // Its secret was looked at before its body was read.
        tracer.step(Step::Authenticated, complete);
        if let Some(announcements) = self.0.announcements.get()
            && let Some(announced) = announcements::read(&source, &parts.headers)
        {
            announcements.take(&source.integration, announced).await;
        }
        let content_type = media_type(&parts.headers);
        let arrived = Arrived { method: parts.method, path_device, query, content_type, body, received_at };
        let decoded = match source.decode.decode(&arrived.as_request()) {
            Ok(decoded) => decoded,
            Err(malformed) => {
                return self.refuse(
                    &source,
                    tracer,
                    Refusal::Malformed,
                    Problem::malformed(&malformed.to_string()),
                );
            }
        };
        tracer.step(Step::Decoded, clock.now());
        if let Err(after) = admit_devices(&source, &decoded) {
            return self.refuse(&source, tracer, Refusal::Overload, Problem::overload(after));
        }
        let response = self.deliver(source.clone(), arrived, decoded, (tracer, entered)).await;
        source.integration.counters.latency.observe(clock.now().saturating_duration_since(entered));
        response
    }

    /// Method, then source address and secret, then rate. The query without the secret.
    fn check(&self, source: &Source, parts: &Parts, peer: Option<SocketAddr>) -> Result<String, Refused> {
        let methods = source.connector.methods();
        if !methods.contains(&parts.method) {
            return Err(refused(Refusal::Method, Problem::method(methods)));
        }
        let allowed = match &source.allows {
            None => true,
            Some(allows) => client::address(parts, peer, &self.0.is_trusted_proxy).is_some_and(allows),
        };
        let query = parts.uri.query().unwrap_or_default();
        match source.auth.check(&parts.headers, query) {
            Some(query) if allowed => match source.rate.as_ref().map_or(Ok(()), RateLimit::admit) {
                Ok(()) => Ok(query),
                Err(after) => Err(refused(Refusal::Overload, Problem::overload(after))),
            },
            _ => Err(refused(Refusal::Unauthorized, Problem::unauthorized(source.auth.challenge()))),
        }
    }

    async fn deliver(
        &self,
        source: Arc<Source>,
        arrived: Arrived,
        decoded: Decoded,
        (tracer, entered): (Tracer, Instant),
    ) -> Response {
        let inner = self.0.clone();
        // When the sender hangs up, what was begun is still brought to its end.
        let work = self.0.tasks.to_the_end(async move {
            let request = || arrived.to_raw(&source);
            let intake = Intake {
                integration: &source.integration,
                decoded,
                received_at: arrived.received_at,
                request: &request,
                replayed: false,
                tracer,
            };
            let verdicts = inner.pipeline.accept(intake).await;
            if let Some(after) = to_repeat(&verdicts) {
                return Problem::unavailable(after).into_response();
            }
            let letters = match inner.mailboxes.get() {
                Some(mailboxes) => {
                    let asked = (&*source, &arrived.as_request());
                    mailboxes::letters(&**mailboxes, asked, &*inner.pipeline.clock, entered).await
                }
                None => Vec::new(),
            };
            answer(&source, &arrived, &verdicts, &letters)
        });
        match work.await {
            Ok(response) => response,
            Err(panicked) => {
                tracing::error!(error = %panicked, "a request could not be brought to its end");
                Problem::internal().into_response()
            }
        }
    }

    fn refuse(&self, source: &Source, tracer: Tracer, refusal: Refusal, problem: Problem) -> Response {
        source.integration.counters.refuse(refusal);
        if let Some(suppressed) = source.refusal_log.admit(self.0.pipeline.clock.now()) {
            tracing::warn!(
                integration = %source.integration.name, refusal = refusal.as_str(), detail = problem.detail(), suppressed,
                "request refused"
            );
        }
        let detail = problem.detail().to_owned();
        self.0.pipeline.traces.keep(tracer.end(End::Refused(refusal), Some(detail)));
        problem.into_response()
    }
}

/// A request that has passed all checks.
struct Arrived {
    method: http::Method,
    path_device: Option<String>,
    query: String,
    content_type: Cow<'static, str>,
    body: bytes::Bytes,
    received_at: Timestamp,
}

impl Arrived {
    fn as_request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path_device: self.path_device.as_deref(),
            query: &self.query,
            content_type: &self.content_type,
            body: &self.body,
            received_at: self.received_at,
        }
    }

    fn to_raw(&self, source: &Source) -> RawRequest {
        RawRequest {
            method: self.method.to_string(),
            path_device: self.path_device.clone(),
            query: self.query.clone(),
            content_type: (!self.content_type.is_empty()).then(|| self.content_type.clone().into_owned()),
            body: source.decode.redact(&self.body).into_owned(),
        }
    }
}

fn unknown_integration() -> Problem {
    let detail = "No integration of this name receives webhooks.";
    Problem::new(StatusCode::NOT_FOUND, "unknown-integration", "Unknown integration", detail)
}

/// When the sender is to come again with all of it.
fn to_repeat(verdicts: &[Verdict]) -> Option<Duration> {
    let retry = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Retry(after) => Some(*after),
        _ => None,
    });
    retry.max()
}

/// Lets a request in when none of its devices is over its rate. A device counts once, however many messages it has in the
/// request: otherwise a large one would never pass. None of it is taken, so that the sender comes again with all of it.
fn admit_devices(source: &Source, decoded: &Decoded) -> Result<(), Duration> {
    let Some(limits) = &source.device_rate else { return Ok(()) };
    let devices: BTreeSet<(Option<&str>, &str)> = decoded
        .uplinks
        .iter()
        .filter_map(|uplink| uplink.device.as_ref())
        .map(|device| (device.scope.as_deref(), device.id.as_str()))
        .collect();
    for (scope, id) in devices {
        // No scope or id holds this character.
        let sender: Arc<str> = format!("{}\u{1f}{id}", scope.unwrap_or_default()).into();
        limits.admit(&sender)?;
    }
    Ok(())
}

/// The one place where the others become a status.
fn answer(source: &Source, arrived: &Arrived, verdicts: &[Verdict], letters: &[Letter]) -> Response {
    match source.decode.reply(&arrived.as_request(), verdicts, letters) {
        Reply::NoContent => StatusCode::NO_CONTENT.into_response(),
        Reply::Empty => StatusCode::OK.into_response(),
        Reply::Json(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
    }
}
