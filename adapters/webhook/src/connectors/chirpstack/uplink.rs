//! The event `up` becomes telemetry. Not here: the other events.

use bridge_core::{IdempotencyKey, Kind, Radio, Timestamp, Uplink};

use super::wire::{Event, RxInfo, TxInfo};
use super::{Part, Sender};
use crate::connectors::lora;

/// The telemetry of one uplink.
pub(super) fn decode(event: &mut Event<'_>, sender: &Sender, part: Part<'_>) -> Uplink {
    let key = key(event, sender, part);
    let mut uplink = Uplink::new(None, Kind::Telemetry, key);
    uplink.time = time(event);
    let content = &mut uplink.content;
    let warnings = &mut content.warnings;
    event.f_port.check("fPort", warnings);
    event.f_cnt.check("fCnt", warnings);
    event.object.check("object", warnings);
    let port = event.f_port.as_ref().copied();
    content.radio = radio(event, port, warnings);
    content.raw = lora::payload(&event.data, "data", port, warnings);
    sender.describe(event, &mut content.data);
    if let Some(fields) = std::mem::take(&mut event.object).get() {
        content.measurements.extend(lora::measurements(fields));
    }
    uplink.device = Some(sender.device.clone());
    uplink
}

/// The deduplication id; without it device, counter, time and payload.
fn key(event: &Event<'_>, sender: &Sender, part: Part<'_>) -> IdempotencyKey {
    if let Some(id) = event.deduplication_id.text() {
        return sender.key("up", &[id]);
    }
    let counter = event.f_cnt.as_ref().map(u32::to_string).unwrap_or_default();
    let content =
        [event.dev_addr.text().unwrap_or_default(), &counter, event.data.text().unwrap_or_default()];
    sender.key_without_id("up", event.time.text(), &content, part)
}

/// ChirpStack's time, else the best gateway's own, else the time at the Network Server.
fn time(event: &Event<'_>) -> Option<Timestamp> {
    let gateways = gateways(event);
    lora::time(&event.time)
        .or_else(|| best(gateways).and_then(|gateway| lora::time(&gateway.gw_time)))
        .or_else(|| gateways.iter().find_map(|gateway| lora::time(&gateway.ns_time)))
}

fn radio(event: &Event<'_>, port: Option<u8>, warnings: &mut Vec<String>) -> Option<Radio> {
    event.rx_info.check("rxInfo", warnings);
    event.tx_info.check("txInfo", warnings);
    event.confirmed.check("confirmed", warnings);
    let mut radio = Radio {
        port,
        counter: event.f_cnt.as_ref().copied(),
        confirmed: event.confirmed.as_ref().copied(),
        ..Radio::default()
    };
    let gateways = gateways(event);
    radio.gateways = lora::count_gateways(gateways.iter().map(|gateway| gateway.gateway_id.text()));
    if let Some(best) = best(gateways) {
        best.rssi.check("rssi", warnings);
        best.snr.check("snr", warnings);
        radio.rssi = best.rssi.as_ref().copied();
        radio.snr = best.snr.as_ref().copied();
        radio.gateway = best.gateway_id.text().map(str::to_owned);
    }
    if let Some(sent) = event.tx_info.as_ref() {
        transmission(sent, &mut radio, warnings);
    }
    radio.known()
}

fn transmission(sent: &TxInfo<'_>, radio: &mut Radio, warnings: &mut Vec<String>) {
    sent.frequency.check("frequency", warnings);
    radio.frequency = sent.frequency.as_ref().copied().filter(|hertz| *hertz > 0);
    let modulations = sent.modulation.as_ref();
    let modulation =
        modulations.and_then(|m| m.lora.as_ref().or_else(|| m.fsk.as_ref()).or_else(|| m.lr_fhss.as_ref()));
    let Some(modulation) = modulation else { return };
    modulation.bandwidth.check("bandwidth", warnings);
    modulation.spreading_factor.check("spreadingFactor", warnings);
    let width = || modulation.operating_channel_width.as_ref();
    radio.bandwidth = modulation.bandwidth.as_ref().or_else(width).copied();
    radio.spreading_factor = modulation.spreading_factor.as_ref().copied();
    radio.bit_rate = modulation.datarate.as_ref().copied();
    radio.coding_rate = modulation.code_rate.text().and_then(coding_rate);
}

/// `CR_4_5` is `4/5`; `CR_LI_4_5`, with long interleaving, is `LI 4/5`.
fn coding_rate(text: &str) -> Option<String> {
    let rate = text.strip_prefix("CR_").unwrap_or(text);
    let (interleaving, rate) = rate.strip_prefix("LI_").map_or(("", rate), |rate| ("LI ", rate));
    (rate != "UNDEFINED").then(|| format!("{interleaving}{}", rate.replace('_', "/")))
}

fn gateways<'e, 'a>(event: &'e Event<'a>) -> &'e [RxInfo<'a>] {
    event.rx_info.as_ref().map_or(&[], |list| &list.items)
}

fn best<'e, 'a>(gateways: &'e [RxInfo<'a>]) -> Option<&'e RxInfo<'a>> {
    lora::best_gateway(gateways, |gateway| (gateway.snr.as_ref().copied(), gateway.rssi.as_ref().copied()))
}

#[cfg(test)]
mod tests {
    use super::coding_rate;

    #[test]
    fn coding_rates_are_written_as_fractions() {
        for (text, want) in [
            ("CR_4_5", Some("4/5")),
            ("CR_1_3", Some("1/3")),
            ("CR_LI_4_8", Some("LI 4/8")),
            ("4/5", Some("4/5")),
            ("CR_UNDEFINED", None),
        ] {
            assert_eq!(coding_rate(text).as_deref(), want, "{text}");
        }
    }
}
