//! A change of a command as the hub is told of it. Not here: its topic (the dialects).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Change, Command, CommandId, Reply};
use crate::id::{DeviceId, IdempotencyKey, IntegrationName, MessageId};
use crate::message::{Content, Kind, Message};
use crate::time::Timestamp;

/// One change of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusEvent {
    /// The same for the same change, however often it is published.
    pub id: MessageId,
    /// Whose.
    pub command: CommandId,
    /// Of which device.
    pub device: DeviceId,
    /// The integration that the device belongs to.
    pub integration: IntegrationName,
    /// The number of the change.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// `command`, `number`, `name`, `state`, `at`, `attempts`, `done`, and where there is one `reason`, `detail`, `result`.
    pub body: Map<String, Value>,
    /// Where the asker waits.
    pub reply: Option<Reply>,
}

impl StatusEvent {
    pub(super) fn new(command: &Command, change: &Change) -> Self {
        let key = IdempotencyKey::from_parts(&[
            b"command",
            command.id.as_bytes().as_slice(),
            &change.number.to_be_bytes(),
        ]);
        let mut body = Map::with_capacity(10);
        let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
        put("command", command.id.to_string().into());
        put("number", change.number.into());
        put("name", command.draft.name.as_str().into());
        put("state", change.state.as_str().into());
        put("at", change.at.to_string().into());
        put("attempts", change.attempts.into());
        put("done", change.done.into());
        if let Some(cause) = &change.cause {
            put("reason", cause.code.as_str().into());
            if let Some(detail) = &cause.detail {
                put("detail", detail.as_str().into());
            }
        }
        if let (Some(result), super::CommandState::Acknowledged) = (command.result(), change.state) {
            put("result", result.clone());
        }
        Self {
            id: MessageId::new(&command.integration, &key),
            command: command.id,
            device: command.device.clone(),
            integration: command.integration.clone(),
            number: change.number,
            at: change.at,
            body,
            reply: command.draft.reply.clone(),
        }
    }

    /// The messages for the ordinary delivery: one for everybody, and when the command is over one for whoever waits for
    /// the answer.
    pub fn into_messages(mut self) -> Vec<Message> {
        let answers = self.body.get("done") == Some(&Value::Bool(true));
        let reply = self.reply.take().filter(|_| answers);
        let message = self.into_message();
        let answer = reply.map(|reply| Message {
            id: message.id.part(0),
            reply: Some(Box::new(reply)),
            ..message.clone()
        });
        std::iter::once(message).chain(answer).collect()
    }

    fn into_message(self) -> Message {
        Message {
            id: self.id,
            device: Some(self.device),
            source: Cow::Borrowed("bridge"),
            integration: self.integration,
            kind: Kind::CommandStatus,
            time: Some(self.at),
            received_at: self.at,
            superseded: false,
            replayed: false,
            corrects: None,
            reply: None,
            content: Content { data: self.body, ..Content::default() },
        }
    }
}
