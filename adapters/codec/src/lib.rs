//! Payload codecs: bytes, port and device context in; measurements, warnings and errors out. Every decoder is bounded
//! in time and memory and has no I/O. Not here: which device has which codec (`deploy/app`), and what becomes of the
//! measurements (`bridge-core`).

pub mod cayenne;
pub mod cbor;
mod codec;
mod encode;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gather;
pub mod golden;
pub mod grammar;
pub mod js;
pub mod json;
pub mod mapping;
mod normalise;
mod outcome;
pub mod raw;
pub mod senml;
mod set;
pub mod text;
mod trials;

pub use bridge_core::payload::{Outcome, Sample};
pub use codec::{Codec, CodecError, Context, Downlink, Downlinks, Explained, Format, Spec};
pub use outcome::Input;
pub use set::{Assignment, CodecSet, Table};
pub use trials::{Difference, TrialCount};
