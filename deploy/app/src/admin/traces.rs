//! `/admin/v1/traces` and `/admin/v1/messages/{id}`: what became of the latest messages, step by step. Not here: noting it (`bridge_core::trace`).

use axum::extract::{Path, State};
use bridge_core::trace::{End, Trace, TraceFilter};
use bridge_core::{DeviceId, Kind, MessageId, Verdict};
use serde_json::{Value, json};

use super::body::{Answer, Asked, Declined};
use super::devices::{device, integration};
use super::{Admin, done, page};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceQuery {
    device: Option<String>,
    integration: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// Traces of one message: it can come again, and be sent again.
const OF_ONE: usize = 100;

/// The oldest first; without `after` the latest ones.
pub(super) async fn list(State(admin): State<Admin>, Asked(query): Asked<TraceQuery>) -> Answer {
    let filter = filter(query.device.as_deref(), query.integration.as_deref())?;
    let traces = admin.0.pipeline.traces.after(&filter, query.after, page(query.limit));
    done(&traces.iter().map(write).collect())
}

/// What became of a message, as long as there are traces of it.
pub(super) async fn of_message(State(admin): State<Admin>, Path(id): Path<String>) -> Answer {
    let unknown = || {
        let why = "There are no traces of a message with this id, or none any more.";
        Declined::unknown("unknown-message", "Unknown message", why)
    };
    let id = MessageId::parse(&id).map_err(|_| unknown())?;
    let filter = TraceFilter { message: Some(id), ..TraceFilter::default() };
    let traces = admin.0.pipeline.traces.after(&filter, None, OF_ONE);
    let last = traces.last().ok_or_else(unknown)?;
    done(&json!({
        "id": id.to_string(),
        "device": last.device.as_ref().map(DeviceId::as_str),
        "integration": last.integration.as_str(),
        "kind": last.kind.map(Kind::as_str),
        "traces": traces.iter().map(write).collect::<Value>(),
    }))
}

/// Which traces a query wants.
pub(super) fn filter(device_id: Option<&str>, name: Option<&str>) -> Result<TraceFilter, Declined> {
    let (device, integration) = (device(device_id, "device")?, integration(name)?);
    Ok(TraceFilter { device, integration, message: None })
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

pub(super) fn write(trace: &Trace) -> Value {
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
        "device": trace.device.as_ref().map(DeviceId::as_str),
        "kind": trace.kind.map(Kind::as_str),
        "end": end,
        "reason": reason,
        "detail": trace.detail,
        "steps": steps,
    })
}
