//! Commands as operators write and read them: JSON. Not here: routes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bridge_core::command::{Command, CommandName, CommandState, Draft, Priority, ReplaceKey, RequestKey};
use bridge_core::ports::CommandFilter;
use bridge_core::{DeviceId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admin::Fault;

/// A command that somebody wants to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Body {
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

impl Body {
    /// What it says, and for whom.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn into_draft(self) -> Result<(DeviceId, Draft), Fault> {
        let device =
            DeviceId::parse(&self.device).map_err(|error| Fault::at("/device", error.to_string()))?;
        let name = CommandName::parse(&self.name).map_err(|error| Fault::at("/name", error.to_string()))?;
        let key = self.key.as_deref().map(RequestKey::parse).transpose();
        let replace = self.replace.as_deref().map(ReplaceKey::parse).transpose();
        let expires = self.expires.as_deref().map(|text| {
            Timestamp::parse_rfc3339(text).ok_or_else(|| Fault::at("/expires", "is not a time of RFC 3339"))
        });
        let draft = Draft::new(name);
        Ok((
            device,
            Draft {
                arguments: self.arguments,
                options: self.options,
                expires: expires.transpose()?,
                priority: self.priority,
                key: key.map_err(|error| Fault::at("/key", error.to_string()))?,
                replace: replace.map_err(|error| Fault::at("/replace", error.to_string()))?,
                confirmed: self.confirmed,
                idempotent: self.idempotent,
                max_attempts: self.max_attempts.unwrap_or(draft.max_attempts),
                ..draft
            },
        ))
    }
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
        "payload": draft.payload.as_ref().map(|payload| {
            json!({ "base64": BASE64_STANDARD.encode(&payload.data), "port": payload.port })
        }),
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
        let parse = |body: &str| serde_json::from_str::<Body>(body).unwrap().into_draft();
        let (device, draft) = parse(
            r#"{"device":"d1","name":"blink","arguments":{"on":true},"options":{"fPort":3},"priority":"high",
                 "expires":"2030-01-01T00:00:00Z","key":"k","replace":"r","confirmed":true,"maxAttempts":2}"#,
        )
        .unwrap();
        assert_eq!((device.as_str(), draft.name.as_str(), draft.priority), ("d1", "blink", Priority::High));
        assert_eq!(
            (draft.max_attempts, draft.confirmed, draft.arguments["on"].as_bool()),
            (2, true, Some(true))
        );
        for (body, pointer) in [
            (r#"{"device":"a/b","name":"n"}"#, "/device"),
            (r#"{"device":"a","name":""}"#, "/name"),
            (r#"{"device":"a","name":"n","expires":"soon"}"#, "/expires"),
            (r#"{"device":"a","name":"n","key":""}"#, "/key"),
            (r#"{"device":"a","name":"n","replace":""}"#, "/replace"),
        ] {
            assert_eq!(parse(body).unwrap_err().pointer, pointer, "{body}");
        }
        assert!(filter(None, Some("gone")).is_err_and(|error| error.contains("acknowledged")));
    }
}
