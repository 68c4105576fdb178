//! Which codec decodes which payload: by device, by device profile, by integration; and codecs on trial beside them. Not
//! here: what a codec does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bridge_core::hash::QuickHash;
use bridge_core::payload::Outcome;
use bridge_core::ports::{Codecs, Decoding, DeviceRecord, Payload};
use bridge_core::{DeviceId, IntegrationName, Kind, Timestamp};
use serde_json::{Map, Value};

use crate::codec::{Codec, Context};
use crate::outcome::Input;
use crate::trials::{Difference, Trial, TrialCount, Trials};

/// The codecs and who uses them. Replaced as a whole.
#[derive(Debug, Default)]
pub struct Table {
    /// By name.
    pub codecs: BTreeMap<String, Arc<Codec>>,
    /// What an integration uses.
    pub assignments: HashMap<IntegrationName, Assignment, QuickHash>,
    /// Codecs on trial, by the name of the one that they run beside.
    pub trials: HashMap<String, Arc<Codec>>,
}

/// The codecs of an integration, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// For every device that has no other; none leaves payloads as they are.
    pub default: Option<String>,
    /// By device profile: the connector's `model` or `deviceProfile`.
    pub profiles: BTreeMap<String, String>,
}

/// Decodes payloads for the pipeline.
#[derive(Debug, Default)]
pub struct CodecSet {
    table: RwLock<Arc<Table>>,
    previous: Mutex<HashMap<DeviceId, Map<String, Value>, QuickHash>>,
    trials: Trials,
}

/// Devices whose last measurements are kept for scripts; beyond it all are forgotten, and scripts start anew.
const MOST_PREVIOUS: usize = 20_000;

impl CodecSet {
    /// A set with these codecs.
    pub fn new(table: Table) -> Self {
        Self { table: RwLock::new(Arc::new(table)), ..Self::default() }
    }

    /// Puts other codecs in their place. Payloads on their way end with the old ones.
    pub fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.trials.restart();
    }

    /// The codecs now.
    pub fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The codec of a device as far as its record tells: its own, else its integration's.
    pub fn of_device(&self, device: &DeviceRecord) -> Option<Arc<Codec>> {
        let table = self.table();
        let of_integration = || table.assignments.get(&device.integration)?.default.as_ref();
        table.codecs.get(device.codec.as_ref().or_else(of_integration)?).cloned()
    }

    /// The last differences, oldest first.
    pub fn differences(&self) -> Vec<Difference> {
        self.trials.differences()
    }

    /// How the trials go, by the name of the codec on trial.
    pub fn trial_counts(&self) -> BTreeMap<String, TrialCount> {
        self.trials.counts()
    }

    /// # Errors
    /// What was asked again, when it takes another thread.
    fn decode_here(
        &self,
        codec: &Codec,
        input: &Input<'_>,
        device: &DeviceId,
        asked: Asked,
    ) -> Result<Outcome, Box<Asked>> {
        let Asked { mut context, previous } = asked;
        if previous {
            context.previous = lock(&self.previous).get(device).cloned();
        }
        let outcome = codec
            .decode_here(input, context)
            .map_err(|context| Box::new(Asked { context: *context, previous }))?;
        if previous {
            self.remember(device, &outcome);
        }
        Ok(outcome)
    }

    async fn decode_elsewhere(&self, live: Arc<Codec>, trial: Option<Arc<Codec>>, payload: Owned) -> Outcome {
        let Owned { device, asked: Asked { mut context, previous }, bytes, port, received_at } = payload;
        if previous {
            context.previous = lock(&self.previous).get(&device).cloned();
        }
        let input = Input { bytes: &bytes, port, received_at };
        let kept = trial.map(|trial| (trial, context.clone()));
        let outcome = live.decode(&input, context).await;
        if previous {
            self.remember(&device, &outcome);
        }
        if let Some((trial, context)) = kept {
            let outcome = outcome.clone();
            self.trials.put(Trial { live, trial, device, bytes, port, received_at, context, outcome });
        }
        outcome
    }

    fn remember(&self, device: &DeviceId, outcome: &Outcome) {
        let Some(sample) = outcome.samples.first() else { return };
        let fields = sample.measurements.iter();
        let fields =
            fields.map(|measurement| (measurement.name.clone(), measurement.value.clone())).collect();
        let mut previous = lock(&self.previous);
        if previous.len() >= MOST_PREVIOUS && !previous.contains_key(device) {
            previous.clear();
        }
        previous.insert(device.clone(), fields);
    }
}

