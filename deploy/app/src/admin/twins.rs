//! `/admin/v1/devices/{id}/state`: show, change what is wanted. Not here: its JSON.

use axum::extract::{Path, State};
use bridge_core::twin::{TwinError, Wish};
use http::StatusCode;
use http_edge::Problem;

use super::body::{Answer, Body};
use super::{Admin, done};
use crate::twins::json;

/// 200 with the state; an empty one when nothing was ever said.
pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<String>) -> Answer {
    let device = admin.device(&id).await?.id;
    done(&json::write(&device, &admin.0.courier.twins.get(&device).await?))
}

/// 200 with the state as it is then. `{"desired": {...}}` is a merge patch.
pub(super) async fn change(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    Body(body): Body<json::Body>,
) -> Answer {
    let device = admin.device(&id).await?.id;
    let wish = Wish { patch: &body.desired, digest: None, is_copy: false };
    match admin.0.courier.twins.desire(&device, wish).await {
        Ok((twin, _)) => done(&json::write(&device, &twin)),
        Err(TwinError::Store(error)) => Err(error.into()),
        Err(TwinError::TooLarge(error)) => {
            let why = format!("{error}.");
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Err(Problem::new(status, "state-too-large", "Too large a state", why).into())
        }
    }
}
