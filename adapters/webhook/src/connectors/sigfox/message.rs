//! From the record of one message to an uplink: service, device, key, and what all services share. Not here: what
//! one service reports ([`super::uplink`], [`super::advanced`], [`super::upkeep`], [`super::alarm`]).

use bridge_core::{Content, ExternalDevice, IdempotencyKey, Kind, Problem, Radio, Reason, Timestamp, Uplink};

use super::record::Record;
use super::service::Service;
use super::variables::Variable as V;
use super::{advanced, alarm, upkeep, uplink};
use crate::connectors::fields;

/// What the request says about each of its messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// What the integration or the URL says that it is.
    pub(super) service: Option<Service>,
    /// The device that the URL names.
    pub(super) path_device: Option<&'a str>,
    /// When the bridge received it.
    pub(super) received_at: Timestamp,
}

/// Variables that may come with every service and say the same in all of them. `lat` and `lng` are the base
/// station's, rounded to degrees: not the device's position, so they go nowhere.
pub(super) const COMMON: &[V] = &[
    V::Device,
    V::Time,
    V::SeqNumber,
    V::DeviceTypeId,
    V::Snr,
    V::AvgSnr,
    V::Rssi,
    V::Station,
    V::Lat,
    V::Lng,
    V::Lqi,
    V::LinkQuality,
    V::OperatorName,
    V::CountryCode,
];

/// Makes the uplink of one message.
///
/// # Errors
/// When nothing tells its service or its device, or the device id is none.
pub(super) fn uplink(mut record: Record, origin: &Origin<'_>) -> Result<Uplink, Problem> {
    let service = origin.service.or(record.service).or_else(|| Service::detect(&record));
    let Some(service) = service else {
        return Err(problem(Reason::Unmappable, "has none of the variables of a Sigfox service"));
    };
    let device = match service {
        Service::Event => alarm::device_of_event(&record, origin.path_device),
        _ => named_device(&record, origin.path_device)?,
    };
    if device.is_none() && !matches!(service, Service::Error | Service::Event) {
        return Err(problem(Reason::NoDevice, "neither body, query nor URL names a device"));
    }
    let time = record.time(V::Time);
    let key = key(service, device.as_deref(), &record, time, origin.received_at);
    let mut content = Content { radio: radio(&mut record).known(), ..Content::default() };
    let kind = match service {
        Service::Data => uplink::read(&mut record, &mut content),
        Service::DataAdvanced => advanced::read(&mut record, &mut content),
        Service::Geoloc => advanced::read_geoloc(&mut record, &mut content),
        Service::Status => upkeep::read_status(&mut record, &mut content),
        Service::Acknowledge => upkeep::read_acknowledge(&mut record, &mut content),
        Service::Repeater => upkeep::read_repeater(&mut record, &mut content),
        Service::Error => alarm::read_error(&mut record, &mut content),
        Service::Event => alarm::read_event(&mut record, &mut content),
    };
    content.warnings = record.warnings;
    let mut uplink = Uplink::new(device.map(ExternalDevice::new), kind, key);
    uplink.time = time;
    uplink.content = content;
    Ok(uplink)
}

/// The device by its variable, else by the URL.
fn named_device(record: &Record, path_device: Option<&str>) -> Result<Option<String>, Problem> {
    let text = record.text(V::Device).or_else(|| path_device.map(|text| text.trim().to_owned()));
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match device_id(&text) {
            Some(id) => Ok(Some(id)),
            None => Err(problem(Reason::InvalidDeviceId, "the device id is not 1 to 8 hex digits")),
        },
    }
}

/// A Sigfox id: 1 to 8 hex digits, in upper case as the backend writes them. Leading zeros stay as sent (`00A1`):
/// the backend writes none, so what has them was named by the user.
pub(super) fn device_id(text: &str) -> Option<String> {
    let is_id = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_uppercase())
}

/// The idempotency key: service, device, time and sequence number, which a retry repeats and which differ between
/// messages (the sequence number alone comes again after 4096 messages). UPLINK, BIDIR and `duplicate` frames of one
/// message share it. Where one of the two is missing or unreadable, the payload counts as well; where both are, also
/// the time of reception, so that a retry of it doubles rather than two messages become one.
fn key(
    service: Service,
    device: Option<&str>,
    record: &Record,
    time: Option<Timestamp>,
    received_at: Timestamp,
) -> IdempotencyKey {
    let text = |variable| record.text(variable).unwrap_or_default();
    let sequence = record.value(V::SeqNumber).and_then(fields::integer);
    let mut parts = vec![
        service.as_str().to_owned(),
        device.unwrap_or_default().to_owned(),
        time.map_or_else(|| text(V::Time), |time| time.as_millis().to_string()),
        sequence.map_or_else(|| text(V::SeqNumber), |number| number.to_string()),
    ];
    if time.is_none() || sequence.is_none() {
        parts.push(text(V::Data).to_ascii_lowercase());
    }
    if time.is_none() && sequence.is_none() {
        parts.push(received_at.as_millis().to_string());
    }
    match service {
        Service::Acknowledge => parts.push(text(V::InfoCode)),
        Service::Error => parts.extend([text(V::Severity), text(V::Info)]),
        // Several messages of one device can break its sequence in one second: all variables count.
        Service::Event => parts.extend(record.others(&[COMMON]).map(|(key, value)| format!("{key}={value}"))),
        _ => {}
    }
    IdempotencyKey::from_texts(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// How the message was heard.
fn radio(record: &mut Record) -> Radio {
    let counter = record.integer(V::SeqNumber);
    let by_number = match record.value(V::LinkQuality).and_then(fields::integer) {
        Some(0) => Some("limit"),
        Some(1) => Some("average"),
        Some(2) => Some("good"),
        Some(3) => Some("excellent"),
        _ => None, // 4 is "not available"
    };
    Radio {
        rssi: record.number(V::Rssi),
        snr: record.number(V::Snr),
        gateway: record.text(V::Station),
        counter: counter.and_then(|number| u32::try_from(number).ok()),
        quality: record.text(V::Lqi).map(|text| text.to_lowercase()).or(by_number.map(str::to_owned)),
        operator: record.text(V::OperatorName),
        ..Radio::default()
    }
}

/// What describes the message but is neither radio nor measurement.
pub(super) fn describe(record: &mut Record, content: &mut Content) {
    for variable in [V::DeviceTypeId, V::CountryCode] {
        if let Some(text) = record.text(variable) {
            content.data.insert(variable.name().into(), text.into());
        }
    }
    if let Some(decibels) = record.number(V::AvgSnr).and_then(fields::json_number) {
        content.data.insert(V::AvgSnr.name().into(), decibels);
    }
}

/// What a template sent beyond the variables of its service: details, under the keys of the template. A payload goes
/// as `payload`, not as raw bytes: the message that it belongs to brings those.
pub(super) fn keep_others(record: &Record, own: &[V], content: &mut Content) {
    for (key, value) in record.others(&[COMMON, own, &[V::Data]]) {
        if let Some(value) = fields::unquoted(value) {
            content.data.entry(key.clone()).or_insert(value);
        }
    }
    if let Some(payload) = record.text(V::Data) {
        content.data.insert("payload".into(), payload.into());
    }
}

pub(super) fn problem(reason: Reason, detail: &str) -> Problem {
    Problem { reason, detail: detail.to_owned() }
}

/// What became of a message's kind when there is nothing to choose.
pub(super) fn status_or_location(has_location: bool) -> Kind {
    if has_location { Kind::Location } else { Kind::Status }
}
