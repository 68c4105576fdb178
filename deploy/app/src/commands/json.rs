//! Commands as operators write and read them: JSON. Not here: routes.

use bridge_core::command::{Command, CommandName, CommandState, Draft, Priority, ReplaceKey, RequestKey};
use bridge_core::ports::CommandFilter;
use bridge_core::{DeviceId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A command that somebody wants to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    device: String,
    name: String,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    options: Map<String, Value>,
    expires: Option<String>,
    #[serde(default)]
    priority: Priority,
    key: Option<String>,
    replace: Option<String>,
    #[serde(default)]
    confirmed: bool,
    #[serde(default)]
    idempotent: bool,
    max_attempts: Option<u32>,
}

/// Reads one.
///
/// # Errors
/// A sentence for its author.
pub(crate) fn parse(body: &[u8]) -> Result<(DeviceId, Draft), String> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| format!("The body is not what it should be: {error}."))?;
    let device = DeviceId::parse(&body.device).map_err(|error| format!("\"device\" {error}."))?;
    let name = CommandName::parse(&body.name).map_err(|error| format!("\"name\" {error}."))?;
    let key = body.key.as_deref().map(RequestKey::parse).transpose();
    let replace = body.replace.as_deref().map(ReplaceKey::parse).transpose();
    let expires = body.expires.as_deref().map(|text| Timestamp::parse_rfc3339(text).ok_or(())).transpose();
    let draft = Draft::new(name);
    Ok((
        device,
        Draft {
            arguments: body.arguments,
            options: body.options,
            expires: expires.map_err(|()| "\"expires\" is not a time of RFC 3339.")?,
            priority: body.priority,
            key: key.map_err(|error| format!("\"key\" {error}."))?,
            replace: replace.map_err(|error| format!("\"replace\" {error}."))?,
            confirmed: body.confirmed,
            idempotent: body.idempotent,
            max_attempts: body.max_attempts.unwrap_or(draft.max_attempts),
            ..draft
        },
    ))
}

/// Reads the query of a list: `device`, `state`.
///
/// # Errors
/// A sentence for its author.
pub(crate) fn filter(device: Option<&str>, state: Option<&str>) -> Result<CommandFilter, String> {
    let device = device.map(DeviceId::parse).transpose().map_err(|error| format!("\"device\" {error}."))?;
    let state = state
        .map(|name| {
            let names: Vec<&str> = CommandState::ALL.iter().map(|state| state.as_str()).collect();
            CommandState::parse(name)
                .ok_or(format!("There is no state {name:?}; there are {}.", names.join(", ")))
        })
        .transpose()?;
    Ok(CommandFilter { device, state, done: None })
}

/// Writes one, with everything that became of it.
pub(crate) fn write(command: &Command) -> Value {
    let draft = &command.draft;
    let history: Vec<Value> = command
        .history()
        .iter()
        .map(|change| {
            json!({
                "at": change.at.to_string(),
                "state": change.state.as_str(),
                "attempts": change.attempts,
                "reason": change.cause.as_ref().map(|cause| cause.code.as_str()),
                "detail": change.cause.as_ref().and_then(|cause| cause.detail.as_deref()),
            })
        })
        .collect();
    json!({
        "id": command.id.to_string(),
        "device": command.device.as_str(),
        "integration": command.integration.as_str(),
        "name": draft.name.as_str(),
        "arguments": draft.arguments,
        "state": command.state().as_str(),
        "done": command.is_done(),
        "created": command.created.to_string(),
        "expires": command.expires.to_string(),
        "attempts": command.attempts(),
        "confirmed": draft.confirmed,
        "result": command.result(),
        "history": history,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_are_read_or_refused_with_the_reason() {
        let (device, draft) = parse(
            br#"{"device":"d1","name":"blink","arguments":{"on":true},"options":{"fPort":3},"priority":"high",
                 "expires":"2030-01-01T00:00:00Z","key":"k","replace":"r","confirmed":true,"maxAttempts":2}"#,
        )
        .unwrap();
        assert_eq!((device.as_str(), draft.name.as_str(), draft.priority), ("d1", "blink", Priority::High));
        assert_eq!(
            (draft.max_attempts, draft.confirmed, draft.arguments["on"].as_bool()),
            (2, true, Some(true))
        );
        for (body, why) in [
            ("{}", "missing field `device`"),
            (r#"{"device":"a/b","name":"n"}"#, "\"device\" "),
            (r#"{"device":"a","name":""}"#, "\"name\" "),
            (r#"{"device":"a","name":"n","expires":"soon"}"#, "\"expires\" is not a time"),
            (r#"{"device":"a","name":"n","priority":"huge"}"#, "unknown variant"),
            (r#"{"device":"a","name":"n","colour":1}"#, "unknown field"),
        ] {
            assert!(parse(body.as_bytes()).is_err_and(|error| error.contains(why)), "{body}");
        }
        assert!(filter(None, Some("gone")).is_err_and(|error| error.contains("acknowledged")));
    }
}
