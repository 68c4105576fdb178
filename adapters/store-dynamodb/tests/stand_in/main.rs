//! The store and the queue against moto_server, well and with faults in between.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod contract;
mod deviations;
mod faults;
mod moto;
mod proxy;
mod queue;
mod server;
mod sharing;
