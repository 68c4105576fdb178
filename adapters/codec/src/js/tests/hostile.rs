//! Scripts that loop, hoard, recurse or hang, and what that costs the others: their own call.

use std::sync::mpsc;

use super::*;

const GOOD: &str = "function decodeUplink(input) { return { data: { n: input.bytes[0] } } }";
const ENDLESS: &str = "function decodeUplink() { while (true) {} }";

/// `decodeUplink` with this body when the first byte is 0; a good answer otherwise.
fn half_bad(body: &str) -> String {
    format!(
        "function decodeUplink(input) {{ if (input.bytes[0] === 0) {{ {body} }} return {{ data: {{ n: 1 }} }} }}"
    )
}

/// The engine joins the empty places in its own code, which looks neither at the clock nor at the failed allocation: a
/// second or two. Without optimisation the engine is many times slower.
fn hanging() -> String {
    let length = if cfg!(debug_assertions) { 2e7 } else { 2e8 };
    half_bad(&format!("return {{ data: {{ n: (new Array({length}) + '').length }} }}"))
}

#[test]
fn a_bad_call_costs_itself_alone() {
    type Is = fn(&ScriptError) -> bool;
    let timed_out: Is = |error| matches!(error, ScriptError::TimedOut(_));
    let memory: Is = |error| matches!(error, ScriptError::OutOfMemory(_));
    let either: Is = |error| matches!(error, ScriptError::OutOfMemory(_) | ScriptError::TimedOut(_));
    let stack: Is = |error| matches!(error, ScriptError::StackOverflow(_));
    let strange: Is = |error| matches!(error, ScriptError::StrangeReturn(_));
    let host = impatient(1);
    for (body, expected) in [
        ("while (true) {}", timed_out),
        ("while (true) { try { while (true) {} } catch (e) {} finally { continue } }", timed_out),
        ("for (;;) console.log('x')", timed_out),
        ("/^(a+)+$/.test('a'.repeat(40) + '!')", timed_out),
        ("return { get data() { while (true) {} } }", timed_out),
        ("throw { get message() { while (true) {} } }", timed_out),
        ("[3, 2, 1].sort(function () { while (true) {} })", timed_out),
        ("'a'.repeat(1e3).replace(/a/g, function () { while (true) {} })", timed_out),
        ("var a = []; while (true) a.push(new Array(1000).fill(1))", either),
        ("var s = 'x'; while (true) { s += s; s.charCodeAt(0) }", memory),
        ("new Uint8Array(1e9)", memory),
        ("'x'.repeat(5e8).split('')", memory),
        ("(function f() { f(); })()", stack),
        ("var a = []; for (var i = 0; i < 1e4; i++) a = [a]; JSON.stringify(a)", stack),
        ("async function loop() { while (true) await 1 } return loop()", strange),
    ] {
        let script = host.compile("farm.js", &half_bad(body)).unwrap();
        let other = host.compile("other.js", GOOD).unwrap();
        for _ in 0..2 {
            assert_eq!(decode(&host, &script, &[1]).unwrap().data["n"], 1, "{body}");
            let error = decode(&host, &script, &[0]).unwrap_err();
            assert!(expected(&error), "{body}: {error:?}");
            assert_eq!(decode(&host, &other, &[5]).unwrap().data["n"], 5, "{body}");
        }
    }
    assert_eq!(host.stats().abandoned, 0);
}

#[test]
fn jobs_that_a_call_leaves_are_never_run() {
    let host = impatient(1);
    let source = half_bad("function f() { Promise.resolve().then(f) } f(); return { data: { n: 2 } }");
    let script = host.compile("farm.js", &source).unwrap();
    for _ in 0..3 {
        assert_eq!(decode(&host, &script, &[0]).unwrap().data["n"], 2);
        assert_eq!(host.stats().loaded, 0);
        assert_eq!(decode(&host, &script, &[1]).unwrap().data["n"], 1);
        assert_eq!(host.stats().loaded, 1);
    }
}

#[test]
fn the_top_level_is_bounded_too() {
    let host = impatient(1);
    let rest = "function decodeUplink() { return { data: {} } }";
    let looping = host.compile("farm.js", &format!("while (true) {{}}\n{rest}")).unwrap_err();
    assert!(matches!(looping, ScriptError::TimedOut(_)), "{looping:?}");
    assert_eq!(looping.fault().line, Some(1));
    let hoarding = host.compile("farm.js", &format!("var a = 'x'.repeat(9e6)\n{rest}")).unwrap_err();
    assert!(matches!(hoarding, ScriptError::OutOfMemory(_)), "{hoarding:?}");
    let throwing = host.compile("farm.js", &format!("\n  throw new Error('early')\n{rest}")).unwrap_err();
    assert_eq!(throwing.to_string(), "codec \"farm.js\" line 2, column 13: Error: early");
}

