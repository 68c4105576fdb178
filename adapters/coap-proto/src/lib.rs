//! CoAP without I/O: an endpoint for both roles that takes datagrams and times and gives datagrams and events, or messages of
//! [streams](stream) (RFC 8323). Not here: sockets, clocks, threads, DTLS, TLS, frames of WebSocket,
//! OSCORE (RFC 8613), Q-Block (RFC 9177), proxying.

mod block;
mod code;
mod config;
mod content;
mod dedup;
mod echo;
mod endpoint;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod link_format;
mod message;
mod options;
mod rate;
mod recent;
mod registry;
mod stats;
pub mod stream;
mod timers;

pub use block::{BadBlock, Block, Szx};
pub use code::Code;
pub use config::{Blockwise, Config, Instead, Limits, Rate, Tokens, Transmission, Unverified};
pub use content::{Request, Response};
pub use endpoint::{Endpoint, Held};
pub use event::{Ended, Event, Failure, Handle, ObservationId, RequestId, SendError, Transmit};
pub use message::{DecodeError, Fault, MAX_EXTENDED_TOKEN, Message, Token, Type};
pub use options::Options;
pub use registry::{is_critical, is_no_cache_key, number};
pub use stats::Stats;
