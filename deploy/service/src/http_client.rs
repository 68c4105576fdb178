//! One HTTP/1.1 request at a time to a server on this machine: for operators' commands and the demo's feeder. No TLS, no
//! redirects, no pool; not for calling clouds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(15);

/// An answer that is read as it comes.
pub(crate) struct Coming {
    body: Incoming,
    connection: JoinHandle<()>,
    /// The connection may end when nobody could send on it.
    _sender: SendRequest<Full<Bytes>>,
}

impl Coming {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// When the connection breaks, or nothing comes for that long.
    pub(crate) async fn next(&mut self, patience: Duration) -> anyhow::Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(patience, self.body.frame());
            let Some(frame) = frame.await.context("the service has fallen silent")? else { return Ok(None) };
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Sends a request, and reads the head of the answer; the whole answer when it is no success.
pub(crate) async fn open(
    server: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Result<Coming, Response<Bytes>>> {
    let exchange = async {
        let stream =
            TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // What breaks it is told by the body.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let (parts, body) = sender.send_request(request).await?.into_parts();
        if parts.status.is_success() {
            return Ok(Ok(Coming { body, connection, _sender: sender }));
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| anyhow::anyhow!(error))?;
        Ok(Err(Response::from_parts(parts, body.to_bytes())))
    };
    tokio::time::timeout(TIMEOUT, exchange).await.context("no answer in time")?
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(
    server: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>> {
    let exchange = async {
        let stream =
            TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body =
                Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| anyhow::anyhow!(error))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::select! {
            answer = answer => answer,
            // The connection ends first only when it broke.
            broken = connection => Err(broken.err().map_or_else(|| anyhow::anyhow!("connection closed"), Into::into)),
        }
    };
    tokio::time::timeout(TIMEOUT, exchange).await.context("no answer in time")?
}
