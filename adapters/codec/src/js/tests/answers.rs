//! Return values of every kind, and where errors are.

use serde_json::json;

use super::*;

#[test]
fn values_become_json() {
    for (value, want) in [
        ("21", "21"),
        ("21.0", "21"),
        ("-0", "0"),
        ("21.5", "21.5"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("9007199254740992", "9007199254740992"),
        ("-4294967297", "-4294967297"),
        ("1e20", "1e+20"),
        ("12n", "12"),
        ("-9007199254740991n", "-9007199254740991"),
        ("9007199254740993n", r#""9007199254740993""#),
        ("'x\\u0000\"\\n'", r#""x\u0000\"\n""#),
        ("'a\\ud800b'", "\"a\u{fffd}b\""),
        ("'\\ud83d\\ude00'", "\"\u{1f600}\""),
        ("[true, null, undefined, 1]", "[true,null,null,1]"),
        ("new Date(Date.UTC(2024, 4, 13, 10, 55, 40, 306))", r#""2024-05-13T10:55:40.306Z""#),
        ("new Uint8Array([1, 200])", "[1,200]"),
        ("new Float32Array([1.5, NaN])", "[1.5,null]"),
        ("new BigInt64Array([5n])", "[5]"),
        ("new Number(5)", "5"),
        ("new String('s')", r#""s""#),
        ("new Boolean(false)", "false"),
        ("Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true } })", r#"{"own":2}"#),
        ("Object.assign(Object.create(null), { a: 1 })", r#"{"a":1}"#),
        ("({ b: 1, a: 2, 10: 3, 9: 4 })", r#"{"9":4,"10":3,"b":1,"a":2}"#),
        ("({ get x() { return 4 } })", r#"{"x":4}"#),
        ("({ a: undefined })", "{}"),
        ("Object.create(Date.prototype)", "{}"),
        ("({ 'a\\ud800': 1, 'b\\u0000c': 2 })", "{\"a\u{fffd}\":1,\"b\\u0000c\":2}"),
    ] {
        let decoded = body(&format!("return {{ data: {{ v: {value} }} }}")).unwrap();
        assert_eq!(json(&decoded), format!(r#"{{"v":{want}}}"#), "{value}");
    }
}

#[test]
fn what_json_does_not_have_is_left_out_with_a_warning() {
    for (value, want) in [
        ("NaN", "data.a.v[0] was left out: it is not a number"),
        ("1 / 0", "data.a.v[0] was left out: it is infinite"),
        ("new Date('soon')", "data.a.v[0] was left out: it is an invalid date"),
        ("function () {}", "data.a.v[0] was left out: it is a function"),
        ("class {}", "data.a.v[0] was left out: it is a function"),
        ("Symbol('x')", "data.a.v[0] was left out: it is a symbol"),
        ("new Map([[1, 2]])", "data.a.v[0] was left out: it is a Map or a Set"),
        ("Promise.resolve(1)", "data.a.v[0] was left out: it is a promise"),
        ("2n ** 300n", "data.a.v[0] was left out: it is a number of more than 256 bits"),
        ("new DataView(new ArrayBuffer(2))", "data.a.v[0] was left out: it is a DataView"),
    ] {
        let decoded =
            body(&format!("return {{ data: {{ a: {{ v: [{value}], w: 1 }} }}, warnings: 'mine' }}")).unwrap();
        assert_eq!(json(&decoded), r#"{"a":{"v":[null],"w":1}}"#, "{value}");
        assert_eq!(decoded.warnings, ["mine", want], "{value}");
    }
    let decoded = body("return { data: { a: 1, b: NaN } }").unwrap();
    assert_eq!((json(&decoded).as_str(), decoded.warnings.len()), (r#"{"a":1}"#, 1));
}

#[test]
fn strange_returns_are_named() {
    for (statement, want) in [
        ("", "decodeUplink returned undefined, not an object"),
        ("return null", "decodeUplink returned null, not an object"),
        ("return 5", "decodeUplink returned a number, not an object"),
        ("return 'x'", "decodeUplink returned a string, not an object"),
        ("return true", "decodeUplink returned a boolean, not an object"),
        ("return 5n", "decodeUplink returned a big integer, not an object"),
        ("return [1]", "decodeUplink returned an array, not an object"),
        ("return Symbol.iterator", "decodeUplink returned a symbol, not an object"),
        ("return decodeUplink", "decodeUplink returned a function, not an object"),
        (
            "return Promise.resolve({ data: {} })",
            "decodeUplink returned a promise; a codec cannot be asynchronous",
        ),
        ("return {}", "decodeUplink returned an object without `data`"),
        ("return { temperature: 1 }", "decodeUplink returned an object without `data`"),
        ("return { data: null }", "decodeUplink returned `data` that is null, not an object"),
        ("return { data: [{}] }", "decodeUplink returned `data` that is an array, not an object"),
        ("return { data: 'x' }", "decodeUplink returned `data` that is a string, not an object"),
        ("var a = {}; a.a = a; return { data: a }", "data is cyclic, or nested deeper than 32 levels"),
        (
            "var a = []; a[0] = a; return { data: { a: a } }",
            "data is cyclic, or nested deeper than 32 levels",
        ),
        ("return { data: { a: 'x'.repeat(70000) } }", "returned more than 64 KiB"),
        ("return { data: { a: new Array(4e9) } }", "returned more than 64 KiB"),
        ("return { data: { a: new Array(4e4).fill(5) } }", "returned more than 64 KiB"),
        ("return { data: {}, warnings: ['x'.repeat(70000)] }", "returned more than 64 KiB"),
    ] {
        let error = body(statement).unwrap_err();
        assert!(matches!(error, ScriptError::StrangeReturn(_)), "{statement}: {error}");
        assert_eq!(error.fault().message, want, "{statement}");
    }
    let error = once("async function decodeUplink() { return { data: {} } }").unwrap_err();
    assert!(matches!(error, ScriptError::StrangeReturn(_)), "{error}");
}

#[test]
fn errors_alone_are_an_answer_and_texts_are_read_liberally() {
    let decoded = body("return { errors: 'one' }").unwrap();
    assert_eq!((decoded.errors.as_slice(), decoded.data.len()), (&["one".to_owned()][..], 0));
    let returned = "return { data: null, warnings: [1, null, { a: 1 }, new Error('e')], errors: false }";
    assert_eq!(body(returned).unwrap().warnings, ["1", "{\"a\":1}", "e"]);
}

#[test]
fn bytes_to_send_are_masked_or_refused() {
    let host = patient();
    let encode = |returned: &str| {
        let source = format!("function encodeDownlink(input) {{ return {returned} }}");
        let script = host.compile("farm.js", &source).unwrap();
        let call = CallInput { data: Some(json!({})), ..input(&[]) };
        host.call_blocking(&script, Function::EncodeDownlink, call)
            .map(|answer| answer.into_encoded().unwrap())
    };
    for (returned, bytes, port) in [
        ("{ bytes: [0, 255, -1, -128], fPort: 10 }", &[0, 255, 255, 128][..], Some(10)),
        ("{ bytes: new Uint8Array([1, 2]) }", &[1, 2], None),
        ("{ bytes: [], fPort: null }", &[], None),
    ] {
        let encoded = encode(returned).unwrap();
        assert_eq!((encoded.bytes.as_slice(), encoded.port), (bytes, port), "{returned}");
    }
    for (returned, want) in [
        ("{ bytes: [256] }", "bytes[0] is not a whole number from -128 to 255"),
        ("{ bytes: [1, -129] }", "bytes[1] is not a whole number from -128 to 255"),
        ("{ bytes: [1.5] }", "bytes[0] is not a whole number from -128 to 255"),
        ("{ bytes: ['1'] }", "bytes[0] is not a whole number from -128 to 255"),
        ("{ bytes: [NaN] }", "bytes[0] is not a whole number from -128 to 255"),
        ("{ bytes: 'ff' }", "`bytes` is a string, not an array"),
        ("{}", "`bytes` is undefined, not an array"),
        ("[1]", "encodeDownlink returned an array, not an object"),
        ("{ bytes: [], fPort: 300 }", "`fPort` is not a whole number from 0 to 255"),
    ] {
        assert_eq!(encode(returned).unwrap_err().fault().message, want, "{returned}");
    }
}

#[test]
fn normalised_payloads_are_one_or_many() {
    let host = patient();
    let normalize = |data: &str| {
        let source = format!("function normalizeUplink(input) {{ return {{ data: {data} }} }}");
        let script = host.compile("farm.js", &source).unwrap();
        let answer = host.call_blocking(&script, Function::NormalizeUplink, input(&[]))?;
        Ok::<_, ScriptError>(answer.into_normalized().unwrap().data)
    };
    assert_eq!(json!(normalize("{ a: 1 }").unwrap()), json!([{"a": 1}]));
    assert_eq!(json!(normalize("[{ a: 1 }, { a: 2 }]").unwrap()), json!([{"a": 1}, {"a": 2}]));
    assert!(matches!(normalize("[1]"), Err(ScriptError::StrangeReturn(_))));
    assert!(matches!(normalize("undefined"), Err(ScriptError::StrangeReturn(_))));
}

#[test]
fn errors_say_where() {
    let host = patient();
    for (source, want) in [
        (
            "function decodeUplink(input) {\n  var x;\n  return x.y;\n}",
            "codec \"farm.js\" line 3, column 10: TypeError: cannot read property 'y' of undefined",
        ),
        (
            "function decodeUplink(input) { return x.y }",
            "codec \"farm.js\" line 1, column 39: ReferenceError: x is not defined",
        ),
        ("function decodeUplink() {\n throw 'plain' }", "codec \"farm.js\": plain"),
        ("function decodeUplink() {\n throw '' }", "codec \"farm.js\": threw an empty text"),
        (
            "function decodeUplink() {\n throw { name: '', message: '' } }",
            "codec \"farm.js\": threw an object without a message",
        ),
        ("function decodeUplink() {\n throw 7 }", "codec \"farm.js\": threw the number 7"),
        ("function decodeUplink() {\n throw { message: 'mine' } }", "codec \"farm.js\": mine"),
        ("function decodeUplink() {\n throw null }", "codec \"farm.js\": threw null"),
        (
            "function decodeUplink() {\n throw { get message() { throw 1 } } }",
            "codec \"farm.js\": threw an object without a message",
        ),
        (
            "function decodeUplink() {\n return { get data() { throw new RangeError('got') } } }",
            "codec \"farm.js\" line 2, column 34: RangeError: got",
        ),
    ] {
        let script = host.compile("farm.js", source).unwrap();
        let error = decode(&host, &script, &[]).unwrap_err();
        assert!(matches!(error, ScriptError::Thrown(_)), "{error:?}");
        assert_eq!(error.to_string(), want, "{source}");
    }
    // A syntax error at run time is not one of the script.
    let error = body("return JSON.parse('{')").unwrap_err();
    assert!(matches!(error, ScriptError::Thrown(_)), "{error:?}");
}

#[test]
fn syntax_errors_say_where() {
    let host = patient();
    for (source, line, column) in [
        ("function decodeUplink( {", 1, Some(25)),
        ("function decodeUplink() {\n  return {\n    data: 1;\n  }\n}", 3, Some(12)),
        ("let a;\nlet a;", 2, None),
        ("function decodeUplink() {} }", 1, Some(28)),
        ("}).call(this)}); globalThis.x = 1; (function(){return (function(){", 1, Some(1)),
        ("export function decodeUplink() {}", 1, None),
        ("/* open", 1, None),
        ("return 1", 1, None),
    ] {
        let error = host.compile("farm.js", source).unwrap_err();
        assert!(matches!(error, ScriptError::Syntax(_)), "{source}: {error:?}");
        assert_eq!(error.fault().line, Some(line), "{source}: {error}");
        if column.is_some() {
            assert_eq!(error.fault().column, column, "{source}: {error}");
        }
    }
    assert!(matches!(host.compile("farm.js", "var a = '\0'"), Err(ScriptError::Syntax(_))));
    assert!(matches!(host.compile("farm.js", &" ".repeat(300_000)), Err(ScriptError::Syntax(_))));
}
