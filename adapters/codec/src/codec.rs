//! One configured codec: a decoder, and what is done with what it finds. Not here: which device has it ([`crate::set`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use bridge_core::measurement::from_normalized_payload;
use bridge_core::{Measurement, Timestamp};
use serde_json::{Map, Value};

use crate::grammar::{Grammar, Template};
use crate::js::{Answer, CallInput, Decoded, Function, JsHost, Script, ScriptError};
use crate::mapping::Mapping;
use crate::normalise::normalise;
use crate::{Input, Outcome, Sample, cayenne, cbor, json, raw, senml, text};

/// What a codec is made of, as its author describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// For people and for references.
    pub name: String,
    /// How bytes become values.
    pub format: Format,
    /// What becomes of the values.
    pub mapping: Option<Mapping>,
    /// Handed to scripts.
    pub variables: BTreeMap<String, String>,
    /// How commands become bytes without a script.
    pub downlinks: Downlinks,
}

/// Templates by the names of commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Downlinks(pub BTreeMap<String, Downlink>);

impl Downlinks {
    /// Stands for every command that has no template of its own.
    pub const OTHERS: &str = "*";

    /// The template for a command.
    pub fn of(&self, command: &str) -> Option<&Downlink> {
        self.0.get(command).or_else(|| self.0.get(Self::OTHERS))
    }
}

/// How a command becomes bytes without a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink {
    /// Constants and arguments.
    pub template: Template,
    /// LoRaWAN port.
    pub port: Option<u8>,
}

impl Spec {
    /// A codec of this format, and nothing more.
    pub fn plain(name: impl Into<String>, format: Format) -> Self {
        let (variables, downlinks) = (BTreeMap::new(), Downlinks::default());
        Self { name: name.into(), format, mapping: None, variables, downlinks }
    }
}

/// How bytes become values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A script for The Things Stack or ChirpStack.
    JavaScript {
        /// Its text.
        source: String,
    },
    /// Cayenne LPP.
    Cayenne,
    /// The custom payload grammar of Sigfox.
    Sigfox {
        /// `temp::int:16 …`
        grammar: String,
    },
    /// SenML, in JSON or CBOR.
    Senml,
    /// CBOR.
    Cbor,
    /// JSON; with names and pointers, or the members of its object.
    Json {
        /// Name and JSON pointer; empty for all members.
        fields: Vec<(String, String)>,
    },
    /// Text.
    Text,
    /// Nothing: the bytes go on as they are.
    Raw,
    /// What the payload looks like: SenML, JSON, CBOR or text, else raw.
    Auto,
}

/// Why a codec cannot be made. Its author's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The script does not compile or has no function that decodes.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The script has none of the functions that decode.
    #[error("codec {0:?}: the script has no decodeUplink, Decode or Decoder function")]
    NoDecoder(String),
    /// The grammar cannot be read.
    #[error(transparent)]
    Grammar(#[from] crate::grammar::GrammarError),
    /// The pointers cannot be used.
    #[error(transparent)]
    Fields(#[from] json::MappingError),
    /// No threads for scripts.
    #[error("no thread for scripts: {0}")]
    Threads(String),
}

/// What a codec may know of a payload beside the payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// The device's id in the hub.
    pub device: Option<String>,
    /// The device's tags: `key=value`, or a word.
    pub tags: BTreeMap<String, String>,
    /// How it was heard.
    pub radio: Option<Value>,
    /// The measurements before.
    pub previous: Option<Map<String, Value>>,
}

/// A codec that can decode.
#[derive(Debug)]
pub struct Codec {
    name: String,
    pub(crate) decoder: Decoder,
    mapping: Option<Mapping>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) downlinks: Downlinks,
    warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Decoder {
    Script(Arc<JsHost>, Script),
    Cayenne,
    Grammar(Grammar),
    Senml,
    Cbor,
    Json(Option<json::Mapping>),
    Text,
    Raw,
    Auto,
}

/// Every step of one decode, for people who try a codec.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// What the decoder found.
    pub decoded: Outcome,
    /// After the mapping, where there is one.
    pub mapped: Option<Outcome>,
    /// What goes on.
    pub normalised: Outcome,
}

