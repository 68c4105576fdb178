//! What monitoring asks over HTTP: `/healthz`, `/readyz`, `/metrics`; and the description of the whole interface. Not
//! here: what sources send, what operators ask ([`crate::admin`]).

pub(crate) mod rejections;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ::coap::CoapApi;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bridge_core::Timestamp;
use bridge_core::pipeline::Pipeline;
use http::{StatusCode, header};
use http_api::DeviceApi;
use serde_json::{Value, json};
use webhook::receiver::Receiver;

use crate::coap;
use crate::metrics::{self, Counters, Extra};

/// What the routes look at.
#[derive(Clone)]
pub(crate) struct Operations(Arc<Inner>);

struct Inner {
    receiver: Receiver,
    device_api: DeviceApi,
    coap: Option<CoapApi>,
    pipeline: Arc<Pipeline>,
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
    /// Routes over these parts.
    pub(crate) fn new(
        (receiver, device_api, coap): (Receiver, DeviceApi, Option<CoapApi>),
        pipeline: Arc<Pipeline>,
    ) -> Self {
        let (extra, closing) = (std::sync::Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { receiver, device_api, coap, pipeline, extra, closing }))
    }

    /// The routes.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_page))
            .merge(crate::openapi::router())
            .layer(axum::middleware::map_response(rejections::as_problem))
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
        certificates_ignored: operations.0.device_api.certificates_ignored(),
        store_ok: operations.0.pipeline.delivery.store_error().is_none(),
    };
    let table = operations.0.receiver.table();
    let integrations = table.iter().map(|source| &source.integration);
    let mut integrations: Vec<Counters<'_>> = integrations
        .map(|integration| Counters { name: integration.name.as_str(), of: &integration.counters })
        .collect();
    integrations.push(Counters { name: http_api::INTEGRATION, of: operations.0.device_api.counters() });
    let coap = operations.0.coap.as_ref();
    integrations.extend(coap.map(|api| Counters { name: ::coap::SOURCE, of: api.counters() }));
    let mut page = metrics::render(&integrations, stats, extra);
    page.extend(coap.map(coap::metrics));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

fn json_response(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
