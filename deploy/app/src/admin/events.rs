//! `/admin/v1/events`: the live flow as server-sent events (WHATWG HTML, section 9.2): `message` with a trace, `missed`
//! with how many were lost, comments while nothing happens. Not here: the flow (`bridge_core::feed`).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bridge_core::feed::{FeedError, Heard, Listening};
use futures_core::Stream;
use http::{HeaderName, HeaderValue, header};
use http_edge::Problem;
use serde_json::json;

use super::Admin;
use super::body::{Answer, Asked, Declined};
use super::traces::{filter, write};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    device: Option<String>,
    integration: Option<String>,
}

/// How often somebody who hears nothing is told that the connection stands.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What somebody is told to wait while the bridge goes down.
const AWAY: Duration = Duration::from_secs(5);

/// From now on until the listener goes, or the bridge does.
pub(super) async fn stream(State(admin): State<Admin>, Asked(query): Asked<EventQuery>) -> Answer {
    let filter = filter(query.device.as_deref(), query.integration.as_deref())?;
    let listening = admin.0.pipeline.traces.feed().listen(filter).map_err(|error| match error {
        FeedError::Full => {
            let why = "As many listen as may. Close another stream, or come back later.";
            Declined::full("too-many-streams", "Too many streams", why)
        }
        FeedError::Closed => Problem::unavailable(AWAY).into(),
    })?;
    let flow = Flow { listening, greeted: false };
    Ok(unbuffered(Sse::new(flow).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat"))))
}

/// Neither kept nor held back by a proxy.
fn unbuffered(stream: impl IntoResponse) -> Response {
    let mut response = stream.into_response();
    let no = HeaderValue::from_static;
    response.headers_mut().insert(header::CACHE_CONTROL, no("no-store"));
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), no("no"));
    response
}

/// A listener's flow, beginning with a comment: whoever reads it hears everything that happens from then on.
struct Flow {
    listening: Listening,
    greeted: bool,
}

impl Stream for Flow {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Poll::Ready(Some(Ok(Event::default().comment("listening"))));
        }
        let event = ready!(self.listening.poll_next(context)).map(|heard| match heard {
            Heard::Trace(trace) => {
                Event::default().event("message").id(trace.number.to_string()).data(write(&trace).to_string())
            }
            Heard::Missed(missed) => {
                Event::default().event("missed").data(json!({ "missed": missed }).to_string())
            }
        });
        Poll::Ready(event.map(Ok))
    }
}
