//! The way of an uplink: resolve the device, deduplicate, put into order with other reports of the same state, deliver,
//! and say what became of it. Not here: reading requests (adapters), delivering (`delivery`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;

use crate::archive::Archivist;
use crate::counters::IntegrationCounters;
use crate::dedup::{Claim, Deduplicator};
use crate::delivery::refused_by_hub;
use crate::id::{DeviceId, IntegrationName, MessageId};
use crate::message::{Content, Kind, Message, STATE_VERSION};
use crate::mux::Outcome;
use crate::parts::{Part, parts};
use crate::ports::{
    Archived, Clock, Codecs, DeadLetters, Decoding, Deliver, DeviceRecord, Listener, NewDeadLetter, Payload,
    RawRequest, StoreResult,
};
use crate::recent::Recent;
use crate::registrar::{DeviceRule, Registrar};
use crate::signal::lock;
use crate::time::Timestamp;
use crate::trace::{End, Step, Tracer, Traces};
use crate::twin::{Reported, TwinError, TwinKeeper};
use crate::uplink::{Decoded, Problem, StateMark, Uplink};
use crate::verdict::{Reason, Verdict};

/// What the pipeline needs to know of an integration.
pub struct Integration {
    /// Its name.
    pub name: IntegrationName,
    /// The connector's name: the `source` of its messages.
    pub source: &'static str,
    /// How it treats its devices.
    pub devices: DeviceRule,
    /// Its counters.
    pub counters: Arc<IntegrationCounters>,
}

/// One decoded request.
pub struct Intake<'a> {
    /// By which integration.
    pub integration: &'a Integration,
    /// What was in it.
    pub decoded: Decoded,
    /// When it was complete.
    pub received_at: Timestamp,
    /// The request for the dead letters; made only when one is needed.
    pub request: &'a (dyn Fn() -> RawRequest + Sync),
    /// Sent again by an operator.
    pub replayed: bool,
    /// The trace so far; each uplink continues a copy of it.
    pub tracer: Tracer,
}

/// The pipeline.
pub struct Pipeline {
    /// Finds devices.
    pub registrar: Registrar,
    /// Finds duplicates.
    pub dedup: Arc<Deduplicator>,
    /// Decodes payloads.
    pub codecs: Arc<dyn Codecs>,
    /// Carries messages to the hub.
    pub delivery: Arc<dyn Deliver>,
    /// Keeps what cannot be delivered.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Keeps payloads for corrected codecs, when they are to be kept.
    pub archive: Option<Arc<Archivist>>,
    /// Hears what clouds say about commands and connections.
    pub listener: Option<Arc<dyn Listener>>,
    /// Keeps the states of devices, when they are to be kept.
    pub twins: Option<Arc<TwinKeeper>>,
    /// Keeps traces.
    pub traces: Arc<Traces>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The highest rank per lane and subject: see [`StateMark`].
    pub states: States,
}

/// The newest report of every state, bounded.
pub struct States(Mutex<Recent<(Arc<str>, String), u64>>);

/// States kept; a report older than one that was forgotten is not recognised as old any more.
const STATES: usize = 100_000;
/// What a source is told to wait when the bridge could not take its uplink.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Default for States {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(STATES)))
    }
}

impl States {
    /// Whether a newer report of the same state was seen; if not, this is the newest now.
    fn is_superseded(&self, lane: Arc<str>, mark: &StateMark) -> bool {
        let key = (lane, mark.subject.clone());
        let mut states = lock(&self.0);
        if states.get(&key).is_some_and(|newest| mark.rank < *newest) {
            return true;
        }
        states.insert(key, mark.rank);
        false
    }
}

