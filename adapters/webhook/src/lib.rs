//! Webhooks of third-party clouds become uplinks. [`connector`] is the contract of a cloud, [`connectors`] the table
//! of them, [`receiver`] does everything else: routes, authentication, limits, verdicts, answers. Not here: what
//! happens to an uplink afterwards (`bridge-core`), and any outgoing call.

pub mod connector;
pub mod connectors;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod receiver;
