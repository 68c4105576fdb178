//! Uplinks of The Things Network v2, which is off since 2021 but still comes out of old forwarders. Read only: the
//! `downlink_url` that comes along is never followed. Not here: anything of v3.

use bridge_core::{Content, Decoded, Kind, Radio, Uplink};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::identity::{Part, Sender, warn_left_out, written_time};
use crate::connector::Malformed;
use crate::connectors::lenient::{Field, List, Text, from_object};
use crate::connectors::lora;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    app_id: Text<'a>,
    #[serde(borrow)]
    dev_id: Text<'a>,
    #[serde(borrow)]
    hardware_serial: Text<'a>,
    port: Field<u8>,
    counter: Field<u32>,
    is_retry: Field<bool>,
    confirmed: Field<bool>,
    #[serde(borrow)]
    payload_raw: Text<'a>,
    payload_fields: Field<Map<String, Value>>,
    #[serde(borrow)]
    metadata: Field<Metadata<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    time: Text<'a>,
    /// MHz.
    frequency: Field<f64>,
    /// `SF7BW125`.
    #[serde(borrow)]
    data_rate: Text<'a>,
    bit_rate: Field<u32>,
    #[serde(borrow)]
    modulation: Text<'a>,
    #[serde(borrow)]
    coding_rate: Text<'a>,
    /// Nanoseconds.
    airtime: Field<f64>,
    #[serde(borrow)]
    gateways: Field<List<Gateway<'a>>>,
    latitude: Field<f64>,
    longitude: Field<f64>,
    altitude: Field<f64>,
    #[serde(borrow)]
    location_source: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gateway<'a> {
    #[serde(borrow)]
    gtw_id: Text<'a>,
    #[serde(borrow)]
    time: Text<'a>,
    rssi: Field<f64>,
    snr: Field<f64>,
}

from_object!(Message<'a>, Metadata<'a>, Gateway<'a>);

/// Whether an object without any field of v3 is an uplink of v2.
pub(super) fn is_uplink(object: &Map<String, Value>) -> bool {
    object.contains_key("hardware_serial") || object.contains_key("payload_raw")
}

/// Adds the uplink.
pub(super) fn decode(part: Part<'_>, decoded: &mut Decoded) -> Result<(), Malformed> {
    let message: Message<'_> = serde_json::from_slice(part.json)?;
    let eui = message.hardware_serial.text();
    let sender = match Sender::new(message.dev_id.text(), eui, message.app_id.text(), part.request) {
        Ok(sender) => sender,
        Err(problem) => {
            decoded.problems.push(problem);
            return Ok(());
        }
    };
    let none = Metadata::default();
    let metadata = message.metadata.as_ref().unwrap_or(&none);
    // There is no session to tell the counters of two joins apart; the time does.
    let counter = message.counter.as_ref().map(u32::to_string).unwrap_or_default();
    let content = [counter.as_str(), message.payload_raw.text().unwrap_or_default()];
    let times = [written_time(&metadata.time)];
    let key = sender.key_without_sequence("v2 up", &times, &content, false, part);

    let mut uplink = Uplink::new(Some(sender.device()), Kind::Telemetry, key);
    let gateways = metadata.gateways.as_ref().map_or(&[][..], |list| &list.items);
    uplink.time = lora::time(&metadata.time).or_else(|| gateways.iter().find_map(|g| lora::time(&g.time)));
    let Content { warnings, data, .. } = &mut uplink.content;
    message.port.check("port", warnings);
    message.counter.check("counter", warnings);
    message.payload_fields.check("payload_fields", warnings);
    message.metadata.check("metadata", warnings);
    warn_left_out(&metadata.gateways, "gateways", warnings);
    if message.is_retry.as_ref() == Some(&true) {
        warnings.push("the device sent this frame again (is_retry)".into());
    }
    if let Some(eui) = eui {
        data.insert("devEui".into(), eui.into());
    }
    let port = message.port.as_ref().copied();
    uplink.content.raw = lora::payload(&message.payload_raw, "payload_raw", port, warnings);
    uplink.content.radio = Radio {
        port,
        counter: message.counter.as_ref().copied(),
        confirmed: message.confirmed.as_ref().copied(),
        ..radio(metadata, gateways)
    }
    .known();
    uplink.content.location = lora::location(
        metadata.latitude.as_ref().copied(),
        metadata.longitude.as_ref().copied(),
        metadata.altitude.as_ref().copied(),
        None,
    );
    if let Some(location) = &mut uplink.content.location {
        location.source = metadata.location_source.text().and_then(lora::location_source);
    }
    if let Some(fields) = message.payload_fields.get() {
        uplink.content.measurements.extend(lora::measurements(fields));
    }
    decoded.push(uplink);
    Ok(())
}

fn radio(metadata: &Metadata<'_>, gateways: &[Gateway<'_>]) -> Radio {
    let signal = |gateway: &Gateway<'_>| (gateway.snr.as_ref().copied(), gateway.rssi.as_ref().copied());
    let best = lora::best_gateway(gateways, signal);
    let rate = metadata.data_rate.text().and_then(data_rate);
    let is_fsk = metadata.modulation.text() == Some("FSK");
    let text = |text: &str| text.to_owned();
    Radio {
        rssi: best.and_then(|gateway| gateway.rssi.as_ref().copied()),
        snr: best.and_then(|gateway| gateway.snr.as_ref().copied()),
        gateways: lora::count_gateways(gateways.iter().map(|gateway| gateway.gtw_id.text())),
        gateway: best.and_then(|gateway| gateway.gtw_id.text()).map(text),
        spreading_factor: rate.map(|(factor, _)| factor),
        bandwidth: rate.map(|(_, bandwidth)| bandwidth),
        // v2 writes the bit rate of FSK with every modulation.
        bit_rate: metadata.bit_rate.as_ref().copied().filter(|_| is_fsk),
        coding_rate: metadata.coding_rate.text().map(text),
        frequency: metadata.frequency.as_ref().and_then(|mhz| hertz(*mhz)),
        airtime: metadata.airtime.as_ref().map(|nanoseconds| nanoseconds / 1e9),
        ..Radio::default()
    }
}

/// Spreading factor and bandwidth in Hz from `SF7BW125`.
fn data_rate(text: &str) -> Option<(u8, u32)> {
    let (factor, kilohertz) = text.strip_prefix("SF")?.split_once("BW")?;
    Some((factor.parse().ok()?, kilohertz.parse::<u32>().ok()?.checked_mul(1000)?))
}

fn hertz(megahertz: f64) -> Option<u64> {
    let hertz = (megahertz * 1e6).round();
    // The cast is exact: the range was checked and the fraction rounded away.
    (hertz > 0.0 && hertz < 1e15).then_some(hertz as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_rates_and_frequencies() {
        assert_eq!(data_rate("SF7BW125"), Some((7, 125_000)));
        assert_eq!(data_rate("SF12BW500"), Some((12, 500_000)));
        assert_eq!(data_rate("SF7BW9999999999"), None);
        assert_eq!(data_rate("4/5"), None);
        assert_eq!(hertz(868.1), Some(868_100_000));
        assert_eq!(hertz(-1.0), None);
        assert_eq!(hertz(f64::INFINITY), None);
    }
}
