//! Verdicts, faults and refusals become answers: the one place of this crate that knows statuses. Not here: deciding.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::counters::Refusal;
use bridge_core::{MessageId, Reason, Verdict};
use edge::Fault;
use http::{StatusCode, header};
use http_edge::{Problem, Refused, refused};
use serde_json::{Map, Value};

use crate::route::Route;
use crate::stateful::Resource;

/// What a sender is told to wait when the bridge itself could not.
const LATER: Duration = Duration::from_secs(5);

/// What one item is called.
pub(crate) struct Named {
    /// By its sender.
    pub(crate) id: Option<String>,
    /// In the hub.
    pub(crate) message: MessageId,
}

/// What became of a request whose items were handed on.
///
/// A batch has a result for each of its items, in order. When one of them was not taken the answer is 503: a 2xx means that
/// all of it is with the hub, on disk, or (rejected) among the dead letters.
///
/// `offered` are commands for a sender that takes them in this answer; an empty list says that there are none.
pub(crate) fn answer(
    route: &Route,
    is_batch: bool,
    (names, verdicts): (&[Named], &[Verdict]),
    offered: Option<Value>,
) -> Response {
    let items =
        || -> Value { names.iter().zip(verdicts).map(|(name, verdict)| result(name, verdict)).collect() };
    if let Some(after) = retry(verdicts) {
        let problem = Problem::unavailable(after);
        return if is_batch { problem.member("items", items()) } else { problem }.into_response();
    }
    let has_commands = offered.as_ref().and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if is_batch || has_commands {
        let mut body = Map::new();
        if is_batch {
            body.insert("items".into(), items());
        }
        if let Some(commands) = offered.filter(|_| has_commands) {
            body.insert("commands".into(), commands);
        }
        return ([(header::CONTENT_TYPE, "application/json")], Value::Object(body).to_string())
            .into_response();
    }
    match (rejected(verdicts), route) {
        (Some(reason), _) => rejection(reason).into_response(),
        (None, Route::Azure) => StatusCode::OK.into_response(),
        (None, Route::Stateful(place)) if place.resource != Resource::Reported => {
            StatusCode::OK.into_response()
        }
        (None, _) => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Whether the answer is a success, so that commands can stand in it.
pub(crate) fn is_taken(is_batch: bool, verdicts: &[Verdict]) -> bool {
    retry(verdicts).is_none() && (is_batch || rejected(verdicts).is_none())
}

fn retry(verdicts: &[Verdict]) -> Option<Duration> {
    let retry = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Retry(after) => Some(*after),
        _ => None,
    });
    retry.max()
}

fn rejected(verdicts: &[Verdict]) -> Option<Reason> {
    verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Rejected(reason) => Some(*reason),
        _ => None,
    })
}

/// A body that cannot be used. Azure's clients know 400 only.
pub(crate) fn faulty(route: &Route, fault: &Fault) -> Refused {
    let problem = if fault.is_syntax {
        Problem::malformed(&sentence(&fault.detail))
    } else {
        let place = if fault.pointer.is_empty() { "The body" } else { fault.pointer.as_str() };
        let detail = format!("{place}: {}. Nothing was taken.", fault.detail);
        let status = match route {
            Route::Azure | Route::Stateful(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, "invalid", "Invalid content", detail)
    };
    refused(Refusal::Malformed, problem.fault(&fault.pointer, &fault.detail))
}

/// No secret, or a wrong one.
pub(crate) fn unauthorized(challenge: &'static str) -> Refused {
    refused(Refusal::Unauthorized, Problem::unauthorized(challenge))
}

/// The secret is right, and not for this device.
pub(crate) fn out_of_scope() -> Refused {
    let detail = "These credentials are not for this device.";
    refused(Refusal::Forbidden, Problem::new(StatusCode::FORBIDDEN, "out-of-scope", "Forbidden", detail))
}

/// The device is not there.
pub(crate) fn unknown_device() -> Refused {
    let detail = "No device of this id is registered.";
    let problem = Problem::new(StatusCode::NOT_FOUND, "unknown-device", "Unknown device", detail);
    refused(Refusal::UnknownDevice, problem)
}

/// The registry does not let the device pass.
pub(crate) fn not_admitted(reason: Reason) -> Refused {
    match reason {
        Reason::UnknownDevice | Reason::InvalidDeviceId => unknown_device(),
        Reason::DeviceIdCollision => {
            let detail = "This id belongs to a device of another integration.";
            let problem = Problem::new(StatusCode::CONFLICT, "device-id-taken", "Device id is taken", detail);
            refused(Refusal::Forbidden, problem)
        }
        _ => {
            let detail = "The device waits for its operator's approval; its messages are not taken before.";
            let problem = Problem::new(StatusCode::FORBIDDEN, "parked", "Device waits for approval", detail);
            refused(Refusal::Forbidden, problem)
        }
    }
}

/// The header cannot be a key.
pub(crate) fn bad_key() -> Refused {
    let detail = "Idempotency-Key must stand once, with 1 to 256 visible characters, in quotes or not.";
    refused(Refusal::Malformed, Problem::malformed(detail))
}

/// Over a rate.
pub(crate) fn overload(after: Duration) -> Refused {
    refused(Refusal::Overload, Problem::overload(after))
}

/// The bridge itself could not.
pub(crate) fn unavailable() -> Refused {
    refused(Refusal::Unavailable, Problem::unavailable(LATER))
}

fn rejection(reason: Reason) -> Problem {
    let detail = match reason {
        Reason::RefusedByHub => {
            "The hub refuses this message for good. It is kept as a dead letter.".to_owned()
        }
        reason => format!("The message cannot be delivered ({reason}). It is kept as a dead letter."),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason.as_str(), "Not deliverable", detail)
}

fn result(name: &Named, verdict: &Verdict) -> Value {
    let (word, reason) = match verdict {
        Verdict::Delivered => ("delivered", None),
        Verdict::Stored => ("stored", None),
        Verdict::Duplicate => ("duplicate", None),
        Verdict::Rejected(reason) => ("rejected", Some(reason.as_str())),
        Verdict::Retry(_) => ("retry", None),
    };
    let mut result = Map::new();
    if let Some(id) = &name.id {
        result.insert("id".into(), id.as_str().into());
    }
    result.insert("message".into(), name.message.to_string().into());
    result.insert("result".into(), word.into());
    if let Some(reason) = reason {
        result.insert("reason".into(), reason.into());
    }
    Value::Object(result)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).chain(['.']).collect()).unwrap_or_default()
}
