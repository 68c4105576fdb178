//! The contract of a connector: a pure, total function from request to uplinks. No I/O, no clock, no state. The
//! receiver owns routes, authentication, limits, answers and metrics; a connector cannot forget them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bridge_core::{Decoded, ExternalDevice, IdempotencyKey, Timestamp, Verdict};
use http::HeaderMap;

use crate::downlink::{Downlink, Mailbox};

/// One kind of source. Listed in [`crate::connectors::ALL`].
pub trait Connector: Sync {
    /// The name in configuration, metrics and messages; the name of its folder.
    fn name(&self) -> &'static str;
    /// What people call the cloud.
    fn title(&self) -> &'static str;
    /// What device ids start with unless the integration says otherwise (`sigfox-`); may be empty.
    fn default_prefix(&self) -> &'static str;
    /// The HTTP methods that the cloud can be told to use.
    fn methods(&self) -> &'static [http::Method];
    /// The largest body, bytes, unless the integration says otherwise.
    fn body_limit(&self) -> usize;
    /// The ways in which this cloud can prove a secret. No default: it cannot be forgotten.
    fn auth(&self) -> &'static [AuthKind];
    /// The settings that an integration may have, beside those that all have.
    fn settings(&self) -> &'static [Setting];
    /// The way down to its devices; none when it has none. No default: it cannot be forgotten.
    fn downlink(&self) -> Option<&'static WayDown>;
    /// Reads an integration's settings; unknown keys were refused before.
    ///
    /// # Errors
    /// All that is wrong with them.
    fn configure(&self, settings: &Settings) -> Result<Box<dyn Decode>, Vec<SettingError>>;
}

/// A way down that an integration may have: `[integrations.NAME.downlink]`.
#[derive(Debug)]
pub enum WayDown {
    /// The cloud has an API that is called.
    Api(ApiWay),
    /// The cloud has none: it asks for commands, and they travel in the answer.
    Mailbox(MailboxWay),
}

/// A way down by calls: `[integrations.NAME.downlink]` with a `token`, and these.
#[derive(Debug)]
pub struct ApiWay {
    /// Where the cloud's API is, unless the integration says otherwise.
    pub default_url: Option<&'static str>,
    /// What the token is, for the commented template.
    pub token: &'static str,
    /// Further settings.
    pub settings: &'static [Setting],
    /// What the cloud announces with its webhooks; none when it announces nothing.
    pub announced: Option<Announces>,
    /// Makes it of a URL without a slash at its end, and settings of which unknown ones were refused before.
    pub make: MakeDownlink,
}

/// How a cloud announces its API with its webhooks.
#[derive(Debug)]
pub struct Announces {
    /// The settings that an announcement brings.
    pub settings: &'static [&'static str],
    /// Reads the headers of a request; none when they announce nothing, else what is announced, or what is wrong with it.
    pub read: ReadAnnouncement,
}

/// See [`Announces::read`].
pub type ReadAnnouncement = fn(&HeaderMap) -> Option<Result<Announcement, &'static str>>;

/// What a cloud has announced. Its debug output does not hold the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The devices that it is for: those of this scope.
    pub scope: String,
    /// Where the API is: scheme and authority, in lower case.
    pub url: String,
    /// Settings for [`ApiWay::make`].
    pub settings: Settings,
    /// The bearer token. A live credential.
    pub token: String,
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, url, settings, token: _ } = self;
        f.debug_struct("Announcement")
            .field("scope", scope)
            .field("url", url)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

/// See [`ApiWay::make`].
pub type MakeDownlink = fn(&str, &Settings) -> Result<Arc<dyn Downlink>, Vec<SettingError>>;

/// A way down by answers: `[integrations.NAME.downlink]` with nothing but these.
#[derive(Debug)]
pub struct MailboxWay {
    /// The settings.
    pub settings: &'static [Setting],
    /// An example of them for the commented template: `daily_budget = 4`.
    pub example: &'static str,
    /// Makes it of settings of which unknown ones were refused before.
    pub make: MakeMailbox,
}