#[test]
fn scripts_take_turns() {
    let host = impatient(1);
    let slow = host.compile("slow.js", ENDLESS).unwrap();
    let quick = host.compile("quick.js", GOOD).unwrap();
    let (order, finished) = mpsc::channel();
    let calls: Vec<_> = (0..6).map(|_| host.call(&slow, Function::DecodeUplink, input(&[]))).collect();
    std::thread::scope(|scope| {
        for call in calls {
            let order = order.clone();
            scope.spawn(move || {
                assert!(matches!(wait(call), Err(ScriptError::TimedOut(_))));
                order.send("slow").unwrap();
            });
        }
        // Six slow calls came before; this one waits for the running one and for one more at most.
        decode(&host, &quick, &[1]).unwrap();
        order.send("quick").unwrap();
    });
    let place = finished.try_iter().position(|name| name == "quick").unwrap();
    assert!(place <= 3, "the quick script came after {place} slow ones");
}

#[test]
fn a_full_queue_refuses_and_the_rest_is_served() {
    let config =
        HostConfig { workers: 1, queue: 4, deadline: Duration::from_millis(20), ..HostConfig::default() };
    let host = JsHost::new(config).unwrap();
    let slow = host.compile("slow.js", ENDLESS).unwrap();
    let quick = host.compile("quick.js", GOOD).unwrap();
    let calls: Vec<_> = (0..8).map(|_| host.call(&slow, Function::DecodeUplink, input(&[]))).collect();
    // Two wait, and perhaps one runs already; there is room for others.
    assert_eq!(decode(&host, &quick, &[7]).unwrap().data["n"], 7);
    let errors: Vec<_> = calls.into_iter().map(|call| wait(call).unwrap_err()).collect();
    let busy = errors.iter().filter(|error| error.is_transient()).count();
    assert!((5..=6).contains(&busy), "{errors:?}");
    assert!(
        errors.iter().all(|e| matches!(e, ScriptError::HostBusy(_) | ScriptError::TimedOut(_))),
        "{errors:?}"
    );
}

#[test]
fn a_call_that_hangs_in_a_built_in_is_left_behind() {
    let config =
        HostConfig { workers: 1, abandoned: 1, deadline: Duration::from_millis(20), ..HostConfig::default() };
    let host = JsHost::new(config).unwrap();
    let hanging = hanging();
    let script = host.compile("farm.js", &hanging).unwrap();
    let other = host.compile("other.js", GOOD).unwrap();
    let first = host.call(&script, Function::DecodeUplink, input(&[0]));
    let second = host.call(&script, Function::DecodeUplink, input(&[1]));
    let third = host.call(&other, Function::DecodeUplink, input(&[3]));
    for call in [first, second] {
        let error = wait(call).unwrap_err();
        assert!(matches!(error, ScriptError::Abandoned(_)), "{error:?}");
    }
    assert_eq!(wait(third).unwrap().into_decoded().unwrap().data["n"], 3);
    let stats = host.stats();
    assert_eq!((stats.workers, stats.abandoned), (1, 1));
    assert!(matches!(decode(&host, &script, &[1]), Err(ScriptError::Abandoned(_))));
    assert!(matches!(host.compile("farm.js", &hanging), Err(ScriptError::Abandoned(_))));
    assert!(host.compile("farm.js", GOOD).is_ok());
}

#[test]
fn without_a_thread_left_everything_is_refused_until_one_comes_back() {
    let config =
        HostConfig { workers: 1, abandoned: 0, deadline: Duration::from_millis(20), ..HostConfig::default() };
    let host = JsHost::new(config).unwrap();
    let hanging = hanging();
    let script = host.compile("farm.js", &hanging).unwrap();
    let other = host.compile("other.js", GOOD).unwrap();
    let hung = host.call(&script, Function::DecodeUplink, input(&[0]));
    let waiting = host.call(&other, Function::DecodeUplink, input(&[3]));
    assert!(matches!(wait(hung), Err(ScriptError::Abandoned(_))));
    assert!(matches!(wait(waiting), Err(ScriptError::HostBusy(_))));
    // The search ends some time; then the thread takes its place again.
    while host.stats().workers == 0 {
        std::thread::yield_now();
    }
    assert_eq!(decode(&host, &other, &[3]).unwrap().data["n"], 3);
    assert_eq!(host.stats().abandoned, 0);
}

#[test]
fn a_dropped_host_answers_what_waits() {
    let host = impatient(1);
    let slow = host.compile("slow.js", ENDLESS).unwrap();
    let calls: Vec<_> = (0..3).map(|_| host.call(&slow, Function::DecodeUplink, input(&[]))).collect();
    drop(host);
    for call in calls {
        assert!(matches!(wait(call), Err(ScriptError::HostBusy(_) | ScriptError::TimedOut(_))));
    }
}
