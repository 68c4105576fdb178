//! `uplink_message` and `uplink_normalized` become telemetry. Not here: the radio side, and who sent it.

use bridge_core::measurement::{Normalised, from_normalized_payload};
use bridge_core::{
    Content, Decoded, IdempotencyKey, Kind, Measurement, Problem, Raw, Reason, Timestamp, Uplink,
};
use serde_json::{Map, Value};

use super::identity::{Part, Sender, uplink_correlation, warn_left_out, written_time};
use super::wire::{Envelope, UplinkMessage};
use super::{location, radio};
use crate::connectors::lora;

/// The two forms of an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `uplink_message`: decoded fields, and a list of normalised measurements.
    Message,
    /// `uplink_normalized`: one normalised measurement of a frame that may have several.
    Normalized,
}

/// Adds the telemetry of one message: one uplink, and one more for each normalised measurement after the first. The message
/// stays in its box: it is large.
pub(super) fn decode(
    form: Form,
    mut message: Box<UplinkMessage<'_>>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
    decoded: &mut Decoded,
) {
    let mut content = Content { simulated: envelope.simulated.as_ref() == Some(&true), ..Content::default() };
    let mut payloads =
        normalized_payloads(&mut message, &mut content.warnings, &mut decoded.problems).into_iter();
    let first = payloads.next();
    let key = |distinction: &[&str]| key(&message, envelope, sender, part, distinction);
    let first_key = match (form, &first) {
        (Form::Message, _) => key(&[]),
        (Form::Normalized, Some(payload)) => key(&["normalized", &as_text(payload)]),
        (Form::Normalized, None) => key(&["normalized"]),
    };
    let mut further: Vec<(IdempotencyKey, Normalised)> = payloads
        .zip(1_usize..)
        .map(|(payload, index)| {
            let key = key(&["normalized", &as_text(&payload), &index.to_string()]);
            (key, from_normalized_payload(&payload))
        })
        .collect();

    let time = radio::time(&message, &envelope.received_at);
    fill(&mut content, message, envelope, sender);
    // The frame's bytes and its attributes stand in the first uplink only: it is one frame.
    let mut bare = Content { simulated: content.simulated, ..Content::default() };
    if !further.is_empty() {
        bare.radio = content.radio.clone();
        bare.data = content.data.clone();
        bare.data.retain(|name, _| matches!(name.as_str(), "devEui" | "model"));
    }
    if !further.is_empty() && repeated_bytes(&bare, sender) > MOST_REPEATED {
        let detail = "the ids are too long to stand in every normalized measurement".to_owned();
        decoded.problems.push(Problem { reason: Reason::Unmappable, detail });
        further.clear();
    }
    let mut push = |key, content: Content, normalised: Option<Normalised>| {
        let mut uplink = Uplink::new(Some(sender.device()), Kind::Telemetry, key);
        uplink.content = content;
        uplink.time = normalised.and_then(|n| merge(&mut uplink.content, n)).or(time);
        decoded.push(uplink);
    };
    push(first_key, content, first.map(|payload| from_normalized_payload(&payload)));
    for (key, normalised) in further {
        push(key, bare.clone(), Some(normalised));
    }
}

/// Bytes of radio and ids that one further uplink may repeat; those of a real frame have some hundred.
const MOST_REPEATED: usize = 1024;

fn repeated_bytes(bare: &Content, sender: &Sender<'_>) -> usize {
    // invariant: radio and text are always JSON, so this cannot fail.
    sender.device_bytes() + serde_json::to_vec(bare).map_or(0, |text| text.len())
}

/// Device, session, counter, and the Network Server's time of the frame: a device without join (ABP) that restarts counts
/// from 0 again in the same session. See [`super::identity`] for what comes where these do not say enough.
fn key(
    message: &UplinkMessage<'_>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
    distinction: &[&str],
) -> IdempotencyKey {
    let tenant = message.network_ids.as_ref().and_then(|ids| ids.tenant_id.text()).unwrap_or_default();
    let kind = "up";
    let correlation = uplink_correlation(envelope);
    let times = [written_time(&message.received_at), written_time(&envelope.received_at)];
    // The console simulates with whatever session and counter its user likes, again and again.
    let simulated = envelope.simulated.as_ref() == Some(&true);
    if let (Some(session), false) = (message.session_key_id.text(), simulated) {
        let [received_at, handled_at] = times.map(Option::unwrap_or_default);
        return match message.f_cnt.as_ref() {
            Some(counter) => {
                let frame = [tenant, session, &counter.to_string(), received_at];
                sender.key_of(kind, &[&frame, distinction])
            }
            // 0, or taken away by a field mask: then session and counter alone would merge all uplinks.
            None => {
                let payload = message.frm_payload.text().unwrap_or_default();
                let moment = [handled_at, correlation.unwrap_or_default(), payload];
                sender.key_of(kind, &[&[tenant, session, "0", received_at], &moment, distinction])
            }
        };
    }
    if let Some(correlation) = correlation {
        return sender.key_of(kind, &[&[tenant, correlation], distinction]);
    }
    let counter = message.f_cnt.as_ref().map(u32::to_string).unwrap_or_default();
    let payload = message.frm_payload.text().unwrap_or_default();
    let content = [&[tenant, payload, &counter], distinction].concat();
    sender.key_without_sequence(kind, &times, &content, radio::names_one_moment(message), part)
}

