//! The demo's uplinks. Placeholders make each round new: `{now}` seconds, `{now_iso}` RFC 3339, `{count}` a counter.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use bridge_core::Timestamp;

/// One webhook and where its message is expected.
pub(super) struct Sample {
    pub(super) title: &'static str,
    pub(super) integration: &'static str,
    pub(super) content_type: &'static str,
    device: &'static str,
    /// Below `devices/{device}/`.
    leaf: &'static str,
    template: &'static str,
}

pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        title: "The Things Stack, decoded uplink",
        integration: "ttn",
        content_type: "application/json",
        device: "greenhouse-7",
        leaf: "telemetry",
        template: include_str!("samples/ttn-uplink.json"),
    },
    Sample {
        title: "The Things Stack, join",
        integration: "ttn",
        content_type: "application/json",
        device: "greenhouse-7",
        leaf: "events/join",
        template: include_str!("samples/ttn-join.json"),
    },
    Sample {
        title: "Sigfox, every variable quoted",
        integration: "sigfox",
        content_type: "application/json",
        device: "sigfox-1a2b3c",
        leaf: "telemetry",
        template: include_str!("samples/sigfox-uplink.json"),
    },
    Sample {
        title: "Sigfox, computed position",
        integration: "sigfox",
        content_type: "application/json",
        device: "sigfox-1a2b3c",
        leaf: "events/location",
        template: include_str!("samples/sigfox-advanced.json"),
    },
    Sample {
        title: "Particle, the default form",
        integration: "particle",
        content_type: "application/x-www-form-urlencoded",
        device: "particle-e00fce68ece1d3d21a73dcc9",
        leaf: "telemetry",
        template: include_str!("samples/particle-event.txt"),
    },
    Sample {
        title: "Particle, device online",
        integration: "particle",
        content_type: "application/json",
        device: "particle-e00fce68ece1d3d21a73dcc9",
        leaf: "connection",
        template: include_str!("samples/particle-status.json"),
    },
];

impl Sample {
    /// The topic of its message.
    pub(super) fn topic(&self) -> String {
        format!("devices/{}/{}", self.device, self.leaf)
    }

    /// A body that was never sent before.
    pub(super) fn body(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = Timestamp::from_millis(i64::try_from(ms).unwrap_or(0)).unwrap_or(Timestamp::EPOCH);
        // With milliseconds in it, so that a demo started twice within a second does not repeat itself. Sigfox counts to 4095.
        let count = (i64::from(COUNT.fetch_add(1, Relaxed)) + now.as_millis()) % 4096;
        self.template
            .trim_end()
            .replace("{now}", &(now.as_millis() / 1000).to_string())
            .replace("{now_iso}", &now.to_string())
            .replace("{count}", &count.to_string())
    }
}
