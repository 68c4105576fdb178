//! One HTTP/1.1 request at a time to a server on this machine: for `watch` and the demo's feeder. No TLS, no redirects, no
//! pool; not for calling clouds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(15);

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
