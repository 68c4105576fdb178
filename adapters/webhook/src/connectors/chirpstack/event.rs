//! The events other than `up`: `join`, `ack`, `txack`, `log`, `status`, `location`, `integration`.

use bridge_core::{Kind, Measurement, StateMark, Uplink};
use serde_json::{Map, Value};

use super::wire::Event;
use super::{Part, Sender};
use crate::connectors::lenient::{Field, Text};
use crate::connectors::{fields, lora};

/// A device has a new session.
pub(super) fn join(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let mut uplink = uplink(Kind::Join, "join", event, sender, part, &[text(&event.dev_addr)]);
    let data = &mut uplink.content.data;
    sender.describe(event, data);
    put(data, "devAddr", event.dev_addr.text());
    uplink
}

/// Whether the device acknowledged a confirmed downlink. ChirpStack does not try again by itself.
pub(super) fn ack(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let mut uplink = command("ack", event, sender, part);
    let data = &mut uplink.content.data;
    // proto3: an absent flag is false.
    let acknowledged = event.acknowledged.as_ref() == Some(&true);
    put(data, "state", Some(if acknowledged { "acknowledged" } else { "failed" }));
    describe_downlink(event, data);
    data.insert("acknowledged".into(), acknowledged.into());
    event.acknowledged.check("acknowledged", &mut uplink.content.warnings);
    uplink.state = mark(event, 9);
    uplink
}

/// A gateway transmitted a downlink.
pub(super) fn txack(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let mut uplink = command("txack", event, sender, part);
    let data = &mut uplink.content.data;
    put(data, "state", Some("sent"));
    describe_downlink(event, data);
    put(data, "gateway", event.gateway_id.text());
    uplink.state = mark(event, 2);
    uplink
}

/// A line of ChirpStack's log about the device.
pub(super) fn log(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let level = event.level.text();
    let kind = if level == Some("ERROR") { Kind::Error } else { Kind::Log };
    let context = event.context.as_ref();
    // ChirpStack writes the context's keys as its own code names them.
    let uplink_id = context.and_then(|context| context.get("deduplication_id")).and_then(Value::as_str);
    let parts = [
        uplink_id.unwrap_or_default(),
        text(&event.code),
        text(&event.description),
        level.unwrap_or_default(),
    ];
    let mut uplink = uplink(kind, "log", event, sender, part, &parts);
    let data = &mut uplink.content.data;
    put(data, "level", level);
    put(data, "code", event.code.text());
    put(data, "description", event.description.text());
    if let Some(context) = std::mem::take(&mut event.context).get().filter(|context| !context.is_empty()) {
        data.insert("context".into(), context.into());
    }
    uplink
}

/// The device's answer to DevStatusReq (LoRaWAN 1.0.4, section 5.5): link margin and battery.
pub(super) fn status(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let mut uplink = uplink(Kind::Status, "status", event, sender, part, &[]);
    let content = &mut uplink.content;
    event.margin.check("margin", &mut content.warnings);
    event.battery_level.check("batteryLevel", &mut content.warnings);
    sender.describe(event, &mut content.data);
    let is_external = event.external_power_source.as_ref() == Some(&true);
    let is_unavailable = event.battery_level_unavailable.as_ref() == Some(&true);
    // With external power or an unknown level ChirpStack still writes "batteryLevel": 0.
    let battery = event.battery_level.as_ref().filter(|_| !is_external && !is_unavailable);
    for (name, value, unit) in [("batteryLevel", battery, "%"), ("margin", event.margin.as_ref(), "dB")] {
        if let Some(value) = value.and_then(|number| fields::json_number(*number)) {
            content.measurements.push(Measurement::new(name, value).with_unit(unit));
        }
    }
    for (name, flag) in [
        ("externalPowerSource", &event.external_power_source),
        ("batteryLevelUnavailable", &event.battery_level_unavailable),
    ] {
        if let Some(flag) = flag.as_ref() {
            content.data.insert(name.into(), (*flag).into());
        }
    }
    uplink
}

/// A position that ChirpStack or one of its integrations computed.
pub(super) fn location(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let mut uplink = uplink(Kind::Location, "location", event, sender, part, &[&as_text(&event.location)]);
    sender.describe(event, &mut uplink.content.data);
    let position = event.location.as_ref();
    let field = |name: &str| position.and_then(|p| p.get(name)).and_then(fields::number);
    let found = lora::location(field("latitude"), field("longitude"), field("altitude"), field("accuracy"));
    uplink.content.location = found.map(|mut found| {
        let source = position.and_then(|p| p.get("source")).and_then(Value::as_str);
        found.source = source.and_then(lora::location_source);
        found
    });
    if uplink.content.location.is_none() {
        uplink.content.warnings.push("location holds no position on the globe".into());
    }
    uplink
}

/// Output of an integration, such as LoRa Cloud.
pub(super) fn integration(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let parts = [text(&event.integration_name), text(&event.event_type), &as_text(&event.object)];
    let mut uplink = uplink(Kind::Service, "integration", event, sender, part, &parts);
    event.object.check("object", &mut uplink.content.warnings);
    let data = &mut uplink.content.data;
    put(data, "service", event.integration_name.text());
    put(data, "eventType", event.event_type.text());
    if let Some(object) = std::mem::take(&mut event.object).get() {
        data.insert("data".into(), object.into());
    }
    uplink
}

fn command(name: &str, event: &Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let number = |field: &Field<u32>| field.as_ref().map(u32::to_string).unwrap_or_default();
    let (counter, downlink) = (number(&event.f_cnt_down), number(&event.downlink_id));
    let mut uplink =
        uplink(Kind::Command, name, event, sender, part, &[text(&event.queue_item_id), &counter, &downlink]);
    event.f_cnt_down.check("fCntDown", &mut uplink.content.warnings);
    uplink
}

fn describe_downlink(event: &Event<'_>, data: &mut Map<String, Value>) {
    if let Some(id) = event.queue_item_id.text() {
        data.insert("correlationIds".into(), vec![id].into());
    }
    if let Some(counter) = event.f_cnt_down.as_ref() {
        data.insert("counter".into(), (*counter).into());
    }
}

fn mark(event: &Event<'_>, rank: u64) -> Option<StateMark> {
    event.queue_item_id.text().map(|id| StateMark { subject: id.to_owned(), rank })
}

/// The deduplication id with what distinguishes events of one uplink. A `txack` has the id of its queue item and a `log`
/// its time instead.
fn uplink(
    kind: Kind,
    name: &str,
    event: &Event<'_>,
    sender: &Sender,
    part: Part<'_>,
    distinction: &[&str],
) -> Uplink {
    let own_id = match name {
        "txack" => event.queue_item_id.text(),
        "log" => None,
        _ => event.deduplication_id.text(),
    };
    let key = match own_id {
        Some(id) => sender.key(name, &[&[id], distinction].concat()),
        None => sender.key_without_id(name, event.time.text(), distinction, part),
    };
    let mut uplink = Uplink::new(Some(sender.device.clone()), kind, key);
    uplink.time = lora::time(&event.time);
    uplink
}

fn text<'f>(field: &'f Text<'_>) -> &'f str {
    field.text().unwrap_or_default()
}

fn as_text(field: &Field<Map<String, Value>>) -> String {
    // invariant: a map of JSON values is always JSON, so this cannot fail.
    field.as_ref().and_then(|map| serde_json::to_string(map).ok()).unwrap_or_default()
}

fn put(data: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        data.insert(name.into(), value.into());
    }
}
