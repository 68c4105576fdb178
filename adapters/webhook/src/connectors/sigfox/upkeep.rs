//! SERVICE/STATUS, ACKNOWLEDGE and REPEATER: the state of a device, of its downlinks, of a repeater. Not here: which
//! command a downlink was (Sigfox does not say).

use bridge_core::{Content, Kind, Measurement};
use serde_json::{Value, json};

use super::message::{describe, keep_others};
use super::record::Record;
use super::variables::Variable as V;
use crate::connectors::fields;

/// Reads a STATUS callback: battery and temperature of the device.
pub(super) fn read_status(record: &mut Record, content: &mut Content) -> Kind {
    describe(record, content);
    measure(record, content, V::Batt, "batteryVoltage", "V");
    measure(record, content, V::Temp, "temperature", "Cel");
    keep_others(record, &[V::Batt, V::Temp], content);
    Kind::Status
}

/// Reads an ACKNOWLEDGE callback. The best that it can say is that a station sent the downlink, not that the device
/// received it; there is no id of a command in it.
pub(super) fn read_acknowledge(record: &mut Record, content: &mut Content) -> Kind {
    describe(record, content);
    if let Some(code) = record.integer(V::InfoCode) {
        content.data.insert(V::InfoCode.name().into(), code.into());
        match outcome(code) {
            Some((state, reason)) => {
                content.data.insert("state".into(), state.into());
                content.data.insert("reason".into(), reason.into());
            }
            None => record.warnings.push(format!("infoCode {code} is not known")),
        }
    }
    if let Some(text) = record.text(V::InfoMessage) {
        content.data.insert(V::InfoMessage.name().into(), text.into());
    }
    for variable in [V::DownlinkAck, V::DownlinkOverusage] {
        if let Some(flag) = record.boolean(variable) {
            content.data.insert(variable.name().into(), flag.into());
        }
    }
    let own = [V::InfoCode, V::InfoMessage, V::DownlinkAck, V::DownlinkOverusage];
    keep_others(record, &own, content);
    Kind::Command
}

/// Reads a REPEATER callback; the device is the repeater.
pub(super) fn read_repeater(record: &mut Record, content: &mut Content) -> Kind {
    describe(record, content);
    measure(record, content, V::Batt, "batteryVoltage", "V");
    for variable in [V::WhitelistDevices, V::RepeatedMsg] {
        if let Some(count) = record.integer(variable) {
            content.data.insert(variable.name().into(), count.into());
        }
    }
    if let Some(code) = record.integer(V::UnwantedDevices) {
        let range = if code == 15 { ">14".to_owned() } else { code.to_string() };
        content.data.insert(V::UnwantedDevices.name().into(), json!({"code": code, "range": range}));
    }
    for variable in [V::UnwantedMsg, V::WrongMsg, V::OverRegulMsg] {
        if let Some(code) = record.integer(variable) {
            let range = usize::try_from(code).ok().and_then(|code| RANGES.get(code));
            if range.is_none() {
                record.warnings.push(format!("{} {code} is not a range code", variable.name()));
            }
            let value =
                range.map_or_else(|| json!({"code": code}), |range| json!({"code": code, "range": range}));
            content.data.insert(variable.name().into(), value);
        }
    }
    let own = [
        V::Batt,
        V::WhitelistDevices,
        V::RepeatedMsg,
        V::UnwantedDevices,
        V::UnwantedMsg,
        V::WrongMsg,
        V::OverRegulMsg,
    ];
    keep_others(record, &own, content);
    Kind::Status
}

/// What the range codes of a repeater stand for (support.sigfox.com, "REPEATER").
const RANGES: [&str; 16] = [
    "0", "<5", "<10", "<50", "<100", "<150", "<200", "<250", "<300", "<350", "<400", "<450", "<500", "<800",
    "<1000", ">1000",
];

/// What an infoCode says: the state of the command, and why (support.sigfox.com, "ACKNOWLEDGE").
fn outcome(code: i64) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0 => ("sent", "acked"),
        1 => ("expired", "no-answer"),
        2 => ("failed", "invalid-payload"),
        3 => ("failed", "overrun"),
        4 => ("failed", "network-error"),
        5 => ("queued", "pending"),
        6 => ("failed", "no-downlink-contract"),
        7 => ("failed", "too-many-requests"),
        8 => ("failed", "invalid-configuration"),
        _ => return None,
    })
}

fn measure(record: &mut Record, content: &mut Content, variable: V, name: &str, unit: &'static str) {
    let value: Option<Value> = record.number(variable).and_then(fields::json_number);
    if let Some(value) = value {
        content.measurements.push(Measurement::new(name, value).with_unit(unit));
    }
}
