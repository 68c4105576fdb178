//! The way to a device: its record, its integration's cloud, its codec; a call, or a mailbox. Not here: what is in a call
//! or an answer (`webhook`), devices of the HTTP API ([`super::http`]).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, anyhow};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::command::queue::Capacity;
use bridge_core::command::{
    Again, AttemptId, Cause, CauseCode, Command, Draft, Flight, Manner, Payload, SendOutcome,
};
use bridge_core::commands::{Route, Way, Ways};
use bridge_core::hash::QuickHash;
use bridge_core::ports::{BoxFuture, Clock, DeviceRecord, DeviceState, Registry, StoreResult};
use bridge_core::{DeviceId, IntegrationName, Uplink};
use bytes::Bytes;
use codec::{CodecSet, Context};
use http::{HeaderValue, Request, header};
use http_caller::{Call, CallError, Caller};
use serde_json::Value;
use webhook::connector::{MakeDownlink, Settings, WayDown};
use webhook::connectors;
use webhook::downlink::{Answered, Downlink, Heard, Mailbox};

use super::Announced;
use super::http::HttpWay;
use crate::callbacks::Callbacks;
use crate::config::{Access, Config};
use crate::tryout::parse_hex;

/// The ways of all integrations.
pub(crate) struct CloudWays {
    table: RwLock<Arc<Table>>,
    parts: Arc<Parts>,
}

type Table = HashMap<IntegrationName, Known, QuickHash>;

/// A way of an integration.
#[derive(Clone)]
enum Known {
    Cloud(Arc<CloudWay>),
    Mailbox(Arc<MailboxWay>),
    Http(Arc<HttpWay>),
}

/// What all ways share.
pub(super) struct Parts {
    pub(super) registry: Arc<dyn Registry>,
    codecs: Arc<CodecSet>,
    caller: Arc<Caller>,
    clock: Arc<dyn Clock>,
    announced: Arc<Announced>,
    callbacks: Callbacks,
}

impl CloudWays {
    pub(crate) fn new(
        registry: Arc<dyn Registry>,
        codecs: Arc<CodecSet>,
        caller: Arc<Caller>,
        clock: Arc<dyn Clock>,
        (announced, callbacks): (Arc<Announced>, Callbacks),
    ) -> Self {
        let parts = Parts { registry, codecs, caller, clock, announced, callbacks };
        Self { table: RwLock::default(), parts: Arc::new(parts) }
    }

    /// What clouds announce.
    pub(crate) fn announced(&self) -> &Arc<Announced> {
        &self.parts.announced
    }

    /// Takes over the ways of a configuration.
    ///
    /// # Errors
    /// When one does not fit its connector; a configuration that was read has been checked for that.
    pub(crate) fn replace(&self, config: &Config) -> anyhow::Result<()> {
        let mut table = Table::default();
        for integration in config.integrations.iter().filter(|integration| integration.enabled) {
            let Some(downlink) = &integration.downlink else { continue };
            let way =
                connectors::find(integration.connector).and_then(webhook::connector::Connector::downlink);
            let way = way.with_context(|| format!("{} has no way down", integration.name))?;
            let wrong = |errors| anyhow!("{}: {errors:?}", integration.name);
            let known = match way {
                WayDown::Mailbox(way) => {
                    let mailbox = (way.make)(&downlink.settings).map_err(wrong)?;
                    Known::Mailbox(Arc::new(MailboxWay { mailbox, parts: self.parts.clone() }))
                }
                WayDown::Api(way) => {
                    let api = downlink.api.as_ref();
                    let api = api.with_context(|| format!("{}: no token", integration.name))?;
                    let cloud = (way.make)(&api.url, &downlink.settings).map_err(wrong)?;
                    let access = match &api.access {
                        Access::Token(token) => {
                            let token = bearer(token.expose());
                            WayAccess::Token(token.with_context(|| {
                                format!("{}: the token cannot stand in a header", integration.name)
                            })?)
                        }
                        Access::Announced(_) => WayAccess::Announced {
                            integration: integration.name.clone(),
                            make: way.make,
                            settings: downlink.settings.clone(),
                        },
                    };
                    Known::Cloud(Arc::new(CloudWay { cloud, access, parts: self.parts.clone() }))
                }
            };
            table.insert(integration.name.clone(), known);
        }
        if config.devices_api.enabled {
            let way = HttpWay { parts: self.parts.clone() };
            table.insert(IntegrationName::parse(http_api::INTEGRATION)?, Known::Http(Arc::new(way)));
        }
        self.parts.announced.replace(config);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(())
    }

