//! One script's engine: what it may use, loading, the state between two calls, recycling. Not here: threads
//! ([`super::host`]), arguments and answers ([`super::call`]).

use std::sync::Arc;
use std::time::Duration;

use rquickjs::context::intrinsic;
use rquickjs::{Atom, Context, Ctx, Error, Filter, Runtime, Value};

use super::answer::Answer;
use super::call;
use super::clock::Clock;
use super::context::{self, Handles, open, parse};
use super::error::{Fault, ScriptError};
use super::input::CallInput;
use super::position;
use super::read::Stop;
use super::script::{ENTRIES, Entry, Function, Inner, Shape};

/// No Proxy, WeakRef or timers: nothing that a decoder needs, and each a way to leave something behind.
type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

const STACK_BYTES: usize = 256 * 1024;
/// After so many calls a new engine, against what fragments or leaks.
const CALLS_PER_REALM: u32 = 100_000;
/// More globals than this are not worth removing one by one.
const CLEANABLE_GLOBALS: usize = 1000;

/// On its caller's thread a call may need so much beyond twice what the engine needs by itself: then nothing that the
/// engine does in one go takes long.
const HEAP_OF_CALLER: usize = 512 * 1024;

/// On whose thread a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the host's, which can be left behind.
    Worker,
    /// The caller's.
    Caller,
}

/// What came of a call.
pub(super) struct Called {
    pub(super) answer: Result<Answer, ScriptError>,
    /// The engine is as it was before.
    pub(super) keep: bool,
    /// It did nothing that is not for its caller's thread. On such a thread the answer is worth nothing otherwise.
    pub(super) light: bool,
    pub(super) took: Duration,
}

/// What a realm may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) heap_bytes: usize,
    pub(super) deadline: Duration,
    /// On its caller's thread.
    pub(super) deadline_here: Duration,
}

/// A runtime and, for most scripts, a context with frozen built-ins and the compiled script.
pub(super) struct Realm {
    /// None where every call needs a new one.
    context: Option<Context>,
    /// How many enumerable names the global object has between calls.
    globals: usize,
    runtime: Runtime,
    clock: Arc<Clock>,
    limits: Limits,
    /// Whose limit of the heap is set.
    place: Place,
    /// The heap of a call on its caller's thread.
    heap_of_caller: usize,
    calls: u32,
    shape: Shape,
}

/// Compiles a script and runs its top level once, in an engine of its own.
pub(super) fn check(script: &Inner, limits: Limits) -> Result<Shape, ScriptError> {
    let realm = Realm::bare(script, limits)?;
    realm.context(script)?.with(|ctx| parse(&ctx, script))?;
    realm.context(script)?.with(|ctx| {
        let all = ENTRIES.iter().map(|(_, entry)| entry.name);
        let handles = open(&ctx, script, all).map_err(|error| realm.failed(&ctx, script, error))?;
        let handles = Handles(&handles);
        let wants_module = script.speaks_of(&["module", "exports"]);
        let names: Vec<&str> = ENTRIES.iter().map(|(_, entry)| entry.name).collect();
        let look = || -> Result<(Vec<String>, bool), Stop> {
            handles.remember().call::<_, ()>(())?;
            realm.clock.arm(limits.deadline);
            let found = handles.entries().call((handles.factory(), names, wants_module))?;
            realm.clock.disarm();
            Ok((found, handles.changed().call(())?))
        };
        let (found, changed) = look().map_err(|stop| realm.stopped(&ctx, script, stop))?;
        let shape = Shape {
            changes_built_ins: changed || script.assigns_to_prototype(),
            wants_module,
            writes_big_integers: script.writes_big_integers(),
            // A promise does too.
            catches: script.speaks_of(&["catch", "finally", "async", "Promise"]),
            wants_device: script.speaks_of(&["device"]),
            wants_radio: script.speaks_of(&["radio"]),
            wants_previous: script.speaks_of(&["previous"]),
            ..Shape::new(&found)
        };
        if shape.entries.iter().all(Option::is_none) {
            let message = "has none of the functions decodeUplink, Decode, Decoder, normalizeUplink, \
                           encodeDownlink, Encode, Encoder, decodeDownlink";
            return Err(ScriptError::Missing(Fault::new(&script.name, message)));
        }
        Ok(shape)
    })
}

impl Realm {
    /// An engine in which this script is ready to run.
    pub(super) fn load(script: &Inner, shape: Shape, limits: Limits) -> Result<Self, ScriptError> {
        let mut realm = Self { shape, ..Self::bare(script, limits)? };
        if shape.changes_built_ins {
            return Ok(realm);
        }
        let context = realm.context(script)?;
        realm.globals = context.with(|ctx| {
            let guard = || -> rquickjs::Result<usize> {
                let values = open(&ctx, script, shape.names())?;
                context::guard(&ctx, &Handles(&values))?;
                // Nothing borrows the store here, so it takes them.
                ctx.store_userdata(values)?;
                Ok(enumerable(&ctx))
            };
            guard().map_err(|error| realm.failed(&ctx, script, error))
        })?;
        realm.context = Some(context);
        // A script that catches errors could make something else of this one than it would on a thread of the host.
        if !shape.catches {
            let size = usize::try_from(realm.runtime.memory_usage().malloc_size).unwrap_or_default();
            realm.heap_of_caller = (2 * size + HEAP_OF_CALLER).min(limits.heap_bytes);
        }
        Ok(realm)
    }

