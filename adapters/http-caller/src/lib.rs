//! Outgoing HTTP calls to clouds and callbacks: one call, one answer, within bounds of time and size, to addresses that may
//! be called, never along a redirect. Whether the request may have been carried out is part of every error. Not here:
//! retries (whoever calls knows what may be sent twice), what is in a call.

mod address;
mod breaker;
mod caller;
mod connect;
mod signature;

pub use address::{Allow, is_public};
pub use breaker::{Breaker, BreakerConfig};
pub use caller::{Answer, Call, CallError, Caller, CallerConfig, parse_url};
pub use connect::TlsSetupError;
pub use signature::{KeyError, Signer};
