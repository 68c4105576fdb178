//! `GET /v1/devices/{id}/properties/desired`: what is wanted of a device, and what of it the device has not reported. Its
//! entity tag is the version of what is wanted; with `wait` the answer comes when there is something new, or after that
//! time. Not here: reports (`PATCH …/properties`).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::DeviceId;
use bridge_core::ports::StoreResult;
use bridge_core::trace::Tracer;
use bridge_core::twin::{Twin, TwinKeeper};
use edge::waiters::{Crowded, Woken};
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode, header};
use http_edge::Refused;
use serde_json::json;

use super::{Current, DeviceApi, store_failed};
use crate::route::Route;
use crate::{answer, commands};

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
        let (caller, _) = self.identify(&current.settings, route, head).await?;
        let device = route.device().ok_or_else(answer::unknown_device)?;
        let pipeline = &self.0.parts.pipeline;
        self.let_in(current.integration(&caller), device, pipeline.clock.wall()).await?;
        let wait = commands::wait_of(head)?;
        let Some(twins) = &pipeline.twins else { return Err(answer::unknown_device()) };
        let known = |twin: &Twin| knows(&head.headers, twin.desired_version);
        let is_news = |twin: &Twin| !known(twin).unwrap_or_else(|| twin.delta().is_empty());
        let twin = self.news(twins, device, wait, is_news).await.map_err(|Crowded| commands::crowded())?;
        let twin = twin.map_err(|error| store_failed(&error))?;
        let tag = format!("W/\"{}\"", twin.desired_version);
        let headers = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "private, no-cache")];
        if known(&twin) == Some(true) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let body = json!({ "version": twin.desired_version, "desired": twin.desired, "delta": twin.delta() });
        let json = [(header::CONTENT_TYPE, "application/json")];
        Ok((headers, json, body.to_string()).into_response())
    }

    /// The state, once it is news or the waiting is over.
    async fn news(
        &self,
        twins: &TwinKeeper,
        device: &DeviceId,
        wait: Duration,
        is_news: impl Fn(&Twin) -> bool,
    ) -> Result<StoreResult<Twin>, Crowded> {
        if wait.is_zero() {
            return Ok(twins.get(device).await);
        }
        let clock = &self.0.parts.pipeline.clock;
        let until = clock.now() + wait;
        let mut place = self.0.wishers.enter(device)?;
        let mut is_over = false;
        loop {
            let arrival = twins.arrival(device);
            match twins.get(device).await {
                Ok(twin) if !is_over && !is_news(&twin) => {}
                other => return Ok(other),
            }
            is_over = place.wait(arrival, until, &**clock).await != Woken::Arrived;
        }
    }
}

/// Whether the asker has that version (`If-None-Match`, RFC 9110 section 13.1.2); none when it does not say what it has.
fn knows(headers: &HeaderMap, version: u64) -> Option<bool> {
    let mut values = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
    values.peek()?;
    let tag = format!("\"{version}\"");
    let is_it = |given: &str| given.trim().trim_start_matches("W/") == tag || given.trim() == "*";
    Some(values.any(|value| value.to_str().is_ok_and(|given| given.split(',').any(is_it))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
