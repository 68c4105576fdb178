//! `[codecs.NAME]`: payload codecs. Each is made once while it is read, so that a script that does not compile is a mistake
//! of the configuration and never replaces one that works. Not here: who uses them (`integrations`, devices), decoding.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bridge_core::command::CommandName;
use codec::grammar::Template;
use codec::js::{HostConfig, JsHost};
use codec::mapping::{Mapping, Rule, Split, Target, TimeFormat};
use codec::{Codec, Downlink, Downlinks, Format, Spec};
use serde_json::Value;

use super::reader::{Field, Section};
use super::secret::Surroundings;
use super::sheet::{Sheet, quoted, words};

/// The largest script, bytes. The Things Stack takes 40 KiB.
const MAX_SCRIPT: usize = 256 * 1024;

/// Of applications (LoRaWAN 1.0.4 section 4.3.2).
const LORAWAN_PORTS: RangeInclusive<u64> = 1..=223;

/// `[codecs.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CodecConfig {
    /// What it is made of; its name too.
    pub spec: Spec,
    /// The codec beside which it runs on trial.
    pub trial_of: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    JavaScript,
    Cayenne,
    Sigfox,
    Senml,
    Cbor,
    Json,
    Text,
    Raw,
    Auto,
}

const FORMATS: &[(&str, Kind)] = &[
    ("javascript", Kind::JavaScript),
    ("cayenne", Kind::Cayenne),
    ("sigfox", Kind::Sigfox),
    ("senml", Kind::Senml),
    ("cbor", Kind::Cbor),
    ("json", Kind::Json),
    ("text", Kind::Text),
    ("raw", Kind::Raw),
    ("auto", Kind::Auto),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    Telemetry,
    Property,
    Time,
    Drop,
}

const AS: &[(&str, As)] =
    &[("telemetry", As::Telemetry), ("property", As::Property), ("time", As::Time), ("drop", As::Drop)];

const TIMES: &[(&str, TimeFormat)] = &[
    ("rfc3339", TimeFormat::Rfc3339),
    ("seconds", TimeFormat::Seconds),
    ("milliseconds", TimeFormat::Milliseconds),
    ("seconds-ago", TimeFormat::SecondsAgo),
];

const OTHERS: &[(&str, bool)] = &[("keep", true), ("drop", false)];

/// Codecs that need no description: `codec = "cayenne"` is enough.
pub(super) const BUILT_IN: &[&str] = &["cayenne", "senml", "cbor", "json", "text", "auto"];

/// Reads all codecs, in order of their names.
pub(super) fn read_all(section: &Section<'_>, surroundings: &Surroundings<'_>) -> Vec<CodecConfig> {
    let host = Host::default();
    let entries = section.entries();
    let mut codecs: Vec<CodecConfig> = entries
        .iter()
        .filter_map(|(name, field)| {
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                field.mistake("the name must be 1 to 128 bytes without control characters");
            }
            read(&field.section()?, name, field, surroundings, &host)
        })
        .collect();
    codecs.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
    for (name, field) in &entries {
        let trial_of =
            codecs.iter().find(|codec| codec.spec.name == *name).and_then(|codec| codec.trial_of.as_deref());
        let Some(live) = trial_of else { continue };
        if live == *name || !is_known(live, &codecs) {
            field.mistake(format!("trial_of {live:?} names no other codec"));
        } else if codecs.iter().any(|codec| codec.spec.name == live && codec.trial_of.is_some()) {
            field.mistake(format!("trial_of {live:?} names a codec that is on trial itself"));
        }
    }
    codecs
}

/// Whether a codec has this name.
pub(super) fn is_known(name: &str, codecs: &[CodecConfig]) -> bool {
    BUILT_IN.contains(&name) || codecs.iter().any(|codec| codec.spec.name == name)
}

/// Threads for scripts, once there is one to check.
#[derive(Default)]
struct Host(OnceCell<Arc<JsHost>>);

impl Host {
    fn get(&self) -> io::Result<Arc<JsHost>> {
        if let Some(host) = self.0.get() {
            return Ok(host.clone());
        }
        let host = Arc::new(JsHost::new(HostConfig { workers: 1, ..HostConfig::default() })?);
        Ok(self.0.get_or_init(|| host).clone())
    }
}

