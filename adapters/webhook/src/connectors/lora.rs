//! What LoRaWAN clouds have in common: an encoding that is not read, the best gateway, base64 payloads, positions, times, coding rates, and the
//! identity of a message that carries no sequence. Not here: the shape of any cloud's JSON.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bridge_core::{Location, Measurement, Raw, Timestamp};
use serde_json::Value;

use super::lenient::Text;
use crate::connector::{Malformed, Request};

/// proto3 JSON writes standard base64 with padding and lets readers take it without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Refuses what both stacks send where somebody chose the other encoding.
///
/// # Errors
/// When the body is protobuf; `advice` says where to choose JSON.
pub(super) fn refuse_protobuf(request: &Request<'_>, advice: &str) -> Result<(), Malformed> {
    match request.content_type {
        "application/octet-stream" | "application/x-protobuf" => Err(Malformed(advice.into())),
        _ => Ok(()),
    }
}

/// The gateway that heard best: highest SNR, then highest RSSI; unknown is lowest; the first of equals.
pub(super) fn best_gateway<T>(
    gateways: &[T],
    signal: impl Fn(&T) -> (Option<f64>, Option<f64>),
) -> Option<&T> {
    let known = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    let mut best: Option<(&T, f64, f64)> = None;
    for gateway in gateways {
        let (snr, rssi) = signal(gateway);
        let (snr, rssi) = (known(snr), known(rssi));
        if best.is_none_or(|(_, best_snr, best_rssi)| snr > best_snr || snr == best_snr && rssi > best_rssi) {
            best = Some((gateway, snr, rssi));
        }
    }
    best.map(|(gateway, ..)| gateway)
}

/// How many different gateways there are: one with two antennas counts once, one without an id counts for itself.
pub(super) fn count_gateways<'a>(ids: impl Iterator<Item = Option<&'a str>>) -> Option<u32> {
    let mut nameless = 0;
    let mut known: Vec<&str> = ids
        .filter_map(|id| {
            nameless += usize::from(id.is_none());
            id
        })
        .collect();
    known.sort_unstable();
    known.dedup();
    u32::try_from(known.len() + nameless).ok().filter(|count| *count > 0)
}

/// The payload of a frame from its base64 text; none when it has none, and a warning when it cannot be read.
pub(super) fn payload(
    field: &Text<'_>,
    name: &str,
    port: Option<u8>,
    warnings: &mut Vec<String>,
) -> Option<Raw> {
    field.check(name, warnings);
    match BASE64.decode(field.text()?) {
        Ok(data) => Some(Raw { data, port, encrypted: false }),
        Err(_) => {
            warnings.push(format!("{name} is not base64 and was left out"));
            None
        }
    }
}

/// A time of a network or gateway; none when it cannot be read or is one of the zero times (year 1, 1970-01-01T00:00:00Z).
pub(super) fn time(field: &Text<'_>) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(field.text()?).filter(|time| time.as_millis() > 0)
}

/// A position from proto3 fields, where one absent coordinate is zero. Both absent is no position.
pub(super) fn location(
    latitude: Option<f64>,
    longitude: Option<f64>,
    altitude: Option<f64>,
    accuracy: Option<f64>,
) -> Option<Location> {
    if latitude.is_none() && longitude.is_none() {
        return None;
    }
    let position = Location::new(latitude.unwrap_or(0.0), longitude.unwrap_or(0.0))?;
    // proto3 has no way to say "no accuracy" but 0, and a radius of 0 m is no radius.
    Some(Location { altitude, accuracy: accuracy.filter(|radius| *radius > 0.0), ..position })
}

/// How a position is known, in the bridge's words; none when the source does not know either.
pub(super) fn location_source(text: &str) -> Option<String> {
    let name = text.strip_prefix("SOURCE_").unwrap_or(text).to_ascii_lowercase().replace('_', "-");
    let name = name.strip_suffix("-geolocation").unwrap_or(&name);
    let name = match name.strip_prefix("geo-resolver-").unwrap_or(name) {
        "unknown" | "" => return None,
        "wifi-rssi" => "wifi",
        "bt-rssi" => "bluetooth",
        "config" => "registry",
        "tdoa" => "lora-tdoa",
        "rssi" => "lora-rssi",
        other => other,
    };
    Some(name.to_owned())
}

/// The fields that a codec made, under their own names and values. The names are unique: they come from an object.
pub(super) fn measurements(
    fields: impl IntoIterator<Item = (String, Value)>,
) -> impl Iterator<Item = Measurement> {
    fields.into_iter().map(|(name, value)| Measurement { name, value, unit: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::lenient::Field;
    use std::borrow::Cow;

    #[test]
    fn the_best_gateway_has_the_highest_snr_then_rssi() {
        let gateways =
            [(None, Some(-10.0)), (Some(5.0), Some(-90.0)), (Some(5.0), Some(-80.0)), (Some(4.0), None)];
        assert_eq!(best_gateway(&gateways, |g| *g), Some(&gateways[2]));
        assert_eq!(best_gateway(&[] as &[(Option<f64>, Option<f64>)], |g| *g), None);
        assert_eq!(count_gateways([Some("b"), Some("a"), None, Some("b"), None].into_iter()), Some(4));
        assert_eq!(count_gateways(std::iter::empty()), None);
    }

    #[test]
    fn payloads_that_are_no_base64_are_reported() {
        let mut warnings = Vec::new();
        let mut read =
            |text| payload(&Field::Is(Cow::Borrowed(text)), "data", Some(1), &mut warnings).map(|r| r.data);
        assert_eq!(read("AQI="), Some(vec![1, 2]));
        assert_eq!(read("AQI"), Some(vec![1, 2]));
        assert_eq!(read(""), None);
        assert_eq!(read("!"), None);
        assert_eq!(warnings, ["data is not base64 and was left out"]);
    }

    #[test]
    fn positions_and_their_sources() {
        assert_eq!(location(None, None, Some(3.0), None), None);
        assert_eq!(location(Some(91.0), None, None, None), None);
        let on_the_equator = location(None, Some(4.9), None, Some(0.0)).unwrap();
        assert_eq!((on_the_equator.latitude, on_the_equator.accuracy), (0.0, None));
        for (text, want) in [
            ("SOURCE_GPS", Some("gps")),
            ("SOURCE_REGISTRY", Some("registry")),
            ("SOURCE_WIFI_RSSI_GEOLOCATION", Some("wifi")),
            ("SOURCE_BT_RSSI_GEOLOCATION", Some("bluetooth")),
            ("SOURCE_LORA_TDOA_GEOLOCATION", Some("lora-tdoa")),
            ("SOURCE_COMBINED_GEOLOCATION", Some("combined")),
            ("SOURCE_UNKNOWN", None),
            ("GEO_RESOLVER_RSSI", Some("lora-rssi")),
            ("GEO_RESOLVER_GNSS", Some("gnss")),
            ("CONFIG", Some("registry")),
        ] {
            assert_eq!(location_source(text).as_deref(), want, "{text}");
        }
    }
}
