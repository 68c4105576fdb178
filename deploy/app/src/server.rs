//! Serves on a listener: bounded connections, a time limit for request heads, a shutdown that lets requests end. Not
//! here: routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http_api::DeviceApi;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use webhook::receiver::{Receiver, Tasks};

/// The limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections at once; more wait in the listener's queue.
    pub max_connections: usize,
    /// For the head of a request to arrive, also while a connection is idle.
    pub header_timeout: Duration,
}

/// What answers requests.
#[derive(Clone)]
pub struct Front {
    /// Webhooks, asked first, because they are nearly all there is; and devices, second, for the same reason. Operators'
    /// listener has neither.
    pub(crate) sources: Option<(Receiver, DeviceApi)>,
    /// Everything else.
    pub(crate) router: Router,
}

impl Front {
    async fn answer(&self, mut request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        if let Some((receiver, device_api)) = &self.sources {
            if Receiver::is_webhook(request.uri().path()) {
                return receiver.answer(request, Some(peer)).await;
            }
            request.extensions_mut().insert(ConnectInfo(peer));
            if DeviceApi::is_ours(request.uri().path()) {
                return device_api.answer(request).await;
            }
        }
        let request = request.map(axum::body::Body::new);
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Serves until `shutdown` turns true, then until every request has its answer or `grace` is over.
pub async fn serve(
    listener: TcpListener,
    front: Front,
    limits: ServerLimits,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) {
    let front = Arc::new(front);
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let connections = Tasks::default();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            _ = shutdown.wait_for(|down| *down) => break,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let connection = connection(stream, peer, front.clone(), limits, shutdown.clone());
        connections.spawn(async move {
            let _permit = permit;
            connection.await;
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.idle()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            // Out of file descriptors, mostly: let some connections end before the next try.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Front>,
    limits: ServerLimits,
    mut shutdown: watch::Receiver<bool>,
) {
    // Answers are small; they must not wait for more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request, peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = shutdown.wait_for(|down| *down) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
