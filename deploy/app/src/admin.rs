//! `/admin/v1`: what operators ask and order, each route with the scope that it takes. Not here: health and metrics
//! ([`crate::ops`]), what sources send.

mod access;
mod body;
mod codecs;
mod commands;
mod dead_letters;
mod devices;
mod events;
mod integrations;
mod traces;
mod twins;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use bridge_core::DeviceId;
use bridge_core::pipeline::Pipeline;
use bridge_core::ports::{DeviceRecord, Registry};
use codec::CodecSet;
use http::header;
use http_api::DeviceApi;
use serde_json::Value;
use webhook::receiver::Receiver;

use self::body::{Answer, Declined};
use crate::commands::Commands;
use crate::config::Scope;
use crate::ops::rejections;
use crate::store::Store;
use crate::twins::Courier;

pub(crate) use self::access::Access;
pub(crate) use self::body::Fault;
pub(crate) use self::commands::take;
pub(crate) use self::traces::words;

/// What the routes work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admin(Arc<Parts>);

/// See [`Admin`].
pub(crate) struct Parts {
    pub(crate) access: Access,
    pub(crate) receiver: Receiver,
    pub(crate) device_api: DeviceApi,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) codecs: Arc<CodecSet>,
    pub(crate) commands: Commands,
    pub(crate) courier: Courier,
    pub(crate) store: Arc<dyn Store>,
}

impl Admin {
    /// Routes over these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Who may ask.
    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }

    /// The routes with answers that end. There is no handler without a scope.
    pub(crate) fn router(&self) -> Router {
        let with = |scope, handlers| self.with(scope, handlers);
        let read = |handlers| with(Scope::Read, handlers);
        Router::new()
            .route("/admin/v1/devices", read(get(devices::list)))
            .route(
                "/admin/v1/devices/{id}",
                read(get(devices::show))
                    .merge(with(Scope::Devices, patch(devices::change).delete(devices::remove))),
            )
            .route("/admin/v1/integrations", read(get(integrations::list)))
            .route("/admin/v1/integrations/{name}", read(get(integrations::show)))
            .route(
                "/admin/v1/dead-letters",
                read(get(dead_letters::list)).merge(with(Scope::Replay, delete(dead_letters::remove))),
            )
            .route("/admin/v1/dead-letters/replay", with(Scope::Replay, post(dead_letters::replay)))
            .route(
                "/admin/v1/dead-letters/{number}",
                read(get(dead_letters::show)).merge(with(Scope::Replay, delete(dead_letters::remove_one))),
            )
            .route(
                "/admin/v1/dead-letters/{number}/replay",
                with(Scope::Replay, post(dead_letters::replay_one)),
            )
            .route("/admin/v1/traces", read(get(traces::list)))
            .route("/admin/v1/messages/{id}", read(get(traces::of_message)))
            .route("/admin/v1/codecs", read(get(codecs::list)))
            .route("/admin/v1/codecs/{name}/try", read(post(codecs::try_one)))
            .route("/admin/v1/replay", with(Scope::Replay, post(codecs::replay)))
            .route(
                "/admin/v1/commands",
                read(get(commands::list)).merge(with(Scope::Commands, post(commands::send))),
            )
            .route(
                "/admin/v1/commands/{id}",
                read(get(commands::show)).merge(with(Scope::Commands, delete(commands::cancel))),
            )
            .route(
                "/admin/v1/devices/{id}/state",
                read(get(twins::show)).merge(with(Scope::Commands, patch(twins::change))),
            )
            .layer(map_response(rejections::as_problem))
            .with_state(self.clone())
    }

    /// The route whose answer goes on as long as somebody listens.
    pub(crate) fn live_router(&self) -> Router {
        Router::new()
            .route("/admin/v1/events", self.with(Scope::Read, get(events::stream)))
            .layer(map_response(rejections::as_problem))
            .with_state(self.clone())
    }

    fn with(&self, scope: Scope, handlers: MethodRouter<Self>) -> MethodRouter<Self> {
        handlers.route_layer(from_fn_with_state((self.0.access.clone(), scope), access::guard))
    }

    /// The device of a path.
    async fn device(&self, id: &str) -> Result<DeviceRecord, Declined> {
        let id = DeviceId::parse(id).map_err(|_| unknown_device())?;
        Registry::get(&*self.0.store, &id).await?.ok_or_else(unknown_device)
    }
}

fn unknown_device() -> Declined {
    Declined::unknown("unknown-device", "Unknown device", "There is no device with this id.")
}

/// 200 with JSON.
fn done(body: &Value) -> Answer {
    Ok(json_response(body))
}

fn json_response(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// Entries of a page: as many as are asked for, or 100, and never more than 1000.
fn page(limit: Option<usize>) -> usize {
    limit.unwrap_or(100).min(1000)
}