    /// What an uplink says about commands.
    pub(crate) fn heard(&self, device: &DeviceRecord, uplink: &Uplink) -> Option<Heard> {
        match self.of(&device.integration)? {
            Known::Cloud(way) => way.cloud.heard(uplink),
            Known::Mailbox(way) => way.mailbox.heard(uplink),
            Known::Http(_) => None,
        }
    }

    /// The mailbox of an integration's devices.
    pub(super) fn mailbox(&self, integration: &IntegrationName) -> Option<Arc<MailboxWay>> {
        match self.of(integration)? {
            Known::Mailbox(way) => Some(way),
            Known::Cloud(_) | Known::Http(_) => None,
        }
    }

    fn of(&self, integration: &IntegrationName) -> Option<Known> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(integration).cloned()
    }
}

impl Ways for CloudWays {
    fn route<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Route>> {
        Box::pin(async move {
            let Some(record) = self.parts.registry.get(device).await? else {
                return Ok(Route::UnknownDevice);
            };
            if record.state != DeviceState::Active {
                return Ok(Route::NoWay("it waits for approval".into()));
            }
            let integration = record.integration;
            Ok(match self.of(&integration) {
                Some(Known::Cloud(way)) => Route::To { integration, way },
                Some(Known::Mailbox(way)) => Route::To { integration, way },
                Some(Known::Http(way)) => {
                    let way: Arc<dyn Way> = way;
                    match self.parts.callbacks.way(device, &way).await? {
                        Some(way) => Route::To { integration, way },
                        None => Route::To { integration, way },
                    }
                }
                None => {
                    Route::NoWay(format!("integration {integration} has no downlink in the configuration"))
                }
            })
        })
    }
}

/// The way to the devices of one integration.
struct CloudWay {
    /// When the URL is announced, one that is never called.
    cloud: Arc<dyn Downlink>,
    access: WayAccess,
    parts: Arc<Parts>,
}

/// How the API is called.
enum WayAccess {
    /// Always with this.
    Token(HeaderValue),
    /// As the cloud has announced for the device's scope.
    Announced { integration: IntegrationName, make: MakeDownlink, settings: Settings },
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut token = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    token.set_sensitive(true);
    Some(token)
}

impl Parts {
    /// The bytes that the draft has already, else those that it is encoded as.
    async fn payload(&self, device: &DeviceId, draft: &Draft) -> Result<Option<Payload>, String> {
        match &draft.payload {
            Some(payload) => Ok(Some(payload.clone())),
            None => self.encode(device, draft).await,
        }
    }

    /// The bytes for the device: those that stand in the arguments, or what its codec makes of them.
    pub(super) async fn encode(&self, device: &DeviceId, draft: &Draft) -> Result<Option<Payload>, String> {
        if let Some(payload) = raw(&draft.arguments)? {
            return Ok(Some(payload));
        }
        let record = self.registry.get(device).await.map_err(|error| error.to_string())?;
        let Some(record) = record else { return Ok(None) };
        let Some(codec) = self.codecs.of_device(&record).filter(|codec| codec.encodes(draft.name.as_str()))
        else {
            return Ok(None);
        };
        let context = Context { device: Some(record.id.to_string()), ..Context::default() };
        let encoded = codec.encode(draft.name.as_str(), &draft.arguments, context, self.clock.wall()).await;
        let encoded = encoded.map_err(|errors| format!("codec {:?}: {}", codec.name(), errors.join("; ")))?;
        Ok(Some(Payload { data: encoded.bytes, port: encoded.port }))
    }
}

/// The mailboxes of the devices of one integration.
pub(super) struct MailboxWay {
    pub(super) mailbox: Arc<dyn Mailbox>,
    parts: Arc<Parts>,
}

impl Way for MailboxWay {
    fn manner(&self) -> Manner {
        Manner::Mailbox
    }

    fn prepare<'a>(
        &'a self,
        device: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        Box::pin(async move {
            let payload = self.parts.payload(device, draft).await?;
            self.mailbox.fit(draft, payload).map(Some)
        })
    }

    fn flight(&self, command: &Command) -> Flight {
        self.mailbox.flight(command)
    }
}

impl CloudWay {
    /// The API for a device, and the token; none when nothing was announced for it.
    fn access(&self, device: &DeviceRecord) -> Option<(Arc<dyn Downlink>, HeaderValue)> {
        match &self.access {
            WayAccess::Token(token) => Some((self.cloud.clone(), token.clone())),
            WayAccess::Announced { integration, make, settings } => {
                let named = settings.get("application").and_then(|application| application.first());
                let scope = device.scope.as_ref().or(named)?;
                let announced = self.parts.announced.find(integration, scope)?;
                let mut settings = settings.clone();
                settings.extend(announced.settings.clone());
                let cloud = make(&announced.url, &settings).ok()?;
                Some((cloud, bearer(&announced.token)?))
            }
        }
    }

