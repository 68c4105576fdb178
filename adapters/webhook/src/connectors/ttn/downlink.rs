//! The life of a downlink: `downlink_queued`, `_sent`, `_ack`, `_nack`, `_failed`, `_queue_invalidated`. Each becomes a
//! command report. Not here: the downlink's own bytes, which are ours.

use bridge_core::{Decoded, IdempotencyKey, Kind, Problem, Reason, StateMark, Uplink};
use serde_json::{Map, Value};

use super::identity::{Part, Sender, written_time};
use super::wire::{Downlink, Envelope, ErrorDetails, QueueInvalidated};
use crate::connectors::lenient::{Field, List};
use crate::connectors::lora;

/// What happened to a downlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The Network Server took it.
    Queued,
    /// A new session made it invalid; the Application Server queues it again or reports a failure.
    Invalidated,
    /// A gateway transmitted it.
    Sent,
    /// The device did not answer this attempt; there may be another.
    NotAcknowledged,
    /// The device acknowledged it.
    Acknowledged,
    /// It will never be sent.
    Failed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Invalidated => "invalidated",
            Self::Sent => "sent",
            Self::NotAcknowledged => "not-acknowledged",
            Self::Acknowledged => "acknowledged",
            Self::Failed => "failed",
        }
    }

    /// Later attempts outrank earlier ones, later states of an attempt earlier ones, and the two final states
    /// everything: they may come without the number of their attempt.
    fn rank(self, attempt: u32) -> u64 {
        const FINAL: u64 = 1_000_000;
        let attempt = u64::from(attempt.min(9_999)) * 10;
        match self {
            Self::Queued => attempt + 1,
            Self::Invalidated => attempt + 2,
            Self::Sent => attempt + 3,
            Self::NotAcknowledged => attempt + 4,
            Self::Acknowledged | Self::Failed => FINAL + attempt + 9,
        }
    }

    /// Whether the frame counter was assigned, so that an absent one is zero.
    fn has_counter(self) -> bool {
        matches!(self, Self::Sent | Self::NotAcknowledged | Self::Acknowledged)
    }
}

/// Adds the report of one downlink.
pub(super) fn decode(
    state: State,
    downlink: &Downlink<'_>,
    error: Option<&ErrorDetails<'_>>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
    decoded: &mut Decoded,
) {
    let ids = correlation_ids(&[&downlink.correlation_ids, &envelope.correlation_ids]);
    push(Report { state, downlink, error, ids: &ids, distinction: &[] }, envelope, sender, part, decoded);
}

/// Adds a report for each downlink of an invalidated queue; one without details when it names none.
pub(super) fn decode_invalidated(
    queue: &QueueInvalidated<'_>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
    decoded: &mut Decoded,
) {
    let counter = queue.last_f_cnt_down.as_ref().map(u32::to_string).unwrap_or_default();
    let session = queue.session_key_id.text().unwrap_or_default();
    let none = Downlink::default();
    let listed = queue.downlinks.as_ref();
    let downlinks = listed.map_or(&[][..], |list| &list.items);
    let reports = if downlinks.is_empty() { std::slice::from_ref(&none) } else { downlinks };
    for (index, downlink) in reports.iter().enumerate() {
        // The ids of the envelope belong to all of them together.
        let envelope_ids = if downlinks.len() == 1 { &envelope.correlation_ids } else { &Field::Absent };
        let ids = correlation_ids(&[&downlink.correlation_ids, envelope_ids]);
        let distinction = [session, &counter, &index.to_string()];
        let report =
            Report { state: State::Invalidated, downlink, error: None, ids: &ids, distinction: &distinction };
        push(report, envelope, sender, part, decoded);
    }
    if let Some(left_out) = listed.map(|list| list.left_out).filter(|count| *count > 0) {
        let detail = format!("{left_out} downlinks of downlink_queue_invalidated cannot be read");
        decoded.problems.push(Problem { reason: Reason::Unmappable, detail });
    }
}

#[derive(Clone, Copy)]
struct Report<'r> {
    state: State,
    downlink: &'r Downlink<'r>,
    error: Option<&'r ErrorDetails<'r>>,
    ids: &'r [&'r str],
    distinction: &'r [&'r str],
}

fn push(
    report: Report<'_>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
    decoded: &mut Decoded,
) {
    let Report { state, downlink, .. } = report;
    let retry = downlink.confirmed_retry.as_ref();
    let attempt = retry.and_then(|retry| retry.attempt.as_ref().copied());
    let own = report.ids.iter().find(|id| is_own(id));
    let subject = own.or_else(|| report.ids.iter().find(|id| id.starts_with(DOWNLINK))).copied();

    let mut uplink = Uplink::new(
        Some(sender.device()),
        Kind::Command,
        key(&report, subject, attempt, envelope, sender, part),
    );
    uplink.time = lora::time(&envelope.received_at);
    uplink.state =
        subject.map(|id| StateMark { subject: id.to_owned(), rank: state.rank(attempt.unwrap_or(0)) });
    uplink.content.simulated = envelope.simulated.as_ref() == Some(&true);
    let warnings = &mut uplink.content.warnings;
    downlink.f_port.check("f_port", warnings);
    downlink.f_cnt.check("f_cnt", warnings);
    uplink.content.data = details(&report, attempt);
    decoded.push(uplink);
}

