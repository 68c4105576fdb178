//! `GET /v1/devices/{id}/properties/desired`: what is wanted of a device, and what of it the device has not reported. Its
//! entity tag is the version of what is wanted; with `wait` the answer comes when there is something new, or after that
//! time. Not here: reports (`PATCH …/properties`).

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::DeviceId;
use bridge_core::trace::Tracer;
use bridge_core::twin::{Twin, TwinKeeper};
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode, header};
use http_edge::{Problem, Refused, refused};
use serde_json::json;

use super::{Current, DeviceApi, Refusal, store_failed};
use crate::answer;
use crate::route::Route;

/// The longest that a request may wait.
const LONGEST: Duration = Duration::from_secs(60);

impl DeviceApi {
    /// Answers a device that asks what is wanted of it.
    pub(super) async fn desired(
        &self,
        current: &Current,
        route: &Route,
        head: &Head,
        tracer: Tracer,
    ) -> Response {
        match self.try_desired(current, route, head).await {
            Ok(response) => response,
            Err(refused) => self.refuse(tracer, *refused),
        }
    }

    async fn try_desired(&self, current: &Current, route: &Route, head: &Head) -> Result<Response, Refused> {
        let caller = self.authorize(current, route, head).await?;
        // invariant: a path without a device is refused before.
        let Route::Desired(Some(device)) = route else { return Err(answer::unknown_device()) };
        let pipeline = &self.0.parts.pipeline;
        self.let_in(current, &caller, device, pipeline.clock.wall()).await?;
        let wait = wait(head.uri.query().unwrap_or_default()).ok_or_else(bad_wait)?;
        let Some(twins) = &pipeline.twins else { return Err(answer::unknown_device()) };
        let known = |twin: &Twin| knows(&head.headers, twin.desired_version);
        let is_news = |twin: &Twin| !known(twin).unwrap_or_else(|| twin.delta().is_empty());
        let twin = self.news(twins, device, wait, is_news).await.map_err(|error| store_failed(&error))?;
        let tag = format!("W/\"{}\"", twin.desired_version);
        let headers = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "private, no-cache")];
        if known(&twin) == Some(true) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let body = json!({ "version": twin.desired_version, "desired": twin.desired, "delta": twin.delta() });
        let json = [(header::CONTENT_TYPE, "application/json")];
        Ok((headers, json, body.to_string()).into_response())
    }

    /// The state, once it is news or the time is up.
    async fn news(
        &self,
        twins: &TwinKeeper,
        device: &DeviceId,
        wait: Duration,
        is_news: impl Fn(&Twin) -> bool,
    ) -> bridge_core::ports::StoreResult<Twin> {
        let clock = &self.0.parts.pipeline.clock;
        let deadline = clock.now() + wait;
        loop {
            let arrival = twins.arrival(device);
            let twin = twins.get(device).await?;
            if is_news(&twin) || clock.now() >= deadline {
                return Ok(twin);
            }
            first(arrival, clock.sleep_until(deadline)).await;
        }
    }
}

/// Waits for the first of two.
async fn first<A: Future, B: Future>(one: A, other: B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(|context| {
        match one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Whether the asker has that version (`If-None-Match`, RFC 9110 section 13.1.2); none when it does not say what it has.
fn knows(headers: &HeaderMap, version: u64) -> Option<bool> {
    let mut values = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
    values.peek()?;
    let tag = format!("\"{version}\"");
    let is_it = |given: &str| given.trim().trim_start_matches("W/") == tag || given.trim() == "*";
    Some(values.any(|value| value.to_str().is_ok_and(|given| given.split(',').any(is_it))))
}

/// The `wait` of a query: seconds, with or without `s`. Zero when there is none; none when it is something else.
fn wait(query: &str) -> Option<Duration> {
    let Some(given) = query.split('&').find_map(|pair| pair.strip_prefix("wait=")) else {
        return Some(Duration::ZERO);
    };
    let seconds: u32 = given.strip_suffix('s').unwrap_or(given).parse().ok()?;
    Some(Duration::from_secs(seconds.into()).min(LONGEST))
}

fn bad_wait() -> Refused {
    refused(Refusal::Malformed, Problem::malformed("\"wait\" must be a number of seconds, such as 30s."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        for (query, seconds) in [
            ("", Some(0)),
            ("a=1&wait=30s", Some(30)),
            ("wait=5", Some(5)),
            ("wait=1000s", Some(60)),
            ("wait=x", None),
        ] {
            assert_eq!(wait(query), seconds.map(Duration::from_secs), "{query}");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        let knows_7 = |given: Option<&str>| {
            let mut headers = HeaderMap::new();
            given.map(|given| headers.insert(header::IF_NONE_MATCH, given.parse().unwrap()));
            knows(&headers, 7)
        };
        assert_eq!(knows_7(None), None);
        for (given, is_it) in
            [("\"7\"", true), ("W/\"7\"", true), ("\"1\", W/\"7\"", true), ("*", true), ("\"77\"", false)]
        {
            assert_eq!(knows_7(Some(given)), Some(is_it), "{given}");
        }
    }
}
