//! For tests: the ports in memory, faults on demand, a clock that stands still, and the contract that every store must
//! keep. Not in any build of the product.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod clock;
pub mod contract;
mod executor;
mod faulty;
mod hub;
mod mailboxes;
mod memory;
mod memory_commands;
mod memory_subscriptions;
mod memory_twins;

pub use clock::ManualClock;
pub use executor::{block_on, poll_once};
pub use faulty::{Fault, Faulty};
pub use hub::{FakeHub, Published};
pub use mailboxes::mailboxes;
pub use memory::MemoryStore;