fn details(report: &Report<'_>, attempt: Option<u32>) -> Map<String, Value> {
    let Report { state, downlink, .. } = report;
    let mut data = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            data.insert(name.into(), value);
        }
    };
    put("state", Some(state.as_str().into()));
    let own: Vec<&str> = report.ids.iter().copied().filter(|id| is_own(id)).collect();
    put("correlationIds", (!own.is_empty()).then(|| own.into()));
    put("port", downlink.f_port.as_ref().map(|port| (*port).into()));
    let is_zero =
        state.has_counter() && !downlink.f_cnt.is_present() && downlink.session_key_id.text().is_some();
    put("counter", downlink.f_cnt.as_ref().copied().or(is_zero.then_some(0)).map(Into::into));
    put("confirmed", downlink.confirmed.as_ref().map(|flag| (*flag).into()));
    put("attempt", attempt.map(Into::into));
    let retry = downlink.confirmed_retry.as_ref();
    put("maxAttempts", retry.and_then(|retry| retry.max_attempts.as_ref().copied()).map(Into::into));
    put("priority", downlink.priority.text().map(|text| text.to_ascii_lowercase().into()));
    put("error", report.error.map(error_details));
    data
}

fn error_details(error: &ErrorDetails<'_>) -> Value {
    let mut details = Map::new();
    for (name, field) in
        [("name", &error.name), ("namespace", &error.namespace), ("message", &error.message_format)]
    {
        if let Some(text) = field.text() {
            details.insert(name.into(), text.into());
        }
    }
    if let Some(code) = error.code.as_ref() {
        details.insert("code".into(), (*code).into());
    }
    details.into()
}

/// Type, correlation ids, counter and attempt. A user may give every downlink the same own id, so the server's id of the
/// downlink is part of it, and where that is missing the time of the report.
fn key(
    report: &Report<'_>,
    subject: Option<&str>,
    attempt: Option<u32>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
) -> IdempotencyKey {
    let downlink = report.downlink;
    let kind = report.state.as_str();
    let counter = downlink.f_cnt.as_ref().map(u32::to_string).unwrap_or_default();
    let attempt = attempt.map(|attempt| attempt.to_string()).unwrap_or_default();
    let session = downlink.session_key_id.text().unwrap_or_default();
    let servers = report.ids.iter().find(|id| id.starts_with(DOWNLINK)).copied();
    let reported_at = written_time(&envelope.received_at);
    let moment = servers.or(reported_at).unwrap_or_default();
    if let Some(subject) = subject {
        let parts = [&[subject, moment, session, &counter, &attempt], report.distinction].concat();
        return sender.key(kind, &parts);
    }
    let payload = downlink.frm_payload.text().unwrap_or_default();
    let content = [&[payload, session, &counter, &attempt], report.distinction].concat();
    let is_one_moment = !session.is_empty() && !counter.is_empty();
    sender.key_without_sequence(kind, &[reported_at], &content, is_one_moment, part)
}

/// What the Application Server calls a downlink.
const DOWNLINK: &str = "as:downlink:";

/// Whether the id was given by whoever sent the downlink, and not by a server of The Things Stack.
fn is_own(id: &str) -> bool {
    const SERVERS: [&str; 8] = ["as:", "gs:", "ns:", "js:", "is:", "rpc:", "pba:", "events:"];
    !id.is_empty() && !SERVERS.iter().any(|server| id.starts_with(server))
}

/// All ids, each once, in order.
fn correlation_ids<'e>(lists: &[&'e Field<List<std::borrow::Cow<'_, str>>>]) -> Vec<&'e str> {
    let mut ids: Vec<&str> = Vec::new();
    for id in lists.iter().filter_map(|list| list.as_ref()).flat_map(|list| &list.items) {
        if !ids.contains(&id.as_ref()) {
            ids.push(id);
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::State::*;

    #[test]
    fn a_later_truth_outranks_an_earlier_one() {
        let order = [
            Queued.rank(0),
            Invalidated.rank(0),
            Sent.rank(0),
            Sent.rank(1),
            NotAcknowledged.rank(1),
            Sent.rank(2),
            NotAcknowledged.rank(2),
            NotAcknowledged.rank(u32::MAX),
            Acknowledged.rank(0),
            Acknowledged.rank(2),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        assert_eq!(Failed.rank(0), Acknowledged.rank(0));
    }
}
