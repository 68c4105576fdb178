//! Downlinks by the webhook's push and replace endpoints (reference page "webhooks", section 3.5). Not here: the reports'
//! form (`downlink`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::command::queue::Capacity;
use bridge_core::command::{
    Again, AttemptId, Awaits, Cause, CauseCode, Command, Draft, Flight, Payload, Priority, Report,
    SendOutcome,
};
use bridge_core::commands::Target;
use bridge_core::ports::DeviceRecord;
use bridge_core::{Kind, Uplink};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::downlink::{Answered, Downlink, Heard, check_lorawan, flight, port, post, refusal, segment};

/// The way down of one webhook.
pub(super) struct Push {
    /// `https://eu1.cloud.thethings.network`, without a slash at its end.
    pub(super) url: String,
    /// The id of the webhook at The Things Stack.
    pub(super) webhook: String,
    /// For devices whose application is not known; else that of the device.
    pub(super) application: Option<String>,
}

const OPTIONS: &[&str] = &["fPort", "classBC"];

impl Downlink for Push {
    /// A replaced queue has lost the older command: it need not be waited for.
    fn capacity(&self) -> Capacity {
        Capacity { in_flight: 1, replaces: true }
    }

    fn check(&self, draft: &Draft, payload: Option<&Payload>) -> Result<(), String> {
        check_lorawan(draft, payload, OPTIONS)
    }

    fn flight(&self, command: &Command) -> Flight {
        let awaits = if command.draft.confirmed { Awaits::Acknowledgement } else { Awaits::Transmission };
        // Replacing a queue twice leaves one command in it; pushing twice leaves two.
        flight(command, command.draft.replace.is_some(), awaits)
    }

    fn request(
        &self,
        device: &DeviceRecord,
        command: &Command,
        attempt: AttemptId,
    ) -> Result<Request<Bytes>, String> {
        let application = device.scope.as_ref().or(self.application.as_ref());
        let application = application.ok_or("its application is not known: set downlink.application")?;
        let draft = &command.draft;
        let verb = if draft.replace.is_some() { "replace" } else { "push" };
        let url = format!(
            "{}/api/v3/as/applications/{}/webhooks/{}/devices/{}/down/{verb}",
            self.url,
            segment(application),
            segment(&self.webhook),
            segment(device.external.as_str()),
        );
        let payload = draft.payload.as_ref();
        let mut downlink = json!({
            "f_port": port(draft, payload)?,
            "priority": priority(draft.priority),
            "confirmed": draft.confirmed,
            "correlation_ids": [attempt.to_string()],
        });
        match payload {
            Some(payload) => downlink["frm_payload"] = BASE64_STANDARD.encode(&payload.data).into(),
            None => downlink["decoded_payload"] = draft.arguments.clone(),
        }
        if let Some(times) = draft.options.get("classBC") {
            downlink["class_b_c"] = times.clone();
        }
        post(url, &json!({ "downlinks": [downlink] }))
    }

    fn outcome(&self, answer: &Answered<'_>) -> SendOutcome {
        if answer.status.is_success() {
            return SendOutcome::Accepted { references: Vec::new() };
        }
        let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        refusal(answer, body["message"].as_str().unwrap_or_default())
    }

    fn heard(&self, uplink: &Uplink) -> Option<Heard> {
        if uplink.kind != Kind::Command {
            return None;
        }
        let data = &uplink.content.data;
        let ids = data.get("correlationIds")?.as_array()?;
        let attempt = ids.iter().filter_map(Value::as_str).find_map(AttemptId::parse)?;
        let report = match data.get("state")?.as_str()? {
            "sent" => Report::Transmitted,
            "acknowledged" => Report::Acknowledged { result: None },
            "failed" => failure(data.get("error")),
            // Queued is what the answer said; after a new session and without an acknowledgement the server tries again.
            _ => return None,
        };
        Some(Heard::Report(Target::Attempt(attempt), report))
    }
}

fn failure(error: Option<&Value>) -> Report {
    let name = error.and_then(|error| error["name"].as_str()).unwrap_or_default();
    let again = if PERMANENT.contains(&name) { Again::Never } else { Again::Later(None) };
    Report::Failed { cause: Cause::new(CauseCode::Refused, name), again }
}

/// Errors that come again with the same downlink.
const PERMANENT: &[&str] = &[
    "application_downlink_too_long",
    "downlink_too_long",
    "invalid_f_port",
    "f_port_too_high",
    "no_payload",
];

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Lowest => "LOWEST",
        Priority::Low => "LOW",
        Priority::BelowNormal => "BELOW_NORMAL",
        Priority::Normal => "NORMAL",
        Priority::AboveNormal => "ABOVE_NORMAL",
        Priority::High => "HIGH",
        Priority::Highest => "HIGHEST",
    }
}
