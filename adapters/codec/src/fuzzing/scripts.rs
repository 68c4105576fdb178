//! Scripts with any payload, and any text as a script. Not here: what scripts should do (`crate::js`).

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{check_value, received_at};
use crate::js::{Answer, CallInput, Function, HostConfig, JsHost, Script, ScriptError};

/// Scripts that are well meant, and one that returns whatever the payload says.
const SCRIPTS: [(&str, &str); 5] = [
    ("climate.js", include_str!("../js/fixtures/climate.js")),
    ("old.js", include_str!("../js/fixtures/old.js")),
    ("chirpstack3.js", include_str!("../js/fixtures/chirpstack3.js")),
    ("values.js", include_str!("values.js")),
    (
        "json.js",
        "function Decode(port, bytes) { return JSON.parse(String.fromCharCode.apply(null, bytes)); }
         function Encode(port, data) { return data.bytes || data; }",
    ),
];

const FUNCTIONS: [Function; 4] =
    [Function::DecodeUplink, Function::NormalizeUplink, Function::EncodeDownlink, Function::DecodeDownlink];

/// What an answer may hold, bytes: the host's bound on JSON, and on lines.
const MOST: usize = 256 * 1024;

/// The digit of a script, a byte that is the port, and the payload.
pub(super) fn check_payload(input: &[u8]) {
    let [digit, port, bytes @ ..] = input else { return };
    let (host, scripts) = well_meant();
    let script = &scripts[usize::from(digit.wrapping_sub(b'0')) % scripts.len()];
    let call = CallInput {
        variables: [("factor".to_owned(), "2".to_owned())].into(),
        ..CallInput::new(bytes.to_vec(), Some(*port), received_at())
    };
    let answers = check_calls(host, script, &call);
    assert_eq!(answers, check_calls(host, script, &call), "the same payload gives another answer");
    for answer in answers {
        let is_of_time = matches!(
            answer,
            Err(ScriptError::TimedOut(_) | ScriptError::HostBusy(_) | ScriptError::Abandoned(_))
        );
        assert!(!is_of_time, "{answer:?}");
    }
}

/// The text of a script. It is called with a payload, and another script is none the worse for it.
pub(super) fn check_source(source: &[u8]) {
    static HOST: Mutex<Option<JsHost>> = Mutex::new(None);
    let mut kept = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    let host = kept.take().unwrap_or_else(|| new_host(Duration::from_millis(20)));
    let source = String::from_utf8_lossy(source);
    match host.compile("source.js", &source) {
        Ok(script) => {
            let call = CallInput {
                device: Some("d1".into()),
                ..CallInput::new(vec![0, 1, 2, 127, 128, 255], Some(2), received_at())
            };
            check_calls(&host, &script, &call);
        }
        Err(error) => check_error(&error),
    }
    check_neighbour(&host);
    // Every other script that hangs finds all threads in their place.
    if host.stats().abandoned == 0 {
        *kept = Some(host);
    }
}

/// What decodes goes on to be normalised, and encoded.
fn check_calls(host: &JsHost, script: &Script, call: &CallInput) -> Vec<Result<Answer, ScriptError>> {
    let mut data = json!({"on": true, "value": 4, "interval": 5, "bytes": [1, 2]});
    let mut answers = Vec::new();
    for function in FUNCTIONS {
        let call = CallInput { data: Some(data.clone()), ..call.clone() };
        let answer = host.call_blocking(script, function, call);
        match &answer {
            Ok(answer) => {
                check_answer(answer);
                if let Answer::Decoded(decoded) = answer
                    && !decoded.data.is_empty()
                {
                    data = Value::Object(decoded.data.clone());
                }
            }
            Err(error) => check_error(error),
        }
        assert_eq!(matches!(answer, Err(ScriptError::Missing(_))), !script.has(function), "{answer:?}");
        answers.push(answer);
    }
    answers
}

fn check_answer(answer: &Answer) {
    let size = |members: &Map<String, Value>| check_value(&Value::Object(members.clone()));
    let (bytes, warnings, errors) = match answer {
        Answer::Decoded(decoded) => (size(&decoded.data), &decoded.warnings, &decoded.errors),
        Answer::Normalized(all) => (all.data.iter().map(size).sum(), &all.warnings, &all.errors),
        Answer::Encoded(encoded) => (encoded.bytes.len(), &encoded.warnings, &encoded.errors),
    };
    let lines: usize = warnings.iter().chain(errors).map(String::len).sum();
    assert!(bytes + lines <= MOST, "the answer has {} bytes", bytes + lines);
}

fn check_error(error: &ScriptError) {
    let fault = error.fault();
    assert!(SCRIPTS.iter().any(|(name, _)| *name == fault.codec) || fault.codec == "source.js", "{error}");
    assert!((1..=500).contains(&fault.message.chars().count()), "the message is not of 1 to 500 characters");
    assert!(fault.line != Some(0) && fault.column != Some(0), "{fault:?}");
}

/// A slow machine alone may be in its way.
fn check_neighbour(host: &JsHost) {
    let source =
        "function decodeUplink(i) { return { data: { b: i.bytes.length, s: [3, 1, 2].sort().join('') } } }";
    let script = match host.compile("source.js", source) {
        Ok(script) => script,
        Err(error) => return assert!(is_late(&error), "another script suffers: {error}"),
    };
    let call = CallInput::new(vec![1, 2], None, received_at());
    match host.call_blocking(&script, Function::DecodeUplink, call) {
        Ok(answer) => {
            let data = answer.into_decoded().map(|decoded| Value::Object(decoded.data));
            assert_eq!(data, Some(json!({"b": 2, "s": "123"})), "another script suffers");
        }
        Err(error) => assert!(is_late(&error), "another script suffers: {error}"),
    }
}

fn is_late(error: &ScriptError) -> bool {
    matches!(error, ScriptError::TimedOut(_))
}

fn well_meant() -> &'static (JsHost, Vec<Script>) {
    static SCRIPTS_OF_HOST: OnceLock<(JsHost, Vec<Script>)> = OnceLock::new();
    SCRIPTS_OF_HOST.get_or_init(|| {
        // None of them runs for long, whatever it gets.
        let host = new_host(Duration::from_secs(5));
        let compile = |(name, source): &(&str, &str)| {
            // invariant: a test compiles them all.
            host.compile(name, source).unwrap_or_else(|error| panic!("{error}"))
        };
        let scripts = SCRIPTS.iter().map(compile).collect();
        (host, scripts)
    })
}

fn new_host(deadline: Duration) -> JsHost {
    let config = HostConfig { workers: 1, deadline, ..HostConfig::default() };
    // invariant: a machine that fuzzes has threads.
    JsHost::new(config).unwrap_or_else(|error| panic!("{error}"))
}
