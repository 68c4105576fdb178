//! What must hold for every request, however it was made: the laws that the fuzz targets and the tests of the connectors
//! share, and the text form in which both keep a request. Not here: what one connector makes of one request (its
//! fixtures), and how inputs are made (`fuzz/`, the tests).

use std::borrow::Cow;
use std::collections::HashSet;

use bridge_core::{Decoded, DeviceId, IntegrationName, Message, MessageId, Timestamp, Uplink, Verdict};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::de::IgnoredAny;

use crate::connector::{Connector, Decode, Letter, Reply, Request, Settings};

/// What the text form writes as `%XX`.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'=');

/// A request at rest, with the settings of the integration that it came to.
///
/// The text form is four lines and the body, all of them optional, so that every sequence of bytes is one:
///
/// ```text
/// POST application/json
/// QUERY
/// DEVICE IN THE URL (empty: none)
/// SETTING=VALUE&SETTING=VALUE (percent-encoded)
/// BODY
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// `GET`, `POST` or `PUT`.
    pub method: http::Method,
    /// The device named in the URL.
    pub path_device: Option<String>,
    /// The raw query string.
    pub query: String,
    /// The media type in lower case without parameters; may be empty.
    pub content_type: String,
    /// The settings of the integration.
    pub settings: Settings,
    /// The body.
    pub body: Vec<u8>,
}

impl StoredRequest {
    /// A POST with this body, to an integration without settings.
    pub fn post(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: http::Method::POST,
            path_device: None,
            query: String::new(),
            content_type: content_type.into(),
            settings: Settings::new(),
            body: body.into(),
        }
    }

    /// Reads the text form. Total: what is missing is empty, an unknown method is POST, and bytes that are not UTF-8 are
    /// replaced everywhere but in the body.
    pub fn from_text(text: &[u8]) -> Self {
        let mut parts = text.splitn(5, |byte| *byte == b'\n');
        let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default());
        let first = line();
        let (method, content_type) = first.split_once(' ').unwrap_or((&first, ""));
        let method = match method {
            "GET" => http::Method::GET,
            "PUT" => http::Method::PUT,
            _ => http::Method::POST,
        };
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let query = line().into_owned();
        let path_device = Some(line().into_owned()).filter(|device| !device.is_empty());
        let settings = settings_from_text(&line());
        let body = parts.next().unwrap_or_default().to_vec();
        Self { method, path_device, query, content_type, settings, body }
    }

    /// Writes the text form: what [`from_text`](Self::from_text) reads as the same request, as long as there is no line
    /// break in the query, the content type or the device.
    pub fn to_text(&self) -> Vec<u8> {
        let device = self.path_device.as_deref().unwrap_or_default();
        let settings = settings_to_text(&self.settings);
        let head = format!("{} {}\n{}\n{device}\n{settings}\n", self.method, self.content_type, self.query);
        [head.as_bytes(), &self.body].concat()
    }

    /// As a connector gets it.
    pub fn as_request(&self, received_at: Timestamp) -> Request<'_> {
        Request {
            method: &self.method,
            path_device: self.path_device.as_deref(),
            query: &self.query,
            content_type: &self.content_type,
            body: &self.body,
            received_at,
        }
    }
}

/// When requests are received: 2026-11-20T12:00:00Z.
pub fn received_at() -> Timestamp {
    Timestamp::EPOCH.plus(std::time::Duration::from_secs(1_795_176_000))
}

/// Takes a request in its text form through a connector and returns the messages that its uplinks become.
///
/// # Panics
/// When a law does not hold; that is what it is for. See [`check_request`].
pub fn check(connector: &dyn Connector, text: &[u8]) -> Vec<Message> {
    check_request(connector, StoredRequest::from_text(text))
}

/// Takes a request through a connector and returns the messages that its uplinks become. Settings that the connector
/// refuses are left out, and a body above the connector's limit is cut off there, as the receiver would refuse both.
///
/// # Panics
/// When a law does not hold:
/// - the same request gives the same outcome; what is understood gives at least one uplink or problem;
/// - no name of a measurement stands twice in an uplink, and every number is one that JSON has;
/// - a message reads back from its record as it was;
/// - what the messages hold is bounded by what came in;
/// - JSON without its credentials is still JSON, and an answer in JSON is JSON.
pub fn check_request(connector: &dyn Connector, mut stored: StoredRequest) -> Vec<Message> {
    let decoder = decoder(connector, &stored.settings);
    stored.body.truncate(connector.body_limit());
    let request = stored.as_request(received_at());
    let outcome = decoder.decode(&request);
    assert_eq!(outcome, decoder.decode(&request), "the same request gives another outcome");
    check_redaction(decoder.as_ref(), request.body);
    let Ok(decoded) = outcome else { return Vec::new() };
    assert!(!decoded.uplinks.is_empty() || !decoded.problems.is_empty(), "the request became nothing");
    check_answer(decoder.as_ref(), &request, &decoded);
    let mut bytes: usize = decoded.uplinks.iter().map(bytes_of_device).sum();
    let messages: Vec<Message> =
        decoded.uplinks.into_iter().map(|uplink| message_of(connector.name(), uplink)).collect();
    for message in &messages {
        bytes += check_message(message);
    }
    let most = most_bytes(&stored);
    assert!(bytes <= most, "the request became {bytes} bytes, more than {most}");
    messages
}

