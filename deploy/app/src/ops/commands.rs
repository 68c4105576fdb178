//! `/operator/commands`: send, list, show, cancel. Not here: the life of a command, its JSON.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bridge_core::command::{Cancelled, Cause, CauseCode, CommandId, RequestKey};
use bridge_core::commands::{SubmitError, Submitted};
use bridge_core::ports::StoreError;
use http::{HeaderMap, StatusCode};
use webhook::receiver::Problem;

use super::{Operations, json_response, malformed, unauthorized};
use crate::commands::{Commands, json};

#[derive(Debug, serde::Deserialize)]
pub(super) struct CommandQuery {
    device: Option<String>,
    state: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

/// The newest first; `before` takes the id of the last one of the page before.
pub(super) async fn list(
    State(operations): State<Operations>,
    Query(query): Query<CommandQuery>,
    headers: HeaderMap,
) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    let filter = match json::filter(query.device.as_deref(), query.state.as_deref()) {
        Ok(filter) => filter,
        Err(why) => return malformed(why),
    };
    let Ok(before) = query.before.as_deref().map(CommandId::parse).transpose() else {
        return malformed("\"before\" is not the id of a command.".into());
    };
    let limit = query.limit.unwrap_or(100).min(1000);
    match operations.0.commands.store.list(&filter, before, limit).await {
        Ok(found) => json_response(StatusCode::OK, &found.iter().map(json::write).collect()),
        Err(error) => unavailable(&error),
    }
}

/// 202 with the command, 200 when its key was used before for the same.
pub(super) async fn send(
    State(operations): State<Operations>,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    take(&operations.0.commands, &body, None).await
}

/// Takes a command for somebody who may send it. `key` stands for one that its author did not give.
pub(crate) async fn take(commands: &Commands, body: &[u8], key: Option<RequestKey>) -> Response {
    let (device, mut draft) = match json::parse(body) {
        Ok(parsed) => parsed,
        Err(why) => return malformed(why),
    };
    draft.key = draft.key.or(key);
    let error = match commands.dispatcher.submit(&device, draft).await {
        Ok(Submitted::New(command)) => return json_response(StatusCode::ACCEPTED, &json::write(&command)),
        Ok(Submitted::Existing { command, same: true }) => {
            return json_response(StatusCode::OK, &json::write(&command));
        }
        Ok(Submitted::Existing { .. }) => {
            let why = "The key was used for another command.";
            return Problem::new(StatusCode::CONFLICT, "key-used", "Key used before", why).into_response();
        }
        Err(SubmitError::Store(error)) => return unavailable(&error),
        Err(error) => error,
    };
    let (status, kind, title) = match error {
        SubmitError::UnknownDevice(_) => (StatusCode::NOT_FOUND, "unknown-device", "Unknown device"),
        SubmitError::NoWay { .. } => (StatusCode::CONFLICT, "no-way", "No way to the device"),
        SubmitError::DeviceFull(_) | SubmitError::Full => {
            (StatusCode::TOO_MANY_REQUESTS, "queue-full", "Too many commands")
        }
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "unfit", "The command does not fit"),
    };
    Problem::new(status, kind, title, format!("{error}.")).into_response()
}

/// One, with everything that became of it.
pub(super) async fn show(
    State(operations): State<Operations>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    let Ok(id) = CommandId::parse(&id) else { return unknown() };
    match operations.0.commands.store.get(id).await {
        Ok(Some(command)) => json_response(StatusCode::OK, &json::write(&command)),
        Ok(None) => unknown(),
        Err(error) => unavailable(&error),
    }
}

/// 200 with the command as it is then; 409 when it was over before.
pub(super) async fn cancel(
    State(operations): State<Operations>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !operations.0.token.proves(&headers, "") {
        return unauthorized();
    }
    let Ok(id) = CommandId::parse(&id) else { return unknown() };
    let cause = Cause::new(CauseCode::Withdrawn, "by an operator");
    match operations.0.commands.dispatcher.cancel(id, cause).await {
        Ok(Some((_, Cancelled::TooLate))) => {
            let why = "The command is over.";
            Problem::new(StatusCode::CONFLICT, "too-late", "Too late", why).into_response()
        }
        Ok(Some((command, Cancelled::Done | Cancelled::OnItsWay))) => {
            json_response(StatusCode::OK, &json::write(&command))
        }
        Ok(None) => unknown(),
        Err(error) => unavailable(&error),
    }
}

fn unknown() -> Response {
    let why = "There is no command with this id.";
    Problem::new(StatusCode::NOT_FOUND, "unknown-command", "Unknown command", why).into_response()
}

pub(super) fn unavailable(error: &StoreError) -> Response {
    let why = format!("The store did not answer: {error}.");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", why).into_response()
}
