//! Webhooks of third-party clouds become uplinks. [`connector`] is the contract of a cloud, [`connectors`] the table
//! of them, [`receiver`] does everything else: routes, authentication, limits, verdicts, answers. Not here: what
//! happens to an uplink afterwards (`bridge-core`), and making any outgoing call ([`downlink`] only says what is in one).

pub mod connector;
pub mod connectors;
pub mod downlink;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod receiver;
