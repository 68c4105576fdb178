//! A cloud's API on loopback, written from the reference: it takes downlinks, and does what the test says. Not here: its
//! webhooks, which the test sends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// With the query.
    pub path: String,
    /// All of them.
    pub headers: HeaderMap,
    /// The JSON body.
    pub body: Value,
}

/// What it does with the next request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers.
    Answer(u16, Value),
    /// Answers with `Retry-After`, seconds.
    RetryAfter(u16, u32),
    /// Takes it, and hangs up without an answer.
    Vanish,
    /// Takes it, and never answers.
    Hang,
}

/// The cloud. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cloud(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    next: VecDeque<Behaviour>,
    usual: Option<Value>,
}

impl Cloud {
    /// Starts one that answers 200 with this body unless told otherwise. Ends with the runtime.
    pub async fn start(usual: Value) -> (Self, SocketAddr) {
        let cloud = Self::default();
        cloud.0.lock().unwrap().usual = Some(usual);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (cloud, address)
    }

    /// What it does with the next requests, one after the other.
    pub fn next(&self, behaviour: impl IntoIterator<Item = Behaviour>) {
        self.0.lock().unwrap().next.extend(behaviour);
    }

    /// What has come so far.
    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().calls.clone()
    }
}

async fn answer(State(cloud): State<Cloud>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = body.collect().await.unwrap().to_bytes();
    let behaviour = {
        let mut inner = cloud.0.lock().unwrap();
        inner.calls.push(Call {
            path: parts.uri.to_string(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        });
        let usual = Behaviour::Answer(200, inner.usual.clone().unwrap_or_default());
        inner.next.pop_front().unwrap_or(usual)
    };
    match behaviour {
        Behaviour::Answer(status, body) => (
            StatusCode::from_u16(status).unwrap(),
            [(header::CONTENT_TYPE, "application/json")],
            body.to_string(),
        )
            .into_response(),
        Behaviour::RetryAfter(status, seconds) => {
            (StatusCode::from_u16(status).unwrap(), [(header::RETRY_AFTER, seconds.to_string())])
                .into_response()
        }
        // A panic in a handler closes its connection.
        Behaviour::Vanish => panic!("the cloud hangs up, as it was told"),
        Behaviour::Hang => std::future::pending().await,
    }
}
