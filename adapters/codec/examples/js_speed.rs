//! How long a decoder takes in the warm host, and how long the engine takes by itself. A measurement, not a test:
//! `cargo run --release -p codec --example js_speed`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bridge_core::time::Timestamp;
use codec::js::{CallInput, Function, HostConfig, JsHost, Script};
use rquickjs::function::Constructor;
use rquickjs::{Array, Coerced, Context, Ctx, Function as JsFunction, Object, Runtime, Value};

const CLIMATE: &str = include_str!("../src/js/fixtures/climate.js");
const OLD: &str = include_str!("../src/js/fixtures/old.js");
const UPLINK: [u8; 11] = [0xcb, 0xf6, 0x0b, 0x0d, 0x03, 0x76, 0x01, 0x0a, 0xdd, 0x7f, 0xff];
const CALLS: usize = 20_000;

#[expect(clippy::print_stdout, reason = "the table is what this is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = JsHost::new(HostConfig::default())?;
    let extending = format!("Array.prototype.sum = 1;\n{CLIMATE}");
    println!("median and 99th percentile in microseconds");
    let bare = bare_engine()?;
    println!("engine by itself, same input and output     {bare}");
    for (name, source) in [("climate.js", CLIMATE), ("old.js", OLD), ("climate.js + built-ins", &extending)] {
        let script = host.compile(name, source)?;
        println!("host, {name:<37} {}", busy(&host, &script)?);
        println!("host, {name:<26} 1 ms apart {}", paced(&host, &script)?);
    }
    let (loaded, kilobytes, first) = many(&host)?;
    println!("1000 scripts: {loaded} kept, {kilobytes} kB more, compile and first call {first}");
    Ok(())
}

/// The engine with what a caller needs at least: bytes in an array, the data as a map.
fn bare_engine() -> Result<Spread, Box<dyn std::error::Error>> {
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
    Ok(Spread::of(times))
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

fn busy(host: &JsHost, script: &Script) -> Result<Spread, codec::js::ScriptError> {
    let times: Result<_, _> = (0..CALLS).map(|_| timed(host, script)).collect();
    Ok(Spread::of(times?))
}

/// With pauses, so that the threads go to sleep between calls.
fn paced(host: &JsHost, script: &Script) -> Result<Spread, codec::js::ScriptError> {
    let times: Result<_, _> = (0..1000)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            timed(host, script)
        })
        .collect();
    Ok(Spread::of(times?))
}

fn many(host: &JsHost) -> Result<(usize, usize, Spread), codec::js::ScriptError> {
    let before = resident_kilobytes();
    let (mut scripts, mut times) = (Vec::new(), Vec::new());
    for number in 0..1000 {
        let start = Instant::now();
        let script = host.compile("many.js", &format!("{CLIMATE}\n// {number}"))?;
        timed(host, &script)?;
        times.push(start.elapsed());
        scripts.push(script);
    }
    Ok((host.stats().loaded, resident_kilobytes().saturating_sub(before), Spread::of(times)))
}

fn timed(host: &JsHost, script: &Script) -> Result<Duration, codec::js::ScriptError> {
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

struct Spread(Duration, Duration);

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times[times.len() / 2], times[times.len() * 99 / 100])
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:8.1} {:8.1}", self.0.as_secs_f64() * 1e6, self.1.as_secs_f64() * 1e6)
    }
}
