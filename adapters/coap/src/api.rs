//! The API: what devices say goes through resource, method, caller, scope, rate, format, body, device, delivery, answer, in this order.
//! Not here: datagrams ([`crate::server`]), commands ([`crate::commands`]), what a body says (`edge`), and codes ([`crate::answer`]).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bridge_core::counters::IntegrationCounters;
use bridge_core::keyring::Keyring;
use bridge_core::naming::{Case, NamingRule};
use bridge_core::pipeline::{Intake, Integration, Pipeline};
use bridge_core::ports::RawRequest;
use bridge_core::registrar::{DeviceRule, Register};
use bridge_core::trace::{End, Step, Tracer};
use bridge_core::{Decoded, DeviceId, ExternalDevice, IntegrationName, Timestamp};
use coap_proto::{Request, Response, Stats};
use edge::{Formats, Items, LogGate, Mailbox, Tasks, body, properties};

use crate::SOURCE;
use crate::answer::{self, Refused};
use crate::carrier::Caller;
use crate::certificate::CertificateDevice;
use crate::commands::Watch;
use crate::resource::{Parameter, Resource, Target, Topic, parameter};
use crate::secure::SecureStats;
use crate::settings::Settings;
use crate::streams::{Fates, StreamStats};

/// Answers devices. Cheap to clone.
#[derive(Clone)]
pub struct CoapApi(Arc<Inner>);

/// What the API is made of.
pub struct Parts {
    /// The integration that the devices belong to. Devices of the HTTP API are the same ones: a token is good for both, and
    /// what was sent over one and again over the other is one message.
    pub name: IntegrationName,
    /// [`SOURCE`] as a name.
    pub source: IntegrationName,
    /// Where messages go.
    pub pipeline: Arc<Pipeline>,
    /// Whose token is whose.
    pub keyring: Arc<Keyring>,
    /// What devices are asked to do.
    pub mailbox: Arc<Mailbox>,
    /// For bodies that are not JSON.
    pub formats: Arc<dyn Formats>,
    /// Never the same twice, also not after a restart: the key of an item that has none.
    pub unique: Box<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// Must not be guessable: message ids, tokens and Echo values are made of it.
    pub seed: [u8; 32],
    /// Runs requests to their end.
    pub tasks: Tasks,
    /// The longest body, bytes.
    pub body_limit: usize,
    /// Which device has a certificate.
    pub certificate_device: CertificateDevice,
}

/// What was counted of CoAP over one carrier.
#[derive(Debug, Clone, Copy, Default)]
pub struct CarriedStats {
    /// By the endpoint.
    pub endpoint: Stats,
    /// Those who observe now.
    pub observers: usize,
}

/// What becomes of a request.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// When its sender observes from now on: what it waits for.
    pub(crate) watch: Option<Box<Watch>>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self { response, watch: None }
    }
}

struct Inner {
    parts: Parts,
    integration: Integration,
    settings: RwLock<Arc<Settings>>,
    counters: Arc<IntegrationCounters>,
    refusal_log: LogGate,
    stats: Mutex<CarriedStats>,
    secure_stats: Mutex<SecureStats>,
    streamed_stats: Mutex<[CarriedStats; 4]>,
    fates: Fates,
}

