//! The description of the HTTP interface against the router: what is served is described, and what is described is served.
//! Not here: what the answers hold, which `tests/schemathesis` looks at.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use axum::body::Body;
use http::{Request, header};
use serde_json::Value;
use tests::bridge::{Answer, Bridge};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

async fn ask(bridge: &Bridge, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
    bridge.send(request.body(Body::empty()).unwrap()).await
}

async fn document(bridge: &Bridge) -> Value {
    let answer = ask(bridge, "get", "/openapi.json").await;
    assert_eq!((answer.status.as_u16(), answer.headers[header::CONTENT_TYPE].to_str().unwrap()), OPENAPI);
    serde_json::from_str(&answer.body).unwrap()
}

const OPENAPI: (u16, &str) = (200, "application/openapi+json");

/// A path with the examples of its parameters.
fn filled(document: &Value, path: &str) -> String {
    let mut filled = path.to_owned();
    for parameter in document["paths"][path]["parameters"].as_array().into_iter().flatten() {
        let parameter = match parameter["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).unwrap(),
            None => parameter,
        };
        let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
        filled = filled.replace(&name, parameter["example"].as_str().unwrap());
    }
    assert!(!filled.contains('{'), "{path} has a parameter without an example");
    filled
}

#[tokio::test]
async fn what_is_described_is_served_and_no_other_method_is() {
    let bridge = Bridge::new().await;
    let document = document(&bridge).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let answer = ask(&bridge, method, &filled(&document, path)).await;
            let status = answer.status.as_u16();
            let Some(operation) = item.get(method) else {
                assert_eq!(status, 405, "{method} {path} is not described: {}", answer.body);
                assert!(answer.headers.contains_key(header::ALLOW), "{method} {path}");
                continue;
            };
            assert!(!answer.body.contains("problem:not-found"), "{method} {path} is not served");
            assert!(operation["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
            let is_open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(status == 401, !is_open, "{method} {path}: {status}");
            assert_eq!(answer.headers.contains_key(header::WWW_AUTHENTICATE), !is_open, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_served_is_described() {
    let document = document(&Bridge::new().await).await;
    let described: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let sources = root().join("deploy/app/src");
    let texts =
        ["ops.rs", "openapi.rs", "admin.rs"].map(|name| std::fs::read_to_string(sources.join(name)).unwrap());
    let served: BTreeSet<&str> = texts.iter().flat_map(|text| routes(text)).collect();
    assert!(served.len() >= 20, "the routes were not found: {served:?}");
    for path in &served {
        assert!(described.contains(path), "{path} is served and not described in document.json");
    }
    // The API of devices reads its paths itself: the words below a device stand as patterns in one function.
    let routes = std::fs::read_to_string(root().join("adapters/http-api/src/route.rs")).unwrap();
    let of = routes.split("fn of(").nth(1).unwrap().split("fn ").next().unwrap();
    let resources: BTreeSet<&str> = of.split('"').skip(1).step_by(2).filter(|word| is_word(word)).collect();
    assert!(resources.contains("telemetry"), "the routes were not found: {resources:?}");
    for resource in resources {
        let path = format!("/v1/devices/{{id}}/{resource}");
        assert!(described.iter().any(|one| one.starts_with(&path)), "{path} is served and not described");
    }
    let routes = std::fs::read_to_string(root().join("adapters/http-api/src/stateful/route.rs")).unwrap();
    let table = routes.split("const RESOURCES").nth(1).unwrap().split("];\n").next().unwrap();
    let resources: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
    assert!(resources.len() == 10, "the routes were not found: {resources:?}");
    for resource in resources {
        let path = format!("/devices/{{id}}/{resource}");
        assert!(described.contains(path.as_str()), "{path} is served and not described");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = document(&Bridge::new().await).await;
    let text = document.to_string();
    let references: BTreeSet<&str> = literals(&text, "\"$ref\":\"#").collect();
    for reference in &references {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
    for (kind, names) in document["components"].as_object().unwrap() {
        for name in names.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            assert!(references.contains(format!("/components/{kind}/{name}").as_str()), "{kind} {name}");
        }
    }
    for scheme in literals(&text, "\"security\":[{\"") {
        assert!(document["components"]["securitySchemes"].get(scheme).is_some(), "{scheme}");
    }
}

#[tokio::test]
async fn the_page_shows_everything_and_runs_nothing() {
    let bridge = Bridge::new().await;
    let document = document(&bridge).await;
    let answer = ask(&bridge, "get", "/docs").await;
    let header = |name: header::HeaderName| answer.headers[name].to_str().unwrap();
    assert_eq!(header(header::CONTENT_TYPE), "text/html; charset=utf-8");
    let policy = header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"));
    for outside in ["<script", "<link", "<img", "src=", "url(", "@import", " on"] {
        let tags = answer.body.split('<').filter_map(|tag| tag.split('>').next());
        assert!(!tags.map(|tag| format!("<{tag}")).any(|tag| tag.contains(outside)), "{outside}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(answer.body.contains(&format!("</b> {path}</h3>")), "{path} is not shown");
        for method in METHODS.iter().filter_map(|method| item.get(method)) {
            let id = method["operationId"].as_str().unwrap();
            assert_eq!(answer.body.matches(&format!("<h3 id=\"{id}\">")).count(), 1, "{id}");
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(answer.body.contains(&format!("id=\"schema-{name}\"")), "{name} is not shown");
    }
}

#[tokio::test]
async fn what_the_router_itself_refuses_is_a_problem_too() {
    let bridge = Bridge::new().await;
    for (method, path, size, status, kind) in [
        ("get", "/admin/v1/traces?limit=many", 0, 400, "malformed"),
        ("get", "/admin/v1/commands?before=1&before=2", 0, 400, "malformed"),
        ("get", "/admin/v1/commands/%ff", 0, 400, "malformed"),
        ("post", "/admin/v1/codecs/climate/try", 300_000, 413, "body-too-large"),
        ("put", "/readyz", 0, 405, "method-not-allowed"),
        ("get", "/admin/v1/nothing", 0, 404, "not-found"),
    ] {
        let request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", bridge.operator_token()));
        let answer = bridge.send(request.body(Body::from(vec![b' '; size])).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        assert!(answer.body.contains(&format!("problem:{kind}\"")), "{path}: {}", answer.body);
    }
}

/// The first arguments of all calls of `route`, also where they stand on a line of their own.
fn routes(text: &str) -> impl Iterator<Item = &str> {
    text.split(".route(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between each of these beginnings and the next quotation mark.
fn literals<'t>(text: &'t str, beginning: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(beginning).skip(1).filter_map(|rest| rest.split('"').next())
}

fn is_word(text: &str) -> bool {
    text.split('/').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
}