impl Pipeline {
    /// Takes all uplinks of a request, in order, and waits for what becomes of them: one verdict per uplink, then one
    /// per problem. Must run to its end also when the sender has gone.
    // No `async fn`: that would keep room for what it was given beside what it made of it, in the box of every request.
    pub fn accept<'a>(&'a self, intake: Intake<'a>) -> impl Future<Output = Vec<Verdict>> + Send + 'a {
        let Intake { integration, decoded, received_at, request, replayed, tracer } = intake;
        let Decoded { mut uplinks, problems } = decoded;
        let arrival = Arrival { integration, received_at, request, replayed };
        // The last of them gets the trace itself.
        let mut tracers = std::iter::repeat_n(tracer, uplinks.len() + problems.len());
        async move {
            let mut started = Vec::with_capacity(uplinks.len());
            for (uplink, tracer) in uplinks.iter_mut().zip(&mut tracers) {
                started.push(self.begin(&arrival, uplink, tracer).await);
            }
            let mut verdicts = Vec::with_capacity(started.len() + problems.len());
            for begun in started {
                verdicts.push(self.finish(&arrival, begun).await);
            }
            for (Problem { reason, detail }, tracer) in problems.into_iter().zip(tracers) {
                let verdict = Box::pin(self.bury(&arrival, None, reason, detail.clone())).await;
                self.close(&arrival, tracer, verdict.clone(), Some(detail));
                verdicts.push(verdict);
            }
            verdicts
        }
    }

    /// Sends the message of a dead letter that the hub refused once more.
    pub async fn replay_record(&self, record: &[u8]) -> Verdict {
        let Ok(message) = Message::from_record(record) else { return Verdict::Rejected(Reason::Unreadable) };
        let id = message.id;
        let message = Arc::new(Message { replayed: true, ..message });
        match self.delivery.submit(message).await.unwrap_or(Outcome::Unavailable) {
            Outcome::Delivered => {
                self.dedup.remember(id);
                Verdict::Delivered
            }
            Outcome::Stored => {
                self.dedup.remember(id);
                Verdict::Stored
            }
            Outcome::Refused(_) => Verdict::Rejected(Reason::RefusedByHub),
            Outcome::Unavailable => Verdict::Retry(RETRY_AFTER),
        }
    }

    /// Everything up to handing the message to the delivery. Takes the content out of the uplink.
    async fn begin(&self, arrival: &Arrival<'_>, uplink: &mut Uplink, mut tracer: Tracer) -> Begun {
        tracer.trace_mut().kind = Some(uplink.kind);
        let integration = arrival.integration;
        let device = match &uplink.device {
            None => None,
            Some(device) => {
                let resolved = self.registrar.resolve(
                    &integration.name,
                    &integration.devices,
                    device,
                    arrival.received_at,
                );
                match resolved.await {
                    Ok(Ok(record)) => Some(record),
                    Ok(Err((reason, detail))) => {
                        return Begun::Dead { tracer, external: Some(device.id.clone()), reason, detail };
                    }
                    Err(error) => return Begun::retry(tracer, error.to_string()),
                }
            }
        };
        tracer.trace_mut().device = device.as_ref().map(|record| record.id.clone());
        tracer.step(Step::Resolved, self.clock.now());
        let id = MessageId::new(&integration.name, &uplink.key);
        tracer.trace_mut().message = Some(id);
        let mut tracer = match self.claim(id, tracer).await {
            Ok(tracer) => tracer,
            Err(begun) => return *begun,
        };
        if let Err(error) = self.tell(arrival, device.as_deref(), uplink).await {
            self.dedup.settle(id, false);
            return Begun::retry(tracer, error.to_string());
        }
        let archived = self.archived(arrival, id, device.as_ref().map(|record| &record.id), uplink);
        let parts = self.decode(arrival, uplink, device.as_deref(), &mut tracer).await;
        let device = device.as_ref().map(|record| &record.id);
        let Some(parts) = parts.filter(|parts| parts.len() > 1) else {
            return self.hand_over(arrival, (id, device, uplink), tracer).await.archived(archived);
        };
        // Boxed, as whatever is large and rare: a request waits in a future that has room for all of it.
        Box::pin(self.hand_over_parts(arrival, (id, device, uplink), parts, tracer)).await.archived(archived)
    }

