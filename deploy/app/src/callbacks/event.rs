//! The bodies of callbacks (reference, section 2.2), and what their answers mean. Pure. Not here: calls, signatures.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::command::{Again, Cause, CauseCode, Command, SendOutcome};
use bridge_core::subscription::{ConnectionStatus, Told};
use bridge_core::twin::{Twin, diff};
use bridge_core::{DeviceId, Timestamp};
use http_caller::Answer;
use serde_json::{Map, Value, json};

/// The option of a command that makes it a message where the device takes methods, too.
pub(super) const AS_MESSAGE: &str = "c2d";
/// The option of a command with the properties of the message: an object of texts.
pub(super) const PROPERTIES: &str = "properties";
/// The property of a message that names the command, as IoT Central has it for commands of devices that are away.
const METHOD_NAME: &str = "method-name";

/// What is wanted of a device and was not told yet, as one change; `$version` is that of the whole.
pub(super) fn desired(device: &DeviceId, told: &Told, twin: &Twin) -> Value {
    let mut changes = diff(&told.state, &twin.desired);
    changes.insert("$version".into(), twin.desired_version.into());
    json!({
        "eventType": "DesiredPropertyUpdate",
        "deviceId": device.as_str(),
        "deviceReceivedAt": twin.desired_at.map(|at| at.to_string()),
        "desiredProperties": changes,
    })
}

/// Whether the device can be reached has changed.
pub(super) fn connection(device: &DeviceId, status: ConnectionStatus, at: Timestamp) -> Value {
    json!({
        "eventType": "ConnectionStatusChange",
        "deviceId": device.as_str(),
        "deviceReceivedAt": at.to_string(),
        "status": status.as_str(),
        "reason": status.reason(),
    })
}

/// A command as a method.
pub(super) fn method(command: &Command) -> Value {
    json!({
        "eventType": "DirectMethodInvocation",
        "deviceId": command.device.as_str(),
        "deviceReceivedAt": command.created.to_string(),
        "methodName": command.draft.name.as_str(),
        "requestData": command.draft.arguments,
    })
}

/// A command as a message. Bytes are its body where it has some: as the JSON value that they are, else as text, else in base64;
/// `messageBodyEncoding` says which of the latter. That bridge pasted them as they were, which is no JSON then.
pub(super) fn message(command: &Command) -> Value {
    let draft = &command.draft;
    let (body, encoding) = match &draft.payload {
        None => (draft.arguments.clone(), None),
        Some(payload) => match (serde_json::from_slice(&payload.data), std::str::from_utf8(&payload.data)) {
            (Ok(value), _) => (value, None),
            (Err(_), Ok(text)) => (text.into(), Some("text")),
            (Err(_), Err(_)) => (BASE64_STANDARD.encode(&payload.data).into(), Some("base64")),
        },
    };
    let mut properties = Map::new();
    properties.insert(METHOD_NAME.into(), draft.name.as_str().into());
    if let Some(Value::Object(given)) = draft.options.get(PROPERTIES) {
        properties.extend(given.clone());
    }
    let mut event = json!({
        "eventType": "C2DMessage",
        "deviceId": command.device.as_str(),
        "deviceReceivedAt": command.created.to_string(),
        "messageBody": body,
        "properties": properties,
        "messageId": command.id.to_string(),
        // As that bridge writes it: clients read it so.
        "expirtyTimeUtC": command.expires.to_string(),
    });
    if let Some(encoding) = encoding {
        event["messageBodyEncoding"] = encoding.into();
    }
    event
}

/// What the answer to a command means. None: the callback cannot take it now, and takes it again later.
pub(super) fn outcome(answer: &Answer, is_method: bool) -> Option<SendOutcome> {
    let status = answer.status.as_u16();
    let refused = |detail: String| SendOutcome::Refused {
        cause: Cause::new(CauseCode::Rejected, detail),
        again: Again::Never,
    };
    match status {
        200..300 if is_method => Some(result(&answer.body).map_or_else(
            |status| refused(format!("the method answered with status {status}")),
            |result| SendOutcome::Delivered { result: Some(result) },
        )),
        200..300 => Some(SendOutcome::Delivered { result: None }),
        408 | 425 | 429 | 500.. => None,
        _ => Some(refused(format!("the callback answered {status}"))),
    }
}

