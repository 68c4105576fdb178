//! Serves on a listener: bounded connections, time limits for request heads and for answers that are not read, a shutdown
//! that lets requests end. Not here: routes.

mod patience;

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

use patience::{PATIENCE, Patient};

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
    // Lent to each request: all connections share its count.
    let front = &*front;
    let service = service_fn(move |request: http::Request<Incoming>| async move {
        Ok::<_, Infallible>(front.answer(request, peer).await)
    });
    let stream = Patient::new(stream, PATIENCE, shutdown.clone());
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::{Body, Bytes};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A body without an end.
    struct Endless;

    impl futures_core::Stream for Endless {
        type Item = Result<Bytes, Infallible>;

        fn poll_next(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 65_536]))))
        }
    }

    #[tokio::test]
    async fn a_reader_that_reads_no_more_does_not_hold_up_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = axum::routing::get(async || Body::from_stream(Endless));
        let front = Front { sources: None, router: Router::new().route("/", endless) };
        let limits = ServerLimits { max_connections: 4, header_timeout: Duration::from_secs(60) };
        let (shutdown, closing) = watch::channel(false);
        let long = Duration::from_secs(600);
        let serving = tokio::spawn(serve(listener, front, limits, closing, long));
        let mut reader = TcpStream::connect(address).await.unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        reader.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        shutdown.send_replace(true);
        tokio::time::timeout(Duration::from_secs(30), serving).await.unwrap().unwrap();
    }
}