fn read(
    section: &Section<'_>,
    name: &str,
    at: &Field<'_>,
    surroundings: &Surroundings<'_>,
    host: &Host,
) -> Option<CodecConfig> {
    let help = format!("one of {}", words(FORMATS));
    let kind = section.required("format", &help, |field| field.one_of(FORMATS));
    let only = |key: &'static str, wanted: Kind, why: &str| {
        if kind.is_some_and(|kind| kind != wanted) {
            section.refuse(key, why);
        }
    };
    only("file", Kind::JavaScript, "belongs to format = \"javascript\"");
    only("grammar", Kind::Sigfox, "belongs to format = \"sigfox\"");
    only("fields", Kind::Json, "belongs to format = \"json\"");
    let format = match kind {
        Some(Kind::JavaScript) => {
            let source = section.required("file", "the path of the script", |field| {
                surroundings.text_file(field, MAX_SCRIPT)
            });
            source.map(|source| Format::JavaScript { source })
        }
        Some(Kind::Sigfox) => {
            let help = "such as \"temperature::int:16 battery::uint:8\"";
            let grammar = section.required("grammar", help, |field| field.text().map(str::to_owned));
            grammar.map(|grammar| Format::Sigfox { grammar })
        }
        Some(Kind::Json) => Some(Format::Json {
            fields: section
                .or("fields", Vec::new(), |field| Some(texts(&field.section()?).into_iter().collect())),
        }),
        Some(Kind::Cayenne) => Some(Format::Cayenne),
        Some(Kind::Senml) => Some(Format::Senml),
        Some(Kind::Cbor) => Some(Format::Cbor),
        Some(Kind::Text) => Some(Format::Text),
        Some(Kind::Raw) => Some(Format::Raw),
        Some(Kind::Auto) => Some(Format::Auto),
        None => None,
    };
    let variables = section.or("variables", BTreeMap::new(), |field| Some(texts(&field.section()?)));
    let trial_of = section.optional("trial_of", |field| field.text().map(str::to_owned));
    let downlinks = section.or("downlinks", Downlinks::default(), read_downlinks);
    let mapping = read_mapping(section);
    section.finish_by_reference();
    let spec = Spec { name: name.to_owned(), format: format?, mapping: mapping?, variables, downlinks };
    if let Err(error) = Codec::new(spec.clone(), || host.get()) {
        at.mistake(error.to_string());
        return None;
    }
    Some(CodecConfig { spec, trial_of })
}

/// Templates by the names of commands; nothing when one is (reported) wrong.
fn read_downlinks(field: &Field<'_>) -> Option<Downlinks> {
    let section = field.section()?;
    let entries = section.entries();
    let read = entries.iter().map(|(name, field)| {
        if CommandName::parse(name).is_err() {
            field.mistake("no command can have this name; \"*\" stands for all others");
        }
        let section = field.section()?;
        let help = "such as \"01 seconds::uint:16\"";
        let template = section.required("template", help, |field| field.parse(Template::parse));
        let port = section.optional("port", |field| field.number(&LORAWAN_PORTS));
        section.finish();
        Some(((*name).to_owned(), Downlink { template: template?, port }))
    });
    read.collect::<Option<_>>().map(Downlinks)
}

/// The mapping, none when there is none to apply; nothing when it is (reported) wrong.
fn read_mapping(section: &Section<'_>) -> Option<Option<Mapping>> {
    let keep_others = section.or("others", true, |field| field.one_of(OTHERS));
    let split =
        section.optional("split", |field| field.text().map(|field| Split { field: field.to_owned() }));
    let field = section.field("map");
    let mut rules = Vec::new();
    if let Some(field) = &field {
        for item in field.items()? {
            rules.push(read_rule(item.section()?)?);
        }
    }
    if rules.is_empty() && split.is_none() {
        if !keep_others {
            section.refuse("others", "would drop everything: there is no map");
        }
        return Some(None);
    }
    match Mapping::new(rules, split, keep_others) {
        Ok(mapping) => Some(Some(mapping)),
        Err(error) => {
            section.field("map").or_else(|| section.field("split"))?.mistake(error.to_string());
            None
        }
    }
}

