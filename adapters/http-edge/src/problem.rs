//! Errors that senders read: `application/problem+json` (RFC 9457) with stable types. They say what the sender can do
//! and nothing about the inside. TTS keeps the first 1 KiB of an error body, so they are short.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bridge_core::counters::Refusal;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

/// A request that goes no further: for the counters, and for its sender. Boxed: it is the rare case.
pub type Refused = Box<(Refusal, Problem)>;

/// See [`Refused`].
pub fn refused(refusal: Refusal, problem: Problem) -> Refused {
    Box::new((refusal, problem))
}

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    /// The last part of the type.
    kind: &'static str,
    title: &'static str,
    detail: String,
    header: Option<(header::HeaderName, String)>,
    /// Members of its own kind (RFC 9457 section 3.2).
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of this kind (the last part of its type's URN); `detail` is a sentence for the sender.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), header: None, members: Map::new() }
    }

    /// The same with a header of its own.
    #[must_use]
    pub fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// The same with a member of its own kind.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same with what is wrong, and where: a JSON pointer (RFC 6901) into the body.
    #[must_use]
    pub fn fault(self, pointer: &str, detail: &str) -> Self {
        self.member("errors", json!([{ "pointer": pointer, "detail": detail }]))
    }

    /// Nothing is served at that path.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", "Nothing is served at this path.")
    }

    /// The path does not take the method.
    pub fn method(allowed: &[Method]) -> Self {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let detail = format!("This path takes {allowed}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
            .with(header::ALLOW, allowed)
    }

    /// No secret, or a wrong one.
    /// What was wrong with it is not said.
    pub fn unauthorized(challenge: &'static str) -> Self {
        let detail = "The request does not prove a secret that is good here.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
            .with(header::WWW_AUTHENTICATE, challenge)
    }

    /// The body is over the limit, in bytes.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("The body is larger than the {limit} bytes that are taken here.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail)
    }

    /// A content encoding that is not taken.
    pub fn encoding() -> Self {
        let detail = "Send the body as it is, or with one of gzip and deflate.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Unsupported encoding", detail)
            .with(header::ACCEPT_ENCODING, "gzip, deflate, identity")
    }

    /// The body did not come in time.
    pub fn timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "Timeout", "The body did not come in time.")
            .with(header::CONNECTION, "close")
    }

    /// A media type that is not taken; these are.
    pub fn media_type(taken: &[&str]) -> Self {
        let taken = taken.join(", ");
        let detail = format!("Send the body as one of {taken}.");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            detail,
        )
        .with(header::ACCEPT, taken)
    }

    /// The body does not parse.
    pub fn malformed(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request", detail)
    }

    /// It was not taken and may be sent again.
    pub fn unavailable(after: Duration) -> Self {
        let detail = "The message was not taken. Send it again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail)
            .with(header::RETRY_AFTER, after.as_secs().max(1).to_string())
    }

    /// Over its rate.
    pub fn overload(after: Duration) -> Self {
        let detail = "These are more requests than are taken from one sender. Send it again later.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .with(header::RETRY_AFTER, after.as_secs().max(1).to_string())
    }

    /// A bug of the bridge.
    pub fn internal() -> Self {
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
        let mut body = json!({
            "type": format!("urn:device-bridge:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(body) = &mut body {
            body.extend(self.members);
        }
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
