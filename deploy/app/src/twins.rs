//! The states of devices in this process: their keeper, what the hub wants, how operators read and write them, and the
//! courier that carries wishes down. Not here: what a state is (`bridge_core::twin`), routes.

mod courier;
pub(crate) mod json;
mod wishes;

pub(crate) use courier::Courier;
pub(crate) use wishes::{Refused, Wishes};
