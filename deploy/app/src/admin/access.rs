//! Who may ask what: one check before every handler of operators. Not here: which scope a route takes ([`super`]).

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use http_edge::auth::bearer;
use http_edge::{LogGate, Problem, RateLimits, SecretDigest};

use crate::config::{AdminToken, LOCAL, Scope};

/// The tokens that are good now. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access(Arc<Inner>);

struct Inner {
    local: Option<SecretDigest>,
    tokens: RwLock<Arc<[Token]>>,
    failures: RateLimits,
    log: LogGate,
}

/// One token. Of its secrets, only digests are kept.
#[derive(Clone)]
struct Token {
    name: Arc<str>,
    digests: Vec<SecretDigest>,
    scopes: Vec<Scope>,
}

/// Wrong tokens in a second that one address is told of as such; whatever is more is told to wait. A good token is never
/// told so: somebody else's failures must not lock an operator out.
const FAILURES: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// RFC 6750 section 3.
const CHALLENGE: &str = "Bearer realm=\"admin\"";

impl Access {
    /// These tokens, and perhaps one that allows everything.
    pub(crate) fn new(local: Option<SecretDigest>, tokens: &[AdminToken]) -> Self {
        let access = Self(Arc::new(Inner {
            local,
            tokens: RwLock::new(Arc::new([])),
            failures: RateLimits::per_second(FAILURES),
            log: LogGate::default(),
        }));
        access.replace(tokens);
        access
    }

    /// Puts other tokens in place of those of the configuration.
    pub(crate) fn replace(&self, tokens: &[AdminToken]) {
        let local = self.0.local.iter().map(|digest| Token {
            name: Arc::from(LOCAL),
            digests: vec![digest.clone()],
            scopes: Scope::CHOICES.iter().map(|(_, scope)| *scope).collect(),
        });
        let configured = tokens.iter().map(|token| Token {
            name: Arc::from(token.name.as_str()),
            digests: token
                .secrets
                .iter()
                .map(|secret| SecretDigest::of(secret.expose().as_bytes()))
                .collect(),
            scopes: token.scopes.clone(),
        });
        let tokens = local.chain(configured).collect();
        *self.0.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Whether nobody may ask anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.tokens.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The name of the token of a request that may do that.
    fn check(&self, request: &Request, scope: Scope) -> Result<Arc<str>, Box<Problem>> {
        let Some(secret) = bearer(request.headers()) else {
            return Err(Box::new(Problem::unauthorized(CHALLENGE)));
        };
        let Some(token) = self.find(secret) else { return Err(Box::new(self.failed(request))) };
        if token.scopes.contains(&scope) {
            return Ok(token.name);
        }
        let scope = scope.as_str();
        tracing::warn!(operator = %token.name, scope, path = request.uri().path(), "out of scope");
        let detail = format!("The token {} lacks the scope {scope:?}.", token.name);
        let problem = Problem::new(StatusCode::FORBIDDEN, "out-of-scope", "Out of scope", detail);
        let challenge = format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\"");
        Err(Box::new(problem.with(header::WWW_AUTHENTICATE, challenge)))
    }

    /// All are compared every time.
    fn find(&self, secret: &[u8]) -> Option<Token> {
        let tokens = self.0.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        let good = |token: &Token| SecretDigest::any_of(&token.digests, secret);
        tokens.iter().fold(None, |found, token| if good(token) { Some(token) } else { found }).cloned()
    }

    /// A wrong token.
    fn failed(&self, request: &Request) -> Problem {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or_else(|| "unknown".to_owned(), |ConnectInfo(peer)| peer.ip().to_string());
        if let Some(suppressed) = self.0.log.admit(Instant::now()) {
            tracing::warn!(%peer, path = request.uri().path(), suppressed, "no good operator's token");
        }
        match self.0.failures.admit(&Arc::from(peer)) {
            Ok(()) => Problem::unauthorized(CHALLENGE),
            Err(after) => Problem::overload(after),
        }
    }
}

/// Lets a request pass whose token has the scope, and notes who did what.
pub(super) async fn guard(
    State((access, scope)): State<(Access, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    let operator = match access.check(&request, scope) {
        Ok(operator) => operator,
        Err(problem) => return problem.into_response(),
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    if matches!(method, Method::GET | Method::HEAD) {
        tracing::debug!(%operator, %method, path, status, "operator asked");
    } else {
        tracing::info!(%operator, %method, path, status, "operator asked");
    }
    response
}