fn read_rule(section: Section<'_>) -> Option<Rule> {
    let text = |key: &'static str| section.optional(key, |field| field.text().map(str::to_owned));
    let number = |key: &'static str| section.optional(key, |field| decimal(field));
    let time = section.optional("time", |field| field.one_of(TIMES));
    let target = match section.or("as", As::Telemetry, |field| field.one_of(AS)) {
        As::Time => Target::Time(time.unwrap_or(TimeFormat::Rfc3339)),
        _ if time.is_some() => {
            section.refuse("time", "belongs to as = \"time\"");
            return None;
        }
        As::Telemetry => Target::Telemetry,
        As::Property => Target::Property,
        As::Drop => Target::Drop,
    };
    let rule = Rule {
        from: text("from"),
        to: text("to"),
        constant: section.optional("constant", constant),
        scale: number("scale"),
        offset: number("offset"),
        unit: text("unit"),
        target,
        part: text("part"),
    };
    section.finish();
    Some(rule)
}

/// Keys with texts, numbers or booleans, as texts.
fn texts(section: &Section<'_>) -> BTreeMap<String, String> {
    let entries = section.entries().into_iter();
    entries.filter_map(|(key, field)| Some((key.to_owned(), field.scalars()?.into_iter().next()?))).collect()
}

fn decimal(field: &Field<'_>) -> Option<f64> {
    let text = if field.is_text() { None } else { field.scalars().filter(|all| all.len() == 1) };
    let number = text.and_then(|all| all[0].parse().ok());
    if number.is_none() {
        field.mistake("must be a number");
    }
    number
}

fn constant(field: &Field<'_>) -> Option<Value> {
    if field.is_text() {
        return field.text().map(Value::from);
    }
    let text = field.scalars()?.into_iter().next()?;
    Some(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Writes an example with every key, explained.
pub(super) fn describe(sheet: &mut Sheet) {
    sheet.example(
        "codecs.my-codec",
        "A payload codec. An integration uses it by codec = \"my-codec\", a device profile by an entry in its profiles, one \
         device by its codec (device-bridge devices import). Try it with: device-bridge codec run FILE --bytes 01aa --port 2",
    );
    sheet.explained(
        "format",
        &quoted("javascript"),
        &format!("How bytes become values: {}.", words(FORMATS)),
    );
    sheet.explained(
        "file",
        &quoted("my-codec.js"),
        "The script, as it is written for The Things Stack or ChirpStack. A relative path starts at the folder of this file.",
    );
    sheet.explained("variables", "{ unit = \"C\" }", "Handed to the script as variables. Default: none.");
    sheet.explained(
        "downlinks",
        "{ blink = { template = \"01 seconds::uint:16\", port = 3 } }",
        "How commands become bytes without a script, by their names (\"*\": all others): constant bytes in hexadecimal digits, \
         and arguments in the words of the grammar of Sigfox. Default: the script's encodeDownlink, or Cayenne LPP.",
    );
    sheet.explained(
        "trial_of",
        &quoted("cayenne"),
        "Runs beside that codec; only the differences are recorded (/admin/v1/codecs). Default: not on trial.",
    );
    sheet.explained(
        "split",
        &quoted("readings"),
        "A field with a list, of which each element becomes a message of its own.",
    );
    sheet.explained(
        "others",
        &quoted("keep"),
        "What happens to fields that map does not name: \"keep\" or \"drop\".",
    );
    sheet.explained(
        "map",
        "[\n#{ from = \"TempC\", to = \"temperature\", scale = 0.1, offset = 0.0, unit = \"Cel\" },\n\
         #{ from = \"door/open\", to = \"open\", part = \"door\" },\n\
         #{ from = \"readAt\", as = \"time\", time = \"seconds\" },\n\
         #{ to = \"site\", constant = \"roof\", as = \"property\" },\n#]",
        "What becomes of the fields, one entry each: from (a name, or name/inner/0) or constant; to, scale, offset, unit; \
         as = \"telemetry\", \"property\", \"time\" (with time = \"rfc3339\", \"seconds\", \"milliseconds\", \
         \"seconds-ago\") or \"drop\"; part: fields of one part become a message of their own.",
    );
    sheet.example("codecs.my-grammar", "A codec for Sigfox payloads, without a script.");
    sheet.key("format", &quoted("sigfox"));
    sheet.explained(
        "grammar",
        &quoted("temperature::int:16 battery::uint:8"),
        "The custom payload grammar of Sigfox.",
    );
    sheet.example("codecs.my-json", "A codec for payloads that are JSON.");
    sheet.key("format", &quoted("json"));
    sheet.explained(
        "fields",
        "{ temperature = \"/sensors/0/t\" }",
        "Names and JSON pointers. Default: every member of the object.",
    );
}
