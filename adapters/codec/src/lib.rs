//! Payload codecs: bytes, port and device context in; measurements, warnings and errors out. Every decoder is bounded
//! in time and memory and has no I/O. Not here: which device has which codec (`deploy/app`), and what becomes of the
//! measurements (`bridge-core`).

mod gather;
pub mod cayenne;
pub mod cbor;
pub mod grammar;
pub mod js;
pub mod json;
mod outcome;
pub mod raw;
pub mod senml;
pub mod text;

pub use outcome::{Input, Outcome, Sample};
