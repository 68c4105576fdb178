//! Nothing of one call is there in the next.

use super::*;

/// The same call again and again, on a thread of the host and on this one; every answer must be the first. `warm` says
/// that no call needs a new context.
fn alike(source: &str, warm: bool) {
    let host = patient();
    let script = host.compile("farm.js", source).unwrap();
    assert_eq!(script.shape.changes_built_ins, !warm, "{source}");
    let first = decode(&host, &script, &[1]);
    for here in [false, true, true, false, true] {
        if here {
            script.inner.standing.trust();
        } else {
            script.inner.standing.lose();
        }
        assert_eq!(decode(&host, &script, &[1]), first, "{source}");
    }
    assert!(first.is_ok(), "{source}: {first:?}");
}

#[test]
fn nothing_of_the_scripts_own_is_left_behind() {
    for source in [
        "var n = 0; function decodeUplink() { return { data: { n: ++n } } }",
        "let n = 0; const a = []; function decodeUplink() { a.push(n++); return { data: { a: a } } }",
        "n = 0; function decodeUplink() { return { data: { n: ++n } } }",
        "function decodeUplink() { if (typeof n == 'undefined') n = 0; return { data: { n: ++n } } }",
        "function decodeUplink() { this.n = (this.n || 0) + 1; return { data: { n: this.n } } }",
        "var s = Symbol.for('n'); function decodeUplink() { globalThis[s] = (globalThis[s] || 0) + 1; \
         return { data: { n: globalThis[s] } } }",
        "var next = (function () { var n = 0; return function () { return ++n } })(); \
         function decodeUplink() { return { data: { n: next() } } }",
        "function* count() { var n = 0; while (true) yield n++ } var it = count(); \
         function decodeUplink() { return { data: { n: it.next().value } } }",
        "var m = new Map(); function decodeUplink() { m.set(m.size, 1); return { data: { n: m.size } } }",
        "var d = new Date(0); function decodeUplink() { d.setTime(d.getTime() + 1); return { data: { d: d } } }",
        "var r = /a/g; function decodeUplink() { r.test('aa'); return { data: { n: r.lastIndex } } }",
        "function decodeUplink() { var f = decodeUplink; f.n = (f.n || 0) + 1; return { data: { n: f.n } } }",
        "class C { static n = 0 } function decodeUplink() { return { data: { n: ++C.n } } }",
        "function decodeUplink(input) { input.bytes.push(9); input.device.id = 'other'; \
         return { data: { n: input.bytes.length } } }",
        "module.exports.n = 0; exports.decodeUplink = function () { return { data: { n: ++module.exports.n } } }",
        "var was = typeof m\\u006fdule; m\\u006fdule = 5; \
         function decodeUplink() { return { data: { n: was, m: m\\u006fdule++ } } }",
        "arguments.callee.n = (arguments.callee.n || 0) + 1; var n = arguments.callee.n; \
         function decodeUplink() { return { data: { n: n } } }",
    ] {
        alike(source, true);
    }
}

