//! What every HTTP edge of the bridge shares: reading a body within its limits, proving a secret, rates, problems in
//! JSON, work that outlives its request. Not here: routes, and what a request means.

pub mod auth;
pub mod body;
pub mod client;
mod log_gate;
pub mod problem;
mod rate;
mod tasks;

pub use auth::{Auth, SecretDigest};
pub use log_gate::LogGate;
pub use problem::{Problem, Refused, refused};
pub use rate::{RateLimit, RateLimits};
pub use tasks::{Panicked, Tasks, ToTheEnd};
