//! Decoders in the warm host beside the engine by itself, native ones, and many of them at once. Not here: the path of a
//! webhook that needs one.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bridge_core::Timestamp;
use codec::js::{CallInput, Function, HostConfig, JsHost, Script, ScriptError};
use codec::{Codec, Format, Input, Spec};
use rquickjs::function::Constructor;
use rquickjs::{Array, Coerced, Context, Ctx, Function as JsFunction, Object, Runtime, Value};

use crate::verdict;

/// A decoder of 11 bytes as there are many.
pub(crate) const CLIMATE: &str = include_str!("climate.js");
const UPLINK: [u8; 11] = [0xcb, 0xf6, 0x0b, 0x0d, 0x03, 0x76, 0x01, 0x0a, 0xdd, 0x7f, 0xff];
const CALLS: usize = 20_000;

/// Measures and prints.
pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> {
    let host = JsHost::new(HostConfig::default())?;
    let script = host.compile("climate.js", CLIMATE)?;
    println!("codecs, 11 bytes");
    let (mut engine, mut hosted) = (Vec::new(), Vec::new());
    for _ in 0..crate::ROUNDS {
        engine.push(bare_engine()?);
        hosted.push(median((0..CALLS).map(|_| timed(&host, &script)).collect::<Result<_, _>>()?));
    }
    let (engine, hosted) = (median(engine), median(hosted));
    verdict("JavaScript, median, \u{b5}s", micros(hosted), "<=", 25.0);
    verdict("JavaScript, of the engine's", micros(hosted) / micros(engine), "<=", 1.5);
    native()?;
    let (loaded, kilobytes) = many(&host)?;
    println!("  1,000 scripts, {loaded} of them kept as engines");
    verdict("1,000 scripts, MiB", kilobytes as f64 / 1024.0, "<=", 200.0);
    Ok(())
}

/// Decoding and normalising.
fn native() -> Result<(), Box<dyn std::error::Error>> {
    let grammar =
        "temperature::int:16 humidity::uint:8 battery::uint:8 count::uint:32 light::uint:16 open::bool:7";
    let sigfox: &[u8] = &[0, 21, 48, 30, 0, 0, 1, 2, 3, 4, 0x80];
    let lpp: &[u8] = &[1, 103, 0, 215, 2, 104, 96, 3, 2, 1, 74];
    let senml = br#"[{"n":"temperature","u":"Cel","v":21.5}]"#;
    for (name, format, bytes) in [
        ("Cayenne LPP, \u{b5}s", Format::Cayenne, lpp),
        ("Sigfox grammar, \u{b5}s", Format::Sigfox { grammar: grammar.into() }, sigfox),
        ("SenML, \u{b5}s", Format::Senml, senml),
        ("CBOR, \u{b5}s", Format::Cbor, b"\xA2\x61t\x18\x15\x61h\x18\x40"),
    ] {
        let spec = Spec::plain(name, format);
        let codec = Codec::new(spec, || Err(std::io::ErrorKind::Unsupported.into()))?;
        let input = Input { bytes, port: Some(1), received_at: Timestamp::EPOCH };
        // The clock takes as long as the decoder: a hundred at a time.
        let times = (0..CALLS / 100).map(|_| {
            let begun = Instant::now();
            (0..100).for_each(|_| drop(black_box(codec.decode_now(black_box(&input)))));
            begun.elapsed() / 100
        });
        verdict(name, micros(median(times.collect())), "<=", 1.0);
    }
    Ok(())
}

/// The engine with what a caller needs at least: bytes in an array, the data as a map.
fn bare_engine() -> Result<Duration, Box<dyn std::error::Error>> {
    let runtime = Runtime::new()?;
    let context = Context::full(&runtime)?;
    let times = context.with(|ctx| -> rquickjs::Result<Vec<Duration>> {
        ctx.eval::<(), _>(CLIMATE)?;
        let decode: JsFunction<'_> = ctx.globals().get("decodeUplink")?;
        let date: Constructor<'_> = ctx.globals().get("Date")?;
        (0..CALLS)
            .map(|_| {
                let start = Instant::now();
                call_bare(&ctx, &decode, &date)?;
                Ok(start.elapsed())
            })
            .collect()
    })?;
    Ok(median(times))
}

fn call_bare<'js>(
    ctx: &Ctx<'js>,
    decode: &JsFunction<'js>,
    date: &Constructor<'js>,
) -> rquickjs::Result<BTreeMap<String, String>> {
    let bytes = Array::new(ctx.clone())?;
    for (index, byte) in UPLINK.iter().enumerate() {
        bytes.set(index, i32::from(*byte))?;
    }
    let input = Object::new(ctx.clone())?;
    input.set("bytes", bytes)?;
    input.set("fPort", 2)?;
    input.set("recvTime", date.construct::<_, Value<'js>>((1_715_597_740_306_f64,))?)?;
    input.set("variables", Object::new(ctx.clone())?)?;
    let output: Object<'js> = decode.call((input,))?;
    let data: Object<'js> = output.get("data")?;
    data.props::<String, Coerced<String>>().map(|entry| entry.map(|(key, value)| (key, value.0))).collect()
}

/// How many engines are kept, and the memory of all, in KiB.
fn many(host: &JsHost) -> Result<(usize, usize), ScriptError> {
    let before = resident_kilobytes();
    let mut scripts = Vec::new();
    for number in 0..1000 {
        let script = host.compile("many.js", &format!("{CLIMATE}\n// {number}"))?;
        timed(host, &script)?;
        scripts.push(script);
    }
    Ok((host.stats().loaded, resident_kilobytes().saturating_sub(before)))
}

fn timed(host: &JsHost, script: &Script) -> Result<Duration, ScriptError> {
    let input = CallInput::new(UPLINK.to_vec(), Some(2), Timestamp::EPOCH);
    let start = Instant::now();
    host.call_blocking(script, Function::DecodeUplink, input)?;
    Ok(start.elapsed())
}

/// Of this process, from Linux; 0 elsewhere.
fn resident_kilobytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
