//! Sensor Measurement Lists (SenML, RFC 8428) in JSON and CBOR, both ways. Not here: XML and EXI, and SenML's use in
//! LwM2M beyond names that begin with a slash.

mod cbor;
mod encode;
mod json;
mod outcome;
mod pack;
mod record;
mod resolve;

pub use encode::{EncodeError, encode_cbor, encode_json};
pub use outcome::{Options, decode_cbor, decode_json};
pub use pack::Pack;
pub use record::{Record, RecordValue, SenmlError};
pub use resolve::Resolved;

/// `bver` when there is none, and the latest version (RFC 8428 section 4.4).
const VERSION: u64 = 10;

/// Names longer than this are refused: a base name is repeated in every record, so without a limit a small payload could
/// ask for a great deal of memory.
const LONGEST_NAME: usize = 256;

/// The same for units.
const LONGEST_UNIT: usize = 64;

/// Seconds; times below it are relative to now (RFC 8428 section 4.5.3).
const FIRST_ABSOLUTE: i64 = 1 << 28;

#[cfg(test)]
mod tests;
