//! Calls callbacks: a signed POST of JSON. Not here: what is in it, and when.

use bridge_core::Timestamp;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_caller::{Allow, Answer, Call, CallError, Caller, CallerConfig, Signer, parse_url};
use serde_json::Value;

use crate::config::{AzureBridge, Secret};

/// See the module.
pub(super) struct Line {
    caller: Caller,
    signer: Signer,
    allow: Allow,
    /// How long a call may take.
    pub(super) timeout: std::time::Duration,
}

impl Line {
    /// # Errors
    /// When there is no TLS, or a secret is none; a configuration that was read has been checked for the latter.
    pub(super) fn new(config: &AzureBridge) -> anyhow::Result<Self> {
        let (allow, timeout) = (allow(config), config.call_timeout);
        let calls = CallerConfig { timeout, allow, ..CallerConfig::default() };
        let signer = Signer::new(config.signing_secrets.iter().map(Secret::expose))?;
        Ok(Self { caller: Caller::new(calls)?, signer, allow, timeout })
    }

    /// Whether a URL may be called.
    ///
    /// # Errors
    /// A text for whoever chose it.
    pub(super) fn check(&self, url: &str) -> Result<(), String> {
        parse_url(url, self.allow).map(drop)
    }

    /// Posts an event, which has this id however often it is sent.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn post(
        &self,
        url: &str,
        id: &str,
        event: &Value,
        now: Timestamp,
    ) -> Result<Answer, CallError> {
        let url = parse_url(url, self.allow).map_err(CallError::Invalid)?;
        let body = Bytes::from(event.to_string());
        let mut headers = self.signer.headers(id, now.as_millis() / 1000, &body);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.caller.call(Call { method: Method::POST, url, headers, body }).await
    }
}

fn allow(config: &AzureBridge) -> Allow {
    if config.allow_private_addresses { Allow::All } else { Allow::Public }
}
