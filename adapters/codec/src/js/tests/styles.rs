//! Every way in which scripts define their functions.

use serde_json::json;

use super::*;

const CLIMATE: &str = include_str!("../fixtures/climate.js");
const UPLINK: [u8; 11] = [0xcb, 0xf6, 0x0b, 0x0d, 0x03, 0x76, 0x01, 0x0a, 0xdd, 0x7f, 0xff];

#[test]
fn the_things_stack_decodes_normalises_and_encodes() {
    let host = patient();
    let script = host.compile("climate.js", CLIMATE).unwrap();
    let decoded = decode(&host, &script, &UPLINK).unwrap();
    assert_eq!(
        json(&decoded),
        concat!(
            r#"{"battery":3.062,"batteryState":3,"temperature":28.29,"humidity":88.6,"#,
            r#""probe":"temperature","probeTemperature":27.81}"#
        )
    );
    let data = CallInput { data: Some(json!(decoded.data)), ..input(&[]) };
    let normalized = host.call_blocking(&script, Function::NormalizeUplink, data).unwrap();
    assert_eq!(
        json!(normalized.into_normalized().unwrap().data),
        json!([{"air": {"temperature": 28.29, "relativeHumidity": 88.6}, "battery": 3.062}])
    );
    let encode = |interval: u32| {
        let wanted = CallInput { data: Some(json!({"interval": interval})), ..input(&[]) };
        host.call_blocking(&script, Function::EncodeDownlink, wanted).unwrap().into_encoded().unwrap()
    };
    let encoded = encode(600);
    assert_eq!((encoded.bytes.as_slice(), encoded.port), (&[1, 2, 0x58][..], Some(3)));
    let back = host.call_blocking(&script, Function::DecodeDownlink, input(&encoded.bytes)).unwrap();
    assert_eq!(json(&back.into_decoded().unwrap()), r#"{"interval":600}"#);
    assert_eq!(encode(0).errors, ["interval must be 1 to 1440 minutes"]);
}

#[test]
fn errors_and_warnings_of_the_script_come_through() {
    let host = patient();
    let script = host.compile("climate.js", CLIMATE).unwrap();
    let decoded = decode(&host, &script, &UPLINK[..3]).unwrap();
    assert_eq!((decoded.errors.as_slice(), decoded.data.len()), (&["wrong length".to_owned()][..], 0));
    let mut low = UPLINK;
    low[0] = 0x02;
    assert_eq!(decode(&host, &script, &low).unwrap().warnings, ["battery low"]);
}

#[test]
fn the_old_style_with_undeclared_variables_decodes_again_and_again() {
    let host = patient();
    let script = host.compile("old.js", include_str!("../fixtures/old.js")).unwrap();
    for _ in 0..3 {
        assert_eq!(json(&decode(&host, &script, &[7, 8]).unwrap()), r#"{"b0":7,"b1":8,"port":2}"#);
        assert_eq!(json(&decode(&host, &script, &[9]).unwrap()), r#"{"b0":9,"port":2}"#);
    }
    let on = CallInput { data: Some(json!({"on": true})), ..input(&[]) };
    let encoded = host.call_blocking(&script, Function::EncodeDownlink, on).unwrap().into_encoded().unwrap();
    assert_eq!((encoded.bytes.as_slice(), encoded.port), (&[1, 255, 2][..], None));
    assert_eq!(host.stats().loaded, 1);
}

#[test]
fn chirpstack_3_gets_its_variables() {
    let host = patient();
    let script = host.compile("v3.js", include_str!("../fixtures/chirpstack3.js")).unwrap();
    let variables = [("factor".to_owned(), "3".to_owned())].into();
    let call = CallInput { variables, ..input(&[5]) };
    let decoded = host.call_blocking(&script, Function::DecodeUplink, call.clone()).unwrap();
    assert_eq!(json(&decoded.into_decoded().unwrap()), r#"{"value":15,"port":2}"#);
    let call = CallInput { data: Some(json!({"value": 12})), ..call };
    let encoded = host.call_blocking(&script, Function::EncodeDownlink, call).unwrap();
    assert_eq!(encoded.into_encoded().unwrap().bytes, [4, 2]);
}

#[test]
fn the_input_has_everything_the_bridge_knows() {
    let host = patient();
    let source = "// device, radio, previous\nfunction decodeUplink(input) { return { data: { all: input, \
                  date: input.recvTime instanceof Date, array: Array.isArray(input.bytes) } } }";
    let script = host.compile("all.js", source).unwrap();
    let call = CallInput {
        tags: [("__proto__".to_owned(), "x".to_owned())].into(),
        variables: [("toString".to_owned(), "y".to_owned())].into(),
        radio: Some(json!({"rssi": -97, "snr": 5.5, "__proto__": {"a": [1, null, true]}})),
        previous: json!({"counter": 4_294_967_296_u64}).as_object().cloned(),
        ..input(&[0, 255])
    };
    let silent = host.compile("silent.js", source.split_once('\n').unwrap().1).unwrap();
    let told = host.call_blocking(&silent, Function::DecodeUplink, call.clone()).unwrap();
    let told = told.into_decoded().unwrap().data["all"].clone();
    assert!(["device", "radio", "previous"].iter().all(|name| told.get(name).is_none()));
    let decoded = host.call_blocking(&script, Function::DecodeUplink, call).unwrap().into_decoded().unwrap();
    assert_eq!(
        json(&decoded),
        concat!(
            r#"{"all":{"bytes":[0,255],"fPort":2,"recvTime":"2024-05-13T10:55:40.306Z","variables":{"toString":"y"},"#,
            r#""device":{"id":"d1","tags":{"__proto__":"x"}},"radio":{"rssi":-97,"snr":5.5,"#,
            r#""__proto__":{"a":[1,null,true]}},"previous":{"counter":4294967296}},"date":true,"array":true}"#
        )
    );
    let bare = CallInput { port: None, device: None, ..input(&[]) };
    let decoded = host.call_blocking(&script, Function::DecodeUplink, bare).unwrap().into_decoded().unwrap();
    assert_eq!(
        json(&decoded),
        concat!(
            r#"{"all":{"bytes":[],"recvTime":"2024-05-13T10:55:40.306Z","variables":{},"device":{"tags":{}}},"#,
            r#""date":true,"array":true}"#
        )
    );
}

#[test]
fn short_and_long_payloads_are_the_same_kind_of_array() {
    let look =
        "{ array: Array.isArray(b) && b.constructor === Array, n: b.length, last: b[b.length - 1], port: p }";
    for source in [
        format!(
            "function decodeUplink(input) {{ var b = input.bytes, p = input.fPort; return {{ data: {look} }} }}"
        ),
        format!("function Decode(p, b, variables) {{ b.push(variables.x || 7); return {look} }}"),
        format!("function Decoder(b, p) {{ b.push(7); return {look} }}"),
    ] {
        let (host, pushed) = (patient(), usize::from(source.contains("push")));
        let script = host.compile("long.js", &source).unwrap();
        for length in [1, 255, 256, 257, 2000] {
            let decoded = decode(&host, &script, &vec![9; length]).unwrap();
            let last = if pushed == 1 { 7 } else { 9 };
            let want = format!(r#"{{"array":true,"n":{},"last":{last},"port":2}}"#, length + pushed);
            assert_eq!(json(&decoded), want, "{source}");
        }
    }
}

#[test]
fn functions_may_be_exported_assigned_or_strict() {
    for source in [
        "exports.decodeUplink = function () { return { data: { a: 1 } } }",
        "module.exports = { decodeUplink: () => ({ data: { a: 1 } }) };",
        "function decodeUplink() { return { data: { a: 1 } } }\n\
         if (typeof module !== 'undefined') module.exports = { decodeUplink };",
        "const decodeUplink = () => ({ data: { a: 1 } })",
        "'use strict';\nvar decodeUplink = function () { return { data: { a: this === undefined ? 1 : 2 } } }",
        "let exports = {}; function decodeUplink() { return { data: { a: 1 } } }",
        "this.decodeUplink = function () { return { data: { a: 1 } } }",
        "decodeUplink = function () { return { data: { a: 1 } } }",
        "function decodeUplink() { return { data: { a: 1 } } } // no line end",
        "\u{feff}function decodeUplink() { console.log('x'.repeat(9)); return { data: { a: 1 } } }",
        "function Decoder() { return { a: 2 } } function decodeUplink() { return { data: { a: 1 } } }",
        "class Reader { constructor() { this.a = 1 } } function decodeUplink() { return { data: new Reader() } }",
    ] {
        let host = patient();
        let script = host.compile("farm.js", source).unwrap();
        for _ in 0..2 {
            assert_eq!(json(&decode(&host, &script, &[1]).unwrap()), r#"{"a":1}"#, "{source}");
        }
    }
}

#[test]
fn a_script_without_a_function_is_refused_early() {
    let host = patient();
    let error = host.compile("farm.js", "var x = 1").unwrap_err();
    assert!(matches!(error, ScriptError::Missing(_)), "{error}");
    assert!(
        error.to_string().starts_with("codec \"farm.js\": has none of the functions decodeUplink, "),
        "{error}"
    );
    let script = host.compile("farm.js", "function decodeUplink() {}").unwrap();
    assert!(script.has(Function::DecodeUplink) && !script.has(Function::EncodeDownlink));
    let error = host.call_blocking(&script, Function::EncodeDownlink, input(&[])).unwrap_err();
    assert_eq!(error.to_string(), "codec \"farm.js\": has no function encodeDownlink");
}

#[test]
fn the_asynchronous_call_gives_the_same() {
    let host = patient();
    let script = host.compile("climate.js", CLIMATE).unwrap();
    drop(host.call(&script, Function::DecodeUplink, input(&UPLINK)));
    let call = host.call(&script, Function::DecodeUplink, input(&UPLINK));
    assert_eq!(wait(call).unwrap().into_decoded().unwrap().data["probeTemperature"], 27.81);
}
