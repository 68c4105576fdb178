//! `/operator/devices/{id}/state`: show, change what is wanted. Not here: its JSON.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bridge_core::DeviceId;
use bridge_core::ports::DeviceRecord;
use bridge_core::twin::{TwinError, Wish};
use http::{HeaderMap, StatusCode};
use webhook::receiver::Problem;

use super::commands::unavailable;
use super::{Operations, json_response, malformed, unauthorized};
use crate::twins::json;

/// 200 with the state; an empty one when nothing was ever said.
pub(super) async fn show(
    State(operations): State<Operations>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match device(&operations, &id, &headers).await {
        Ok(device) => match operations.0.courier.twins.get(&device.id).await {
            Ok(twin) => json_response(StatusCode::OK, &json::write(&device.id, &twin)),
            Err(error) => unavailable(&error),
        },
        Err(refused) => *refused,
    }
}

/// 200 with the state as it is then. `{"desired": {...}}` is a merge patch.
pub(super) async fn change(
    State(operations): State<Operations>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    let device = match device(&operations, &id, &headers).await {
        Ok(device) => device.id,
        Err(refused) => return *refused,
    };
    let patch = match json::parse(&body) {
        Ok(patch) => patch,
        Err(why) => return malformed(why),
    };
    let wish = Wish { patch: &patch, digest: None, is_copy: false };
    match operations.0.courier.twins.desire(&device, wish).await {
        Ok((twin, _)) => json_response(StatusCode::OK, &json::write(&device, &twin)),
        Err(TwinError::Store(error)) => unavailable(&error),
        Err(TwinError::TooLarge(error)) => {
            let why = format!("{error}.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "state-too-large", "Too large a state", why)
                .into_response()
        }
    }
}

/// The device, when an operator asks for one that there is.
async fn device(
    operations: &Operations,
    id: &str,
    headers: &HeaderMap,
) -> Result<DeviceRecord, Box<Response>> {
    if !operations.0.token.proves(headers, "") {
        return Err(Box::new(unauthorized()));
    }
    let unknown = || {
        let why = "There is no device with this id.";
        Problem::new(StatusCode::NOT_FOUND, "unknown-device", "Unknown device", why).into_response()
    };
    let id = DeviceId::parse(id).map_err(|_| Box::new(unknown()))?;
    match operations.0.commands.registry.get(&id).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(Box::new(unknown())),
        Err(error) => Err(Box::new(unavailable(&error))),
    }
}
