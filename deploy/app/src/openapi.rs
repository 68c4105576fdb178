//! The description of the HTTP interface: OpenAPI 3.1 at `/openapi.json`, and as a page at `/docs`. `document.json` is written
//! by hand; tests hold it against the router. Not here: what is described.

mod page;

use std::sync::LazyLock;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The document (OpenAPI Specification 3.1.1).
const DOCUMENT: &str = include_str!("openapi/document.json");
/// The page's only style.
const STYLE: &str = include_str!("openapi/style.css");

/// Nobody needs a secret to read them, and there is none in them.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/openapi.json", get(document)).route("/docs", get(docs))
}

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openapi+json"), (header::CACHE_CONTROL, "no-cache")], DOCUMENT)
}

async fn docs() -> impl IntoResponse {
    static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
        // invariant: the document is compiled in, and a test reads it.
        let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
        (policy(), page::render(&document, STYLE))
    });
    let (policy, page) = &*PAGE;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page.as_str())
}

/// Nothing may be loaded, run or sent; one style counts, known by its digest (CSP Level 3, section 2.3.1).
fn policy() -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}
