//! The bridge as an AWS Lambda function. Not here: the process (`main.rs`).

pub mod environment;
