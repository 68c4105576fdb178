//! One integration as the receiver sees it, and the table of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bridge_core::pipeline::Integration;
use http_edge::{Auth, LogGate, RateLimit, RateLimits};

use crate::connector::{Connector, Decode};

/// One integration.
pub struct Source {
    /// For the pipeline.
    pub integration: Integration,
    /// The cloud.
    pub connector: &'static dyn Connector,
    /// The cloud's decoder with this integration's settings.
    pub decode: Box<dyn Decode>,
    /// The proof that every request must bring.
    pub auth: Auth,
    /// The largest body, bytes.
    pub body_limit: usize,
    /// Which addresses may send; none for all.
    pub allows: Option<Box<dyn Fn(IpAddr) -> bool + Send + Sync>>,
    /// How many requests it may send; none for no limit.
    pub rate: Option<RateLimit>,
    /// How many requests each of its devices may be in; none for no limit.
    pub device_rate: Option<RateLimits>,
    /// Keeps the log of refusals short.
    pub refusal_log: LogGate,
}

/// The integrations by name.
#[derive(Default)]
pub struct SourceTable(BTreeMap<String, Arc<Source>>);

impl SourceTable {
    /// The integration of that name.
    pub fn find(&self, name: &str) -> Option<Arc<Source>> {
        self.0.get(name).cloned()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.0.values()
    }
}

impl FromIterator<Source> for SourceTable {
    fn from_iter<I: IntoIterator<Item = Source>>(sources: I) -> Self {
        let named = sources.into_iter().map(|source| (source.integration.name.to_string(), Arc::new(source)));
        Self(named.collect())
    }
}
