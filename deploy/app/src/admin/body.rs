//! Bodies and queries of operators: read within their limits, or refused with what is wrong and where. Not here: what
//! they mean.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use bridge_core::ports::StoreError;
use http::request::Parts;
use http::{StatusCode, header};
use http_edge::Problem;
use http_edge::body::{media_type, read};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

/// The largest body, bytes: a payload in hexadecimal or base64, and what is around it.
const MOST: usize = 256 * 1024;
/// For the body to arrive.
const TIMEOUT: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";
/// What somebody who is one too many is told to wait, seconds.
const WAIT: &str = "5";

/// Why a request is not done, as its sender reads it.
pub(super) struct Declined(Box<Problem>);

/// What handlers give.
pub(super) type Answer = Result<Response, Declined>;

/// What a body says that it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A JSON pointer (RFC 6901); empty for the whole body.
    pub(crate) pointer: String,
    /// A sentence without subject when the pointer names one.
    pub(crate) detail: String,
}

impl Fault {
    /// At that place.
    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl From<Problem> for Declined {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<StoreError> for Declined {
    fn from(error: StoreError) -> Self {
        let why = format!("The store did not answer: {error}.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", why)
            .with(header::RETRY_AFTER, WAIT)
            .into()
    }
}

impl From<Fault> for Declined {
    fn from(Fault { pointer, detail }: Fault) -> Self {
        let subject = if pointer.is_empty() { "The body" } else { &pointer };
        let why = format!("{subject}: {detail}. Nothing was done.");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid content", why)
            .fault(&pointer, &detail)
            .into()
    }
}

impl IntoResponse for Declined {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl Declined {
    /// Nothing has this name.
    pub(super) fn unknown(kind: &'static str, title: &'static str, detail: &str) -> Self {
        Problem::new(StatusCode::NOT_FOUND, kind, title, detail).into()
    }

    /// It is not what it was thought to be.
    pub(super) fn conflict(kind: &'static str, title: &'static str, detail: &str) -> Self {
        Problem::new(StatusCode::CONFLICT, kind, title, detail).into()
    }

    /// The query, or the path, does not say what it must.
    pub(super) fn malformed(detail: &str) -> Self {
        Problem::malformed(detail).into()
    }

    /// There are as many as there may be; later.
    pub(super) fn full(kind: &'static str, title: &'static str, detail: &str) -> Self {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, kind, title, detail)
            .with(header::RETRY_AFTER, WAIT)
            .into()
    }
}

/// A body of JSON. Without a content type it is taken for that.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Declined;

    async fn from_request(request: Request, _: &S) -> Result<Self, Declined> {
        let (parts, body) = request.into_parts();
        if !matches!(media_type(&parts.headers).as_ref(), "" | JSON) {
            return Err(Problem::media_type(&[JSON]).into());
        }
        match read(&parts.headers, body, MOST, TIMEOUT).await {
            Ok(body) => parse(&body).map(Self),
            Err(refused) => Err(refused.1.into()),
        }
    }
}

/// What the query says; a key that nobody asks for is refused.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Declined;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Declined> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Declined::malformed(&format!("{}.", rejection.body_text()))),
        }
    }
}

/// Reads JSON: what is none is malformed, what does not fit is invalid, with its place.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Declined> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| {
        let detail = if body.is_empty() {
            "The body is empty.".to_owned()
        } else {
            format!("The body is no JSON: {error}.")
        };
        Declined::from(Problem::malformed(&detail).fault("", &error.to_string()))
    })?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let place = pointer(error.path());
        Fault::at(place, error.into_inner().to_string()).into()
    })
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        // Writing into a text does not fail.
        let _ = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Segment::Unknown => Ok(()),
        };
    }
    pointer
}
