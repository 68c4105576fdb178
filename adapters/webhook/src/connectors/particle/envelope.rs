//! What surrounds the data of a Particle event, from whatever preset or template the webhook uses. Not here: what the
//! event means ([`super::event`]).

use bridge_core::{ExternalDevice, Problem, Reason, Timestamp};
use serde_json::{Map, Value};

use super::settings::{Field, ParticleSettings};
use crate::connector::{Malformed, Request};
use crate::connectors::body::{self, Body};
use crate::connectors::fields;

/// One event as its webhook sent it.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    /// Who published it; none for those of the cloud itself.
    pub(super) device: Option<ExternalDevice>,
    /// The device id as sent, `api` and the like included: for the key.
    pub(super) publisher: String,
    /// The event name, where there is one.
    pub(super) event: Option<String>,
    /// What was published.
    pub(super) data: Option<Value>,
    /// When, as written: for the key.
    pub(super) published_at: Option<String>,
    /// When.
    pub(super) time: Option<Timestamp>,
    /// The id of the event.
    pub(super) event_id: Option<String>,
    /// Product and version of its firmware.
    pub(super) product: Option<Value>,
    pub(super) version: Option<Value>,
    /// Other fields of the template, beside the data.
    pub(super) others: Map<String, Value>,
    /// What was not as it should be.
    pub(super) warnings: Vec<String>,
}

/// Fields of the event stream that say nothing about the device: time to live, owner, visibility.
const DROPPED: [&str; 4] = ["ttl", "userid", "userID", "public"];

/// Publishers that are no devices: the cloud's API, and the cloud itself.
const NO_DEVICES: [&str; 2] = ["api", "particle-internal"];

impl Envelope {
    /// Reads a request. A body in which no key is known is itself the data; then the query may be the envelope.
    ///
    /// # Errors
    /// When the body is not of the form that its content type says; a problem when nothing names who published it.
    pub(super) fn read(
        settings: &ParticleSettings,
        request: &Request<'_>,
    ) -> Result<Result<Self, Problem>, Malformed> {
        let query = fields::object_of_pairs(fields::parse_pairs(request.query));
        let mut fields = Fields { settings, body: Map::new(), query };
        let mut whole = None;
        match body::read(request.content_type, request.body)? {
            Body::Empty => {}
            Body::Object(object) => match fields.knows_any(&object) {
                true => fields.body = object,
                false => whole = Some(Value::Object(unquote(&object))),
            },
            Body::Json(value) => whole = Some(value),
            Body::Text(text) => whole = Some(text.into()),
        }
        Ok(fields.into_envelope(whole, request.path_device))
    }
}

/// The fields of body and query; for each field the body goes first.
struct Fields<'a> {
    settings: &'a ParticleSettings,
    body: Map<String, Value>,
    query: Map<String, Value>,
}

impl Fields<'_> {
    fn knows_any(&self, object: &Map<String, Value>) -> bool {
        Field::ALL.iter().flat_map(|&field| self.settings.keys(field)).any(|key| {
            object
                .get(key)
                .is_some_and(|value| !self.settings.guesses_id(key) || is_device_or_event_id(value))
        })
    }

    fn into_envelope(mut self, whole: Option<Value>, path_device: Option<&str>) -> Result<Envelope, Problem> {
        // Keys of the query that nobody knows are data only where there is no body: beside one they are constants.
        let only_query = self.body.is_empty() && whole.is_none();
        let mut device = self.take_text(Field::Device);
        let event_id = self.take_event_id(&mut device);
        let device =
            device.or_else(|| path_device.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
        let Some(publisher) = device.map(normalise_id) else {
            let detail = "neither body, query nor URL names a device".into();
            return Err(Problem { reason: Reason::NoDevice, detail });
        };
        let mut warnings = Vec::new();
        let published_at = self.take(Field::PublishedAt);
        let time = published_at.as_ref().and_then(read_time);
        if published_at.is_some() && time.is_none() {
            warnings.push("the time of publication is neither RFC 3339 nor an epoch".into());
        }
        let event = self.take_text(Field::Event);
        let (product, version) = (self.take(Field::Product), self.take(Field::Version));
        let data = self.take(Field::Data);
        let mut others = unquote(&self.body);
        if only_query {
            others.extend(unquote(&self.query));
        }
        let data = whole.or(data).or_else(|| {
            let fields = std::mem::take(&mut others);
            (!fields.is_empty()).then_some(Value::Object(fields))
        });
        let device =
            (!NO_DEVICES.contains(&publisher.as_str())).then(|| ExternalDevice::new(publisher.clone()));
        Ok(Envelope {
            device,
            publisher,
            event,
            data,
            published_at: published_at.as_ref().and_then(fields::text),
            time,
            event_id,
            product: product.as_ref().and_then(fields::unquoted),
            version: version.as_ref().and_then(fields::unquoted),
            others,
            warnings,
        })
    }

    /// Takes a field out of body and query; only data may be empty or a structure.
    fn take(&mut self, field: Field) -> Option<Value> {
        let fits = |value: &Value| match field {
            Field::Data => !value.is_null(),
            _ => fields::text(value).is_some(),
        };
        let mut found = None;
        for object in [&mut self.body, &mut self.query] {
            for key in self.settings.keys(field) {
                // A second key of an event name is a field like any other (`name` beside `event`).
                if found.is_none() && object.get(key).is_some_and(fits) {
                    found = object.shift_remove(key);
                }
            }
        }
        found
    }

    fn take_text(&mut self, field: Field) -> Option<String> {
        self.take(field).as_ref().and_then(fields::text)
    }

    /// Takes the event id. A lone `id` is one when it is a UUID; of 24 hex digits it is the device's, where nothing
    /// else names one. An `id` of any other form is a field of the template: it would make messages one that are not.
    fn take_event_id(&mut self, device: &mut Option<String>) -> Option<String> {
        for object in [&mut self.body, &mut self.query] {
            for key in self.settings.keys(Field::EventId) {
                let Some(text) = object.get(key).and_then(fields::text) else { continue };
                if !self.settings.guesses_id(key) {
                    object.shift_remove(key);
                    return Some(text);
                }
                if is_uuid(&text) {
                    object.shift_remove(key);
                    return Some(text.to_ascii_lowercase());
                }
                if is_device_id(&text) && device.as_ref().is_none_or(|id| id.eq_ignore_ascii_case(&text)) {
                    object.shift_remove(key);
                    *device = Some(text);
                }
            }
        }
        None
    }
}

fn is_device_or_event_id(value: &Value) -> bool {
    fields::text(value).is_some_and(|text| is_device_id(&text) || is_uuid(&text))
}

fn is_device_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Particle writes device ids in lower case; what people type into a URL may differ.
fn normalise_id(id: String) -> String {
    if id.bytes().all(|b| b.is_ascii_hexdigit()) { id.to_ascii_lowercase() } else { id }
}

fn read_time(value: &Value) -> Option<Timestamp> {
    fields::text(value).and_then(|text| Timestamp::parse_rfc3339(&text)).or_else(|| fields::epoch(value))
}

/// The template's own fields: absent ones left out, numbers and booleans without the template's quotes.
fn unquote(object: &Map<String, Value>) -> Map<String, Value> {
    object
        .iter()
        .filter(|(key, _)| !DROPPED.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.clone(), fields::unquoted(value)?)))
        .collect()
}