    /// Hands over the messages of one uplink. Each has an id of its own: of a payload that was accepted in part only, the rest
    /// can be sent again.
    async fn hand_over_parts(
        &self,
        arrival: &Arrival<'_>,
        (whole, device, uplink): (MessageId, Option<&DeviceId>, &mut Uplink),
        parts: Vec<Part>,
        tracer: Tracer,
    ) -> Begun {
        let mut begun = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            let id = whole.part(index);
            let mut tracer = tracer.clone();
            tracer.trace_mut().message = Some(id);
            tracer.trace_mut().kind = Some(part.kind);
            begun.push(match self.claim(id, tracer).await {
                Ok(tracer) => {
                    uplink.put(part);
                    self.hand_over(arrival, (id, device, uplink), tracer).await
                }
                Err(ended) => *ended,
            });
        }
        Begun::Parts { whole, parts: begun }
    }

    /// Tells the listener what it may want to know. What an operator sends again is no news.
    async fn tell(
        &self,
        arrival: &Arrival<'_>,
        device: Option<&DeviceRecord>,
        uplink: &Uplink,
    ) -> StoreResult<()> {
        match (&self.listener, device) {
            (Some(listener), Some(device))
                if matches!(uplink.kind, Kind::Command | Kind::Connection) && !arrival.replayed =>
            {
                listener.hear(device, uplink).await
            }
            _ => Ok(()),
        }
    }

    /// The uplink as it is before any codec, when payloads are kept and it has one that a codec could read.
    fn archived(
        &self,
        arrival: &Arrival<'_>,
        id: MessageId,
        device: Option<&DeviceId>,
        uplink: &Uplink,
    ) -> Option<Archived> {
        let readable = uplink.content.raw.as_ref().is_some_and(|raw| !raw.encrypted && !raw.data.is_empty());
        let device =
            device.filter(|_| self.archive.is_some() && readable && uplink.kind == Kind::Telemetry)?;
        let content = uplink.content.clone();
        let record = message(arrival, (id, Some(device), uplink), content).to_record();
        Some(Archived { device: device.clone(), at: arrival.received_at, record })
    }

    /// Claims a message id; what has become of it, when somebody else had it before.
    async fn claim(&self, id: MessageId, mut tracer: Tracer) -> Result<Tracer, Box<Begun>> {
        Err(Box::new(match self.dedup.claim(id).await {
            Ok(Claim::New) => {
                tracer.step(Step::Deduplicated, self.clock.now());
                return Ok(tracer);
            }
            Ok(Claim::Duplicate) => Begun::Ended { tracer, verdict: Verdict::Duplicate, detail: None },
            Ok(Claim::UnderWay(first)) => Begun::UnderWay { tracer, first },
            Err(error) => Begun::retry(tracer, error.to_string()),
        }))
    }

    /// Decodes the payload when a codec is meant for it. One part is put back into the uplink; several are returned, too.
    async fn decode(
        &self,
        arrival: &Arrival<'_>,
        uplink: &mut Uplink,
        device: Option<&DeviceRecord>,
        tracer: &mut Tracer,
    ) -> Option<Vec<Part>> {
        let payload = Payload {
            integration: &arrival.integration.name,
            device: device?,
            kind: uplink.kind,
            content: &uplink.content,
            time: uplink.time,
            received_at: arrival.received_at,
            replayed: arrival.replayed,
        };
        let outcome = match self.codecs.decode(payload) {
            Decoding::None => return None,
            Decoding::Done(outcome) => outcome,
            Decoding::Later(outcome) => outcome.await,
        };
        tracer.step(Step::Normalised, self.clock.now());
        arrival.integration.counters.undecoded.add(u64::from(!outcome.errors.is_empty()));
        let mut parts = parts(uplink.kind, uplink.time, std::mem::take(&mut uplink.content), outcome);
        if parts.len() == 1 {
            parts.drain(..).for_each(|part| uplink.put(part));
        }
        Some(parts)
    }

    /// Hands a message to the delivery; reported properties are merged into the state of their device before, and that is
    /// what goes to the hub: the whole of it, with its version. What an operator sends again is no news, and stays as it is.
    async fn hand_over(
        &self,
        arrival: &Arrival<'_>,
        (id, device, uplink): (MessageId, Option<&DeviceId>, &mut Uplink),
        tracer: Tracer,
    ) -> Begun {
        match (&self.twins, device, uplink.kind, arrival.replayed) {
            (Some(twins), Some(owner), Kind::Properties, false) => {
                Box::pin(self.hand_over_state(arrival, twins, (id, owner, uplink), tracer)).await
            }
            _ => self.submit(arrival, (id, device, uplink), false, tracer),
        }
    }

    async fn hand_over_state(
        &self,
        arrival: &Arrival<'_>,
        twins: &TwinKeeper,
        (id, owner, uplink): (MessageId, &DeviceId, &mut Uplink),
        tracer: Tracer,
    ) -> Begun {
        let device = Some(owner);
        let at = uplink.time.unwrap_or(arrival.received_at);
        let error = match twins.report(owner, &uplink.content.measurements, at).await {
            Ok(Reported::Stale) => return self.submit(arrival, (id, device, uplink), true, tracer),
            Ok(Reported::State(twin)) => match twins.turn(owner, *twin).await {
                Ok(Some((twin, _turn))) => {
                    uplink.content.measurements = twin.properties();
                    uplink.content.data.insert(STATE_VERSION.into(), twin.reported_version.into());
                    return self.submit(arrival, (id, device, uplink), false, tracer);
                }
                Ok(None) => {
                    self.dedup.settle(id, true);
                    return Begun::Ended { tracer, verdict: Verdict::Stored, detail: None };
                }
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        self.dedup.settle(id, false);
        match error {
            TwinError::Store(error) => Begun::retry(tracer, error.to_string()),
            TwinError::TooLarge(error) => {
                let (external, detail) = (Some(owner.to_string()), error.to_string());
                Begun::Dead { tracer, external, reason: Reason::StateTooLarge, detail }
            }
        }
    }

    /// Hands a message to the delivery. Takes the content out of the uplink.
    fn submit(
        &self,
        arrival: &Arrival<'_>,
        (id, device, uplink): (MessageId, Option<&DeviceId>, &mut Uplink),
        stale: bool,
        mut tracer: Tracer,
    ) -> Begun {
        let content = std::mem::take(&mut uplink.content);
        let mut message = message(arrival, (id, device, uplink), content);
        message.superseded = stale
            || uplink.state.as_ref().is_some_and(|mark| self.states.is_superseded(message.lane(), mark));
        let message = Arc::new(message);
        let outcome = self.delivery.submit(message.clone());
        tracer.step(Step::Queued, self.clock.now());
        Begun::Submitted { tracer, message, outcome }
    }

    /// Waits for the verdict.
    async fn finish(&self, arrival: &Arrival<'_>, begun: Begun) -> Verdict {
        let (tracer, verdict, detail) = match begun {
            Begun::Ended { tracer, verdict, detail } => (tracer, verdict, detail),
            Begun::Dead { tracer, external, reason, detail } => {
                let verdict = Box::pin(self.bury(arrival, external, reason, detail.clone())).await;
                (tracer, verdict, Some(detail))
            }
            Begun::Archived { begun, uplink } => {
                let verdict = Box::pin(self.finish(arrival, *begun)).await;
                if let (Some(archive), Verdict::Delivered | Verdict::Stored) = (&self.archive, &verdict) {
                    archive.note(uplink);
                }
                return verdict;
            }
            Begun::Parts { whole, parts } => return Box::pin(self.finish_parts(arrival, whole, parts)).await,
            Begun::UnderWay { tracer, first } => match first.await {
                Ok(true) => (tracer, Verdict::Duplicate, None),
                Ok(false) | Err(_) => {
                    (tracer, Verdict::Retry(RETRY_AFTER), Some("the first copy was not accepted".into()))
                }
            },
            Begun::Submitted { mut tracer, message, outcome } => {
                let (verdict, detail) = self.outcome(&mut tracer, &message, outcome).await;
                let accepted = matches!(verdict, Verdict::Delivered | Verdict::Stored);
                self.dedup.settle(message.id, accepted);
                if let (true, Some(twins), Some(device), Some(version)) =
                    (accepted, &self.twins, &message.device, message.state_version())
                {
                    twins.accepted(device, version);
                }
                (tracer, verdict, detail)
            }
        };
        self.close(arrival, tracer, verdict.clone(), detail);
        verdict
    }

    /// Waits for all messages of one uplink. It was accepted when each of them was; its verdict is the worst of theirs.
    async fn finish_parts(&self, arrival: &Arrival<'_>, whole: MessageId, parts: Vec<Begun>) -> Verdict {
        let mut worst = Verdict::Duplicate;
        for part in parts {
            let verdict = Box::pin(self.finish(arrival, part)).await;
            if verdict.severity() > worst.severity() {
                worst = verdict;
            }
        }
        self.dedup.settle(whole, worst.severity() <= Verdict::Stored.severity());
        worst
    }

    async fn outcome(
        &self,
        tracer: &mut Tracer,
        message: &Message,
        outcome: oneshot::Receiver<Outcome>,
    ) -> (Verdict, Option<String>) {
        // A sender dropped without an answer means that the delivery is gone: nothing was promised.
        match outcome.await.unwrap_or(Outcome::Unavailable) {
            Outcome::Delivered => {
                tracer.step(Step::Acknowledged, self.clock.now());
                (Verdict::Delivered, None)
            }
            Outcome::Stored => {
                tracer.step(Step::Stored, self.clock.now());
                (Verdict::Stored, None)
            }
            Outcome::Refused(detail) => Box::pin(self.bury_refused(message, detail)).await,
            Outcome::Unavailable => {
                let why = self.delivery.store_error().unwrap_or_else(|| "too much is waiting".into());
                (Verdict::Retry(RETRY_AFTER), Some(why))
            }
        }
    }

    /// Keeps a dead letter with the message that the hub will never take.
    async fn bury_refused(&self, message: &Message, detail: String) -> (Verdict, Option<String>) {
        let letter = refused_by_hub(message, detail.clone(), self.clock.wall());
        match self.dead_letters.bury(&[letter]).await {
            Ok(()) => (Verdict::Rejected(Reason::RefusedByHub), Some(detail)),
            Err(error) => (Verdict::Retry(RETRY_AFTER), Some(error.to_string())),
        }
    }

    /// Keeps a dead letter with its request.
    async fn bury(
        &self,
        arrival: &Arrival<'_>,
        device: Option<String>,
        reason: Reason,
        detail: String,
    ) -> Verdict {
        let letter = NewDeadLetter {
            at: self.clock.wall(),
            integration: arrival.integration.name.clone(),
            device,
            reason,
            detail,
            request: Some((arrival.request)()),
            record: None,
        };
        // While replaying, the letter exists already.
        if arrival.replayed {
            return Verdict::Rejected(reason);
        }
        match self.dead_letters.bury(&[letter]).await {
            Ok(()) => Verdict::Rejected(reason),
            Err(_) => Verdict::Retry(RETRY_AFTER),
        }
    }

    fn close(&self, arrival: &Arrival<'_>, tracer: Tracer, verdict: Verdict, detail: Option<String>) {
        arrival.integration.counters.count(&verdict);
        self.traces.keep(tracer.end(End::Verdict(verdict), detail));
    }
}

fn message(
    arrival: &Arrival<'_>,
    (id, device, uplink): (MessageId, Option<&DeviceId>, &Uplink),
    content: Content,
) -> Message {
    Message {
        id,
        device: device.cloned(),
        source: arrival.integration.source.into(),
        integration: arrival.integration.name.clone(),
        kind: uplink.kind,
        time: uplink.time,
        received_at: arrival.received_at,
        superseded: false,
        replayed: arrival.replayed,
        corrects: None,
        reply: None,
        content,
    }
}

/// What all uplinks of a request have in common.
struct Arrival<'a> {
    integration: &'a Integration,
    received_at: Timestamp,
    request: &'a (dyn Fn() -> RawRequest + Sync),
    replayed: bool,
}

/// An uplink on its way.
enum Begun {
    /// Already decided.
    Ended { tracer: Tracer, verdict: Verdict, detail: Option<String> },
    /// To become a dead letter.
    Dead { tracer: Tracer, external: Option<String>, reason: Reason, detail: String },
    /// To be archived when it is accepted.
    Archived { begun: Box<Begun>, uplink: Archived },
    /// Several messages of one uplink.
    Parts { whole: MessageId, parts: Vec<Begun> },
    /// A copy is under way.
    UnderWay { tracer: Tracer, first: oneshot::Receiver<bool> },
    /// With the delivery.
    Submitted { tracer: Tracer, message: Arc<Message>, outcome: oneshot::Receiver<Outcome> },
}

impl Begun {
    fn archived(self, uplink: Option<Archived>) -> Self {
        match uplink {
            Some(uplink) => Self::Archived { begun: Box::new(self), uplink },
            None => self,
        }
    }

    fn retry(tracer: Tracer, why: String) -> Self {
        Self::Ended { tracer, verdict: Verdict::Retry(RETRY_AFTER), detail: Some(why) }
    }
}
