//! What every edge of the bridge shares, whatever its protocol: what devices say about themselves in a body, whose token it
//! is, what waits for them, rates, work that outlives its request, a log that stays short. Not here: HTTP (`http-edge`), CoAP (`coap`), payload
//! codecs (behind [`Formats`]).

pub mod body;
pub mod fault;
mod formats;
pub mod item;
mod json;
mod log_gate;
pub mod mailbox;
pub mod properties;
mod rate;
mod tasks;
mod token;
pub mod waiters;

pub use fault::{Fault, member};
pub use formats::{Format, Formats};
pub use item::{Item, Items};
pub use json::Json;
pub use log_gate::LogGate;
pub use mailbox::Mailbox;
pub use rate::{RateLimit, RateLimits};
pub use tasks::{Panicked, Tasks, ToTheEnd};
pub use token::device_of;
