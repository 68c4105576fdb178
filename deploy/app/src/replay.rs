//! Replays of archived payloads, as JSON: which ones in, what became of them out. One request takes a bounded number of
//! payloads and says where to go on. Not here: routes, and what a correction is (`bridge_core::correction`).

use bridge_core::correction::Correction;
use bridge_core::pipeline::Pipeline;
use bridge_core::ports::{ArchiveFilter, StoreResult};
use bridge_core::{DeviceId, Message, Timestamp, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::Fault;
use crate::tryout::values;

/// Which payloads, and whether to send what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayRequest {
    filter: ArchiveFilter,
    after: u64,
    limit: usize,
    dry_run: bool,
}

/// The JSON form: `from` and `to` (RFC 3339; `to` may be absent for now), `device`, `after`, `limit`, `dryRun`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ReplayBody {
    device: Option<String>,
    from: String,
    to: Option<String>,
    #[serde(default)]
    after: u64,
    #[serde(default = "usual_limit")]
    limit: usize,
    #[serde(default)]
    dry_run: bool,
}

/// Payloads of one request.
const MOST: usize = 500;

fn usual_limit() -> usize {
    MOST
}

impl ReplayRequest {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of(body: &ReplayBody) -> Result<Self, Fault> {
        let time = |at, text: &str| {
            Timestamp::parse_rfc3339(text).ok_or_else(|| Fault::at(at, "is not a time of RFC 3339"))
        };
        let device = body.device.as_deref().map(DeviceId::parse).transpose();
        let filter = ArchiveFilter {
            device: device.map_err(|error| Fault::at("/device", error.to_string()))?,
            from: time("/from", &body.from)?,
            to: body.to.as_deref().map_or_else(|| Ok(Timestamp::LATEST), |to| time("/to", to))?,
        };
        Ok(Self { filter, after: body.after, limit: body.limit.clamp(1, MOST), dry_run: body.dry_run })
    }

    /// Takes the payloads one after the other. The report counts payloads by what became of them; `next` stands in
    /// `after` of the next request, and is null at the end.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn run(&self, pipeline: &Pipeline) -> StoreResult<Value> {
        let Some(archive) = &pipeline.archive else { return Ok(Value::Null) };
        let uplinks = archive.store().uplinks(&self.filter, self.after, self.limit).await?;
        let next = (uplinks.len() == self.limit).then(|| uplinks.last().map(|(number, _)| *number)).flatten();
        let mut counts = Counts::default();
        let mut results = Vec::with_capacity(uplinks.len());
        for (_, uplink) in &uplinks {
            let correction = pipeline.correct(uplink, !self.dry_run).await?;
            counts.count(&correction);
            results.push(result(uplink.device.as_str(), uplink.at, &correction));
        }
        let Counts { corrected, duplicate, failed, undecoded, skipped, messages } = counts;
        Ok(json!({
            "payloads": uplinks.len(), "corrected": corrected, "duplicate": duplicate, "failed": failed,
            "undecoded": undecoded, "skipped": skipped, "messages": messages, "next": next, "dryRun": self.dry_run,
            "results": results,
        }))
    }
}

#[derive(Default)]
struct Counts {
    /// Payloads whose messages were delivered or stored; in a dry run, would be sent.
    corrected: u64,
    /// Payloads whose messages had been sent before.
    duplicate: u64,
    /// Payloads whose messages could not be delivered.
    failed: u64,
    undecoded: u64,
    skipped: u64,
    messages: usize,
}

impl Counts {
    fn count(&mut self, correction: &Correction) {
        match correction {
            Correction::Skipped(_) => self.skipped += 1,
            Correction::Undecoded(_) => self.undecoded += 1,
            Correction::Made { messages, verdict } => {
                self.messages += messages.len();
                match verdict {
                    None | Some(Verdict::Delivered | Verdict::Stored) => self.corrected += 1,
                    Some(Verdict::Duplicate) => self.duplicate += 1,
                    Some(Verdict::Rejected(_) | Verdict::Retry(_)) => self.failed += 1,
                }
            }
        }
    }
}

fn result(device: &str, at: Timestamp, correction: &Correction) -> Value {
    let mut result = json!({ "device": device, "receivedAt": at.to_string() });
    match correction {
        Correction::Skipped(why) => result["skipped"] = (*why).into(),
        Correction::Undecoded(errors) => result["errors"] = errors.clone().into(),
        Correction::Made { messages, verdict } => {
            result["messages"] = messages.iter().map(|made| message(made)).collect();
            if let Some(verdict) = verdict {
                let (end, reason) = crate::admin::words(verdict);
                (result["end"], result["reason"]) = (end.into(), reason.into());
            }
        }
    }
    result
}

fn message(message: &Message) -> Value {
    json!({
        "id": message.id.to_string(),
        "corrects": message.corrects.map(|id| id.to_string()),
        "kind": message.kind.as_str(),
        "time": message.time.map(|time| time.to_string()),
        "measurements": values(&message.content.measurements),
        "warnings": message.content.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_or_refused_with_the_reason() {
        let parse = |body: &str| ReplayRequest::of(&serde_json::from_str(body).unwrap());
        let request =
            parse(r#"{"device":"d1","from":"2026-01-01T00:00:00Z","limit":9999,"dryRun":true}"#).unwrap();
        assert_eq!((request.limit, request.dry_run, request.after), (MOST, true, 0));
        assert_eq!(
            (request.filter.device.as_ref().unwrap().as_str(), request.filter.to),
            ("d1", Timestamp::LATEST)
        );
        for (body, pointer) in [
            (r#"{"from":"yesterday"}"#, "/from"),
            (r#"{"from":"2026-01-01T00:00:00Z","to":"x"}"#, "/to"),
            (r#"{"from":"2026-01-01T00:00:00Z","device":"a/b"}"#, "/device"),
        ] {
            assert_eq!(parse(body).unwrap_err().pointer, pointer, "{body}");
        }
    }
}
