//! `/admin/v1/integrations`: which there are, and their counters since the start. Not here: the counting.

use axum::extract::{Path, State};
use bridge_core::Reason;
use bridge_core::counters::{Counter, IntegrationCounters, Refusal};
use serde_json::{Map, Value, json};

use super::body::{Answer, Declined};
use super::{Admin, done};

/// In the order of their names, and devices that speak HTTP themselves at the end.
pub(super) async fn list(State(admin): State<Admin>) -> Answer {
    done(&all(&admin).into())
}

/// One.
pub(super) async fn show(State(admin): State<Admin>, Path(name): Path<String>) -> Answer {
    let found = all(&admin).into_iter().find(|integration| integration["name"] == *name);
    done(&found.ok_or_else(|| {
        let why = "There is no enabled integration of this name.";
        Declined::unknown("unknown-integration", "Unknown integration", why)
    })?)
}

fn all(admin: &Admin) -> Vec<Value> {
    let table = admin.0.receiver.table();
    let webhooks = table.iter().map(|source| {
        let integration = &source.integration;
        let name = integration.name.as_str();
        write(name, integration.source, &format!("/webhooks/{name}"), &integration.counters)
    });
    let http = write(http_api::INTEGRATION, "http", "/v1/devices", admin.0.device_api.counters());
    webhooks.chain([http]).collect()
}

fn write(name: &str, connector: &str, path: &str, counters: &IntegrationCounters) -> Value {
    let (buckets, seconds) = counters.latency.cumulative();
    json!({
        "name": name,
        "connector": connector,
        "path": path,
        "requests": {
            "received": counters.received.get(),
            "underWay": counters.in_flight.get(),
            "refused": by_name(Refusal::ALL.iter().map(|refusal| refusal.as_str()), &counters.refused),
            "answered": buckets.last(),
            "seconds": seconds,
        },
        "messages": {
            "delivered": counters.delivered.get(),
            "stored": counters.stored.get(),
            "duplicate": counters.duplicates.get(),
            "retry": counters.retried.get(),
            "undecoded": counters.undecoded.get(),
            "deadLetter": by_name(Reason::ALL.iter().map(|reason| reason.as_str()), &counters.dead),
        },
        "links": {
            "self": format!("/admin/v1/integrations/{name}"),
            "devices": format!("/admin/v1/devices?integration={name}"),
            "deadLetters": format!("/admin/v1/dead-letters?integration={name}"),
            "traces": format!("/admin/v1/traces?integration={name}"),
            "events": format!("/admin/v1/events?integration={name}"),
        },
    })
}

/// Those that counted anything.
fn by_name(names: impl Iterator<Item = &'static str>, counters: &[Counter]) -> Map<String, Value> {
    let counted = names.zip(counters).filter(|(_, counter)| counter.get() > 0);
    counted.map(|(name, counter)| (name.to_owned(), counter.get().into())).collect()
}