    async fn call(&self, command: &Command, attempt: AttemptId) -> SendOutcome {
        let refused =
            |code, detail: String, again| SendOutcome::Refused { cause: Cause::new(code, detail), again };
        let record = match self.parts.registry.get(&command.device).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                return refused(
                    CauseCode::UnknownDevice,
                    "it is not registered any more".into(),
                    Again::Never,
                );
            }
            Err(error) => return refused(CauseCode::Unavailable, error.to_string(), Again::Later(None)),
        };
        let Some((cloud, token)) = self.access(&record) else {
            let why = "the cloud has not announced an API key for the device's application";
            return refused(CauseCode::Unavailable, why.into(), Again::Later(None));
        };
        let request = match cloud.request(&record, command, attempt) {
            Ok(request) => request,
            Err(why) => return refused(CauseCode::Refused, why, Again::Never),
        };
        let (parts, body) = Request::<Bytes>::into_parts(request);
        let mut headers = parts.headers;
        headers.insert(header::AUTHORIZATION, token);
        let call = Call { method: parts.method, url: parts.uri, headers, body };
        match self.parts.caller.call(call).await {
            Ok(answer) => self.cloud.outcome(&Answered {
                status: answer.status,
                headers: &answer.headers,
                retry_after: answer.retry_after(),
                body: &answer.body,
            }),
            Err(CallError::Invalid(why)) => refused(CauseCode::Refused, why, Again::Never),
            Err(CallError::NotSent { reason, after }) => {
                refused(CauseCode::Unavailable, reason, Again::Later(after))
            }
            Err(CallError::Unanswered(why)) => {
                SendOutcome::Unknown { cause: Cause::new(CauseCode::NoAnswer, why) }
            }
        }
    }
}

impl Way for CloudWay {
    fn manner(&self) -> Manner {
        Manner::Push
    }

    fn capacity(&self) -> Capacity {
        self.cloud.capacity()
    }

    fn prepare<'a>(
        &'a self,
        device: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        Box::pin(async move {
            let payload = match self.cloud.takes_bytes() {
                true => self.parts.payload(device, draft).await?,
                false => draft.payload.clone(),
            };
            self.cloud.check(draft, payload.as_ref())?;
            Ok(payload)
        })
    }

    fn flight(&self, command: &Command) -> Flight {
        self.cloud.flight(command)
    }

    fn send<'a>(&'a self, command: &'a Command, attempt: AttemptId) -> BoxFuture<'a, SendOutcome> {
        Box::pin(self.call(command, attempt))
    }
}

/// The bytes in arguments of the form `{"hex": "01aa", "port": 2}` or `{"base64": "Aao=", "port": 2}`.
pub(super) fn raw(arguments: &Value) -> Result<Option<Payload>, String> {
    let Some(fields) = arguments.as_object() else { return Ok(None) };
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let data = match (text("hex"), text("base64")) {
        (Some(hex), None) => parse_hex(hex)?,
        (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|_| "\"base64\" is not base64")?,
        _ => return Ok(None),
    };
    if fields.keys().any(|key| !["hex", "base64", "port"].contains(&key.as_str())) {
        return Ok(None);
    }
    let port = match fields.get("port") {
        None => None,
        Some(port) => {
            let port = port.as_u64().and_then(|port| u8::try_from(port).ok());
            Some(port.ok_or("\"port\" is a number from 0 to 255")?)
        }
    };
    Ok(Some(Payload { data, port }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_may_stand_in_the_arguments() {
        let payload = |data: &[u8], port| Ok(Some(Payload { data: data.to_vec(), port }));
        assert_eq!(raw(&json!({ "hex": "01aa" })), payload(&[1, 170], None));
        assert_eq!(raw(&json!({ "base64": "Aao=", "port": 7 })), payload(&[1, 170], Some(7)));
        for other in
            [json!({ "hex": "01", "on": true }), json!({}), json!("01aa"), Value::Null, json!({ "hex": 1 })]
        {
            assert_eq!(raw(&other), Ok(None), "{other}");
        }
        assert!(raw(&json!({ "hex": "1" })).is_err() && raw(&json!({ "hex": "01", "port": 300 })).is_err());
    }
}