/// `{"status": 200, "payload": ...}` with names in any case, and 200 for whoever says nothing.
///
/// # Errors
/// A status that is no success.
fn result(body: &[u8]) -> Result<Value, i64> {
    let said = serde_json::from_slice(body).unwrap_or_default();
    let member = |name: &str| match &said {
        Value::Object(members) => {
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        }
        _ => None,
    };
    let status = member("status").and_then(|status| status.as_i64()).unwrap_or(200);
    match status {
        200..300 => Ok(json!({ "status": status, "payload": member("payload") })),
        _ => Err(status),
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::IntegrationName;
    use bridge_core::command::{CommandId, CommandName, Draft, Manner, Payload};
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn command(draft: impl FnOnce(Draft) -> Draft) -> Command {
        let draft = draft(Draft::new(CommandName::parse("open").unwrap()));
        let owner = (DeviceId::parse("d1").unwrap(), IntegrationName::parse("http").unwrap());
        Command::new(CommandId::from_bytes([7; 16]), owner, draft, Manner::Push, at(5), at(65))
    }

    #[test]
    fn a_method_and_a_message_are_as_that_bridge_writes_them() {
        let draft = |draft| Draft { arguments: json!({ "valve": 2 }), ..draft };
        let wanted = json!({
            "eventType": "DirectMethodInvocation", "deviceId": "d1", "deviceReceivedAt": "1970-01-01T00:00:05.000Z",
            "methodName": "open", "requestData": { "valve": 2 },
        });
        assert_eq!(method(&command(draft)), wanted);
        let wanted = json!({
            "eventType": "C2DMessage", "deviceId": "d1", "deviceReceivedAt": "1970-01-01T00:00:05.000Z",
            "messageBody": { "valve": 2 }, "properties": { "method-name": "open" },
            "messageId": "07070707070707070707070707070707", "expirtyTimeUtC": "1970-01-01T00:01:05.000Z",
        });
        assert_eq!(message(&command(draft)), wanted);
    }

    #[test]
    fn bodies_that_are_no_json_are_safe() {
        let properties = json!({ PROPERTIES: { "k": "v", "method-name": "other" } });
        for (data, body, encoding) in [
            (&b"{\"a\":1}"[..], json!({ "a": 1 }), Value::Null),
            (b"@", json!("@"), json!("text")),
            (b"bare text", json!("bare text"), json!("text")),
            (b"\"quoted\"", json!("quoted"), Value::Null),
            (b"", json!(""), json!("text")),
            (b"\xff\x00", json!("/wA="), json!("base64")),
        ] {
            let payload = Some(Payload { data: data.to_vec(), port: None });
            let options = properties.as_object().unwrap().clone();
            let event = message(&command(|draft| Draft { payload, options, ..draft }));
            assert_eq!(
                (&event["messageBody"], event["messageBodyEncoding"].clone()),
                (&body, encoding),
                "{data:?}"
            );
            assert_eq!(event["properties"], json!({ "k": "v", "method-name": "other" }));
        }
    }

    #[test]
    fn what_was_missed_is_one_change() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let told =
            Told { number: 2, state: object(json!({ "mode": "on", "old": 1, "n": { "a": 1, "b": 2 } })) };
        let mut twin = Twin::default();
        twin.desired = object(json!({ "mode": "eco", "n": { "a": 1 } }));
        (twin.desired_version, twin.desired_at) = (5, Some(at(9)));
        let event = desired(&DeviceId::parse("d1").unwrap(), &told, &twin);
        let wanted = json!({ "old": null, "mode": "eco", "n": { "b": null }, "$version": 5 });
        assert_eq!(
            (&event["desiredProperties"], &event["deviceReceivedAt"]),
            (&wanted, &json!("1970-01-01T00:00:09.000Z"))
        );
        let event = connection(&DeviceId::parse("d1").unwrap(), ConnectionStatus::Connected, at(1));
        assert_eq!((&event["status"], &event["reason"]), (&json!("Connected"), &json!("Connection_Ok")));
    }

    #[test]
    fn answers_to_methods_are_their_results() {
        let outcome_of = |status: u16, body: &'static str, is_method| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::from_static(body.as_bytes()),
            };
            outcome(&answer, is_method)
        };
        for (body, result) in [
            (
                r#"{"status":200,"payload":{"position":90}}"#,
                json!({ "status": 200, "payload": { "position": 90 } }),
            ),
            (r#"{"Status":201}"#, json!({ "status": 201, "payload": null })),
            (r#"{"PAYLOAD":7}"#, json!({ "status": 200, "payload": 7 })),
            ("", json!({ "status": 200, "payload": null })),
            ("not json", json!({ "status": 200, "payload": null })),
        ] {
            assert_eq!(
                outcome_of(200, body, true),
                Some(SendOutcome::Delivered { result: Some(result) }),
                "{body}"
            );
        }
        let never = |outcome| matches!(outcome, Some(SendOutcome::Refused { again: Again::Never, .. }));
        assert!(never(outcome_of(200, r#"{"status":500}"#, true)));
        assert_eq!(
            outcome_of(204, r#"{"status":500}"#, false),
            Some(SendOutcome::Delivered { result: None })
        );
        for (status, is_refused) in [
            (302, true),
            (400, true),
            (404, true),
            (410, true),
            (408, false),
            (425, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            for is_method in [true, false] {
                let outcome = outcome_of(status, "", is_method);
                assert_eq!((outcome.is_none(), never(outcome)), (!is_refused, is_refused), "{status}");
            }
        }
    }
}
