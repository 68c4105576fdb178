//! The behaviour of a server, line by line: a test is named after its line in the checklist (D1 to D13), or after the bad
//! input that it is about. Not here: other implementations (`interop`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bad_input;
mod bench;
mod ecdsa;
mod limits;
mod lines;
mod net;
mod network;
mod restart;
mod suites;
