//! Downlinks by the API's device queue (reference page "webhooks", section 4). Not here: the reports' form (`event`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::command::{
    Again, AttemptId, Awaits, Cause, CauseCode, Command, Draft, Flight, Payload, Reference, Report,
    SendOutcome,
};
use bridge_core::commands::Target;
use bridge_core::ports::DeviceRecord;
use bridge_core::{Kind, Uplink};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::downlink::{Answered, Downlink, Heard, check_lorawan, flight, port, post, refusal, segment};

/// The way down of one server.
pub(super) struct Queue {
    /// `https://chirpstack.example.com`, without a slash at its end: the REST API.
    pub(super) url: String,
}

impl Downlink for Queue {
    fn check(&self, draft: &Draft, payload: Option<&Payload>) -> Result<(), String> {
        check_lorawan(draft, payload, &["fPort"])
    }

    fn flight(&self, command: &Command) -> Flight {
        let awaits = if command.draft.confirmed { Awaits::Acknowledgement } else { Awaits::Transmission };
        flight(command, false, awaits)
    }

    fn request(
        &self,
        device: &DeviceRecord,
        command: &Command,
        _attempt: AttemptId,
    ) -> Result<Request<Bytes>, String> {
        let draft = &command.draft;
        let payload = draft.payload.as_ref();
        let mut item = json!({
            "confirmed": draft.confirmed,
            "fPort": port(draft, payload)?,
            "expiresAt": command.expires.to_string(),
        });
        match payload {
            Some(payload) => item["data"] = BASE64_STANDARD.encode(&payload.data).into(),
            None => item["object"] = draft.arguments.clone(),
        }
        let eui = device.external.as_str().to_ascii_lowercase();
        post(format!("{}/api/devices/{}/queue", self.url, segment(&eui)), &json!({ "queueItem": item }))
    }

    fn outcome(&self, answer: &Answered<'_>) -> SendOutcome {
        let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        if !answer.status.is_success() {
            return refusal(answer, body["message"].as_str().unwrap_or_default());
        }
        match body["id"].as_str().and_then(|id| Reference::parse(id).ok()) {
            Some(id) => SendOutcome::Accepted { references: vec![id] },
            None => {
                let cause = Cause::new(CauseCode::NoReport, "the answer names no queue item");
                SendOutcome::Unknown { cause }
            }
        }
    }

    fn heard(&self, uplink: &Uplink) -> Option<Heard> {
        if uplink.kind != Kind::Command {
            return None;
        }
        let data = &uplink.content.data;
        let item = data.get("correlationIds")?.as_array()?.first()?.as_str()?;
        let report = match data.get("state")?.as_str()? {
            "sent" => Report::Transmitted,
            "acknowledged" => Report::Acknowledged { result: None },
            "failed" => {
                let cause = Cause::new(CauseCode::Rejected, "the device did not acknowledge it");
                Report::Failed { cause, again: Again::Later(None) }
            }
            _ => return None,
        };
        Some(Heard::Report(Target::Reference(Reference::parse(item).ok()?), report))
    }
}
