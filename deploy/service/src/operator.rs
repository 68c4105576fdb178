//! Asks the running service as its operator: over HTTP, with the token from the data directory. Not here: the routes.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use app::config::Config;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::Full;
use serde_json::Value;

use crate::http_client::{self, Coming};

/// The service of a configuration.
pub(crate) struct Operator {
    server: SocketAddr,
    token: String,
}

impl Operator {
    /// Reads the token.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let path = app::operator_token_path(config);
        let token = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; has the service been started?", path.display()))?;
        let mut server = config.admin.listen;
        if server.ip().is_unspecified() {
            server.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Ok(Self { server, token: token.trim().to_owned() })
    }

    /// `GET /admin/v1/…`.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// `POST /admin/v1/…` with JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, body.to_string().into()).await
    }

    /// `PATCH /admin/v1/…` with JSON.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::PATCH, path, body.to_string().into()).await
    }

    /// `DELETE /admin/v1/…`.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    /// `GET /admin/v1/…`, read as it comes.
    pub(crate) async fn follow(&self, path: &str) -> anyhow::Result<Coming> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        match http_client::open(self.server, request).await? {
            Ok(coming) => Ok(coming),
            Err(answer) => self.refused(&answer),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let answer = http_client::send(self.server, self.request(method, path, body)?).await?;
        if answer.status().is_success() {
            return Ok(serde_json::from_slice(answer.body()).unwrap_or_default());
        }
        self.refused(&answer)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/admin/v1/{path}"))
            .header(header::HOST, self.server.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        Ok(request.body(Full::new(body))?)
    }

    fn refused<T>(&self, answer: &Response<Bytes>) -> anyhow::Result<T> {
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        match body["detail"].as_str() {
            Some(detail) => bail!("{detail}"),
            None => bail!("the service at {} answered {}", self.server, answer.status()),
        }
    }
}
