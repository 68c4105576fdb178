//! The real binary under an emulator of Lambda that freezes it between events, with moto_server as AWS and mosquitto as
//! the hub. One module per question.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "modules of one test program")]

mod aws;
mod callbacks;
mod called;
mod emulator;
mod freezing;
mod handlers;
mod hub;
mod load;
mod process;
#[path = "../../../../adapters/store-dynamodb/tests/stand_in/proxy.rs"]
#[allow(dead_code, reason = "the store's tests use more of it")]
mod proxy;
mod secrets;
mod table;
mod world;
