//! The contract of a cloud's way down: pure functions from a command to a request, and from what the cloud says to what it
//! means for the command. No I/O, no clock, no secret: whoever makes the call adds the token. Not here: when a command is
//! sent ([`bridge_core::commands`]).

use std::time::Duration;

use bridge_core::Uplink;
use bridge_core::command::queue::Capacity;
use bridge_core::command::{
    Again, AttemptId, Awaits, Cause, CauseCode, Command, Draft, Flight, Payload, Report, Resend, SendOutcome,
};
use bridge_core::commands::Target;
use bridge_core::ports::DeviceRecord;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How commands go down to the devices of one cloud.
pub trait Downlink: Send + Sync {
    /// How many commands of a device may be under way.
    fn capacity(&self) -> Capacity {
        Capacity::default()
    }

    /// Whether its commands carry bytes, so that a codec may encode arguments.
    fn takes_bytes(&self) -> bool {
        true
    }

    /// Checks a draft, with the bytes that it was encoded to where there are any.
    ///
    /// # Errors
    /// A text for the asker: what does not fit the cloud.
    fn check(&self, draft: &Draft, payload: Option<&Payload>) -> Result<(), String>;

    /// How an attempt travels.
    fn flight(&self, command: &Command) -> Flight;

    /// The request of an attempt, without `Authorization`.
    ///
    /// # Errors
    /// A text for people: the device is not one of this cloud's.
    fn request(
        &self,
        device: &DeviceRecord,
        command: &Command,
        attempt: AttemptId,
    ) -> Result<Request<Bytes>, String>;

    /// What an answer means.
    fn outcome(&self, answer: &Answered<'_>) -> SendOutcome;

    /// What an uplink says about commands, or about whether the device can be reached.
    fn heard(&self, uplink: &Uplink) -> Option<Heard>;
}

/// How commands reach the devices of a cloud that asks for them.
pub trait Mailbox: Send + Sync {
    /// Checks a draft with the bytes that it was encoded to, and makes them those for the device.
    ///
    /// # Errors
    /// A text for the asker: what does not fit the cloud.
    fn fit(&self, draft: &Draft, payload: Option<Payload>) -> Result<Payload, String>;

    /// How an attempt travels.
    fn flight(&self, command: &Command) -> Flight;

    /// How many commands a device may be given on one day (UTC).
    fn daily_budget(&self) -> usize;

    /// What an uplink says about commands.
    fn heard(&self, uplink: &Uplink) -> Option<Heard>;
}

/// An answer of the cloud.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: &'a [u8],
}

/// What an uplink says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Something about a command.
    Report(Target, Report),
    /// The device can be reached now.
    Online,
}

/// What most clouds mean by a status that is no success. After 500, 502 and 504 nobody knows what was done.
pub(crate) fn refusal(answer: &Answered<'_>, detail: &str) -> SendOutcome {
    let cause = |code| match detail {
        "" => Cause::new(code, format!("the cloud answered {}", answer.status.as_u16())),
        detail => Cause::new(code, format!("the cloud answered {}: {detail}", answer.status.as_u16())),
    };
    let later = Again::Later(answer.retry_after);
    let (code, again) = match answer.status.as_u16() {
        // The token or its rights: the operator's to mend.
        401 | 403 | 406 | 503 => (CauseCode::Unavailable, later),
        429 => (CauseCode::Quota, later),
        500.. => return SendOutcome::Unknown { cause: cause(CauseCode::Unavailable) },
        404 => (CauseCode::UnknownDevice, Again::Never),
        _ => (CauseCode::Refused, Again::Never),
    };
    SendOutcome::Refused { cause: cause(code), again }
}

/// How long the cloud may keep a command: as long as it is of use, and then some for the reports to come.
pub(crate) fn within(command: &Command) -> Duration {
    command.expires.since(command.created) + Duration::from_hours(1)
}

/// A flight after a call that may take `patience`.
pub(crate) fn flight(command: &Command, twice_is_safe: bool, awaits: Awaits) -> Flight {
    let safe = twice_is_safe || command.draft.idempotent;
    Flight {
        resend: if safe { Resend::Safe } else { Resend::Never },
        awaits,
        within: within(command),
        patience: Duration::from_secs(30),
    }
}

/// Checks that a LoRaWAN network can take a draft: bytes or an object for the network's own codec, a port for applications,
/// and no options but these.
pub(crate) fn check_lorawan(
    draft: &Draft,
    payload: Option<&Payload>,
    options: &[&str],
) -> Result<(), String> {
    /// LoRaWAN 1.0.4 regional parameters: the longest payload at the highest data rate.
    const LONGEST: usize = 242;
    if let Some(key) = draft.options.keys().find(|key| !options.contains(&key.as_str())) {
        return Err(format!("there is no option {key:?}; there are: {}", options.join(", ")));
    }
    match payload {
        Some(payload) if payload.data.len() > LONGEST => {
            return Err(format!("{} bytes are more than the {LONGEST} of LoRaWAN", payload.data.len()));
        }
        None if !draft.arguments.is_object() => {
            return Err(
                "without a codec that encodes, arguments must be an object for the network's own codec, or \
                        { \"hex\": \"01aa\" }"
                    .into(),
            );
        }
        _ => {}
    }
    port(draft, payload).map(drop)
}

/// The port of a LoRaWAN downlink: that of the options, else that of the codec, else 1.
///
/// # Errors
/// When it is not one for applications (LoRaWAN 1.0.4 section 4.3.2).
pub(crate) fn port(draft: &Draft, payload: Option<&Payload>) -> Result<u8, String> {
    let port = match draft.options.get("fPort") {
        Some(port) => port.as_u64().ok_or("fPort must be a number")?,
        None => payload.and_then(|payload| payload.port).unwrap_or(1).into(),
    };
    match u8::try_from(port) {
        Ok(port @ 1..=223) => Ok(port),
        _ => Err(format!("port {port} is not one for applications (1 to 223)")),
    }
}

/// A JSON request.
pub(crate) fn post(url: String, body: &serde_json::Value) -> Result<Request<Bytes>, String> {
    let request = Request::post(url).header(http::header::CONTENT_TYPE, "application/json");
    request.body(body.to_string().into()).map_err(|error| error.to_string())
}

/// A segment of a URL path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

/// All but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[cfg(test)]
mod tests;
