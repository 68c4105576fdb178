//! `GET …/commands` and `POST …/commands/ID/result`: a device or gateway asks for its commands, and reports on them. Not
//! here: waiting ([`crate::mailbox`]), commands in the answer to telemetry ([`crate::api`]).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::DeviceId;
use bridge_core::command::{Again, Cause, CauseCode, Command, CommandId, CommandState, Report, Reported};
use bridge_core::commands::Target;
use bridge_core::counters::Refusal;
use bridge_core::trace::Tracer;
use bytes::Bytes;
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode, header};
use http_edge::{Problem, Refused, body, refused};
use serde_json::{Value, json};

use crate::answer;
use crate::api::{Current, DeviceApi, store_failed};
use crate::mailbox;
use crate::route::Route;
use crate::waiters::{self, Crowded};
use edge::{Fault, body as json_body, member};

/// What a device is told to wait when too many do.
const CROWDED: Duration = Duration::from_secs(30);
/// The preference that asks for commands in the answer to telemetry (RFC 7240).
const PREFERENCE: &str = "commands";

impl DeviceApi {
    /// Answers the routes of commands.
    pub(crate) async fn answer_commands<B>(
        &self,
        current: &Current,
        route: Route,
        request: http::Request<B>,
    ) -> Response
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let pipeline = &self.0.parts.pipeline;
        self.0.counters.received.add(1);
        let number = pipeline.traces.next_request();
        let (head, body) = request.into_parts();
        match self.serve_commands(current, &route, &head, body).await {
            Ok(response) => response,
            Err(refused) => {
                let name = self.0.parts.name.clone();
                let tracer = Tracer::start(number, name, pipeline.clock.wall(), pipeline.clock.now());
                self.refuse(tracer, *refused)
            }
        }
    }

    async fn serve_commands<B>(
        &self,
        current: &Current,
        route: &Route,
        head: &Head,
        body: B,
    ) -> Result<Response, Refused>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (_, signed) = self.identify(&current.settings, route, head).await?;
        let device = route.device().ok_or_else(answer::unknown_device)?;
        if let Route::CommandResult(_, command) = route {
            let taken = route.media_types();
            let media_type = body::media_type(&head.headers);
            if !media_type.is_empty() && !taken.contains(&media_type.as_str()) {
                return Err(refused(Refusal::Encoding, Problem::media_type(taken)));
            }
            let body = self.read_body(&current.settings, head, body, signed).await?;
            let report = read_report(&body).map_err(|fault| answer::faulty(route, &fault))?;
            self.let_in(&current.own, device, self.0.parts.pipeline.clock.wall()).await?;
            let command = command.ok_or_else(unknown_command)?;
            return self.report(device, command, report).await;
        }
        let wait = wait_of(head)?;
        self.let_in(&current.own, device, self.0.parts.pipeline.clock.wall()).await?;
        self.hand_out(device, wait).await
    }

    async fn hand_out(&self, device: &DeviceId, wait: Duration) -> Result<Response, Refused> {
        let (mailbox, clock) = (&self.0.mailbox, &self.0.parts.pipeline.clock);
        let commands = if wait.is_zero() {
            mailbox.offer(device).await
        } else {
            mailbox.wait(device, clock.now() + wait, &**clock).await.map_err(|Crowded| crowded())?
        };
        let commands = commands.map_err(|error| store_failed(&error))?;
        if commands.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let body = json!({ "commands": mailbox::write(&commands) }).to_string();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        Ok((headers, body).into_response())
    }

    async fn report(
        &self,
        device: &DeviceId,
        command: CommandId,
        report: Report,
    ) -> Result<Response, Refused> {
        let done = matches!(report, Report::Acknowledged { .. });
        let said = self.0.mailbox.dispatcher.report(device, &Target::Command(command), report).await;
        match said.map_err(|error| store_failed(&error))? {
            None => Err(unknown_command()),
            Some((_, Reported::Applied)) => Ok(StatusCode::NO_CONTENT.into_response()),
            Some((command, _)) if said_before(&command, done) => Ok(StatusCode::NO_CONTENT.into_response()),
            Some((command, _)) => Err(too_late(&command)),
        }
    }
}

/// How long a request asks to wait.
pub(crate) fn wait_of(head: &Head) -> Result<Duration, Refused> {
    let wait = waiters::asked(head.uri.query().unwrap_or_default());
    wait.ok_or_else(|| refused(Refusal::Malformed, Problem::malformed(waiters::BAD_WAIT)))
}

/// Too many wait already.
pub(crate) fn crowded() -> Refused {
    let detail = "As many requests wait as may. Ask again later.";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail);
    refused(Refusal::Overload, problem.with(header::RETRY_AFTER, CROWDED.as_secs().to_string()))
}

/// Whether the sender of telemetry takes commands in the answer: `Prefer: commands`.
pub(crate) fn are_preferred(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|preference| {
        preference.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(PREFERENCE)
    })
}

/// Reads `{"status": "done" | "failed", "result": …, "reason": "…"}`.
fn read_report(body: &[u8]) -> Result<Report, Fault> {
    let Value::Object(mut fields) = json_body::json(body)? else {
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

fn unknown_command() -> Refused {
    let detail = "This device has no command of this id.";
    let problem = Problem::new(StatusCode::NOT_FOUND, "unknown-command", "Unknown command", detail);
    refused(Refusal::Malformed, problem)
}

fn too_late(command: &Command) -> Refused {
    let state = command.state();
    let detail = match command.attempts() {
        0 => format!("The command was not given to the device yet: it is {state}."),
        _ => format!("The command is over: it is {state}."),
    };
    let problem = Problem::new(StatusCode::CONFLICT, "command-over", "Command is over", detail);
    refused(Refusal::Malformed, problem.member("state", state.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_looked_through() {
        for (value, wanted) in [
            ("commands", true),
            ("respond-async, Commands ; x=1", true),
            ("return=minimal", false),
            ("commands=no", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            assert_eq!(are_preferred(&headers), wanted, "{value}");
        }
        assert!(!are_preferred(&HeaderMap::new()));
    }

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
