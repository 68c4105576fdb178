//! Every built-in of the engine, as scripts find it: is it metered, or known to be quick? Does it end in time, and does it
//! do what it did before it was metered?

use std::sync::mpsc;

use serde_json::{Map, Value};

use super::super::realm::{Called, Limits, Place, Realm, check};
use super::super::script::Inner;
use super::*;

const LIMITS: Limits =
    Limits { heap_bytes: 8 << 20, deadline: Duration::from_secs(5), deadline_here: Duration::from_millis(2) };

/// Those of the engine that scripts reach as they are: they take no longer than it takes to copy what they are given, or
/// look at the clock in their loops, as everything does that calls a function for each element. Whoever adds one has
/// looked at its source.
const QUICK: &str = "
Object.prototype: toString toLocaleString valueOf hasOwnProperty isPrototypeOf propertyIsEnumerable get:__proto__
Object.prototype: set:__proto__ __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ constructor
nobody: Object.prototype.toString Object.getPrototypeOf(Uint8Array)
Object.getPrototypeOf(Object.prototype.toString): get:caller call bind toString get:fileName get:lineNumber
Object.getPrototypeOf(Object.prototype.toString): get:columnNumber [Symbol.hasInstance]
Object.prototype.constructor: getPrototypeOf setPrototypeOf isExtensible preventExtensions getOwnPropertyDescriptor
Object.prototype.constructor: is hasOwn
Object.getPrototypeOf(Uint8Array): of get:[Symbol.species]
Object.getPrototypeOf(Uint8Array).prototype: get:length at get:buffer get:byteLength get:byteOffset values keys
Object.getPrototypeOf(Uint8Array).prototype: entries every some forEach map filter reduce reduceRight find
Object.getPrototypeOf(Uint8Array).prototype: findIndex findLast findLastIndex subarray toString
Object.getPrototypeOf(Uint8Array).prototype: get:[Symbol.toStringTag]
globalThis: Error EvalError RangeError ReferenceError SyntaxError TypeError URIError Array parseInt parseFloat
globalThis: isNaN isFinite Number Boolean String Symbol Date Map Set ArrayBuffer DataView Promise
Error.prototype: toString get:stack set:stack
Error: isError
Array: isArray of get:[Symbol.species]
Array.prototype: at every some forEach map filter reduce reduceRight find findIndex findLast findLastIndex pop push
Array.prototype: values keys entries
Number: isNaN isFinite isInteger isSafeInteger
Number.prototype: toExponential toFixed toPrecision toString toLocaleString valueOf
Boolean.prototype: toString valueOf
String: fromCharCode fromCodePoint
String.prototype: at charCodeAt charAt concat codePointAt substring substr slice trim trimEnd trimStart toString
String.prototype: valueOf [Symbol.iterator]
Math: min max abs floor ceil round sqrt acos asin atan atan2 cos exp log pow sin tan trunc sign cosh sinh tanh
Math: acosh asinh atanh expm1 log1p log2 log10 cbrt hypot random f16round fround imul clz32
Reflect: deleteProperty get getOwnPropertyDescriptor getPrototypeOf has isExtensible preventExtensions set
Reflect: setPrototypeOf
Symbol: for keyFor
Symbol.prototype: toString valueOf get:description [Symbol.toPrimitive]
BigInt.prototype: valueOf
Date: now parse UTC
Date.prototype: valueOf toString toUTCString toISOString toDateString toTimeString toLocaleString
Date.prototype: toLocaleDateString toLocaleTimeString getTimezoneOffset getTime getYear getFullYear getUTCFullYear
Date.prototype: getMonth getUTCMonth getDate getUTCDate getHours getUTCHours getMinutes getUTCMinutes getSeconds
Date.prototype: getUTCSeconds getMilliseconds getUTCMilliseconds getDay getUTCDay setTime setMilliseconds
Date.prototype: setUTCMilliseconds setSeconds setUTCSeconds setMinutes setUTCMinutes setHours setUTCHours setDate
Date.prototype: setUTCDate setMonth setUTCMonth setYear setFullYear setUTCFullYear toJSON [Symbol.toPrimitive]
RegExp.prototype: get:flags get:source get:global get:ignoreCase get:multiline get:dotAll get:unicode
RegExp.prototype: get:unicodeSets get:sticky get:hasIndices
RegExp: get:[Symbol.species]
JSON: isRawJSON
Map.prototype: set get getOrInsert getOrInsertComputed has delete clear get:size forEach values keys entries
Map: get:[Symbol.species]
Set.prototype: add has delete clear get:size forEach values entries
Set: get:[Symbol.species]
ArrayBuffer: isView get:[Symbol.species]
ArrayBuffer.prototype: get:byteLength get:maxByteLength get:resizable get:detached get:immutable resize slice
ArrayBuffer.prototype: sliceToImmutable transfer transferToImmutable transferToFixedLength
DataView.prototype: get:buffer get:byteLength get:byteOffset getInt8 getUint8 getInt16 getUint16 getInt32 getUint32
DataView.prototype: getFloat16 getFloat32 getFloat64 setInt8 setUint8 setInt16 setUint16 setInt32 setUint32
DataView.prototype: setFloat16 setFloat32 setFloat64
Promise: resolve reject get:[Symbol.species]
Promise.prototype: then catch finally
Object.getPrototypeOf(function* () {}).prototype: next return throw
Object.getPrototypeOf(Object.getPrototypeOf(function* () {}).prototype): [Symbol.iterator]
Object.getPrototypeOf(async function* () {}).prototype: next return throw
Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}).prototype): [Symbol.asyncIterator]
Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}).prototype): [Symbol.asyncDispose]
Object.getPrototypeOf([].values()): next
Object.getPrototypeOf(new Map().entries()): next
Object.getPrototypeOf(new Set().values()): next
Object.getPrototypeOf(\"\"[Symbol.iterator]()): next";

/// Each as owner and name.
fn names(list: &Value) -> Vec<(String, String)> {
    let names = |(owner, names): (&String, &Value)| -> Vec<(String, String)> {
        names.as_array().unwrap().iter().map(|name| (owner.clone(), name.as_str().unwrap().into())).collect()
    };
    list.as_object().unwrap().iter().flat_map(names).collect()
}

fn listed() -> Map<String, Value> {
    once(include_str!("built_ins.js")).unwrap().data
}

/// An expression that finds it.
fn expression((owner, name): &(String, String)) -> String {
    let part = |name: &str| match name.strip_prefix('[') {
        Some(symbol) => symbol.trim_end_matches(']').to_owned(),
        None => format!("{name:?}"),
    };
    match name.split_once(':') {
        Some((half, name)) => format!("Object.getOwnPropertyDescriptor({owner}, {}).{half}", part(name)),
        None if owner == "nobody" => name.clone(),
        None => format!("{owner}[{}]", part(name)),
    }
}

/// A call in an engine of its own.
fn call(source: &str, place: Place) -> Called {
    let script = Inner::new(0, "farm.js", source);
    let shape = check(&script, LIMITS).unwrap();
    // Nothing here is about the clock, but for what never ends.
    let limits = Limits { deadline_here: Duration::from_millis(500), ..LIMITS };
    let mut realm = Realm::load(&script, shape, limits).unwrap();
    realm.call(&script, shape.entries[0].unwrap(), Function::DecodeUplink, &input(&[1, 2, 3]), place)
}

#[test]
fn every_built_in_is_metered_or_known_to_be_quick() {
    let quick = QUICK.lines().filter_map(|line| line.split_once(": "));
    let quick: Vec<_> = quick
        .flat_map(|(owner, names)| names.split(' ').map(move |name| (owner.to_owned(), name.to_owned())))
        .collect();
    let natives = names(&listed()["natives"]);
    for one in &natives {
        assert!(quick.contains(one), "{one:?} is neither metered nor known");
    }
    for one in &quick {
        assert!(natives.contains(one), "{one:?} is not there, or metered");
    }
}

#[test]
fn no_built_in_hangs_on_the_thread_of_its_caller() {
    let list = listed();
    let functions: Vec<_> = names(&list["natives"]).into_iter().chain(names(&list["others"])).collect();
    let cases = functions.iter().enumerate().map(|(n, f)| format!("case {n}: return {};\n", expression(f)));
    let source = include_str!("hostile_calls.js").replace("// CASES", &cases.collect::<String>());
    let (progress, calls) = mpsc::channel();
    std::thread::spawn(move || {
        let script = Inner::new(0, "hostile.js", &source);
        let shape = check(&script, LIMITS).unwrap();
        let entry = shape.entries[0].unwrap();
        for (n, function) in functions.iter().enumerate() {
            // What struck leaves it as it is, and the next call does not mind.
            let mut realm = Realm::load(&script, shape, LIMITS).unwrap();
            let ways = 1 + u8::from(function.0 == "globalThis");
            for (receiver, args, way) in
                (0..7).flat_map(|r| (0..6).flat_map(move |a| (0..ways).map(move |w| (r, a, w))))
            {
                let [low, high, ..] = n.to_le_bytes();
                let bytes = input(&[low, high, receiver, args, way]);
                progress.send((format!("{function:?} {receiver} {args} {way}"), None)).unwrap();
                let called = realm.call(&script, entry, Function::DecodeUplink, &bytes, Place::Caller);
                progress.send((String::new(), Some(called.took))).unwrap();
            }
        }
    });
    let mut last = String::new();
    loop {
        match calls.recv_timeout(Duration::from_secs(30)) {
            Ok((_, Some(took))) => assert!(took < Duration::from_secs(5), "{last}: {took:?}"),
            Ok((case, None)) => last = case,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{last} hangs"),
        }
    }
    assert!(last.contains("constructor"), "ended at {last}");
}

#[test]
fn what_cannot_be_measured_is_thrown_out_and_seen_on_a_thread_of_the_host() {
    for body in [
        "new Array(1e6).join()",
        "'' + new Array(1e6)",
        "[].concat([1], new Array(1e6))",
        "Array.prototype.slice.call({ get length() { return 1 } })",
        "[3, 1, 2].flat()",
        "'x'.repeat(1e5)",
        "JSON.stringify({})",
        "BigInt(5)",
        "new BigInt64Array(1)",
        "new DataView(new ArrayBuffer(8)).getBigInt64(0)",
        "'a'.match('a')",
        "new RegExp('a')",
        "/a/.constructor('a')",
        "'a'.normalize()",
        "Array.from({ length: 3 })",
        "for (var i = 0; i < 1000; i++) [1, 2, 3].slice(); for (i = 0; i < 600; i++) Object.keys({})",
        "try { JSON.stringify({}) } catch (e) {}",
    ] {
        let source = format!("function decodeUplink() {{ {body}; return {{ data: {{}} }} }}");
        let here = call(&source, Place::Caller);
        assert!(!here.light, "{body}");
        let there = call(&source, Place::Worker);
        assert!(there.answer.is_ok() && !there.light, "{body}: {:?}", there.answer);
    }
    let endless = call("function decodeUplink() { while (true) {} }", Place::Caller);
    assert!(!endless.light && !endless.keep && endless.took < Duration::from_secs(2), "{:?}", endless.took);
}

/// Metered on both threads, and in a context for this call alone, where nothing is metered.
#[test]
fn metered_built_ins_do_what_they_did() {
    let lines: Vec<&str> =
        include_str!("metered.js").lines().filter(|line| !line.starts_with("//")).collect();
    let (head, lines) = lines.split_first().unwrap();
    for line in lines {
        let source = format!("function decodeUplink() {{ {head} {line} return {{ data: made }} }}");
        let unmetered = call(&format!("Array.prototype.unmetered = 1; {source}"), Place::Worker);
        let want = unmetered.answer.unwrap().into_decoded().unwrap();
        assert!(!want.data.is_empty(), "{line}");
        for place in [Place::Worker, Place::Caller] {
            let called = call(&source, place);
            let answer = called.answer.unwrap_or_else(|error| panic!("{place:?} {line}: {error}"));
            assert_eq!(answer.into_decoded().unwrap(), want, "{place:?} {line}");
            assert!(called.light, "{place:?} {line}");
        }
    }
}

#[test]
fn metered_built_ins_look_as_they_did() {
    let source = format!("function decodeUplink() {{ {} }}", include_str!("names.js"));
    let names = |source: &str| call(source, Place::Worker).answer.unwrap().into_decoded().unwrap();
    let want = names(&format!("Array.prototype.unmetered = 1; {source}"));
    assert!(want.data["names"].as_array().unwrap().len() > 100, "{want:?}");
    assert_eq!(names(&source), want);
}

#[test]
fn what_is_not_enumerable_in_the_global_object_is_found_too() {
    for body in [
        "Object.defineProperty(globalThis, 'n', { value: was + 1, configurable: true })",
        "Reflect.defineProperty(globalThis, 'n', { value: was + 1, configurable: true })",
        "Object.defineProperties(globalThis, { n: { value: was + 1, configurable: true } })",
        "globalThis.__defineGetter__('n', function () { return was + 1 })",
        "Object.getOwnPropertyDescriptor(Error.prototype, 'stack').set.call(globalThis, 'x'); \
         globalThis.n = typeof stack === 'undefined' ? 5 : 6",
        "class B { constructor(o) { return o } } class C extends B { n = was + 1 } new C(globalThis)",
        "Array.prototype.push.call(globalThis, was)",
    ] {
        let source = format!(
            "function decodeUplink() {{ var was = globalThis.n || globalThis.length || 0; {body}; \
             return {{ data: {{ was: was, stack: typeof stack }} }} }}"
        );
        let script = Inner::new(0, "farm.js", &source);
        let shape = check(&script, LIMITS).unwrap();
        let mut realm = Realm::load(&script, shape, LIMITS).unwrap();
        let mut first = None;
        for _ in 0..3 {
            let called = realm.call(
                &script,
                shape.entries[0].unwrap(),
                Function::DecodeUplink,
                &input(&[]),
                Place::Worker,
            );
            let answer = called.answer.unwrap();
            assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer, "{body}");
            assert!(called.keep, "{body}");
        }
    }
}