    /// Calls one function.
    pub(super) fn call(
        &mut self,
        script: &Inner,
        entry: Entry,
        function: Function,
        input: &CallInput,
        place: Place,
    ) -> Called {
        self.calls += 1;
        if self.place != place {
            self.place = place;
            self.runtime.set_memory_limit(match place {
                Place::Worker => self.limits.heap_bytes,
                Place::Caller => self.heap_of_caller,
            });
        }
        let (answer, left) = match &self.context {
            Some(context) => context.with(|ctx| {
                let Some(values) = ctx.userdata::<Vec<Value<'_>>>() else {
                    return (Err(engine_fault(script)), Left::BROKEN);
                };
                let handles = Handles(&values);
                let answer = self.run(&ctx, &handles, script, entry, function, input);
                (answer, self.finish(&ctx, &handles))
            }),
            None => (
                self.call_in_new_context(script, entry, function, input),
                Left { intact: true, light: false },
            ),
        };
        let took = self.clock.since_armed();
        let fatal = matches!(answer, Err(ScriptError::OutOfMemory(_) | ScriptError::StackOverflow(_)));
        let struck = self.clock.struck();
        let keep = left.intact
            && !fatal
            && !struck
            && !self.runtime.is_job_pending()
            && self.calls < CALLS_PER_REALM;
        let full = matches!(&answer, Err(ScriptError::Thrown(fault)) if fault.message == position::NULL);
        Called { answer, keep, light: left.light && !fatal && !struck && !full, took }
    }

    fn call_in_new_context(
        &self,
        script: &Inner,
        entry: Entry,
        function: Function,
        input: &CallInput,
    ) -> Result<Answer, ScriptError> {
        self.context(script)?.with(|ctx| match open(&ctx, script, self.shape.names()) {
            Ok(values) => self.run(&ctx, &Handles(&values), script, entry, function, input),
            Err(error) => Err(self.failed(&ctx, script, error)),
        })
    }

    fn run<'js>(
        &self,
        ctx: &Ctx<'js>,
        handles: &Handles<'_, 'js>,
        script: &Inner,
        entry: Entry,
        function: Function,
        input: &CallInput,
    ) -> Result<Answer, ScriptError> {
        let here = self.place == Place::Caller;
        self.clock.arm(if here { self.limits.deadline_here } else { self.limits.deadline });
        let answer = call::run(ctx, handles, self.shape, here, entry, function, input);
        let answer = answer.map_err(|stop| self.stopped(ctx, script, stop));
        self.clock.disarm();
        answer
    }

    /// Removes what the call left in the global object.
    fn finish<'js>(&self, ctx: &Ctx<'js>, handles: &Handles<'_, 'js>) -> Left {
        let count = enumerable(ctx);
        if ctx.has_exception() || count > self.globals + CLEANABLE_GLOBALS {
            return Left::BROKEN;
        }
        match handles.finish().call::<_, i32>((count != self.globals,)) {
            Ok(flags) => Left { intact: flags & 1 != 0, light: flags & 2 == 0 },
            Err(_) => Left::BROKEN,
        }
    }

    fn bare(script: &Inner, limits: Limits) -> Result<Self, ScriptError> {
        let runtime = Runtime::new().map_err(|_| out_of_memory(script))?;
        runtime.set_memory_limit(limits.heap_bytes);
        runtime.set_max_stack_size(STACK_BYTES);
        let clock = Arc::new(Clock::new());
        let seen = Arc::clone(&clock);
        runtime.set_interrupt_handler(Some(Box::new(move || seen.strikes())));
        Ok(Self {
            context: None,
            globals: 0,
            runtime,
            clock,
            limits,
            place: Place::Worker,
            heap_of_caller: limits.heap_bytes,
            calls: 0,
            shape: Shape::default(),
        })
    }

    fn context(&self, script: &Inner) -> Result<Context, ScriptError> {
        Context::custom::<Intrinsics>(&self.runtime).map_err(|_| out_of_memory(script))
    }

    fn stopped(&self, ctx: &Ctx<'_>, script: &Inner, stop: Stop) -> ScriptError {
        match stop {
            Stop::Engine => self.caught(ctx, script),
            Stop::Strange(message) => ScriptError::StrangeReturn(Fault::new(&script.name, message)),
        }
    }

    fn failed(&self, ctx: &Ctx<'_>, script: &Inner, error: Error) -> ScriptError {
        self.stopped(ctx, script, Stop::from(error))
    }

    fn caught(&self, ctx: &Ctx<'_>, script: &Inner) -> ScriptError {
        position::caught(ctx, &script.name, context::prefix(script), || self.clock.struck())
    }
}

impl std::fmt::Debug for Realm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Realm").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What a call left in its engine.
struct Left {
    intact: bool,
    light: bool,
}

impl Left {
    const BROKEN: Self = Self { intact: false, light: false };
}

/// How many names that `for in` or a copy would find the global object has.
fn enumerable(ctx: &Ctx<'_>) -> usize {
    ctx.globals().own_keys::<Atom<'_>>(Filter::new().string().symbol().enum_only()).len()
}

fn out_of_memory(script: &Inner) -> ScriptError {
    ScriptError::OutOfMemory(Fault::new(&script.name, "there was no memory for its engine"))
}

/// An error of ours or the engine's.
pub(super) fn engine_fault(script: &Inner) -> ScriptError {
    ScriptError::StrangeReturn(Fault::new(&script.name, "the engine failed; this is not the script's fault"))
}