#[test]
fn nothing_in_the_built_ins_is_left_behind() {
    for body in [
        "Array.prototype.n = (Array.prototype.n || 0) + 1; return { data: { n: [].n } }",
        "var P = Array['proto' + 'type']; P.n = (P.n || 0) + 1; return { data: { n: P.n === undefined } }",
        "var p = ({}).__proto__; try { p.toString = 1 } catch (e) { var m = e.message } return { data: { m: m } }",
        "var f = Math.max; f.n = (f.n || 0) + 1; return { data: { n: f.n === undefined } }",
        "var f = [].push; try { Object.defineProperty(f, 'name', { value: f.name + 'x' }) } catch (e) {} \
         return { data: { n: f.name } }",
        "var p = Object.getPrototypeOf(function* () {}); p.n = (p.n || 0) + 1; return { data: { n: p.n === undefined } }",
        "var p = Object.getPrototypeOf([][Symbol.iterator]()); p.n = (p.n || 0) + 1; \
         return { data: { n: p.n === undefined } }",
        "parseInt = function () { return 5 }; return { data: { n: parseInt('7') } }",
        "try { Object.defineProperty(globalThis, 'n', { value: (globalThis.n || 0) + 1 }) } catch (e) {} \
         return { data: { n: globalThis.n } }",
        "var was = Object.isExtensible(globalThis); Object.preventExtensions(globalThis); return { data: { was: was } }",
        "var was = Object.getPrototypeOf(globalThis) === Object.prototype; \
         Object.setPrototypeOf(globalThis, { z: 1 }); return { data: { was: was } }",
        "for (var i = 0; i < 5000; i++) globalThis['g' + i] = (globalThis['g' + i] || 0) + 1; return { data: { n: g7 } }",
        "Promise.resolve().then(function () { globalThis.n = 1 }); return { data: { n: typeof n } }",
        "console.n = (console.n || 0) + 1; return { data: { n: console.n === undefined } }",
        "Error.stackTraceLimit = (Error.stackTraceLimit || 0) + 1; \
         return { data: { n: Error.stackTraceLimit === undefined } }",
        "return { data: { a: [typeof eval, typeof Proxy, typeof queueMicrotask, typeof WeakRef] } }",
        "class Base { constructor(o) { return o } } class Stamp extends Base { #n = 1; static has(o) { return #n in o } } \
         var had = Stamp.has(Math); try { new Stamp(Math) } catch (e) {} return { data: { had: had } }",
    ] {
        alike(&format!("function decodeUplink() {{ {body} }}"), !body.contains("Array.prototype.n ="));
    }
}

