//! `GET …/commands` and `POST …/commands/ID/result`: a device or gateway asks for its commands, and reports on them. Not
//! here: waiting (`edge`), commands in the answer to telemetry ([`crate::api`]).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::DeviceId;
use bridge_core::command::{Command, CommandId, Report};
use bridge_core::counters::Refusal;
use bridge_core::trace::Tracer;
use bytes::Bytes;
use edge::mailbox::{self, Said, read_report};
use edge::waiters::Crowded;
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode, header};
use http_edge::{Problem, Refused, body, refused};
use serde_json::json;

use crate::answer;
use crate::api::{Current, DeviceApi, store_failed};
use crate::route::Route;
use crate::wait;

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
            if !media_type.is_empty() && !taken.contains(&media_type.as_ref()) {
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
        let (mailbox, clock) = (&self.0.parts.mailbox, &self.0.parts.pipeline.clock);
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
        let said = self.0.parts.mailbox.report(device, command, report).await;
        match said.map_err(|error| store_failed(&error))? {
            Said::Unknown => Err(unknown_command()),
            Said::Taken => Ok(StatusCode::NO_CONTENT.into_response()),
            Said::TooLate(command) => Err(too_late(&command)),
        }
    }
}

/// How long a request asks to wait.
pub(crate) fn wait_of(head: &Head) -> Result<Duration, Refused> {
    let wait = wait::asked(head.uri.query().unwrap_or_default());
    wait.ok_or_else(|| refused(Refusal::Malformed, Problem::malformed(wait::BAD_WAIT)))
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

fn unknown_command() -> Refused {
    let detail = "This device has no command of this id.";
    let problem = Problem::new(StatusCode::NOT_FOUND, "unknown-command", "Unknown command", detail);
    refused(Refusal::Malformed, problem)
}

fn too_late(command: &Command) -> Refused {
    let (state, detail) = (command.state(), mailbox::too_late(command));
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
}
