//! Calls on the thread of their caller, without a hand-over, for scripts that have earned it. Not here: how they earn
//! it ([`super::standing`]), and what the engine does to keep such a call short ([`super::realm`], `guards.js`).

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::answer::Answer;
use super::error::ScriptError;
use super::host::Shared;
use super::input::CallInput;
use super::realm::{Called, Place, engine_fault};
use super::script::{Entry, Function, Script};

impl Shared {
    /// The answer, when the call may run here and came to an end here. None leaves it to a thread of the host: the
    /// script has not earned it, its engine is busy, or the call was thrown out and is to be made again.
    pub(super) fn call_here(
        &self,
        script: &Script,
        entry: Entry,
        function: Function,
        input: &CallInput,
    ) -> Option<Result<Answer, ScriptError>> {
        let inner = &*script.inner;
        if !self.config.inline || script.shape.writes_big_integers || !inner.standing.is_good() {
            return None;
        }
        let mut engine = inner.engines.find(self.spin, self.config.workers)?;
        // Not dropped when the engine's wrapper panics, as it may panic again.
        let mut realm = ManuallyDrop::new(engine.take()?);
        let call = || realm.call(inner, entry, function, input, Place::Caller);
        let Ok(Called { answer, keep, light, took }) = catch_unwind(AssertUnwindSafe(call)) else {
            inner.standing.bar();
            return Some(Err(engine_fault(inner)));
        };
        let realm = ManuallyDrop::into_inner(realm);
        if keep {
            *engine = Some(realm);
        }
        drop(engine);
        if took > self.patience() {
            inner.standing.bar();
        }
        if !light {
            inner.standing.lose();
            return None;
        }
        inner.standing.record(took, true);
        Some(answer)
    }
}
