//! What operators ask over HTTP: `/healthz`, `/readyz`, `/metrics`, `/operator/traces`, `/operator/codecs`,
//! `/operator/replay`, `/operator/commands`, `/operator/devices/{id}/state`. Not here: what sources send.

pub(crate) mod commands;
mod twins;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bridge_core::pipeline::Pipeline;
use bridge_core::trace::{End, Trace};
use bridge_core::{Timestamp, Verdict};
use codec::CodecSet;
use http::{HeaderMap, StatusCode, header};
use http_api::DeviceApi;
use serde_json::{Value, json};
use webhook::receiver::{Auth, Problem, Receiver};

use crate::commands::Commands;
use crate::metrics::{self, Counters, Extra};
use crate::replay::ReplayRequest;
use crate::tryout::{self, Trial};
use crate::twins::Courier;

/// What the routes look at.
#[derive(Clone)]
pub(crate) struct Operations(Arc<Inner>);

struct Inner {
    receiver: Receiver,
    device_api: DeviceApi,
    pipeline: Arc<Pipeline>,
    codecs: Arc<CodecSet>,
    commands: Commands,
    courier: Courier,
    token: Auth,
    extra: std::sync::Mutex<Backlog>,
    closing: AtomicBool,
}

/// The last look at the store.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backlog {
    /// When the oldest entry of the outbox was accepted.
    pub(crate) oldest: Option<Timestamp>,
    /// Dead letters.
    pub(crate) dead_letters: u64,
}

