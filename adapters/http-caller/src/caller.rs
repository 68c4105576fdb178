//! One call and its answer. Not here: connections (`connect`), circuits (`breaker`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::ClientConfig;

use crate::address::Allow;
use crate::breaker::{Breaker, BreakerConfig};
use crate::connect::{self, TlsSetupError};

/// The bounds of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerConfig {
    /// From looking the name up to the end of the answer.
    pub timeout: Duration,
    /// The largest answer, bytes.
    pub max_answer: usize,
    /// Which addresses may be called.
    pub allow: Allow,
    /// When a host is left alone.
    pub breaker: BreakerConfig,
}

impl Default for CallerConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_answer: 64 * 1024,
            allow: Allow::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

/// A request. Its `Debug` form shows neither headers nor body nor query: secrets travel there.
#[derive(Clone)]
pub struct Call {
    /// `POST`, ...
    pub method: Method,
    /// With `https` or `http`.
    pub url: Uri,
    /// Beside those of HTTP itself.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, url, .. } = self;
        write!(f, "{method} {}{}", url.host().unwrap_or("?"), url.path())
    }
}

/// What the host answered, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status. Redirects are not followed.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// `Retry-After` (RFC 9110 section 10.2.3). A date is held against the host's own `Date`: our clocks need not agree.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let asked = text(header::RETRY_AFTER)?;
        if let Ok(seconds) = asked.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let moment = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
        let (until, now) = (moment(asked)?, text(header::DATE).and_then(moment)?);
        Some(until.duration_since(now).try_into().unwrap_or_default())
    }
}

/// Why there is no answer. The texts are for people and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It can never be made: the caller's fault.
    #[error("{0}")]
    Invalid(String),
    /// Nothing of it has left: it may be made again.
    #[error("{reason}")]
    NotSent {
        /// Why.
        reason: String,
        /// When to try again, where that is known.
        after: Option<Duration>,
    },
    /// It was sent, at least in part, and there is no answer: nobody knows whether it was carried out.
    #[error("{0}")]
    Unanswered(String),
}

/// Makes calls. Cheap to share.
pub struct Caller {
    config: CallerConfig,
    tls: Arc<ClientConfig>,
    breaker: Mutex<Breaker>,
}

impl Caller {
    /// A caller within these bounds.
    ///
    /// # Errors
    /// See [`TlsSetupError`].
    pub fn new(config: CallerConfig) -> Result<Self, TlsSetupError> {
        let breaker = Mutex::new(Breaker::new(config.breaker));
        Ok(Self { config, tls: connect::tls()?, breaker })
    }

    /// Makes a call. Statuses from 500 on count against the host as failed connections do.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let target = Target::of(&call.url)?;
        let circuit = format!("{}:{}", target.host, target.port);
        if let Err(wait) = self.breaker().admit(&circuit, Instant::now()) {
            let reason = format!("{} has failed several times and is left alone", target.host);
            return Err(CallError::NotSent { reason, after: Some(wait) });
        }
        let deadline = tokio::time::Instant::now() + self.config.timeout;
        let answer = self.exchange(&target, call, deadline).await;
        let failed = match &answer {
            Ok(answer) => answer.status.is_server_error(),
            Err(CallError::Invalid(_)) => return answer,
            Err(CallError::NotSent { .. } | CallError::Unanswered(_)) => true,
        };
        let mut breaker = self.breaker();
        match failed {
            true => breaker.failed(&circuit, Instant::now()),
            false => breaker.succeeded(&circuit),
        }
        drop(breaker);
        answer
    }

    async fn exchange(
        &self,
        target: &Target,
        call: Call,
        deadline: tokio::time::Instant,
    ) -> Result<Answer, CallError> {
        let not_sent = |reason| CallError::NotSent { reason, after: None };
        let request = request(target, call)?;
        let tls = target.tls.then_some(&self.tls);
        let connecting = connect::connect(&target.host, target.port, self.config.allow, tls);
        let stream = match tokio::time::timeout_at(deadline, connecting).await {
            Ok(stream) => stream.map_err(not_sent)?,
            Err(_) => return Err(not_sent(format!("{} did not take a connection in time", target.host))),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| not_sent(error.to_string()))?;
        let unanswered = |why: String| CallError::Unanswered(format!("{}: {why}", target.host));
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| unanswered(error.to_string()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, self.config.max_answer).collect().await;
            let body = body.map_err(|error| unanswered(format!("its answer cannot be read: {error}")))?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        let exchange = async {
            tokio::pin!(answer);
            tokio::select! {
                answer = &mut answer => answer,
                ended = connection => match ended {
                    // The connection may end with the last byte of the answer.
                    Ok(()) => answer.await,
                    Err(error) => Err(unanswered(error.to_string())),
                },
            }
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(unanswered("no answer in time".into())),
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // The circuits are whole between any two statements that may panic.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Reads a URL that somebody else has chosen, to be called later: absolute, without credentials, and not of an address that
/// may not be called. What a name stands for is seen at each call.
///
/// # Errors
/// A text for whoever chose it.
pub fn parse_url(text: &str, allow: Allow) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "it is not a URL".to_owned())?;
    let target = Target::of(&url).map_err(|error| error.to_string())?;
    let bare = target.host.trim_start_matches('[').trim_end_matches(']');
    let is_named = bare.eq_ignore_ascii_case("localhost");
    let address = if is_named { Some(Ipv4Addr::LOCALHOST.into()) } else { bare.parse::<IpAddr>().ok() };
    match address {
        Some(address) if !allow.allows(address) => {
            Err("its address is not public, and others may not be called".into())
        }
        _ if bare.is_empty() => Err("the URL names no host".into()),
        _ => Ok(url),
    }
}

/// Where a call goes.
struct Target {
    tls: bool,
    host: String,
    port: u16,
}

impl Target {
    fn of(url: &Uri) -> Result<Self, CallError> {
        let tls = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(CallError::Invalid("a URL begins with https:// or http://".into())),
        };
        let authority = url.authority().ok_or_else(|| CallError::Invalid("the URL names no host".into()))?;
        if authority.as_str().contains('@') {
            return Err(CallError::Invalid("credentials do not stand in a URL".into()));
        }
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: authority.host().to_owned(), port })
    }
}

fn request(target: &Target, call: Call) -> Result<Request<Full<Bytes>>, CallError> {
    let Call { method, url, headers, body } = call;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let usual = if target.tls { 443 } else { 80 };
    let host =
        if target.port == usual { target.host.clone() } else { format!("{}:{}", target.host, target.port) };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("device-bridge/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|error| CallError::Invalid(error.to_string()))?;
    request.headers_mut().extend(headers);
    Ok(request)
}

#[cfg(test)]
mod tests;
