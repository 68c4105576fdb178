//! `/admin/v1/commands`: send, list, show, cancel. Not here: the life of a command, its JSON.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bridge_core::command::{Cancelled, Cause, CauseCode, CommandId, RequestKey};
use bridge_core::commands::{SubmitError, Submitted};
use http::StatusCode;
use http_edge::Problem;

use super::body::{Answer, Asked, Body, Declined, parse};
use super::{Admin, done, json_response, page};
use crate::commands::{Commands, json};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandQuery {
    device: Option<String>,
    state: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

/// The newest first; `before` takes the id of the last one of the page before.
pub(super) async fn list(State(admin): State<Admin>, Asked(query): Asked<CommandQuery>) -> Answer {
    let filter = json::filter(query.device.as_deref(), query.state.as_deref())
        .map_err(|why| Declined::malformed(&why))?;
    let before = query.before.as_deref().map(CommandId::parse).transpose();
    let before = before.map_err(|_| Declined::malformed("\"before\" is not the id of a command."))?;
    let found = admin.0.commands.store.list(&filter, before, page(query.limit)).await?;
    done(&found.iter().map(json::write).collect())
}

/// 202 with the command, 200 when its key was used before for the same.
pub(super) async fn send(State(admin): State<Admin>, Body(body): Body<json::Body>) -> Answer {
    submit(&admin.0.commands, body, None).await
}

/// The same for somebody who may send and does not come by the route. `key` stands for one that its author did not give.
pub(crate) async fn take(commands: &Commands, body: &[u8], key: Option<RequestKey>) -> Response {
    let answer = match parse(body) {
        Ok(body) => submit(commands, body, key).await,
        Err(declined) => Err(declined),
    };
    answer.into_response()
}

async fn submit(commands: &Commands, body: json::Body, key: Option<RequestKey>) -> Answer {
    let (device, mut draft) = body.into_draft()?;
    draft.key = draft.key.or(key);
    let error = match commands.dispatcher.submit(&device, draft).await {
        Ok(Submitted::New(command)) => {
            return Ok((StatusCode::ACCEPTED, json_response(&json::write(&command))).into_response());
        }
        Ok(Submitted::Existing { command, same: true }) => return done(&json::write(&command)),
        Ok(Submitted::Existing { .. }) => {
            let why = "The key was used for another command.";
            return Err(Declined::conflict("key-used", "Key used before", why));
        }
        Err(SubmitError::Store(error)) => return Err(error.into()),
        Err(error) => error,
    };
    let why = format!("{error}.");
    Err(match error {
        SubmitError::UnknownDevice(_) => Declined::unknown("unknown-device", "Unknown device", &why),
        SubmitError::NoWay { .. } => Declined::conflict("no-way", "No way to the device", &why),
        SubmitError::DeviceFull(_) | SubmitError::Full => {
            Declined::full("queue-full", "Too many commands", &why)
        }
        _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit", "The command does not fit", why).into(),
    })
}

/// One, with everything that became of it.
pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<String>) -> Answer {
    let id = CommandId::parse(&id).map_err(|_| unknown())?;
    let command = admin.0.commands.store.get(id).await?.ok_or_else(unknown)?;
    done(&json::write(&command))
}

/// 200 with the command as it is then; 409 when it was over before.
pub(super) async fn cancel(State(admin): State<Admin>, Path(id): Path<String>) -> Answer {
    let id = CommandId::parse(&id).map_err(|_| unknown())?;
    let cause = Cause::new(CauseCode::Withdrawn, "by an operator");
    match admin.0.commands.dispatcher.cancel(id, cause).await?.ok_or_else(unknown)? {
        (_, Cancelled::TooLate) => Err(Declined::conflict("too-late", "Too late", "The command is over.")),
        (command, Cancelled::Done | Cancelled::OnItsWay) => done(&json::write(&command)),
    }
}

fn unknown() -> Declined {
    Declined::unknown("unknown-command", "Unknown command", "There is no command with this id.")
}
