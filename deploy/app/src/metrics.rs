//! Counters as Prometheus text (exposition format 0.0.4). Not here: counting. Devices are never labels.

use std::fmt::{Display, Write};

use bridge_core::Reason;
use bridge_core::counters::{Histogram, IntegrationCounters, Refusal};
use bridge_core::mux::Stats;

/// What the store and the process add to the counters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra {
    /// Age of the oldest entry of the outbox, seconds; zero when it is empty.
    pub(crate) backlog_age_seconds: f64,
    /// Dead letters in the store.
    pub(crate) dead_letters: u64,
    /// Messages that the hub refused after they were stored.
    pub(crate) buried: u64,
    /// Headers about client certificates that came from nobody who is believed.
    pub(crate) certificates_ignored: u64,
    /// Whether the last command to the store succeeded.
    pub(crate) store_ok: bool,
}

/// What one integration has counted.
pub(crate) struct Counters<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What it counted.
    pub(crate) of: &'a IntegrationCounters,
}

/// The whole page.
pub(crate) fn render(integrations: &[Counters<'_>], stats: Stats, extra: Extra) -> String {
    let mut page = Page(String::with_capacity(8192));
    let per_integration =
        |page: &mut Page, name: &str, help: &str, value: &dyn Fn(&Counters<'_>, &mut Page)| {
            page.head(name, "counter", help);
            for counters in integrations {
                value(counters, page);
            }
        };
    macro_rules! plain {
        ($name:literal, $help:literal, $field:ident) => {
            per_integration(&mut page, $name, $help, &|counters, page| {
                page.sample($name, &[("integration", counters.name)], counters.of.$field.get());
            });
        };
    }
    plain!("bridge_requests_received_total", "Requests, whatever became of them.", received);
    plain!("bridge_uplinks_duplicate_total", "Uplinks that were accepted before.", duplicates);
    plain!("bridge_uplinks_delivered_total", "Uplinks acknowledged by the hub.", delivered);
    plain!("bridge_uplinks_stored_total", "Uplinks answered from the outbox.", stored);
    plain!(
        "bridge_payloads_undecoded_total",
        "Payloads that their codec could not decode; they went on raw.",
        undecoded
    );
    plain!("bridge_uplinks_retried_total", "Uplinks handed back to the source.", retried);
    plain!(
        "bridge_announcements_ignored_total",
        "Announced API keys that were not taken.",
        announcements_ignored
    );
    per_integration(
        &mut page,
        "bridge_requests_refused_total",
        "Requests refused before decoding.",
        &|counters, page| {
            for reason in Refusal::ALL {
                let labels = [("integration", counters.name), ("reason", reason.as_str())];
                page.sample(
                    "bridge_requests_refused_total",
                    &labels,
                    counters.of.refused[reason as usize].get(),
                );
            }
        },
    );
    per_integration(
        &mut page,
        "bridge_uplinks_dead_total",
        "Uplinks that became dead letters.",
        &|counters, page| {
            for reason in Reason::ALL {
                let labels = [("integration", counters.name), ("reason", reason.as_str())];
                page.sample("bridge_uplinks_dead_total", &labels, counters.of.dead[reason as usize].get());
            }
        },
    );
    page.head("bridge_requests_in_flight", "gauge", "Requests under way.");
    for Counters { name, of } in integrations {
        page.sample("bridge_requests_in_flight", &[("integration", name)], of.in_flight.get());
    }
    page.head("bridge_request_seconds", "histogram", "From the head of a request to its answer.");
    for Counters { name, of } in integrations {
        page.histogram("bridge_request_seconds", name, &of.latency);
    }
    for (name, help, value) in [
        (
            "bridge_outbox_messages",
            "Accepted, not yet acknowledged by the hub, on disk.",
            stats.stored as f64,
        ),
        ("bridge_outbox_oldest_seconds", "Age of the oldest of them.", extra.backlog_age_seconds),
        ("bridge_hub_in_flight", "Publishes without an acknowledgement.", stats.in_flight as f64),
        ("bridge_hub_waiting", "Uplinks whose source waits for an answer.", stats.waiting as f64),
        ("bridge_hub_links_open", "Connections to the hub that should be up.", stats.links_open as f64),
        ("bridge_hub_links_up", "Connections to the hub that are up.", stats.links_up as f64),
        ("bridge_dead_letters", "Dead letters in the store.", extra.dead_letters as f64),
        (
            "bridge_store_ok",
            "1 when the last command to the store succeeded.",
            f64::from(u8::from(extra.store_ok)),
        ),
    ] {
        page.head(name, "gauge", help);
        page.sample(name, &[], value);
    }
    page.head("bridge_outbox_dead_total", "counter", "Stored messages that the hub refused for good.");
    page.sample("bridge_outbox_dead_total", &[], extra.buried);
    let ignored = "bridge_client_certificates_ignored_total";
    page.head(ignored, "counter", "Headers about client certificates that came from nobody who is believed.");
    page.sample(ignored, &[], extra.certificates_ignored);
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Labels hold names of the configuration and stable words: nothing in them needs escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, integration: &str, histogram: &Histogram) {
        let (cumulative, sum) = histogram.cumulative();
        let bounds = Histogram::BOUNDS.iter().map(|ms| (*ms as f64 / 1e3).to_string());
        let bucket = format!("{name}_bucket");
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(cumulative) {
            self.sample(&bucket, &[("integration", integration), ("le", &bound)], count);
        }
        let labels = [("integration", integration)];
        self.sample(&format!("{name}_sum"), &labels, sum);
        self.sample(&format!("{name}_count"), &labels, cumulative[Histogram::BOUNDS.len()]);
    }
}
