//! Puts the rooms together: a configuration goes in, a router and running tasks come out. The only library that names every
//! adapter. Not here: listeners, signals and the command line (`deploy/service`).

mod admin;
mod assemble;
mod callbacks;
mod clock;
mod coap;
mod coap_dtls;
pub mod codecs;
mod commands;
pub mod config;
mod device_api;
#[cfg(feature = "embedded-hub")]
mod embedded_hub;
pub mod function;
mod housekeeping;
mod metrics;
mod openapi;
mod ops;
mod replay;
mod seal;
mod server;
mod sources;
mod store;
pub mod tryout;
mod twins;

pub use ::coap::{
    Closing, CoapApi, Framing as CoapFraming, raw_public_key, serve as serve_coap,
    serve_streams as serve_coap_streams,
};
pub use assemble::{App, mqtt_hub, operator_token_path};
pub use clock::SystemClock;
pub use coap::tls as coap_tls;
pub use coap_dtls::serve as serve_coap_dtls;
pub use seal::seal;
pub use server::{Front, ServerLimits, serve};
pub use sources::connector_infos;
pub use store::{Store, open_tool_store};
