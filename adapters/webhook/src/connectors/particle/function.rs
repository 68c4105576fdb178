//! Commands as function calls (reference page "webhooks", section 2.4): synchronous, and without a queue for devices that
//! are offline. Not here: events of the cloud (`system`).

use bridge_core::command::{
    Again, AttemptId, Awaits, Cause, CauseCode, Command, Draft, Flight, Payload, SendOutcome,
};
use bridge_core::ports::DeviceRecord;
use bridge_core::{Kind, Uplink};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::downlink::{Answered, Downlink, Heard, flight, post, refusal, segment};

/// The way down of one account or product.
pub(super) struct Call {
    /// `https://api.particle.io`, without a slash at its end.
    pub(super) url: String,
    /// For devices of a product.
    pub(super) product: Option<String>,
}

/// Characters of a function's name, and bytes of its argument (Device OS since 3.0).
const LONGEST_NAME: usize = 64;
const LONGEST_ARGUMENT: usize = 1024;

impl Downlink for Call {
    fn takes_bytes(&self) -> bool {
        false
    }

    fn check(&self, draft: &Draft, payload: Option<&Payload>) -> Result<(), String> {
        if let Some(key) = draft.options.keys().next() {
            return Err(format!("there is no option {key:?}: a function has a name and one argument"));
        }
        if payload.is_some() {
            return Err("a function takes text, not bytes".into());
        }
        if draft.name.as_str().len() > LONGEST_NAME {
            return Err(format!("the name of a function has at most {LONGEST_NAME} characters"));
        }
        match argument(&draft.arguments).len() {
            0..=LONGEST_ARGUMENT => Ok(()),
            length => Err(format!("an argument of {length} bytes is longer than {LONGEST_ARGUMENT}")),
        }
    }

    fn flight(&self, command: &Command) -> Flight {
        flight(command, false, Awaits::Nothing)
    }

    fn request(
        &self,
        device: &DeviceRecord,
        command: &Command,
        _attempt: AttemptId,
    ) -> Result<Request<Bytes>, String> {
        let product = self.product.as_ref().map(|product| format!("products/{}/", segment(product)));
        let url = format!(
            "{}/v1/{}devices/{}/{}",
            self.url,
            product.unwrap_or_default(),
            segment(device.external.as_str()),
            segment(command.draft.name.as_str()),
        );
        post(url, &json!({ "arg": argument(&command.draft.arguments) }))
    }

    fn outcome(&self, answer: &Answered<'_>) -> SendOutcome {
        let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        let error = body["error_description"].as_str().or(body["error"].as_str()).unwrap_or_default();
        match answer.status.as_u16() {
            200..=299 => SendOutcome::Delivered { result: body.get("return_value").cloned() },
            408 => {
                let cause = Cause::new(CauseCode::NoAnswer, "the device did not answer the cloud in time");
                SendOutcome::Unknown { cause }
            }
            // Offline, or not there at all: the cloud does not tell them apart.
            404 => {
                let cause =
                    Cause::new(CauseCode::Unreachable, "the device is offline, or not one of this account");
                SendOutcome::Refused { cause, again: Again::WhenReachable }
            }
            400 => {
                let cause =
                    Cause::new(CauseCode::Rejected, format!("the device has no such function: {error}"));
                SendOutcome::Refused { cause, again: Again::Never }
            }
            _ => refusal(answer, error),
        }
    }

    fn heard(&self, uplink: &Uplink) -> Option<Heard> {
        let online = uplink.content.data.get("online") == Some(&Value::Bool(true));
        (uplink.kind == Kind::Connection && online).then_some(Heard::Online)
    }
}

/// Text as it is, nothing as nothing, all else as JSON.
fn argument(arguments: &Value) -> String {
    match arguments {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