impl Operations {
    /// Routes over these parts; `token` guards the traces.
    pub(crate) fn new(
        receiver: Receiver,
        device_api: DeviceApi,
        pipeline: Arc<Pipeline>,
        codecs: Arc<CodecSet>,
        commands: Commands,
        courier: Courier,
        token: Auth,
    ) -> Self {
        let (extra, closing) = (std::sync::Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner {
            receiver,
            device_api,
            pipeline,
            codecs,
            commands,
            courier,
            token,
            extra,
            closing,
        }))
    }

    /// The routes.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_page))
            .route("/operator/traces", get(traces))
            .route("/operator/codecs", get(codecs))
            .route("/operator/codecs/{name}/try", post(try_codec).layer(DefaultBodyLimit::max(MAX_TRIAL)))
            .route("/operator/replay", post(replay))
            .route("/operator/commands", get(commands::list).post(commands::send))
            .route("/operator/commands/{id}", get(commands::show).delete(commands::cancel))
            .route("/operator/devices/{id}/state", get(twins::show).patch(twins::change))
            .with_state(self.clone())
    }

    /// Puts the newest look at the store in place.
    pub(crate) fn set_backlog(&self, backlog: Backlog) {
        *self.0.extra.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = backlog;
    }

    /// From now on the bridge is not ready: it is going down.
    pub(crate) fn set_closing(&self) {
        self.0.closing.store(true, Relaxed);
    }

    fn backlog(&self) -> Backlog {
        *self.0.extra.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Ready means: what is sent now will be kept. That takes the store; with the hub down the outbox takes over, and turning
/// webhooks away then would lose them. The body says how both are.
async fn readyz(State(operations): State<Operations>) -> Response {
    let stats = operations.0.pipeline.delivery.stats();
    let store_error = operations.0.pipeline.delivery.store_error();
    let closing = operations.0.closing.load(Relaxed);
    let ready = store_error.is_none() && !closing;
    let status = match (ready, stats.links_up) {
        (false, _) => "unavailable",
        (true, 0) => "degraded",
        (true, _) => "ready",
    };
    let body = json!({
        "status": status,
        "closing": closing,
        "hub": { "up": stats.links_up > 0, "connections": stats.links_up, "wanted": stats.links_open },
        "store": { "ok": store_error.is_none(), "error": store_error },
        "outbox": { "messages": stats.stored },
    });
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(code, &body)
}

async fn metrics_page(State(operations): State<Operations>) -> Response {
    let backlog = operations.backlog();
    let now = crate::clock::SystemClock;
    let age = backlog.oldest.map(|at| bridge_core::ports::Clock::wall(&now).since(at).as_secs_f64());
    let stats = operations.0.pipeline.delivery.stats();
    let extra = Extra {
        // The look at the store may be older than the count.
        backlog_age_seconds: if stats.stored == 0 { 0.0 } else { age.unwrap_or_default() },
        dead_letters: backlog.dead_letters,
        buried: operations.0.pipeline.delivery.buried(),
        store_ok: operations.0.pipeline.delivery.store_error().is_none(),
    };
    let table = operations.0.receiver.table();
    let integrations = table.iter().map(|source| &source.integration);
    let mut integrations: Vec<Counters<'_>> = integrations
        .map(|integration| Counters { name: integration.name.as_str(), of: &integration.counters })
        .collect();
    integrations.push(Counters { name: http_api::INTEGRATION, of: operations.0.device_api.counters() });
    let page = metrics::render(&integrations, stats, extra);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

#[derive(Debug, serde::Deserialize)]
struct TraceQuery {
    after: Option<u64>,
    limit: Option<usize>,
}

/// The codecs, and what those on trial made otherwise.
async fn codecs(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    json_response(StatusCode::OK, &tryout::overview(&operations.0.codecs))
}

/// What a codec makes of a payload, step by step; nothing is sent anywhere.
async fn try_codec(
    State(operations): State<Operations>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    let Some(codec) = operations.0.codecs.table().codecs.get(&name).cloned() else {
        let detail = format!("There is no codec {name:?} in the configuration.");
        return Problem::new(StatusCode::NOT_FOUND, "unknown-codec", "Unknown codec", detail).into_response();
    };
    let trial = match Trial::parse(&body) {
        Ok(trial) => trial,
        Err(why) => return malformed(why),
    };
    let now = bridge_core::ports::Clock::wall(&crate::clock::SystemClock);
    json_response(StatusCode::OK, &trial.run(&codec, now).await)
}

/// Runs the codecs of now over payloads of the past.
async fn replay(State(operations): State<Operations>, headers: HeaderMap, body: bytes::Bytes) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    let request = match ReplayRequest::parse(&body) {
        Ok(request) => request,
        Err(why) => return malformed(why),
    };
    if operations.0.pipeline.archive.is_none() {
        let why = "No payloads are kept: set archive.keep in the configuration.";
        return Problem::new(StatusCode::CONFLICT, "no-archive", "No archive", why).into_response();
    }
    match request.run(&operations.0.pipeline).await {
        Ok(report) => json_response(StatusCode::OK, &report),
        Err(error) => commands::unavailable(&error),
    }
}

/// A payload in hexadecimal or base64, and what is around it.
const MAX_TRIAL: usize = 256 * 1024;

async fn traces(
    State(operations): State<Operations>,
    Query(query): Query<TraceQuery>,
    headers: HeaderMap,
) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    let limit = query.limit.unwrap_or(100).min(1000);
    let traces: Vec<Value> =
        operations.0.pipeline.traces.after(query.after, limit).iter().map(trace_json).collect();
    json_response(StatusCode::OK, &Value::Array(traces))
}

/// What became of a message, and why.
pub(crate) fn words(verdict: &Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Delivered => ("delivered", None),
        Verdict::Stored => ("stored", None),
        Verdict::Duplicate => ("duplicate", None),
        Verdict::Rejected(reason) => ("dead-letter", Some(reason.as_str())),
        Verdict::Retry(_) => ("retry", None),
    }
}

fn trace_json(trace: &Trace) -> Value {
    let (end, reason) = match &trace.end {
        End::Verdict(verdict) => words(verdict),
        End::Refused(refusal) => ("refused", Some(refusal.as_str())),
    };
    let steps: Vec<Value> =
        trace.steps.iter().map(|(step, micros)| json!({ "step": step.as_str(), "micros": micros })).collect();
    json!({
        "number": trace.number,
        "request": trace.request,
        "at": trace.at.to_string(),
        "integration": trace.integration.as_str(),
        "message": trace.message.map(|id| id.to_string()),
        "device": trace.device.as_ref().map(bridge_core::DeviceId::as_str),
        "kind": trace.kind.map(bridge_core::Kind::as_str),
        "end": end,
        "reason": reason,
        "detail": trace.detail,
        "steps": steps,
    })
}

fn unauthorized() -> Response {
    let detail = "The request does not prove the operator's token.";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail).into_response()
}

fn malformed(why: String) -> Response {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request", why).into_response()
}

fn json_response(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
