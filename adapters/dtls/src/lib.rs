//! DTLS 1.2 without I/O: a server that takes datagrams and times and gives datagrams and events. Not here: sockets, clocks,
//! threads, a source of randomness, the client's role (but for tests), renegotiation, compression, DTLS 1.3.

#![forbid(unsafe_code)]

mod association;
#[cfg(any(test, feature = "test-util", feature = "fuzzing"))]
pub mod client;
mod config;
mod cookie;
mod core;
mod credential;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod hello;
mod inbox;
mod negotiate;
mod prf;
mod protect;
mod record;
mod replay;
mod resumption;
mod server;
mod sessions;
mod stats;
mod suite;
mod wire;

pub use config::{Config, ConfigError, ConnectionIds, Limits, Timing};
pub use credential::{Credential, CredentialError, is_public_key};
pub use event::{Closed, Event, Identity, Psk, RequestId, SendError, SessionId, Transmit};
pub use record::{is_dtls, node_of};
pub use server::{Held, RestoreError, Restored, Server};
pub use stats::Stats;
pub use suite::CipherSuite;