/// Everything but the normalised measurements.
fn fill(
    content: &mut Content,
    message: Box<UplinkMessage<'_>>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
) {
    let warnings = &mut content.warnings;
    message.f_port.check("f_port", warnings);
    message.f_cnt.check("f_cnt", warnings);
    message.decoded_payload.check("decoded_payload", warnings);
    message.locations.check("locations", warnings);
    for list in [&message.decoded_payload_warnings, &message.normalized_payload_warnings] {
        warnings
            .extend(list.as_ref().iter().flat_map(|list| &list.items).map(|text| text.as_ref().to_owned()));
    }
    let port = message.f_port.as_ref().copied();
    // Zero is not written. A session without a counter is at its first uplink; without a session nothing is known.
    let is_zero =
        !message.f_cnt.is_present() && message.session_key_id.text().is_some() && !content.simulated;
    let counter = message.f_cnt.as_ref().copied().or(is_zero.then_some(0));
    content.radio = radio::radio(&message, counter, port, warnings);
    content.raw = lora::payload(&message.frm_payload, "frm_payload", port, warnings);
    content.location = message.locations.as_ref().and_then(|named| location::of_device(named, warnings));

    sender.describe(&mut content.data, envelope);
    if let Some(version) = message.version_ids.as_ref()
        && let (Some(brand), Some(model)) = (version.brand_id.text(), version.model_id.text())
    {
        content.data.insert("model".into(), [brand, "/", model].concat().into());
    }
    let battery = message.last_battery_percentage.as_ref();
    let battery =
        battery.and_then(|battery| Some((*battery.value.as_ref()?, lora::time(&battery.received_at))));
    if let Some(attributes) = message.attributes.get().filter(|attributes| !attributes.is_empty()) {
        content.data.insert("attributes".into(), attributes.into());
    }
    if message.app_s_key.is_present() {
        content
            .warnings
            .push("the payload is still encrypted: the Application Server skips payload crypto".into());
        content.raw = content.raw.take().map(|raw| Raw { encrypted: true, ..raw });
    } else if let Some(fields) = message.decoded_payload.get() {
        content.measurements.extend(lora::measurements(fields));
    }
    if let Some((percent, at)) = battery {
        remember_battery(content, percent, at);
    }
}

/// The last battery level that the device reported, perhaps long before this uplink: so with its own time.
fn remember_battery(content: &mut Content, percent: f64, at: Option<Timestamp>) {
    const NAME: &str = "batteryLevel";
    if content.measurement(NAME).is_some() {
        return;
    }
    let Some(value) = crate::connectors::fields::json_number(percent) else { return };
    content.measurements.push(Measurement::new(NAME, value).with_unit("%"));
    if let Some(at) = at {
        content.data.insert("batteryLevelTime".into(), at.to_string().into());
    }
}

/// Puts a normalised measurement over what is there, and returns its own time.
fn merge(content: &mut Content, normalised: Normalised) -> Option<Timestamp> {
    for measurement in normalised.measurements {
        content.measure(measurement);
    }
    content.warnings.extend(normalised.warnings);
    content.location = normalised.location.or(content.location.take());
    normalised.time
}

/// The normalised measurements that can be read.
fn normalized_payloads(
    message: &mut UplinkMessage<'_>,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Vec<Map<String, Value>> {
    let list = std::mem::take(&mut message.normalized_payload);
    warn_left_out(&list, "normalized_payload", warnings);
    let list = list.get().unwrap_or_default();
    if list.left_out > 0 {
        let detail = format!("{} measurements of normalized_payload cannot be read", list.left_out);
        problems.push(Problem { reason: Reason::Unmappable, detail });
    }
    if message.app_s_key.is_present() {
        return Vec::new();
    }
    let mut payloads = list.items;
    let all = payloads.len();
    payloads.retain(|payload| fits(payload, 0, &mut Budget::default()));
    if payloads.len() < all {
        let detail = "a normalized payload is larger than any schema".to_owned();
        problems.push(Problem { reason: Reason::Unmappable, detail });
    }
    payloads
}

/// What a normalised payload may hold. The schema has 30 fields, none with a path over 30 bytes.
struct Budget {
    fields: usize,
    path_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { fields: 256, path_bytes: 16 * 1024 }
    }
}

/// Whether the fields under dotted paths stay within the budget. A long name above many fields would be copied to each.
fn fits(payload: &Map<String, Value>, path: usize, budget: &mut Budget) -> bool {
    payload.iter().all(|(name, value)| {
        let path = path + name.len() + 1;
        let (Some(fields), Some(path_bytes)) =
            (budget.fields.checked_sub(1), budget.path_bytes.checked_sub(path))
        else {
            return false;
        };
        *budget = Budget { fields, path_bytes };
        value.as_object().is_none_or(|inner| fits(inner, path, budget))
    })
}

fn as_text(payload: &Map<String, Value>) -> String {
    // invariant: a map of JSON values is always JSON, so this cannot fail.
    serde_json::to_string(payload).unwrap_or_default()
}
