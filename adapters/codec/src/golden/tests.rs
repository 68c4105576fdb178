//! Vectors of every shape against a script of our own and the native codecs.

use std::sync::Arc;

use super::*;
use crate::js::HostConfig;

const NOW: Timestamp = Timestamp::EPOCH;

const SCRIPT: &str = "
    function decodeUplink(input) {
      if (input.fPort !== 2) return { errors: ['unknown FPort'] };
      return { data: { t: input.bytes[0] / 10, at: input.recvTime.getTime(), more: { low: true } },
               warnings: input.bytes.length > 1 ? ['long'] : [] };
    }
    function normalizeUplink(input) { return { data: { air: { temperature: input.data.t } }, warnings: ['w'] } }
    function encodeDownlink(input) {
      if (input.data.led === 'no') return { errors: ['no LED'] };
      return { bytes: [255, input.data.led], fPort: input.data.port };
    }
    function decodeDownlink(input) { return { data: { led: input.bytes[1] } } }";

fn verdicts(document: &Value) -> Vec<Verdict> {
    let host = Arc::new(JsHost::new(HostConfig { workers: 1, ..HostConfig::default() }).unwrap());
    let script = host.compile("c", SCRIPT).unwrap();
    let check = |example: &Example| match example.is_for_script() {
        true => bridge_core::testing::block_on(example.check(&host, &script, NOW)),
        false => example.check_native(NOW),
    };
    read(document).unwrap().unwrap().iter().map(check).collect()
}

