//! The behaviour of an endpoint, line by line: a test is named after its line in the checklist (M message layer, O options
//! and content, B blockwise, S observe, or the section of RFC 8323). Not here: other implementations; those are driven over sockets elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bench;
mod blockwise;
mod message_layer;
mod net;
mod network;
mod observe;
mod options;
mod streams;
mod surroundings;
