//! What every HTTP edge of the bridge shares: reading a body within its limits, proving a secret, problems in JSON; and what
//! it shares with other edges (`edge`). Not here: routes, and what a request means.

pub mod auth;
pub mod body;
pub mod client;
pub mod problem;

pub use auth::{Auth, SecretDigest};
pub use edge::{LogGate, Panicked, RateLimit, RateLimits, Tasks, ToTheEnd};
pub use problem::{Problem, Refused, refused};