fn places(verdict: &Verdict) -> Vec<&str> {
    match verdict {
        Verdict::Different(differences) => differences.iter().map(|one| one.path.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_repository_file_passes() {
    let verdicts = verdicts(&json!({
        "uplinkDecoder": { "fileName": "c.js", "examples": [
            { "description": "good", "input": { "fPort": 2, "bytes": [-41], "recvTime": "1970-01-01T00:00:01Z" },
              "output": { "data": { "at": 1000.0, "t": 21.5, "more": { "low": true } } },
              "normalizedOutput": { "data": [{ "air": { "temperature": 21.5 } }], "warnings": ["w"] } },
            { "input": { "fPort": 2, "bytes": "d7 00", "recvTime": "1970-01-01T00:00:00Z" },
              "output": { "data": { "at": 0, "t": 21.5, "more": { "low": true } }, "warnings": ["long"] },
              "normalizedOutput": { "data": { "air": { "temperature": 21.5 } }, "warnings": ["w"] } },
            { "input": { "fPort": 3, "bytes": [] }, "output": { "errors": ["unknown FPort"] } },
        ] },
        "downlinkEncoder": { "fileName": "c.js", "examples": [
            { "input": { "data": { "led": 1, "port": 7 } }, "output": { "bytes": [-1, 1], "fPort": 7, "hex": "ff01" } },
            { "input": { "data": { "led": 1 } }, "output": { "bytes": [255, 1], "fPort": 1 } },
            { "input": { "data": { "led": 1, "port": 7 } }, "output": { "bytes": [255, 1] } },
            { "input": { "data": { "led": "no" } }, "output": { "errors": ["no LED"] } },
        ] },
        "downlinkDecoder": { "fileName": "c.js", "examples": [
            { "input": { "fPort": 7, "bytes": [255, 1] }, "output": { "data": { "led": 1 } } },
        ] },
    }));
    assert_eq!(verdicts, vec![Verdict::Passed; 8]);
}

#[test]
fn what_differs_is_named() {
    let verdicts = verdicts(&json!({ "codec": "c.js", "examples": [
        { "type": "uplinkDecode", "input": { "fPort": 2, "hex": "d7ff", "recvTime": "1970-01-01T00:00:00Z" },
          "output": { "data": { "at": 0, "t": 21.4, "more": {} } } },
        { "kind": "uplinkDecode", "input": { "fPort": 2, "bytes": [0], "recvTime": "1970-01-01T00:00:00Z" },
          "output": { "data": { "at": 0, "t": 0, "more": { "low": true } }, "errors": ["e"] },
          "normalizedOutput": { "data": { "air": { "temperature": 1 } } } },
        { "kind": "downlinkEncode", "input": { "data": { "led": 1 } }, "output": { "bytes": [1], "fPort": 9 } },
        { "kind": "downlinkEncode", "input": { "data": null }, "output": { "bytes": [1], "fPort": 9 } },
    ] }));
    assert_eq!(places(&verdicts[0]), ["data.more.low", "data.t", "warnings[0]"]);
    assert_eq!(
        places(&verdicts[1]),
        ["errors[0]", "normalizedOutput.data[0].air.temperature", "normalizedOutput.warnings[0]"]
    );
    assert_eq!(places(&verdicts[2]), ["bytes[0]", "bytes[1]", "fPort"]);
    assert!(matches!(&verdicts[3], Verdict::Failed(why) if why.contains("line")), "{verdicts:?}");
}

#[test]
fn native_vectors_are_run_by_the_native_codecs() {
    let lpp = verdicts(&json!([
        { "direction": "up", "hex": "0167ffd7067104d2fb2e0000", "expected": [
            { "channel": 1, "name": "temperature", "value": -4.1 },
            { "channel": 6, "name": "accelerometer", "value": [1.234, -1.234, 0] } ] },
        { "direction": "down", "hex": "010064ff", "expected": [{ "channel": 1, "value": 1 }] },
        { "direction": "up", "hex": "01ffff", "expected": "unknown type" },
        { "direction": "up", "hex": "0167ffd7", "expected": "unknown type" },
        { "direction": "up", "hex": "0167ffd7", "expected": [{ "channel": 2, "name": "temperature", "value": -4.1 }] },
    ]));
    assert_eq!(lpp[..3], vec![Verdict::Passed; 3]);
    assert!(matches!(lpp[3], Verdict::Failed(_)));
    assert_eq!(places(&lpp[4]), ["data.temperature_1", "data.temperature_2"]);
    let grammar = verdicts(&json!([
        { "data": "1234", "format": "a::uint:8 b::uint:8", "expected": { "a": 18, "b": 52 } },
        { "data": "12", "format": "a::uint:8 b::uint:8", "expected": "the payload ends" },
        { "data": "12", "format": "a::uint:7", "expected": { "a": 18 } },
    ]));
    assert_eq!(grammar[..2], vec![Verdict::Passed; 2]);
    assert!(matches!(grammar[2], Verdict::Failed(_)));
}

#[test]
fn titles_and_scripts_are_read() {
    let examples = read(&json!({
        "source": { "codec_file": "payload/x.js" },
        "examples": [
            { "kind": "uplinkDecode", "description": "  ", "input": { "bytes": [] }, "output": {} },
            { "kind": "downlinkDecode", "description": "Turn on", "input": { "bytes": [] }, "output": {} },
        ],
    }));
    let examples = examples.unwrap().unwrap();
    let titles: Vec<&str> = examples.iter().map(|one| one.title.as_str()).collect();
    assert_eq!(titles, ["decodeUplink 1", "decodeDownlink 2 Turn on"]);
    assert_eq!(examples[0].subject, Subject::Script(Some("payload/x.js".into())));
}

#[test]
fn other_documents_are_none_and_half_examples_are_mistakes() {
    for other in [
        json!(null),
        json!([]),
        json!([{ "hex": "00" }]),
        json!({ "examples": ["x"] }),
        json!({ "name": "x" }),
    ] {
        assert_eq!(read(&other), Ok(None), "{other}");
    }
    let uplink = |input: Value, output: Value| {
        read(&json!({ "uplinkDecoder": { "examples": [{ "input": input, "output": output }] } })).unwrap_err()
    };
    assert!(uplink(json!({ "bytes": [256] }), json!({})).contains("256 is not a byte"));
    assert!(uplink(json!({}), json!({})).contains("uplinkDecoder: example 1: the payload"));
    assert!(uplink(json!({ "hex": "012" }), json!({})).contains("the payload"));
    assert!(uplink(json!({ "hex": "01", "fPort": 256 }), json!({})).contains("fPort"));
    assert!(uplink(json!({ "hex": "01", "recvTime": "noon" }), json!({})).contains("recvTime"));
    assert!(uplink(json!({ "hex": "01" }), json!(null)).contains("output"));
    assert!(read(&json!({ "downlinkEncoder": { "examples": [{ "input": {}, "output": {} }] } })).is_err());
    assert!(read(&json!({ "uplinkDecoder": { "examples": 3 } })).is_err());
    let kind = json!({ "examples": [{ "kind": "x", "input": { "bytes": [] }, "output": {} }] });
    assert!(read(&kind).unwrap_err().contains("kind"));
}

/// The published vectors for the native codecs.
#[test]
fn the_shared_vectors() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");
    for name in ["codecs/cayenne-lpp-vectors.json", "sigfox/custom-grammar-vectors.json"] {
        let path = format!("{fixtures}/{name}");
        let Ok(text) = std::fs::read(&path) else {
            eprintln!("NOT RUN: {path} is not there");
            continue;
        };
        let examples = read(&serde_json::from_slice(&text).unwrap()).unwrap().unwrap();
        assert!(examples.len() > 10);
        for example in examples {
            assert_eq!(example.check_native(NOW), Verdict::Passed, "{}", example.title);
        }
    }
}
