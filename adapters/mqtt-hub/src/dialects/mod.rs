//! The dialects, one file each.

mod json;
mod mqtt;
mod senml;

pub use mqtt::{Encoding, MqttDialect};