impl CoapApi {
    /// An API of these parts.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let counters = Arc::new(IntegrationCounters::default());
        let integration = Integration {
            name: parts.name.clone(),
            source: SOURCE,
            devices: DeviceRule {
                // A device's own token never registers it.
                register: Register::Off,
                naming: NamingRule { case: Case::Keep, ..NamingRule::default() },
            },
            counters: counters.clone(),
        };
        let settings = RwLock::new(Arc::new(settings));
        let (refusal_log, stats, secure_stats, streamed_stats, fates) = Default::default();
        Self(Arc::new(Inner {
            parts,
            integration,
            settings,
            counters,
            refusal_log,
            stats,
            secure_stats,
            streamed_stats,
            fates,
        }))
    }

    /// Puts other settings in their place; requests under way end with the old ones. Rates begin anew.
    pub fn replace(&self, settings: Settings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// What it has counted.
    pub fn counters(&self) -> &IntegrationCounters {
        &self.0.counters
    }

    /// What its endpoint behind UDP has counted, a moment ago.
    pub fn stats(&self) -> CarriedStats {
        *self.0.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted behind DTLS, a moment ago.
    pub fn secure_stats(&self) -> SecureStats {
        *self.0.secure_stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted over TCP, TLS and WebSocket, a moment ago.
    pub fn stream_stats(&self) -> StreamStats {
        let coap = *self.0.streamed_stats.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = self.0.fates.open.load(Ordering::Relaxed);
        StreamStats { coap, fates: self.0.fates.counts(), connections }
    }

    pub(crate) fn set_streamed_stats(&self, kind: usize, stats: CarriedStats) {
        self.0.streamed_stats.lock().unwrap_or_else(PoisonError::into_inner)[kind] = stats;
    }

    pub(crate) fn fates(&self) -> &Fates {
        &self.0.fates
    }

    pub(crate) fn set_secure_stats(&self, stats: SecureStats) {
        *self.0.secure_stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub(crate) fn set_stats(&self, stats: CarriedStats) {
        *self.0.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.parts.tasks
    }

    pub(crate) fn seed(&self) -> [u8; 32] {
        self.0.parts.seed
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.0.parts.keyring
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.0.parts.pipeline
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.0.parts.mailbox
    }

    pub(crate) fn source(&self) -> IntegrationName {
        self.0.parts.source.clone()
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.parts.pipeline.clock.wall()
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.0.parts.body_limit
    }

    pub(crate) fn certificate_device(&self) -> CertificateDevice {
        self.0.parts.certificate_device
    }

    /// Answers a request, which may ask to observe. Must run to its end, also when the device has gone.
    pub(crate) async fn answer(&self, request: Request, caller: Caller, observe: bool) -> Answer {
        match Resource::of(&request) {
            None => answer::not_found().into(),
            Some(Resource::Time) => answer::time(&request, self.now()).into(),
            Some(Resource::Upload(topic, target)) => self.take(&request, caller, topic, target).await.into(),
            Some(Resource::Commands(target)) => self.answer_commands(request, caller, target, observe).await,
            Some(Resource::Report(target, command)) => {
                self.answer_report(&request, caller, (target, command)).await.into()
            }
        }
    }

    async fn take(&self, request: &Request, caller: Caller, topic: Topic, target: Target) -> Response {
        let Parts { pipeline, .. } = &self.0.parts;
        let entered = pipeline.clock.now();
        self.0.counters.received.add(1);
        let _in_flight = self.0.counters.in_flight.enter();
        let number = pipeline.traces.next_request();
        let (received_at, source) = (pipeline.clock.wall(), self.0.parts.source.clone());
        let mut tracer = Tracer::start(number, source, received_at, entered);
        let arrived = match self.admit(request, caller, topic, &target).await {
            Ok((device, media_type, key)) => {
                tracer.step(Step::Authenticated, pipeline.clock.now());
                tracer.trace_mut().device = Some(device.clone());
                Arrived { request, topic, device, media_type, key, received_at }
            }
            Err(refused) => return self.refuse(tracer, refused),
        };
        let items = match self.understand(&arrived).await {
            Ok(items) => items,
            Err(refused) => return self.refuse(tracer, refused),
        };
        tracer.step(Step::Decoded, pipeline.clock.now());
        let response = self.deliver(&arrived, items, tracer).await;
        self.0.counters.latency.observe(pipeline.clock.now().saturating_duration_since(entered));
        response
    }
}

impl CoapApi {
    /// Everything before the body is looked into: device, media type and key of the request.
    async fn admit(
        &self,
        request: &Request,
        caller: Caller,
        topic: Topic,
        target: &Target,
    ) -> Result<(DeviceId, &'static str, Option<String>), Refused> {
        if !topic.takes(request.code) {
            return Err(answer::method());
        }
        let own = self.identify(request, caller, target).await?;
        self.within_rate(&own)?;
        // There is always something to add to, and it has no entity tag.
        request.preconditions(Some(b"")).map_err(answer::precondition)?;
        let media_type = topic.media_type(request.content_format()).ok_or_else(answer::format)?;
        let key = match parameter(request, 'i') {
            Parameter::None => None,
            Parameter::One(key) if !key.is_empty() => Some(key.to_owned()),
            Parameter::One(_) | Parameter::Several => return Err(answer::bad_key()),
        };
        self.within_limit(request)?;
        Ok((own, media_type, key))
    }

    /// The device that asks, when what it asks for is its own.
    pub(crate) async fn identify(
        &self,
        request: &Request,
        caller: Caller,
        target: &Target,
    ) -> Result<DeviceId, Refused> {
        let own = self.device(request, caller).await?;
        match target {
            Target::Named(None) => Err(answer::unknown_device()),
            Target::Named(Some(named)) if *named != own => Err(answer::out_of_scope()),
            Target::Named(Some(_)) | Target::Own => Ok(own),
        }
    }

    pub(crate) fn within_rate(&self, device: &DeviceId) -> Result<(), Refused> {
        match &self.settings().rate {
            Some(rate) => rate.admit(&device.to_shared()).map_err(answer::overload),
            None => Ok(()),
        }
    }

    pub(crate) fn within_limit(&self, request: &Request) -> Result<(), Refused> {
        match request.body.len() > self.0.parts.body_limit {
            true => Err(answer::too_large(self.0.parts.body_limit)),
            false => Ok(()),
        }
    }

    /// Whether the registry lets the device in.
    pub(crate) async fn registered(&self, device: &DeviceId, at: Timestamp) -> Result<(), Refused> {
        let Integration { name, devices, .. } = &self.0.integration;
        let external = ExternalDevice::new(device.as_str());
        match self.0.parts.pipeline.registrar.resolve(name, devices, &external, at).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((reason, _))) => Err(answer::not_admitted(reason)),
            Err(error) => Err(store_failed(&error)),
        }
    }

    /// The device that has proven itself, or whose token the request carries.
    async fn device(&self, request: &Request, caller: Caller) -> Result<DeviceId, Refused> {
        match caller {
            Caller::Device(device) => return Ok(device),
            Caller::Revoked => return Err(answer::revoked()),
            Caller::Unknown => return Err(answer::unavailable()),
            Caller::Unproven => {}
        }
        let Parameter::One(token) = parameter(request, 't') else { return Err(answer::unauthorized()) };
        let device = edge::device_of(&self.0.parts.keyring, token.as_bytes()).await;
        device.map_err(|error| store_failed(&error))?.ok_or_else(answer::unauthorized)
    }

    /// What the body says, when the registry lets the device in.
    async fn understand(&self, arrived: &Arrived<'_>) -> Result<Items, Refused> {
        let body = &arrived.request.body;
        let items = match arrived.topic {
            Topic::Telemetry => {
                body::read(arrived.media_type, body, &*self.0.parts.formats, arrived.received_at)
            }
            Topic::Properties => properties::read(body),
        };
        let items = items.map_err(|fault| answer::faulty(&fault))?;
        self.registered(&arrived.device, arrived.received_at).await?;
        Ok(items)
    }

    async fn deliver(&self, arrived: &Arrived<'_>, items: Items, tracer: Tracer) -> Response {
        let uplinks = items.into_uplinks(&arrived.device, arrived.key.as_deref(), &self.0.parts.unique);
        let intake = Intake {
            integration: &self.0.integration,
            decoded: Decoded { uplinks, problems: Vec::new() },
            received_at: arrived.received_at,
            request: &|| arrived.to_raw(),
            replayed: false,
            tracer,
        };
        answer::verdicts(&self.0.parts.pipeline.accept(intake).await)
    }

    pub(crate) fn refuse(&self, tracer: Tracer, refused: Refused) -> Response {
        let Refused { refusal, response, detail } = refused;
        self.0.counters.refuse(refusal);
        if let Some(suppressed) = self.0.refusal_log.admit(self.0.parts.pipeline.clock.now()) {
            let refusal = refusal.as_str();
            tracing::warn!(integration = SOURCE, refusal, detail, suppressed, "request refused");
        }
        self.0.parts.pipeline.traces.keep(tracer.end(End::Refused(refusal), Some(detail)));
        response
    }
}

/// A request that has passed all checks but those of its content.
struct Arrived<'r> {
    request: &'r Request,
    topic: Topic,
    device: DeviceId,
    media_type: &'static str,
    key: Option<String>,
    received_at: Timestamp,
}

impl Arrived<'_> {
    /// As the HTTP API would have got it: it replays the dead letters of both.
    fn to_raw(&self) -> RawRequest {
        let method = match self.topic {
            Topic::Telemetry => "POST",
            Topic::Properties => "PATCH",
        };
        RawRequest {
            method: method.into(),
            path_device: Some(self.device.to_string()),
            // The token stands in it.
            query: String::new(),
            content_type: Some(self.media_type.into()),
            body: self.request.body.to_vec(),
        }
    }
}

pub(crate) fn store_failed(error: &bridge_core::ports::StoreError) -> Refused {
    tracing::warn!(%error, "a device could not be looked up");
    answer::unavailable()
}