impl Codecs for CodecSet {
    fn decode<'a>(&'a self, payload: Payload<'a>) -> Decoding<'a> {
        let Some(raw) = payload.content.raw.as_ref().filter(|raw| !raw.encrypted && !raw.data.is_empty())
        else {
            return Decoding::None;
        };
        if payload.kind != Kind::Telemetry {
            return Decoding::None;
        }
        let table = self.table();
        let Some(name) = table.choose(&payload) else { return Decoding::None };
        let Some(codec) = table.codecs.get(name) else {
            return Decoding::Done(Outcome::error(format!(
                "there is no codec {name:?} in the configuration"
            )));
        };
        let trial = table.trials.get(name).filter(|_| !payload.replayed);
        let input = Input {
            bytes: &raw.data,
            port: raw.port,
            received_at: payload.time.unwrap_or(payload.received_at),
        };
        let mut asked = Asked::of(&payload, [Some(&**codec), trial.map(|trial| &**trial)]);
        if trial.is_none() {
            match self.decode_here(codec, &input, &payload.device.id, asked) {
                Ok(outcome) => return Decoding::Done(outcome),
                Err(again) => asked = *again,
            }
        }
        let owned = Owned {
            device: payload.device.id.clone(),
            asked,
            bytes: input.bytes.to_vec(),
            port: input.port,
            received_at: input.received_at,
        };
        Decoding::Later(Box::pin(self.decode_elsewhere(codec.clone(), trial.cloned(), owned)))
    }
}

impl Table {
    /// The device's own codec, else its profile's, else the integration's.
    fn choose<'t>(&'t self, payload: &Payload<'t>) -> Option<&'t str> {
        if let Some(name) = &payload.device.codec {
            return Some(name);
        }
        let assignment = self.assignments.get(payload.integration)?;
        if assignment.profiles.is_empty() {
            return assignment.default.as_deref();
        }
        let data = &payload.content.data;
        let profiles = ["model", "deviceProfile"].iter().filter_map(|key| data.get(*key)?.as_str());
        let of_profile = profiles.filter_map(|profile| assignment.profiles.get(profile)).next();
        of_profile.or(assignment.default.as_ref()).map(String::as_str)
    }
}

/// A payload that waits for another thread.
struct Owned {
    device: DeviceId,
    asked: Asked,
    bytes: Vec<u8>,
    port: Option<u8>,
    received_at: Timestamp,
}

/// What somebody looks at beside the payload.
struct Asked {
    context: Context,
    /// Also at the measurements before. What came after a payload of the past is not before it.
    previous: bool,
}

impl Asked {
    /// As much as these look at.
    fn of(payload: &Payload<'_>, codecs: [Option<&Codec>; 2]) -> Self {
        let asked = codecs.into_iter().flatten();
        let previous = !payload.replayed && asked.clone().any(Codec::wants_previous);
        let mut context = Context::default();
        if asked.clone().any(Codec::wants_device) {
            context.device = Some(payload.device.id.to_string());
            let tags = payload.device.tags.iter().map(|tag| {
                let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
                (key.to_owned(), value.to_owned())
            });
            context.tags = tags.collect();
        }
        let radio = payload.content.radio.as_ref().filter(|_| asked.clone().any(Codec::wants_radio));
        // invariant: text keys and finite numbers only, so this cannot fail.
        context.radio = radio.and_then(|radio| serde_json::to_value(radio).ok());
        Self { context, previous }
    }
}