impl Codec {
    /// Makes a codec. `host` is asked for only when there is a script to run.
    ///
    /// # Errors
    /// When the description is not one of a codec.
    pub fn new(spec: Spec, host: impl FnOnce() -> std::io::Result<Arc<JsHost>>) -> Result<Self, CodecError> {
        let mut warnings = Vec::new();
        let decoder = match spec.format {
            Format::JavaScript { source } => {
                let host = host().map_err(|error| CodecError::Threads(error.to_string()))?;
                let script = host.compile(&spec.name, &source)?;
                if !script.has(Function::DecodeUplink) {
                    return Err(CodecError::NoDecoder(spec.name));
                }
                Decoder::Script(host, script)
            }
            Format::Sigfox { grammar } => {
                let grammar = Grammar::parse(&grammar)?;
                warnings.extend_from_slice(grammar.warnings());
                Decoder::Grammar(grammar)
            }
            Format::Json { fields } if !fields.is_empty() => Decoder::Json(Some(json::Mapping::new(fields)?)),
            Format::Json { .. } => Decoder::Json(None),
            Format::Cayenne => Decoder::Cayenne,
            Format::Senml => Decoder::Senml,
            Format::Cbor => Decoder::Cbor,
            Format::Text => Decoder::Text,
            Format::Raw => Decoder::Raw,
            Format::Auto => Decoder::Auto,
        };
        let Spec { name, mapping, variables, downlinks, .. } = spec;
        Ok(Self { name, decoder, mapping, variables, downlinks, warnings })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is doubtful about its description, for people.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether decoding may need another thread: then [`decode_now`](Self::decode_now) has no answer.
    pub fn is_script(&self) -> bool {
        matches!(self.decoder, Decoder::Script(..))
    }

    /// What of a context [`decode`](Self::decode) looks at: the device and its tags.
    pub fn wants_device(&self) -> bool {
        matches!(&self.decoder, Decoder::Script(_, script) if script.wants_device())
    }

    /// The same: how it was heard.
    pub fn wants_radio(&self) -> bool {
        matches!(&self.decoder, Decoder::Script(_, script) if script.wants_radio())
    }

    /// The same: the measurements before.
    pub fn wants_previous(&self) -> bool {
        matches!(&self.decoder, Decoder::Script(_, script) if script.wants_previous())
    }

    /// Decodes at once; none for scripts.
    pub fn decode_now(&self, input: &Input<'_>) -> Option<Outcome> {
        Some(self.finish(self.decode_natively(input)?, input.received_at))
    }

    /// Decodes at once, also by a script that may run on its caller's thread; see [`crate::js`].
    ///
    /// # Errors
    /// The context again when it takes another thread: then [`decode`](Self::decode) has the answer.
    pub fn decode_here(&self, input: &Input<'_>, context: Context) -> Result<Outcome, Box<Context>> {
        let Decoder::Script(host, script) = &self.decoder else {
            return self.decode_now(input).ok_or_else(|| Box::new(context));
        };
        let mut call = self.call(input, context);
        match run_script_here(host, script, &mut call) {
            Some(decoded) => Ok(self.finish(decoded, input.received_at)),
            None => {
                let CallInput { device, tags, radio, previous, .. } = call;
                Err(Box::new(Context { device, tags, radio, previous }))
            }
        }
    }

    /// Decodes.
    pub async fn decode(&self, input: &Input<'_>, context: Context) -> Outcome {
        let decoded = self.run(input, context).await;
        self.finish(decoded, input.received_at)
    }

    /// Decodes, and shows every step.
    pub async fn explain(&self, input: &Input<'_>, context: Context) -> Explained {
        let decoded = self.run(input, context).await;
        let mapped = self.mapping.as_ref().map(|mapping| mapping.apply(decoded.clone(), input.received_at));
        let normalised = normalise(mapped.clone().unwrap_or_else(|| decoded.clone()));
        Explained { decoded, mapped, normalised }
    }

    async fn run(&self, input: &Input<'_>, context: Context) -> Outcome {
        match &self.decoder {
            Decoder::Script(host, script) => run_script(host, script, self.call(input, context)).await,
            // invariant: every decoder but a script answers at once.
            _ => self.decode_natively(input).unwrap_or_default(),
        }
    }

    fn decode_natively(&self, input: &Input<'_>) -> Option<Outcome> {
        Some(match &self.decoder {
            Decoder::Script(..) => return None,
            Decoder::Cayenne => cayenne::decode(input),
            Decoder::Grammar(grammar) => grammar.decode(input),
            Decoder::Senml => decode_senml(input),
            Decoder::Cbor => cbor::decode(input),
            Decoder::Json(fields) => json::decode(input, fields.as_ref()),
            Decoder::Text => text::decode(input),
            Decoder::Raw => raw::decode(input),
            Decoder::Auto => decode_by_look(input),
        })
    }

    fn call(&self, input: &Input<'_>, context: Context) -> CallInput {
        let Context { device, tags, radio, previous } = context;
        CallInput {
            device,
            tags,
            radio,
            previous,
            variables: self.variables.clone(),
            ..CallInput::new(input.bytes.to_vec(), input.port, input.received_at)
        }
    }

    fn finish(&self, decoded: Outcome, received_at: Timestamp) -> Outcome {
        normalise(match &self.mapping {
            Some(mapping) => mapping.apply(decoded, received_at),
            None => decoded,
        })
    }
}

/// SenML in JSON begins with `[` (after blanks), in CBOR with an array's byte.
fn decode_senml(input: &Input<'_>) -> Outcome {
    let is_json = input.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let decode = if is_json { senml::decode_json } else { senml::decode_cbor };
    decode(input, senml::Options::default())
}

/// The first form that reads without an error wins; text only when all of it is printable.
fn decode_by_look(input: &Input<'_>) -> Outcome {
    let is_text = std::str::from_utf8(input.bytes).is_ok_and(|text| !text.chars().any(is_control));
    let found = |outcome: &Outcome| outcome.errors.is_empty() && !outcome.samples.is_empty();
    if is_text {
        let first = input.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        return match first {
            Some(b'[') => {
                Some(decode_senml(input)).filter(found).unwrap_or_else(|| json::decode(input, None))
            }
            Some(b'{') => json::decode(input, None),
            _ => text::decode(input),
        };
    }
    [decode_senml, cbor::decode]
        .iter()
        .map(|decode| decode(input))
        .find(found)
        .unwrap_or_else(|| raw::decode(input))
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r')
}

/// `decodeUplink`, and where the script has it `normalizeUplink` on what came out.
async fn run_script(host: &JsHost, script: &Script, call: CallInput) -> Outcome {
    let normalises = script.has(Function::NormalizeUplink);
    let next = normalises.then(|| CallInput { bytes: Vec::new(), ..call.clone() });
    let decoded = match host.call(script, Function::DecodeUplink, call).await {
        Ok(answer) => answer.into_decoded().unwrap_or_default(),
        Err(error) => return Outcome::error(error.to_string()),
    };
    let mut normalised = None;
    if let Some(call) = next.filter(|_| decoded.errors.is_empty()) {
        let call = CallInput { data: Some(Value::Object(decoded.data.clone())), ..call };
        normalised = Some(host.call(script, Function::NormalizeUplink, call).await);
    }
    outcome(decoded, normalised)
}

/// The same now and here; none when one of the two has to run elsewhere. What it tells of the device is left as it is.
fn run_script_here(host: &JsHost, script: &Script, call: &mut CallInput) -> Option<Outcome> {
    let decoded = match host.call_here(script, Function::DecodeUplink, call)? {
        Ok(answer) => answer.into_decoded().unwrap_or_default(),
        Err(error) => return Some(Outcome::error(error.to_string())),
    };
    let mut normalised = None;
    if decoded.errors.is_empty() && script.has(Function::NormalizeUplink) {
        call.bytes.clear();
        call.data = Some(Value::Object(decoded.data.clone()));
        normalised = Some(host.call_here(script, Function::NormalizeUplink, call)?);
    }
    Some(outcome(decoded, normalised))
}

/// The first normalised measurement is laid over the fields, further ones stand alone.
fn outcome(decoded: Decoded, normalised: Option<Result<Answer, ScriptError>>) -> Outcome {
    let Decoded { data, mut warnings, errors } = decoded;
    if !errors.is_empty() {
        return Outcome { samples: Vec::new(), warnings, errors };
    }
    let normalised = match normalised {
        None => Vec::new(),
        Some(Ok(answer)) => {
            let answer = answer.into_normalized().unwrap_or_default();
            warnings.extend(answer.warnings);
            // The fields themselves are good.
            warnings.extend(answer.errors);
            answer.data
        }
        Some(Err(error)) => {
            warnings.push(error.to_string());
            Vec::new()
        }
    };
    let fields = data.into_iter().filter(|(_, value)| !value.is_null());
    let mut first = Sample {
        measurements: fields.map(|(name, value)| Measurement::new(name, value)).collect(),
        ..Sample::default()
    };
    let mut samples = Vec::with_capacity(normalised.len().max(1));
    for (index, payload) in normalised.iter().enumerate() {
        let read = from_normalized_payload(payload);
        warnings.extend(read.warnings);
        let mut sample = if index == 0 { std::mem::take(&mut first) } else { Sample::default() };
        for measurement in read.measurements {
            match sample.measurements.iter_mut().find(|known| known.name == measurement.name) {
                Some(known) => *known = measurement,
                None => sample.measurements.push(measurement),
            }
        }
        (sample.time, sample.location) = (read.time, read.location);
        samples.push(sample);
    }
    if samples.is_empty() {
        samples.push(first);
    }
    Outcome { samples, warnings, errors: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::js::HostConfig;

    fn block_on<F: Future>(future: F) -> F::Output {
        bridge_core::testing::block_on(future)
    }

    fn codec(format: Format) -> Codec {
        let spec = Spec::plain("c", format);
        Codec::new(spec, || JsHost::new(HostConfig::default()).map(Arc::new)).unwrap()
    }

    fn input(bytes: &[u8]) -> Input<'_> {
        Input { bytes, port: Some(2), received_at: Timestamp::from_seconds(1_700_000_000).unwrap() }
    }

    #[test]
    fn a_script_decodes_and_normalises() {
        let codec = codec(Format::JavaScript {
            source: "function decodeUplink(i) { return { data: { t: i.bytes[0], port: i.fPort } } }
                     function normalizeUplink(i) { return { data: [{ air: { temperature: i.data.t } },
                       { time: '2024-01-01T00:00:00Z', air: { temperature: -500 }, battery: 3 }] } }"
                .into(),
        });
        assert!(codec.decode_now(&input(&[21])).is_none());
        let outcome = block_on(codec.decode(&input(&[21]), Context::default()));
        assert_eq!(outcome.errors, Vec::<String>::new());
        assert_eq!(outcome.samples.len(), 2);
        let names: Vec<_> = outcome.samples[0].measurements.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["t", "port", "temperature"]);
        assert_eq!(outcome.samples[1].measurements, [Measurement::new("battery", 3).with_unit("V")]);
        assert_eq!(outcome.samples[1].time, Timestamp::parse_rfc3339("2024-01-01T00:00:00Z"));
        assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
    }