/// See [`MailboxWay::make`].
pub type MakeMailbox = fn(&Settings) -> Result<Arc<dyn Mailbox>, Vec<SettingError>>;

/// A connector with its settings: what a request goes through.
pub trait Decode: Send + Sync {
    /// Turns a request into uplinks and problems.
    ///
    /// # Errors
    /// Only when the body is not of the form that its content type says. What is understood but cannot become an uplink
    /// is a [`bridge_core::Problem`]: a 4xx makes TTN pause the webhook and Particle throttle the host.
    fn decode(&self, request: &Request<'_>) -> Result<Decoded, Malformed>;

    /// The devices that ask for a command with this request. Asked only when the integration has a mailbox, of a request
    /// that [`decode`](Self::decode) could read. None for clouds without [`WayDown::Mailbox`].
    fn asks(&self, request: &Request<'_>) -> Vec<Ask> {
        let _ = request;
        Vec::new()
    }

    /// The answer when all went well or is kept (`Delivered`, `Stored`, `Duplicate`, `Rejected`). Not asked for `Retry`.
    /// `letters` are for devices that [asked](Self::asks), one for each at most.
    fn reply(&self, request: &Request<'_>, verdicts: &[Verdict], letters: &[Letter]) -> Reply;

    /// The body without credentials that the cloud sends along, for the store. No default: it cannot be forgotten.
    fn redact<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]>;
}

/// A webhook request, already authenticated and within its limits.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST` or `PUT`.
    pub method: &'a http::Method,
    /// The device named in the URL, percent-decoded: `/webhooks/{integration}/{device}`.
    pub path_device: Option<&'a str>,
    /// The raw query string without the `?` and without the integration's own token; may be empty.
    pub query: &'a str,
    /// The media type in lower case without parameters (`application/json`); empty when the sender gave none.
    pub content_type: &'a str,
    /// The body, decompressed.
    pub body: &'a [u8],
    /// When the bridge received it.
    pub received_at: Timestamp,
}

/// A device that asks for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Which, as its uplink names it.
    pub device: ExternalDevice,
    /// How the answer has to name it: as the request does.
    pub name: String,
    /// The key of its uplink: a repeated request gets the same command.
    pub key: IdempotencyKey,
}

/// What a mailbox had for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// [`Ask::name`].
    pub name: String,
    /// The bytes for the device.
    pub data: Vec<u8>,
}

/// The answer to an accepted request. Small on purpose: Particle publishes response bodies to devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 204.
    NoContent,
    /// 200 with an empty body.
    Empty,
    /// 200 with a JSON body (a Sigfox downlink).
    Json(String),
}

/// The body is not what its content type says. The sender's fault; 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl From<serde_json::Error> for Malformed {
    /// Says where, never what: the message of serde_json names positions and types but may quote a value.
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the JSON text ends too early",
            serde_json::error::Category::Data => "the JSON text has another shape than it should",
            _ => "the body is not JSON that can be read (or is nested too deep)",
        };
        Self(format!("{what}: line {} column {}", error.line(), error.column()))
    }
}

/// The ways to prove a secret to the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthKind {
    /// A header of any name holds the secret.
    Header,
    /// `Authorization: Basic`.
    Basic,
    /// `Authorization: Bearer`.
    Bearer,
    /// A query parameter holds the secret.
    UrlToken,
}

impl AuthKind {
    /// Every way.
    pub const ALL: &'static [Self] = &[Self::Header, Self::Basic, Self::Bearer, Self::UrlToken];

    /// The name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::UrlToken => "url-token",
        }
    }
}

/// A setting that a connector takes: `[integrations.NAME.settings] key = ...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// For the commented template and the documentation: what it does, its form, its default.
    pub help: &'static str,
}

/// The settings of one integration: key to one text, or to several (a TOML string, number, boolean, or array of them).
pub type Settings = BTreeMap<String, Vec<String>>;

/// The only text of a setting; none when it is absent.
pub(crate) fn one<'s>(settings: &'s Settings, key: &str) -> Option<&'s str> {
    settings.get(key)?.first().map(String::as_str)
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// Which one.
    pub key: &'static str,
    /// What, and what it should be.
    pub message: String,
}
