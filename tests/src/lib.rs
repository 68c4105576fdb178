//! Shared by the whole-system tests: the bridge, brokers and sources as real processes on loopback. Not here: assertions
//! about the bridge.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod bridge;
pub mod broker;
pub mod cloud;
pub mod load;
pub mod world;
