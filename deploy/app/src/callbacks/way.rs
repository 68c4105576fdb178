//! The way to a device that has its commands sent to a callback: as methods, whose answers are their results, or as
//! messages. Not here: bodies ([`super::event`]), devices that ask ([`crate::commands`]).

use std::sync::Arc;
use std::time::Duration;

use bridge_core::DeviceId;
use bridge_core::command::{
    Again, AttemptId, Awaits, Cause, CauseCode, Command, Draft, Flight, Manner, Payload, Resend, SendOutcome,
};
use bridge_core::commands::Way;
use bridge_core::ports::{BoxFuture, StoreResult, Subscriptions};
use bridge_core::subscription::{Subscription, SubscriptionKind};
use http_caller::CallError;
use serde_json::Value;

use super::line::Line;
use super::{Callbacks, event};

/// The callbacks of one device for commands, and the way that it had without them, which encodes.
pub(crate) struct CallbackWay {
    callbacks: Callbacks,
    line: Arc<Line>,
    methods: Option<Subscription>,
    messages: Option<Subscription>,
    otherwise: Arc<dyn Way>,
}

/// Beside the time of the call itself.
const MARGIN: Duration = Duration::from_secs(10);

impl Callbacks {
    /// The way of a device that has a callback for commands; none when it has not.
    ///
    /// # Errors
    /// When the store failed.
    pub(crate) async fn way(
        &self,
        device: &DeviceId,
        otherwise: &Arc<dyn Way>,
    ) -> StoreResult<Option<Arc<CallbackWay>>> {
        let Some(line) = self.line() else { return Ok(None) };
        let store: &dyn Subscriptions = &*self.0.vault;
        let methods = store.get(device, SubscriptionKind::Methods).await?;
        let messages = store.get(device, SubscriptionKind::C2dMessages).await?;
        if methods.is_none() && messages.is_none() {
            return Ok(None);
        }
        let (callbacks, otherwise) = (self.clone(), otherwise.clone());
        Ok(Some(Arc::new(CallbackWay { callbacks, line, methods, messages, otherwise })))
    }
}

impl CallbackWay {
    /// A method where the device takes methods, unless its asker wants a message.
    fn target(&self, command: &Command) -> Option<&Subscription> {
        match wants_message(&command.draft) {
            true => self.messages.as_ref(),
            false => self.methods.as_ref().or(self.messages.as_ref()),
        }
    }

    async fn call(&self, command: &Command) -> SendOutcome {
        let refused =
            |code, detail: &str, again| SendOutcome::Refused { cause: Cause::new(code, detail), again };
        let Some(subscription) = self.target(command) else {
            let why = "the device has no callback for messages";
            return refused(CauseCode::Unreachable, why, Again::WhenReachable);
        };
        let is_method = subscription.kind == SubscriptionKind::Methods;
        let event = if is_method { event::method(command) } else { event::message(command) };
        let (id, now) = (command.id.to_string(), self.callbacks.0.clock.wall());
        let later = |why: &str, after| {
            self.callbacks.failed(subscription, why, after);
            refused(CauseCode::Unavailable, why, Again::WhenReachable)
        };
        match self.line.post(&subscription.callback_url, &id, &event, now).await {
            Ok(answer) => match event::outcome(&answer, is_method) {
                Some(outcome) => {
                    self.callbacks.succeeded(subscription);
                    outcome
                }
                None => {
                    later(&format!("the callback answered {}", answer.status.as_u16()), answer.retry_after())
                }
            },
            Err(CallError::Invalid(why)) => refused(CauseCode::Refused, &why, Again::Never),
            Err(CallError::NotSent { reason, after }) => later(&reason, after),
            Err(CallError::Unanswered(why)) => {
                SendOutcome::Unknown { cause: Cause::new(CauseCode::NoAnswer, why) }
            }
        }
    }
}

impl Way for CallbackWay {
    fn manner(&self) -> Manner {
        Manner::Push
    }

    fn prepare<'a>(
        &'a self,
        device: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        Box::pin(async move {
            let mut draft = draft.clone();
            match draft.options.shift_remove(event::AS_MESSAGE) {
                None | Some(Value::Bool(_)) => {}
                Some(_) => return Err("the option \"c2d\" is true or false".into()),
            }
            match draft.options.shift_remove(event::PROPERTIES) {
                None => {}
                Some(Value::Object(properties)) if properties.values().all(Value::is_string) => {}
                Some(_) => return Err("the option \"properties\" is an object of texts".into()),
            }
            self.otherwise.prepare(device, &draft).await
        })
    }

    /// A receiver knows a copy by its `webhook-id`, which is that of the command.
    fn flight(&self, _command: &Command) -> Flight {
        let patience = self.line.timeout + MARGIN;
        Flight { resend: Resend::Safe, awaits: Awaits::Acknowledgement, within: patience, patience }
    }

    fn send<'a>(&'a self, command: &'a Command, _attempt: AttemptId) -> BoxFuture<'a, SendOutcome> {
        Box::pin(self.call(command))
    }
}

fn wants_message(draft: &Draft) -> bool {
    draft.options.get(event::AS_MESSAGE).and_then(Value::as_bool).unwrap_or_default()
}