/// Locks, also after a panic elsewhere: what these locks guard is whole between any two statements that may panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Format, Spec};
    use crate::js::{HostConfig, JsHost};
    use bridge_core::ports::{DeviceRecord, DeviceState};
    use bridge_core::testing::block_on;
    use bridge_core::{Content, ExternalId, Measurement, Raw};

    fn codec(name: &str, format: Format) -> (String, Arc<Codec>) {
        let spec = Spec::plain(name, format);
        let host = || JsHost::new(HostConfig::default()).map(Arc::new);
        (name.to_owned(), Arc::new(Codec::new(spec, host).unwrap()))
    }

    fn script(name: &str, body: &str) -> (String, Arc<Codec>) {
        codec(name, Format::JavaScript { source: format!("function decodeUplink(input) {{ {body} }}") })
    }

    fn farm() -> IntegrationName {
        IntegrationName::parse("farm").unwrap()
    }

    fn device(codec: Option<&str>) -> DeviceRecord {
        DeviceRecord {
            id: DeviceId::parse("d1").unwrap(),
            integration: farm(),
            external: ExternalId::parse("d1").unwrap(),
            scope: None,
            name: None,
            hub_id: None,
            codec: codec.map(Into::into),
            tags: vec!["site=north".into()],
            state: DeviceState::Active,
            first_seen: Timestamp::EPOCH,
            last_seen: None,
        }
    }

    fn decode(set: &CodecSet, device: &DeviceRecord, bytes: &[u8], model: &str) -> Option<Outcome> {
        let mut content = Content {
            raw: Some(Raw { data: bytes.to_vec(), port: Some(1), encrypted: false }),
            ..Content::default()
        };
        content.data.insert("model".into(), model.into());
        let payload = Payload {
            integration: &farm(),
            device,
            kind: Kind::Telemetry,
            content: &content,
            time: None,
            received_at: Timestamp::EPOCH,
            replayed: false,
        };
        match set.decode(payload) {
            Decoding::None => None,
            Decoding::Done(outcome) => Some(outcome),
            Decoding::Later(outcome) => Some(block_on(outcome)),
        }
    }

    fn table() -> Table {
        let profiles = [("acme/probe".to_owned(), "probe".to_owned())].into();
        Table {
            codecs: BTreeMap::from([
                codec("lpp", Format::Cayenne),
                script("probe", "return { data: { byte: input.bytes[0], site: input.device.tags.site } }"),
                script("counter", "return { data: { n: ((input.previous || {}).n || 0) + 1 } }"),
            ]),
            assignments: [(farm(), Assignment { default: Some("lpp".into()), profiles })]
                .into_iter()
                .collect(),
            trials: HashMap::new(),
        }
    }

    #[test]
    fn the_device_comes_before_its_profile_and_that_before_the_integration() {
        let set = CodecSet::new(table());
        let names = |device: &DeviceRecord, model: &str| -> Vec<String> {
            let outcome = decode(&set, device, &[1, 103, 0, 215], model).unwrap();
            outcome.samples[0].measurements.iter().map(|m| m.name.clone()).collect()
        };
        assert_eq!(names(&device(None), "other"), ["temperature_1"]);
        assert_eq!(names(&device(None), "acme/probe"), ["byte", "site"]);
        assert_eq!(names(&device(Some("lpp")), "acme/probe"), ["temperature_1"]);
        let missing = decode(&set, &device(Some("gone")), &[1], "").unwrap();
        assert!(missing.samples.is_empty() && missing.errors[0].contains("gone"));
        assert!(decode(&set, &device(None), &[], "").is_none());
        assert!(decode(&CodecSet::default(), &device(None), &[1], "").is_none());
    }

    #[test]
    fn a_script_sees_what_it_made_before() {
        let set = CodecSet::new(table());
        let counter = device(Some("counter"));
        let n = |set: &CodecSet| {
            decode(set, &counter, &[1], "").unwrap().samples[0].measurements[0].value.clone()
        };
        // On a thread of the host first, and here once it has earned that.
        (1..200).for_each(|calls| assert_eq!(n(&set), calls));
    }

    #[test]
    fn a_codec_on_trial_leaves_only_its_differences() {
        let mut with_trial = table();
        let (_, trial) =
            script("lpp2", "return { data: { temperature_1: input.bytes[3] > 200 ? 21.5 : 0 } }");
        with_trial.trials.insert("lpp".into(), trial);
        let mut set = CodecSet::new(with_trial);
        let live = decode(&set, &device(None), &[1, 103, 0, 100], "").unwrap();
        assert_eq!(live.samples[0].measurements, [Measurement::new("temperature_1", 10.0).with_unit("Cel")]);
        set.trials.finish();
        let differences = set.differences();
        assert_eq!(differences.len(), 1);
        assert_eq!(
            (differences[0].trial.as_str(), &differences[0].bytes[..]),
            ("lpp2", &[1, 103, 0, 100][..])
        );
        let count = TrialCount { payloads: 1, different: 1, skipped: 0 };
        assert_eq!(set.trial_counts(), BTreeMap::from([("lpp2".to_owned(), count)]));
    }
}
