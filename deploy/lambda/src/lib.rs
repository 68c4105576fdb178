//! The bridge as an AWS Lambda function: one binary whose handlers are chosen by the event. Not here: the process
//! (`main.rs`), and the bridge itself (`app`).

pub mod configuration;
pub mod drain;
pub mod environment;
pub mod event;
pub mod function;
pub mod handover;
pub mod http_event;
pub mod links;
pub mod log;
pub mod metrics;
pub mod remote;
pub mod settings;

#[cfg(test)]
mod samples;
