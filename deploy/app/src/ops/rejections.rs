//! What the router itself refuses (a method, a query, a path, a body over the limit) becomes a problem like all other
//! refusals. Not here: what handlers refuse.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use webhook::receiver::Problem;

/// The longest explanation that is passed on, bytes.
const LONGEST: usize = 512;

/// The same answer when it is no refusal, or a problem already.
pub(crate) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_problem = content_type.is_some_and(|value| value == "application/problem+json");
    if !status.is_client_error() || is_problem {
        return response;
    }
    let (head, body) = response.into_parts();
    let (kind, title) = match status {
        StatusCode::NOT_FOUND => ("not-found", "Not found"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "Method not allowed"),
        StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", "Body too large"),
        _ => ("malformed", "Malformed request"),
    };
    let allowed = head.headers.get(header::ALLOW).and_then(|value| value.to_str().ok());
    let said = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let detail = match (allowed, std::str::from_utf8(&said)) {
        (Some(allowed), _) => format!("This path takes {}.", allowed.replace(',', ", ")),
        (None, Ok(said)) if (1..=LONGEST).contains(&said.len()) => format!("{said}."),
        _ => "The request cannot be taken as it is.".to_owned(),
    };
    let mut response = Problem::new(status, kind, title, detail).into_response();
    if let Some(allowed) = head.headers.get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    response
}
