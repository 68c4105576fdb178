//! The way to devices of the HTTP API: they ask for their commands, and report on them. Not here: routes (`http-api`).

use std::sync::Arc;
use std::time::Duration;

use bridge_core::DeviceId;
use bridge_core::command::queue::Capacity;
use bridge_core::command::{Awaits, Command, Draft, Flight, Manner, Payload, Resend};
use bridge_core::commands::Way;
use bridge_core::ports::BoxFuture;

use super::ways::{Parts, raw};

/// The way to every device of the HTTP API.
pub(super) struct HttpWay {
    pub(super) parts: Arc<Parts>,
}

/// For the device to report; after it the command is given out as a new attempt.
const REPORT_WITHIN: Duration = Duration::from_mins(5);
/// Commands that a device may have and not have reported on.
const AT_ONCE: usize = 8;
/// The option that has arguments encoded by the device's codec.
const ENCODE: &str = "encode";

impl Way for HttpWay {
    fn manner(&self) -> Manner {
        Manner::Mailbox
    }

    fn capacity(&self) -> Capacity {
        Capacity { in_flight: AT_ONCE, replaces: false }
    }

    fn prepare<'a>(
        &'a self,
        device: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        Box::pin(async move {
            if let Some(key) = draft.options.keys().find(|key| *key != ENCODE) {
                return Err(format!("there is no option {key:?}; there is: {ENCODE}"));
            }
            if let Some(payload) = &draft.payload {
                return Ok(Some(payload.clone()));
            }
            match draft.options.get(ENCODE).map(serde_json::Value::as_bool) {
                None | Some(Some(false)) => raw(&draft.arguments),
                Some(Some(true)) => match self.parts.encode(device, draft).await? {
                    Some(payload) => Ok(Some(payload)),
                    None => Err("the device has no codec that encodes".into()),
                },
                Some(None) => Err("the option \"encode\" is true or false".into()),
            }
        })
    }

    /// The device knows a copy by its id.
    fn flight(&self, _command: &Command) -> Flight {
        Flight {
            resend: Resend::Safe,
            awaits: Awaits::Acknowledgement,
            within: REPORT_WITHIN,
            patience: REPORT_WITHIN,
        }
    }
}
