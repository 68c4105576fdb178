//! Which handler an event is for, by its shape. Not here: the handlers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::http_event::HttpEvent;

/// An event.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// API Gateway HTTP API or Function URL, payload format 2.0.
    Http(Box<HttpEvent>),
    /// A batch of SQS.
    Sqs(Vec<SqsRecord>),
    /// EventBridge: time has passed.
    Scheduled,
    /// An AWS IoT rule: `SELECT encode(*, 'base64') AS payload, topic() AS topic`.
    Topic {
        /// Where it was published.
        topic: String,
        /// What.
        payload: Vec<u8>,
    },
    /// A command in the JSON form of `POST /admin/v1/commands`.
    Command(Value),
}

/// A message that SQS handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsRecord {
    /// The id that SQS knows it by.
    pub id: String,
    /// What its order is kept within.
    pub group: String,
    /// The body.
    pub body: String,
    /// Names this hand-out.
    pub receipt: String,
    /// How often it was handed out.
    pub times: u32,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// A sentence for whoever configured the trigger: what it is not. Nothing of its content is in it.
    pub fn parse(event: Value) -> Result<Self, String> {
        if event.pointer("/requestContext/http").is_some() {
            return HttpEvent::parse(&event).map(|http| Self::Http(Box::new(http)));
        }
        if event.get("httpMethod").is_some() {
            return Err("The event is of payload format 1.0 (REST API, or an HTTP API set to it): set the \
                        integration's payload format version to 2.0."
                .into());
        }
        if let Some(records) = event.get("Records") {
            return records_of(records).map(Self::Sqs);
        }
        if event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
            || event.get("task").and_then(Value::as_str) == Some("housekeeping")
        {
            return Ok(Self::Scheduled);
        }
        if let (Some(topic), Some(payload)) =
            (event.get("topic").and_then(Value::as_str), event.get("payload"))
        {
            return Ok(Self::Topic { topic: topic.to_owned(), payload: payload_of(payload)? });
        }
        if event.get("device").is_some() && event.get("name").is_some() {
            return Ok(Self::Command(event));
        }
        Err("The event is none that this function knows: HTTP (payload format 2.0), SQS, a schedule of EventBridge, a \
             topic of AWS IoT, or a command."
            .into())
    }

    /// For metrics and the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Sqs(_) => "sqs",
            Self::Scheduled => "scheduled",
            Self::Topic { .. } => "topic",
            Self::Command(_) => "command",
        }
    }
}

/// Base64 text, or JSON as it stands.
fn payload_of(payload: &Value) -> Result<Vec<u8>, String> {
    match payload {
        Value::String(text) => BASE64
            .decode(text)
            .map_err(|_| "\"payload\" of the topic's event is a text that is not base64.".into()),
        json => Ok(json.to_string().into_bytes()),
    }
}

fn records_of(records: &Value) -> Result<Vec<SqsRecord>, String> {
    let records = records.as_array().ok_or("\"Records\" of the event is not an array.")?;
    records
        .iter()
        .map(|record| {
            let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            if text("/eventSource").as_deref() != Some("aws:sqs") {
                return Err("The event has records that are not of SQS.".to_owned());
            }
            let lacks = |what: &str| format!("A record of the SQS event has no {what}.");
            let times = text("/attributes/ApproximateReceiveCount").and_then(|times| times.parse().ok());
            Ok(SqsRecord {
                id: text("/messageId").ok_or_else(|| lacks("messageId"))?,
                // A queue that is not FIFO has no groups; what comes by it is not of this bridge, and is set aside.
                group: text("/attributes/MessageGroupId").unwrap_or_default(),
                body: text("/body").ok_or_else(|| lacks("body"))?,
                receipt: text("/receiptHandle").ok_or_else(|| lacks("receiptHandle"))?,
                times: times.unwrap_or(1),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_known_by_their_shape() {
        let sqs = json!({ "Records": [{
            "messageId": "m1", "receiptHandle": "r1", "body": "{}", "eventSource": "aws:sqs",
            "attributes": { "ApproximateReceiveCount": "3", "MessageGroupId": "d1" }
        }] });
        let record = SqsRecord {
            id: "m1".into(),
            group: "d1".into(),
            body: "{}".into(),
            receipt: "r1".into(),
            times: 3,
        };
        assert_eq!(Event::parse(sqs), Ok(Event::Sqs(vec![record])));
        let scheduled = json!({ "detail-type": "Scheduled Event", "source": "aws.events", "detail": {} });
        assert_eq!(Event::parse(scheduled), Ok(Event::Scheduled));
        for (payload, bytes) in
            [(json!("eyJhIjoxfQ=="), b"{\"a\":1}" as &[u8]), (json!({ "a": 1 }), b"{\"a\":1}")]
        {
            let event = json!({ "topic": "devices/d1/commands/blink", "payload": payload });
            let topic = Event::Topic { topic: "devices/d1/commands/blink".into(), payload: bytes.to_vec() };
            assert_eq!(Event::parse(event), Ok(topic));
        }
        let command = json!({ "device": "d1", "name": "blink" });
        assert_eq!(Event::parse(command.clone()), Ok(Event::Command(command)));
    }

    #[test]
    fn foreign_events_are_refused_with_the_reason() {
        for (event, why) in [
            (json!({}), "none that this function knows"),
            (json!(null), "none that this function knows"),
            (json!([1]), "none that this function knows"),
            (json!({ "httpMethod": "GET", "resource": "/" }), "payload format version to 2.0"),
            (json!({ "Records": 1 }), "not an array"),
            (json!({ "Records": [{ "eventSource": "aws:s3" }] }), "not of SQS"),
            (json!({ "Records": [{ "eventSource": "aws:sqs" }] }), "no messageId"),
            (json!({ "topic": "t", "payload": "%" }), "not base64"),
            (json!({ "requestContext": { "http": {} } }), "no path"),
            (json!({ "requestContext": { "http": {} }, "rawPath": "/" }), "no method"),
        ] {
            let error = Event::parse(event).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
