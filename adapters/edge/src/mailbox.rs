//! The mailboxes of devices: what is there for one, now or as soon as it is, and how both sides write it. Not here:
//! credentials, codes, who may wait ([`crate::waiters`]), the life of a command (`bridge-core`).

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::DeviceId;
use bridge_core::command::{Again, Cause, CauseCode, Command, CommandId, CommandState, Report, Reported};
use bridge_core::commands::{Dispatcher, Target};
use bridge_core::ports::{BoxFuture, Clock, StoreResult};
use serde_json::{Value, json};

use crate::body;
use crate::fault::{Fault, member};
use crate::waiters::{Crowded, Place, Waiters, Woken};

/// Commands in one answer.
const MOST: usize = 8;

/// The mailboxes of all devices, whatever protocol they ask over.
pub struct Mailbox {
    dispatcher: Arc<Dispatcher>,
    waiters: Arc<Waiters>,
}

/// What became of a device's report.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It is taken, now or when it was said before.
    Taken,
    /// The device has no such command.
    Unknown,
    /// The command is over, or was never given to the device; as it is.
    TooLate(Box<Command>),
}

impl Mailbox {
    /// The mailboxes that this dispatcher fills.
    pub fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self { dispatcher, waiters: Waiters::new() }
    }

    /// What fills them.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// From now on nobody waits.
    pub fn close(&self) {
        self.waiters.close();
    }

    /// What there is for a device now. The attempts are durable when this completes.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn offer(&self, device: &DeviceId) -> StoreResult<Vec<Command>> {
        self.dispatcher.offer(device, MOST).await
    }

    /// What there is for a device as soon as there is something; nothing at the end of the wait, when a newer request of
    /// the device waits, and when the bridge goes down.
    ///
    /// # Errors
    /// When too many wait; within, when the store failed.
    pub async fn wait(
        &self,
        device: &DeviceId,
        until: Instant,
        clock: &dyn Clock,
    ) -> Result<StoreResult<Vec<Command>>, Crowded> {
        let mut place = self.waiters.enter(device)?;
        loop {
            // Asked for first: what comes between the look and the wait is not missed. The dispatcher forgets nobody who waits.
            let arrival = self.dispatcher.arrival(device);
            match self.offer(device).await {
                Ok(commands) if commands.is_empty() => {}
                other => return Ok(other),
            }
            if place.wait(arrival, until, clock).await != Woken::Arrived {
                return Ok(Ok(Vec::new()));
            }
        }
    }

    /// A place for one who waits longer than one request: of all that wait for a device's commands, the newest does.
    ///
    /// # Errors
    /// When too many wait.
    pub fn enter(&self, device: &DeviceId) -> Result<Place, Crowded> {
        self.waiters.enter(device)
    }

    /// Completes when there may be more for the device than now. Ask for this first, then [`offer`](Self::offer).
    pub fn arrival(&self, device: &DeviceId) -> BoxFuture<'static, ()> {
        let arrival = self.dispatcher.arrival(device);
        Box::pin(async move {
            // Without a sender the dispatcher has ended.
            let _ = arrival.await;
        })
    }

    /// Takes a device's report on a command.
    ///
    /// # Errors
    /// When the store failed: it is not taken.
    pub async fn report(&self, device: &DeviceId, command: CommandId, report: Report) -> StoreResult<Said> {
        let done = matches!(report, Report::Acknowledged { .. });
        let said = self.dispatcher.report(device, &Target::Command(command), report).await?;
        Ok(match said {
            None => Said::Unknown,
            Some((_, Reported::Applied)) => Said::Taken,
            Some((command, _)) if said_before(&command, done) => Said::Taken,
            Some((command, _)) => Said::TooLate(Box::new(command)),
        })
    }
}

/// Why a report came too late, in a sentence.
pub fn too_late(command: &Command) -> String {
    let state = command.state();
    match command.attempts() {
        0 => format!("The command was not given to the device yet: it is {state}."),
        _ => format!("The command is over: it is {state}."),
    }
}

/// Commands as devices read them, in JSON.
pub fn write(commands: &[Command]) -> Value {
    let write = |command: &Command| {
        let mut written = json!({
            "id": command.id.to_string(),
            "name": command.draft.name.as_str(),
            "arguments": command.draft.arguments,
            "expires": command.expires.to_string(),
            "attempt": command.attempts(),
        });
        if let Some(payload) = &command.draft.payload {
            written["payload"] = BASE64_STANDARD.encode(&payload.data).into();
        }
        written
    };
    commands.iter().map(write).collect()
}

/// Reads `{"status": "done" | "failed", "result": …, "reason": "…"}`.
///
/// # Errors
/// The device's fault: where, and what is wrong there.
pub fn read_report(body: &[u8]) -> Result<Report, Fault> {
    let Value::Object(mut fields) = body::json(body)? else {
        return Err(Fault::at("", "must be an object with a status"));
    };
    let status = fields.remove("status");
    let result = fields.remove("result");
    let reason = match fields.remove("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(reason)) => Some(reason),
        Some(_) => return Err(Fault::at("/reason", "must be text")),
    };
    if let Some(key) = fields.keys().next() {
        return Err(Fault::at(member("", key), "is not known; there are status, result, reason"));
    }
    match status.as_ref().and_then(Value::as_str) {
        Some("done") => Ok(Report::Acknowledged { result: result.filter(|result| !result.is_null()) }),
        Some("failed") => {
            let cause = match reason {
                Some(reason) => Cause::new(CauseCode::Rejected, reason),
                None => CauseCode::Rejected.into(),
            };
            Ok(Report::Failed { cause, again: Again::Never })
        }
        _ => Err(Fault::at("/status", "must be \"done\" or \"failed\"")),
    }
}

/// Whether the device has said that already.
fn said_before(command: &Command, done: bool) -> bool {
    let rejected = || command.cause().is_some_and(|cause| cause.code == CauseCode::Rejected);
    match command.state() {
        CommandState::Acknowledged => done,
        CommandState::Failed | CommandState::Unknown => !done && rejected(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_say_done_or_failed() {
        let done = |result| Ok(Report::Acknowledged { result });
        let failed = |cause| Ok(Report::Failed { cause, again: Again::Never });
        assert_eq!(read_report(br#"{"status":"done"}"#), done(None));
        assert_eq!(read_report(br#"{"status":"done","result":null}"#), done(None));
        assert_eq!(read_report(br#"{"status":"done","result":[1]}"#), done(Some(json!([1]))));
        assert_eq!(read_report(br#"{"status":"failed"}"#), failed(CauseCode::Rejected.into()));
        assert_eq!(
            read_report(br#"{"status":"failed","reason":"jammed"}"#),
            failed(Cause::new(CauseCode::Rejected, "jammed"))
        );
        for (body, pointer) in [
            ("[]", ""),
            ("{}", "/status"),
            (r#"{"status":"maybe"}"#, "/status"),
            (r#"{"status":"failed","reason":7}"#, "/reason"),
            (r#"{"status":"done","a/b":1}"#, "/a~1b"),
        ] {
            let fault = read_report(body.as_bytes()).unwrap_err();
            assert!(!fault.is_syntax && fault.pointer == pointer, "{body}: {fault:?}");
        }
        assert!(read_report(b"{").unwrap_err().is_syntax);
    }
}
