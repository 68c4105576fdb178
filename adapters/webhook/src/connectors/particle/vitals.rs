//! Device vitals (`spark/device/diagnostics/update`): the numbers that people watch, as measurements. The whole report
//! stays among the details.

use bridge_core::{Content, Measurement, Radio};
use serde_json::{Map, Value};

use crate::connectors::fields;

/// Where a number stands, what it is called, its unit (docs.particle.io, "Device vitals").
const NUMBERS: &[(&str, &str, &str)] = &[
    ("/device/power/battery/charge", "batteryLevel", "%"),
    ("/device/network/signal/strength", "signalStrength", "%"),
    ("/device/network/signal/quality", "signalQuality", "%"),
    ("/device/network/signal/strengthv", "signalPower", "dBm"),
    ("/device/cloud/coap/round_trip", "roundTrip", "ms"),
    ("/device/system/uptime", "uptime", "s"),
    ("/device/system/memory/used", "memoryUsed", "B"),
    ("/device/system/memory/total", "memoryTotal", "B"),
];

/// Reads the vitals. A value that the device could not take is `{"err": -210}`: absent.
pub(super) fn read(diagnostics: &Map<String, Value>, content: &mut Content) {
    let at = |path: &str| {
        let mut steps = path.split('/').skip(1);
        let first = diagnostics.get(steps.next()?);
        steps.try_fold(first?, |value, step| value.get(step))
    };
    for &(path, name, unit) in NUMBERS {
        if let Some(number @ Value::Number(_)) = at(path) {
            content.measurements.push(Measurement::new(name, number.clone()).with_unit(unit));
        }
    }
    let used_and_total =
        ["used", "total"].map(|name| fields::integer(at(&format!("/device/system/memory/{name}"))?));
    if let [Some(used), Some(total)] = used_and_total
        && let Some(free) = total.checked_sub(used)
    {
        content.measurements.push(Measurement::new("memoryFree", free).with_unit("B"));
    }
    let operator = at("/device/network/cellular/operator").and_then(fields::text);
    content.radio = Radio { operator, ..Radio::default() }.known();
}
