//! A host for JavaScript codecs as The Things Stack, ChirpStack and their forerunners know them, on QuickJS. Not here:
//! which device has which script, and what its measurements are called.
//!
//! # Limits
//! Every script has an engine of its own with 8 MiB of heap and 256 KiB of stack; every call 20 ms. Some built-ins of
//! the engine do not look at the clock; a thread that hangs in one for ten times the deadline is left behind, another
//! takes its place, and the script is refused from then on. Calls run on the host's threads only: on a caller's thread
//! nobody could leave it behind. A hand-over costs some microseconds; both sides look for each other for a moment
//! before they sleep. Scripts take turns, so a slow one delays another by one call per thread, not by its queue.
//!
//! # What a call cannot leave behind
//! For every call the top level of the script runs again in new bindings, as the body of a function that was compiled
//! once: its variables, functions, closures and objects are new. The built-ins are frozen, globals that a call made
//! are removed after it, and there is no `eval` or `new Function`, with which it could make bindings that nobody can
//! find. A call that did more to the global object, or left a job to run, costs the script its engine. Assigning to an
//! inherited `toString`, `name` and the like still makes an own property, as in an unfrozen engine.
//!
//! A script that adds to built-in objects (`Array.prototype.x = …`) gets a new context for every call instead, which
//! takes most of a millisecond. It is recognised by what its top level does and by the text of an assignment; a script that does
//! it in a roundabout way while it decodes finds its addition ignored (sloppy mode) or a TypeError (strict mode).
//! The guarantee ends at the clock, at `Math.random`, and at errors of the engine itself.
//!
//! `this.f` and `globalThis.f` do not find the script's functions, which are local; `module` and `exports` exist when
//! the script speaks of them. Missing: `require`, `Proxy`, `WeakMap`, `WeakRef`, `Atomics`, `Buffer`, timers.

mod answer;
mod call;
mod error;
mod host;
mod inline;
mod input;
mod position;
mod read;
mod realm;
mod scheduler;
mod script;
mod standing;
#[cfg(test)]
mod tests;
mod watchdog;

pub use answer::{Answer, Decoded, Encoded, Normalized};
pub use error::{Fault, ScriptError};
pub use host::{HostConfig, JsHost, Stats};
pub use input::CallInput;
pub use script::{Function, Script};
