//! The vocabulary and the rules of the bridge.
//!
//! What is *not* here: sockets, a clock, an async runtime, the environment, and any wire format. Adapters translate
//! their wire into [`Uplink`] and back; stores and hubs stand behind the traits of [`ports`]. Reading order:
//! [`id`] and [`time`], [`uplink`] and [`message`], [`verdict`], [`ports`], then the machines: [`pipeline`]
//! (resolve, deduplicate, normalise), [`mux`] (order, windows, links, outbox take-over) and [`delivery`], which
//! runs the `mux` against the ports. The other way round, [`command`] is the life of one command and [`commands`] works
//! them; [`twin`] is what a device reported and what is wanted of it.

pub mod archive;
mod arrivals;
pub mod command;
pub mod commands;
pub mod correction;
pub mod counters;
pub mod dedup;
pub mod delivery;
pub mod feed;
pub mod hash;
pub mod id;
pub mod keyring;
pub mod measurement;
pub mod members;
pub mod message;
pub mod mux;
pub mod naming;
mod parts;
pub mod payload;
pub mod pipeline;
pub mod ports;
pub mod recent;
pub mod registrar;
pub mod seal;
mod signal;
pub mod subscription;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod time;
pub mod trace;
pub mod twin;
pub mod uplink;
pub mod verdict;

pub use id::{DeviceId, ExternalId, IdError, IdempotencyKey, IntegrationName, MessageId};
pub use measurement::Measurement;
pub use message::{Content, Kind, Location, Message, Radio, Raw};
pub use time::Timestamp;
pub use uplink::{Decoded, ExternalDevice, Problem, StateMark, Uplink};
pub use verdict::{Reason, Verdict};
