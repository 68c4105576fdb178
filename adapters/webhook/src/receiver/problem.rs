//! Errors that senders read: `application/problem+json` (RFC 9457) with stable types. They say what the sender can do
//! and nothing about the inside. TTS keeps the first 1 KiB of an error body, so they are short.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::counters::Refusal;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::auth::Auth;

/// A request that goes no further: for the counters, and for its sender. Boxed: it is the rare case.
pub(super) type Refused = Box<(Refusal, Problem)>;

/// See [`Refused`].
pub(super) fn refused(refusal: Refusal, problem: Problem) -> Refused {
    Box::new((refusal, problem))
}

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// The last part of the type.
    kind: &'static str,
    title: &'static str,
    detail: String,
    header: Option<(header::HeaderName, String)>,
}

impl Problem {
    /// A problem of this kind (the last part of its type's URN); `detail` is a sentence for the sender.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), header: None }
    }

    fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// Nothing is served at that path.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", "Nothing is served at this path.")
    }

    pub(super) fn unknown_integration() -> Self {
        let detail = "No integration of this name receives webhooks.";
        Self::new(StatusCode::NOT_FOUND, "unknown-integration", "Unknown integration", detail)
    }

    pub(super) fn method(allowed: &[Method]) -> Self {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let detail = format!("This integration takes {allowed}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
            .with(header::ALLOW, allowed)
    }

    pub(super) fn unauthorized(auth: &Auth) -> Self {
        let detail = "The request does not prove the secret of this integration.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
            .with(header::WWW_AUTHENTICATE, auth.challenge())
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("The body is larger than the {limit} bytes that this integration takes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail)
    }

    pub(super) fn encoding() -> Self {
        let detail = "Send the body as it is, or with one of gzip and deflate.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Unsupported encoding", detail)
            .with(header::ACCEPT_ENCODING, "gzip, deflate, identity")
    }

    pub(super) fn timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "Timeout", "The body did not come in time.")
            .with(header::CONNECTION, "close")
    }

    pub(super) fn malformed(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request", detail)
    }

    pub(super) fn unavailable(after: Duration) -> Self {
        let detail = "The message was not taken. Send it again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail)
            .with(header::RETRY_AFTER, after.as_secs().max(1).to_string())
    }

    pub(super) fn overload(after: Duration) -> Self {
        let detail = "This integration is over its rate. Send it again later.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .with(header::RETRY_AFTER, after.as_secs().max(1).to_string())
    }

    pub(super) fn internal() -> Self {
        let detail = "The bridge failed. The message may or may not have been taken; send it again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// What the sender reads.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:device-bridge:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let mut response = (self.status, [content_type], body.to_string()).into_response();
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
