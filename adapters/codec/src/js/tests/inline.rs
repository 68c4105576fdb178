//! Calls on the thread of their caller: who gets one, and what becomes of it when it goes wrong.

use std::task::Context;

use futures_channel::oneshot;

use super::*;

const DECODER: &str = "var calls = 0; function decodeUplink(input) { calls++; \
    if (input.bytes[0] === 0) while (true) {} \
    if (input.bytes[0] === 1) return { data: { n: JSON.stringify({ a: input.bytes }), calls: calls } }; \
    return { data: { n: input.bytes[0], calls: calls } } }";

fn trusted(host: &JsHost, source: &str) -> Script {
    let script = host.compile("farm.js", source).unwrap();
    decode(host, &script, &[9]).unwrap();
    script.inner.standing.trust();
    script
}

/// Runs this while the only thread of the host is busy, and tells whether it still was in the end.
fn while_busy(host: &JsHost, work: impl FnOnce()) -> bool {
    let slow = host.compile("slow.js", "function decodeUplink() { while (true) {} }").unwrap();
    let mut busy = pin!(host.call(&slow, Function::DecodeUplink, input(&[])));
    work();
    let mut context = Context::from_waker(Waker::noop());
    busy.as_mut().poll(&mut context).is_pending()
}

fn one_thread() -> JsHost {
    JsHost::new(HostConfig { workers: 1, deadline: Duration::from_secs(2), ..HostConfig::default() }).unwrap()
}

#[test]
fn a_script_that_earned_it_needs_no_thread_of_the_host() {
    let host = one_thread();
    let script = trusted(&host, DECODER);
    let still_busy = while_busy(&host, || {
        for n in 2..5 {
            assert_eq!(decode(&host, &script, &[n]).unwrap().data["n"], n);
            script.inner.standing.trust();
            let answer = wait(host.call(&script, Function::DecodeUplink, input(&[n]))).unwrap();
            assert_eq!(answer.into_decoded().unwrap().data["n"], n);
            script.inner.standing.trust();
        }
    });
    assert!(still_busy);
    assert_eq!(host.stats().loaded, 1);
}

#[test]
fn nobody_else_runs_on_the_thread_of_its_caller() {
    let host = one_thread();
    let untrusted = host.compile("farm.js", DECODER).unwrap();
    let integers = trusted(&host, "function decodeUplink() { return { data: { n: Number(5n) } } }");
    let changes =
        trusted(&host, "Array.prototype.x = 1; function decodeUplink() { return { data: { n: 5 } } }");
    for script in [&untrusted, &integers, &changes] {
        assert!(!while_busy(&host, || {
            let _ = decode(&host, script, &[5]);
        }));
    }
    let never =
        HostConfig { workers: 1, inline: false, deadline: Duration::from_secs(2), ..HostConfig::default() };
    let host = JsHost::new(never).unwrap();
    let script = trusted(&host, DECODER);
    assert!(!while_busy(&host, || drop(decode(&host, &script, &[5]))));
}

#[test]
fn one_that_suddenly_loops_is_thrown_out_and_costs_only_its_message() {
    let host = impatient(1);
    let script = trusted(&host, DECODER);
    let other = trusted(&host, DECODER);
    // Made again on the thread of the host, which gives it the whole deadline.
    let error = decode(&host, &script, &[0]).unwrap_err();
    assert!(matches!(error, ScriptError::TimedOut(_)), "{error:?}");
    assert!(!script.inner.standing.is_good() && other.inner.standing.is_good());
    for n in 2..5 {
        assert_eq!(decode(&host, &script, &[n]).unwrap().data["n"], n);
        assert_eq!(decode(&host, &other, &[n]).unwrap().data["n"], n);
    }
    (0..900).for_each(|_| script.inner.standing.record(Duration::ZERO, true));
    assert!(!script.inner.standing.is_good());
    assert_eq!(host.stats().abandoned, 0);
}

#[test]
fn a_call_that_is_thrown_out_is_answered_all_the_same() {
    let host = patient();
    let script = trusted(&host, DECODER);
    let decoded = decode(&host, &script, &[1]).unwrap();
    assert_eq!(json(&decoded), r#"{"n":"{\"a\":[1]}","calls":1}"#);
    assert!(!script.inner.standing.is_good());
    // Slower than any call on its caller's thread may be.
    let slow = trusted(
        &host,
        "function decodeUplink() { var end = Date.now() + 20; while (Date.now() < end); return { data: { n: 7 } } }",
    );
    assert_eq!(decode(&host, &slow, &[1]).unwrap().data["n"], 7);
    assert!(!slow.inner.standing.is_good());
    // Larger, too.
    let large = trusted(
        &host,
        "function decodeUplink() { var a = []; for (var i = 0; i < 2e4; i++) a.push({}); return { data: { n: a.length } } }",
    );
    assert_eq!(decode(&host, &large, &[1]).unwrap().data["n"], 20_000);
    assert!(!large.inner.standing.is_good());
}

#[test]
fn errors_of_the_script_are_errors_there_too() {
    let host = one_thread();
    let script = trusted(
        &host,
        "function decodeUplink(input) {\n  if (input.bytes[0] === 3) throw new Error('bad probe');\n  return { data: {} }; }",
    );
    let still_busy = while_busy(&host, || {
        let error = decode(&host, &script, &[3]).unwrap_err();
        assert_eq!(error.to_string(), "codec \"farm.js\" line 2, column 39: Error: bad probe");
    });
    assert!(still_busy && script.inner.standing.is_good());
}

#[test]
fn a_busy_engine_is_left_to_the_threads_of_the_host() {
    let host = patient();
    let script = trusted(&host, DECODER);
    let engines = script.inner.engines.lock_all();
    let (sender, receiver) = oneshot::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(decode(&host, &script, &[5])).unwrap());
        // A thread of the host waits for the engine: nobody overtakes it.
        while script.inner.engines.waiting() == 0 {
            std::thread::yield_now();
        }
        drop(engines);
    });
    assert_eq!(wait(receiver).unwrap().unwrap().data["n"], 5);
    assert_eq!(host.stats().loaded, 1);
}

#[test]
fn many_callers_of_one_script_get_their_own_answers() {
    let host = patient();
    let script = trusted(&host, DECODER);
    std::thread::scope(|scope| {
        for caller in 0..4_u8 {
            let (host, script) = (&host, &script);
            scope.spawn(move || {
                for n in 0..200_u8 {
                    let byte = 2 + caller * 50 + n % 50;
                    if n % 7 == 0 {
                        script.inner.standing.trust();
                    }
                    let decoded = decode(host, script, &[byte]).unwrap();
                    assert_eq!((&decoded.data["n"], &decoded.data["calls"]), (&byte.into(), &1.into()));
                }
            });
        }
    });
    assert!(host.stats().loaded <= HostConfig::default().workers);
}