/// The connector with these settings, or without any where it refuses them.
fn decoder(connector: &dyn Connector, settings: &Settings) -> Box<dyn Decode> {
    // invariant: no connector has a compulsory setting.
    connector
        .configure(settings)
        .or_else(|_| connector.configure(&Settings::new()))
        .unwrap_or_else(|errors| panic!("{} refuses to have no settings: {errors:?}", connector.name()))
}

fn check_redaction(decoder: &dyn Decode, body: &[u8]) {
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let redacted = decoder.redact(body);
    assert!(!is_json(body) || is_json(&redacted), "JSON without its credentials is not JSON");
}

fn check_answer(decoder: &dyn Decode, request: &Request<'_>, decoded: &Decoded) {
    for verdict in [Verdict::Delivered, Verdict::Stored, Verdict::Duplicate] {
        let verdicts = vec![verdict; decoded.uplinks.len() + decoded.problems.len()];
        let asks = decoder.asks(request);
        let letters: Vec<Letter> =
            asks.into_iter().map(|ask| Letter { name: ask.name, data: vec![0; 8] }).collect();
        for letters in [&letters[..], &[]] {
            if let Reply::Json(answer) = decoder.reply(request, &verdicts, letters) {
                assert!(
                    serde_json::from_str::<IgnoredAny>(&answer).is_ok(),
                    "the answer is not JSON: {answer}"
                );
            }
        }
    }
}

/// Returns the size of its record, bytes.
fn check_message(message: &Message) -> usize {
    let mut names = HashSet::new();
    for measurement in &message.content.measurements {
        assert!(names.insert(&measurement.name), "measurement {:?} stands twice", measurement.name);
    }
    // A number that JSON does not have (NaN, an infinity) would read back as absent.
    let record = message.to_record();
    match Message::from_record(&record) {
        Ok(read) => assert_eq!(read, *message, "the record reads back as another message"),
        Err(error) => panic!("the record cannot be read back: {error}"),
    }
    record.len()
}

fn bytes_of_device(uplink: &Uplink) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    uplink.device.as_ref().map_or(0, |device| device.id.len() + length(&device.scope) + length(&device.name))
}

/// What the records of all messages of a request may hold, bytes. Every part of it may stand in several places (a name
/// in the measurement and in a warning), a byte of payload takes up to four (`255,`), and every message has a frame
/// around it, of which some hundred messages that are split from one repeat up to 2 KiB.
fn most_bytes(stored: &StoredRequest) -> usize {
    let device = stored.path_device.as_deref().unwrap_or_default();
    64 * (stored.body.len() + stored.query.len() + device.len()) + 512 * 1024
}

/// The message that the pipeline makes of an uplink.
fn message_of(source: &str, uplink: Uplink) -> Message {
    // invariant: "fuzzing" is a name.
    let integration = IntegrationName::parse("fuzzing").unwrap_or_else(|error| panic!("{error}"));
    Message {
        id: MessageId::new(&integration, &uplink.key),
        device: uplink.device.and_then(|device| DeviceId::parse(&device.id).ok()),
        source: source.to_owned().into(),
        integration,
        kind: uplink.kind,
        time: uplink.time,
        received_at: received_at(),
        superseded: false,
        replayed: false,
        corrects: None,
        reply: None,
        content: uplink.content,
    }
}

fn settings_from_text(line: &str) -> Settings {
    let decode = |text: &str| -> String { percent_decode_str(text).decode_utf8_lossy().into_owned() };
    let mut settings = Settings::new();
    for pair in line.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        settings.entry(decode(key)).or_default().push(decode(value));
    }
    settings
}

fn settings_to_text(settings: &Settings) -> String {
    let encode = |text: &str| -> String { Cow::from(utf8_percent_encode(text, ESCAPED)).into_owned() };
    let pairs: Vec<String> = settings
        .iter()
        .flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests;
