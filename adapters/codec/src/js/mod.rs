//! A host for JavaScript codecs as The Things Stack, ChirpStack and their forerunners know them, on QuickJS. Not here:
//! which device has which script, and what its measurements are called.
//!
//! # Limits
//! Every script has an engine of its own with 8 MiB of heap and 256 KiB of stack; every call 20 ms. Some built-ins of
//! the engine do not look at the clock; a thread that hangs in one for ten times the deadline is left behind, another
//! takes its place, and the script is refused from then on. Scripts take turns, so a slow one delays another by one call
//! per thread, not by its queue.
//!
//! # Calls on the thread of their caller
//! A hand-over to a thread of the host and back costs as much as a usual decoder, and more when that thread sleeps. So a
//! script runs where it is called once it has earned it: some 32 calls in a row below 300 µs. There nobody could leave a
//! call behind, so it must not hang:
//! - It has 2 ms and half a MiB. A call that needs more is thrown out and made again on a thread of the host, with all it
//!   is due; nothing of the first attempt is left, and the script has lost its standing for 1000 calls. One that took as
//!   long as a call that hangs has lost it for good.
//! - Built-ins that loop by themselves are metered (`guards.js`): each charges the length of what it works on, as far as
//!   no code of the script can change it in between, to a budget that lets a call run for a millisecond or two. Whatever
//!   cannot be measured (array-likes with a getter as length, patterns made from texts, whole numbers without bound,
//!   `JSON.stringify`) is thrown out at once; a script that uses it regularly does not earn standing, and one with `1n`
//!   in its text never does. A test calls every function that a script can reach with the worst that it can be given,
//!   and knows by name those that are not metered.
//! - An engine that is busy is waited for no longer than a hand-over takes, and threads of the host come first. A script
//!   whose callers are often in each other's way gets another engine.
//!
//! What remains is between two looks at the clock, which are ten thousand steps apart: operators have no meter. The
//! worst loops found, over copies of the largest list or text that fits (`[...list]`), stall their caller for one to two
//! seconds, unrolled ones for as many times that, and then never again, as the script loses its standing for good. Nobody
//! writes such a thing by accident; where authors of scripts are not trusted, [`HostConfig::inline`] is to be off. The
//! caller's thread needs half a MiB of stack.
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
//! `this.f` and `globalThis.f` do not find the script's functions, which are local; `module` and `exports`,
//! `input.device`, `input.radio` and `input.previous` exist when the script's text speaks of them. Missing: `require`, `Proxy`, `WeakMap`, `WeakRef`, `Atomics`, `Buffer`, timers.

mod answer;
mod call;
mod clock;
mod context;
mod engines;
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
