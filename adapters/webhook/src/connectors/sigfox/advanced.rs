//! SERVICE/DATA_ADVANCED and SERVICE/GEOLOC: where a message came from and how it was received. Sent beside the DATA
//! callback of the same message, so never telemetry. Not here: the payload.

use bridge_core::{Content, Kind, Location, Radio};
use serde_json::{Map, Value, json};

use super::message::{describe, keep_others, status_or_location};
use super::record::Record;
use super::variables::Variable as V;
use crate::connectors::fields;

const OWN: &[V] = &[V::ComputedLocation, V::Duplicates, V::FixedLat, V::FixedLng];
const OWN_GEOLOC: &[V] = &[V::Radius, V::GeolocSource];

/// Reads a DATA_ADVANCED callback: a location when the network has computed one, else the state of the link.
pub(super) fn read(record: &mut Record, content: &mut Content) -> Kind {
    describe(record, content);
    if let Some(number) = record.integer(V::LinkQuality) {
        content.data.insert(V::LinkQuality.name().into(), number.into());
    }
    let fixed = (record.number(V::FixedLat), record.number(V::FixedLng));
    // The backend writes 0.0 and 0.0 where nobody has set a position.
    if let (Some(latitude), Some(longitude)) = fixed
        && fixed != (Some(0.0), Some(0.0))
    {
        content.data.insert(
            "fixedLocation".into(),
            json!({"latitude": fields::json_number(latitude), "longitude": fields::json_number(longitude)}),
        );
    }
    if let Some(Value::Array(stations)) = record.structure(V::Duplicates) {
        hear(&stations, content.radio.get_or_insert_default());
        content.data.insert("stations".into(), Value::Array(stations));
    }
    match record.structure(V::ComputedLocation) {
        Some(Value::Object(computed)) => content.location = computed_location(&computed, record),
        Some(_) => record.warnings.push("computedLocation is not an object".into()),
        None => {}
    }
    keep_others(record, OWN, content);
    content.radio = content.radio.take().and_then(Radio::known);
    status_or_location(content.location.is_some())
}

/// Reads a GEOLOC callback (deprecated by Sigfox).
pub(super) fn read_geoloc(record: &mut Record, content: &mut Content) -> Kind {
    describe(record, content);
    let degrees = (record.number(V::Lat), record.number(V::Lng));
    let accuracy = record.number(V::Radius);
    let source = record.integer(V::GeolocSource).and_then(|code| source(code, record));
    content.location = located(degrees, accuracy, source, record);
    keep_others(record, OWN_GEOLOC, content);
    status_or_location(content.location.is_some())
}

/// `{lat, lng, radius, source, status}`; status 0 says that there is no position.
fn computed_location(computed: &Map<String, Value>, record: &mut Record) -> Option<Location> {
    let status = computed.get("status").and_then(fields::integer);
    if status.is_some_and(|status| status != 1) {
        return None;
    }
    let number = |key: &str| computed.get(key).and_then(fields::number);
    let source = computed.get("source").and_then(fields::integer).and_then(|code| source(code, record));
    located((number("lat"), number("lng")), number("radius"), source, record)
}

fn located(
    degrees: (Option<f64>, Option<f64>),
    accuracy: Option<f64>,
    source: Option<String>,
    record: &mut Record,
) -> Option<Location> {
    let place = match degrees {
        (Some(latitude), Some(longitude)) => Location::new(latitude, longitude),
        _ => None,
    };
    if place.is_none() {
        record.warnings.push("the position is not a place on the globe".into());
    }
    place.map(|place| Location { accuracy, source, ..place })
}

/// How a position is known (support.sigfox.com, "DATA_ADVANCED", computedLocation.source).
fn source(code: i64, record: &mut Record) -> Option<String> {
    let name = match code {
        0 => "network-rssi",
        1 => "gps",
        2 => "network",
        3 => "poi",
        4 => "network-hd",
        5 => "private-database",
        6 => "wifi",
        7 => "proximity",
        _ => {
            record.warnings.push(format!("the source {code} of the position is not known"));
            return None;
        }
    };
    Some(name.to_owned())
}

/// `[{bsId, rssi, snr, nbRep}]`: how many stations heard it, and the one that heard it best.
fn hear(stations: &[Value], radio: &mut Radio) {
    radio.gateways = u32::try_from(stations.len()).ok();
    let rssi = |station: &Value| station.get("rssi").and_then(fields::number);
    let best = stations
        .iter()
        .filter_map(|station| Some((rssi(station)?, station)))
        .max_by(|left, right| left.0.total_cmp(&right.0));
    if let Some((rssi, station)) = best {
        radio.rssi = Some(rssi);
        radio.snr = station.get("snr").and_then(fields::number).or(radio.snr);
        radio.gateway = station.get("bsId").and_then(fields::text).or(radio.gateway.take());
    }
}