/// Whatever can be reached from the global object or by syntax is frozen, so nothing can be left in it.
#[test]
fn every_built_in_is_frozen() {
    let decoded = body(
        "var seen = [], loose = [];
         function look(o, path) {
             if ((typeof o !== 'object' && typeof o !== 'function') || o === null || seen.includes(o)) return;
             seen.push(o);
             if (o !== globalThis && !Object.isFrozen(o)) loose.push(path);
             look(Object.getPrototypeOf(o), path + '^');
             Reflect.ownKeys(o).forEach(function (k) {
                 var d = Reflect.getOwnPropertyDescriptor(o, k), p = path + '.' + String(k);
                 if (o === globalThis && (d.configurable || d.writable)) loose.push(p);
                 look(d.value, p); look(d.get, p + ' get'); look(d.set, p + ' set');
             });
         }
         look(globalThis, 'g');
         [function* () {}, async function () {}, async function* () {},
          [][Symbol.iterator](), [].entries(), new Map().entries(), new Set().values(), 'x'[Symbol.iterator](),
          new Uint8Array(1).keys(), new Date(), /x/, new Error('x'), 5n, Symbol.iterator, Promise.resolve(1),
          new ArrayBuffer(1), new DataView(new ArrayBuffer(1)), function () {}, () => 1, class {}, 1, 'x', true]
             .forEach(function (o, i) { look(Object.getPrototypeOf(o), 'hidden' + i) });
         look(Object.getPrototypeOf((function () { return arguments })()), 'arguments');
         return { data: { seen: seen.length > 300, loose: loose } };",
    )
    .unwrap();
    assert_eq!(json(&decoded), r#"{"seen":true,"loose":[]}"#);
}

#[test]
fn code_from_strings_is_refused() {
    for code in [
        "new Function('return 1')",
        "Function('return 1')",
        "(function () {}).constructor('return 1')",
        "(function* () {}).constructor('yield 1')",
        "(async function () {}).constructor('return 1')",
        "(async function* () {}).constructor('return 1')",
        "Reflect.construct(Object.getPrototypeOf(decodeUplink).constructor, ['}); let n = 0; (function () {'])",
        "eval('1')",
        "(0, eval)('let n = 0')",
    ] {
        let error = body(&format!("return {{ data: {{ v: {code} }} }}")).unwrap_err();
        assert!(matches!(error, ScriptError::Thrown(_)), "{code}: {error}");
    }
    assert_eq!(
        json(&body("return { data: { f: decodeUplink instanceof Function } }").unwrap()),
        r#"{"f":true}"#
    );
}

#[test]
fn ordinary_code_does_not_notice_frozen_built_ins() {
    let source = r"
        function Failure(message) { this.message = message; }
        Failure.prototype = Object.create(Error.prototype);
        Failure.prototype.constructor = Failure;
        Failure.prototype.name = 'Failure';
        Failure.prototype.toString = function () { return this.name + '!' + this.message; };
        function decodeUplink() {
            var e = new Error('x');
            e.name = 'Mine'; e.message = 'other';
            var o = { toString: null };
            o.valueOf = function () { return 4 };
            o.constructor = 5;
            o.hasOwnProperty = 6;
            var a = []; for (var i = 0; i < 100; i++) a[i] = i; a.length = 50; a.reverse().sort().push('x');
            return { data: {
                failure: String(new Failure('f')), is: new Failure('f') instanceof Error, error: String(e),
                keys: Object.keys(o).join(), value: o + 1, list: a.length, has: ({ a: 1 }).hasOwnProperty('a'),
                text: 'a-b'.split('-').map(function (s) { return s.toUpperCase() }).join('+'),
                hex: [1, 171].map(function (b) { return ('0' + b.toString(16)).slice(-2) }).join(''),
                view: new DataView(new Uint8Array([64, 73, 15, 219]).buffer).getFloat32(0).toFixed(5),
                round: Math.round(2.5), json: JSON.stringify({ a: [1] }), set: [...new Set([1, 1, 2])].length,
                symbol: `${[1, 2]}`, spread: { ...{ a: 1 } }.a, regex: 'T=21.5'.replace(/T=(\d+)/, '$1'),
            } };
        }";
    assert_eq!(
        json(&once(source).unwrap()),
        concat!(
            r#"{"failure":"Failure!f","is":true,"error":"Mine: other","keys":"toString,valueOf,constructor,hasOwnProperty","#,
            r#""value":5,"list":51,"has":true,"text":"A+B","hex":"01ab","view":"3.14159","round":3,"json":"{\"a\":[1]}","#,
            r#""set":2,"symbol":"1,2","spread":1,"regex":"21.5"}"#
        )
    );
}

#[test]
fn scripts_that_add_to_built_ins_work_with_a_new_context_for_every_call() {
    for source in [
        "Array.prototype.sum = function () { return this.reduce(function (a, b) { return a + b }) };\n\
         function decodeUplink(input) { return { data: { n: input.bytes.sum() } } }",
        "function decodeUplink(input) { String.prototype.twice = function () { return this + this }; \
         return { data: { n: Number('1'.twice()) } } }",
        "var n = 0, O = Object; O.defineProperty(O.prototype, 'n', { get: function () { return ++n } });\n\
         function decodeUplink() { return { data: { n: ({}).n } } }",
    ] {
        alike(source, false);
    }
}

#[test]
fn engines_beyond_the_bound_are_loaded_again() {
    let host = JsHost::new(HostConfig { loaded: 2, ..HostConfig::default() }).unwrap();
    let scripts: Vec<Script> = (0..4)
        .map(|n| {
            let source = format!("function decodeUplink() {{ return {{ data: {{ n: {n} }} }} }}");
            host.compile("farm.js", &source).unwrap()
        })
        .collect();
    for _ in 0..2 {
        for (n, script) in scripts.iter().enumerate() {
            assert_eq!(decode(&host, script, &[]).unwrap().data["n"], n);
            assert!(host.stats().loaded <= 2);
        }
    }
    drop(scripts);
    assert_eq!(host.stats().loaded, 0);
}
