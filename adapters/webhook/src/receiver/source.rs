//! One integration as the receiver sees it, and the table of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::pipeline::Integration;

use super::auth::Auth;
use super::rate::RateLimit;
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

/// Lets one log line pass in ten seconds and counts the others.
#[derive(Debug, Default)]
pub struct LogGate(Mutex<(Option<Instant>, u64)>);

impl LogGate {
    const EVERY: Duration = Duration::from_secs(10);

    /// How many lines were held back since the last one that passed, when one may pass now.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.0.is_some_and(|last| now.saturating_duration_since(last) < Self::EVERY) {
            gate.1 += 1;
            return None;
        }
        gate.0 = Some(now);
        Some(std::mem::take(&mut gate.1))
    }
}
