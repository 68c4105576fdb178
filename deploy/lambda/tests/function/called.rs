//! Somebody whom the function calls: the downlink API of a cloud, a callback. It writes down what it is told. Not here: the
//! function.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::Value;

/// See the module.
pub struct Called {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Value>>>,
    status: Arc<Mutex<StatusCode>>,
}

impl Called {
    /// Answers 200.
    pub async fn start() -> Self {
        let (calls, status) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<StatusCode>>::default());
        let (into, with) = (calls.clone(), status.clone());
        let answer = async move |body: axum::body::Bytes| {
            into.lock().unwrap().push(serde_json::from_slice(&body).unwrap_or_default());
            (*with.lock().unwrap(), "{}")
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, calls, status }
    }

    /// The bodies so far.
    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }

    /// Answers so from now on.
    pub fn answer(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }
}
