//! How an uplink was heard (`rx_metadata`, `settings`) and when. Not here: what it said.

use bridge_core::{Radio, Timestamp};

use super::identity::warn_left_out;
use super::wire::{Modulation, RxMetadata, UplinkMessage};
use crate::connectors::lenient::Text;
use crate::connectors::lora;

/// What is known of the radio side. `counter` and `port` are settled by the caller.
pub(super) fn radio(
    message: &UplinkMessage<'_>,
    counter: Option<u32>,
    port: Option<u8>,
    warnings: &mut Vec<String>,
) -> Option<Radio> {
    warn_left_out(&message.rx_metadata, "rx_metadata", warnings);
    message.settings.check("settings", warnings);
    message.confirmed.check("confirmed", warnings);
    let mut radio =
        Radio { counter, port, confirmed: message.confirmed.as_ref().copied(), ..Radio::default() };
    radio.airtime = airtime(&message.consumed_airtime, warnings);
    let gateways = message.rx_metadata.as_ref().map_or(&[][..], |list| &list.items);
    radio.gateways = lora::count_gateways(gateways.iter().map(identity));
    if let Some(best) = best(gateways) {
        best.rssi.check("rssi", warnings);
        best.snr.check("snr", warnings);
        radio.rssi = best.rssi.as_ref().copied();
        radio.snr = best.snr.as_ref().copied();
        radio.gateway = name(best).map(str::to_owned);
        radio.operator =
            best.packet_broker.as_ref().and_then(|p| p.forwarder_tenant_id.text()).map(str::to_owned);
    }
    if let Some(settings) = message.settings.as_ref() {
        settings.frequency.check("frequency", warnings);
        radio.frequency = settings.frequency.as_ref().copied().filter(|hertz| *hertz > 0);
        let rate = settings.data_rate.as_ref();
        let modulation = rate.and_then(|rate| {
            rate.lora.as_ref().or_else(|| rate.fsk.as_ref()).or_else(|| rate.lrfhss.as_ref())
        });
        let coding_rate =
            modulation.and_then(|m| m.coding_rate.text()).or_else(|| settings.coding_rate.text());
        radio.coding_rate = coding_rate.map(str::to_owned);
        if let Some(modulation) = modulation {
            data_rate(modulation, &mut radio, warnings);
        }
    }
    radio.known()
}

fn data_rate(modulation: &Modulation<'_>, radio: &mut Radio, warnings: &mut Vec<String>) {
    let Modulation { bandwidth, spreading_factor, bit_rate, operating_channel_width, .. } = modulation;
    bandwidth.check("bandwidth", warnings);
    spreading_factor.check("spreading_factor", warnings);
    bit_rate.check("bit_rate", warnings);
    operating_channel_width.check("operating_channel_width", warnings);
    radio.spreading_factor = spreading_factor.as_ref().copied();
    radio.bandwidth = bandwidth.as_ref().or_else(|| operating_channel_width.as_ref()).copied();
    radio.bit_rate = bit_rate.as_ref().copied();
}

/// Seconds from a proto3 duration, `"0.056576s"`.
fn airtime(field: &Text<'_>, warnings: &mut Vec<String>) -> Option<f64> {
    let text = field.text();
    let seconds = text.and_then(|text| text.strip_suffix('s')?.parse().ok());
    let seconds = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    if seconds.is_none() && field.is_present() && text != Some("") {
        warnings.push("consumed_airtime is not a duration and was left out".into());
    }
    seconds
}

/// When the network received the frame: the Network Server, else the gateway (by the server's clock, else by its own),
/// else the Application Server.
pub(super) fn time(message: &UplinkMessage<'_>, envelope_received_at: &Text<'_>) -> Option<Timestamp> {
    let gateways = message.rx_metadata.as_ref().map_or(&[][..], |list| &list.items);
    let at_gateway = || gateways.iter().find_map(|gateway| lora::time(&gateway.received_at));
    let by_gateway = || best(gateways).and_then(|gateway| lora::time(&gateway.time));
    lora::time(&message.received_at)
        .or_else(at_gateway)
        .or_else(by_gateway)
        .or_else(|| lora::time(envelope_received_at))
}

/// Whether the gateways say something that names one moment.
pub(super) fn names_one_moment(message: &UplinkMessage<'_>) -> bool {
    message.rx_metadata.as_ref().is_some_and(|list| {
        list.items.iter().any(|gateway| {
            gateway.timestamp.as_ref().is_some_and(|microseconds| *microseconds > 0)
                || lora::time(&gateway.time).is_some()
                || lora::time(&gateway.received_at).is_some()
        })
    })
}

fn best<'m, 'a>(gateways: &'m [RxMetadata<'a>]) -> Option<&'m RxMetadata<'a>> {
    lora::best_gateway(gateways, |gateway| (gateway.snr.as_ref().copied(), gateway.rssi.as_ref().copied()))
}

/// What tells gateways apart. One that is heard directly and by Packet Broker too has the same EUI in both.
fn identity<'m>(gateway: &'m RxMetadata<'_>) -> Option<&'m str> {
    let broker = gateway.packet_broker.as_ref();
    let ids = gateway.gateway_ids.as_ref();
    broker
        .and_then(|broker| broker.forwarder_gateway_eui.text())
        .or_else(|| ids.and_then(|ids| ids.eui.text()))
        .or_else(|| name(gateway))
}

/// What people call the gateway; behind Packet Broker, what its owner calls it.
fn name<'m>(gateway: &'m RxMetadata<'_>) -> Option<&'m str> {
    let broker = gateway.packet_broker.as_ref();
    let ids = gateway.gateway_ids.as_ref();
    broker
        .and_then(|broker| broker.forwarder_gateway_id.text().or_else(|| broker.forwarder_gateway_eui.text()))
        .or_else(|| ids.and_then(|ids| ids.gateway_id.text().or_else(|| ids.eui.text())))
}