    #[test]
    fn a_script_that_earned_it_answers_at_once_as_it_does_elsewhere() {
        let codec = codec(Format::JavaScript {
            source: "function decodeUplink(i) { if (i.bytes.length > 1) return { errors: ['long'] };
                       return { data: { t: i.bytes[0], id: i.device.id } } }
                     function normalizeUplink(i) { return { data: { air: { temperature: i.data.t } } } }"
                .into(),
        });
        let context = Context { device: Some("d1".into()), ..Context::default() };
        assert_eq!(codec.decode_here(&input(&[21]), context.clone()), Err(Box::new(context.clone())));
        for bytes in [&[21][..], &[1, 2]] {
            let elsewhere = block_on(codec.decode(&input(bytes), context.clone()));
            let here = (0..10_000).find_map(|_| {
                drop(block_on(codec.decode(&input(bytes), context.clone())));
                codec.decode_here(&input(bytes), context.clone()).ok()
            });
            assert_eq!(here, Some(elsewhere));
        }
    }

    #[test]
    fn a_script_that_throws_says_where() {
        let codec = codec(Format::JavaScript {
            source: "function decodeUplink(i) {\n  return i.nothing.there;\n}".into(),
        });
        let outcome = block_on(codec.decode(&input(&[1]), Context::default()));
        assert!(outcome.samples.is_empty());
        assert!(outcome.errors[0].contains("line 2"), "{:?}", outcome.errors);
    }

    #[test]
    fn the_look_of_a_payload_chooses() {
        let codec = codec(Format::Auto);
        let names = |bytes: &[u8]| -> Vec<String> {
            let outcome = codec.decode_now(&input(bytes)).unwrap();
            outcome.samples.into_iter().flat_map(|sample| sample.measurements).map(|m| m.name).collect()
        };
        assert_eq!(names(br#"[{"n":"temperature","u":"Cel","v":21}]"#), ["temperature"]);
        assert_eq!(names(br#"{"a":1,"b":2}"#), ["a", "b"]);
        assert_eq!(names(b"[1,2]"), ["value"]);
        assert_eq!(names(b"21.5"), ["value"]);
        assert_eq!(names(&[0xA1, 0x61, b'x', 0x01]), ["x"]);
        assert_eq!(names(&[0xFF, 0x00, 0x13]), [""; 0]);
    }

    #[test]
    fn what_is_no_codec_is_refused() {
        let new = |format| {
            let spec = Spec::plain("c", format);
            Codec::new(spec, || JsHost::new(HostConfig::default()).map(Arc::new)).map(|codec| codec.name)
        };
        assert!(matches!(
            new(Format::JavaScript { source: "function (".into() }),
            Err(CodecError::Script(_))
        ));
        assert!(matches!(new(Format::Sigfox { grammar: "a::uint:7".into() }), Err(CodecError::Grammar(_))));
        let fields = vec![("a".into(), "no pointer".into())];
        assert!(matches!(new(Format::Json { fields }), Err(CodecError::Fields(_))));
    }
}
