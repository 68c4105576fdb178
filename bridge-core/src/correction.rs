//! Runs the codecs of today over an uplink of the past. Not here: which uplinks ([`crate::ports::Archive`]), and who asks.

use std::sync::Arc;

use crate::dedup::Claim;
use crate::message::Message;
use crate::mux::Outcome;
use crate::parts::parts;
use crate::pipeline::{Pipeline, RETRY_AFTER};
use crate::ports::{Archived, Decoding, DeviceState, Payload, StoreResult};
use crate::verdict::{Reason, Verdict};

/// What became of an uplink.
#[derive(Debug, Clone, PartialEq)]
pub enum Correction {
    /// There is nothing to correct: why.
    Skipped(&'static str),
    /// The codec cannot decode it: why. Nothing was sent.
    Undecoded(Vec<String>),
    /// It became these messages.
    Made {
        /// With the time of the uplink, marked as replayed, each with an id that comes from the id of the message that
        /// it corrects and from what is in it: the same correction twice is a duplicate.
        messages: Vec<Arc<Message>>,
        /// The worst of their fates; none when they were not to be sent.
        verdict: Option<Verdict>,
    },
}

impl Pipeline {
    /// Decodes an uplink again and, with `send`, delivers what comes out.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn correct(&self, uplink: &Archived, send: bool) -> StoreResult<Correction> {
        let Ok(original) = Message::from_record(&uplink.record) else {
            return Ok(Correction::Skipped("its record cannot be read"));
        };
        let device = match self.registrar.known(&uplink.device).await? {
            Some(device) if device.state == DeviceState::Active => device,
            Some(_) => return Ok(Correction::Skipped("its device is parked")),
            None => return Ok(Correction::Skipped("its device is not registered any more")),
        };
        let payload = Payload {
            integration: &original.integration,
            device: &device,
            kind: original.kind,
            content: &original.content,
            time: original.time,
            received_at: original.received_at,
            replayed: true,
        };
        let outcome = match self.codecs.decode(payload) {
            Decoding::None => return Ok(Correction::Skipped("no codec is meant for it")),
            Decoding::Done(outcome) => outcome,
            Decoding::Later(outcome) => outcome.await,
        };
        if !outcome.errors.is_empty() {
            return Ok(Correction::Undecoded(outcome.errors));
        }
        let parts = parts(original.kind, original.time, original.content.clone(), outcome);
        let messages: Vec<Arc<Message>> = parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| {
                let message = Message {
                    kind: part.kind,
                    time: part.time,
                    content: part.content,
                    replayed: true,
                    corrects: Some(original.id),
                    ..original.clone()
                };
                let id = original.id.part(index).corrected(&message.to_record());
                Arc::new(Message { id, ..message })
            })
            .collect();
        let verdict = if send { Some(self.send_corrections(&messages).await) } else { None };
        Ok(Correction::Made { messages, verdict })
    }

    async fn send_corrections(&self, messages: &[Arc<Message>]) -> Verdict {
        let mut worst = Verdict::Duplicate;
        for message in messages {
            let verdict = self.send_correction(message).await;
            if verdict.severity() > worst.severity() {
                worst = verdict;
            }
        }
        worst
    }

    async fn send_correction(&self, message: &Arc<Message>) -> Verdict {
        match self.dedup.claim(message.id).await {
            Ok(Claim::New) => {}
            // Somebody else is at it: two operators asked for the same.
            Ok(Claim::Duplicate | Claim::UnderWay(_)) => return Verdict::Duplicate,
            Err(_) => return Verdict::Retry(RETRY_AFTER),
        }
        let verdict = match self.delivery.submit(message.clone()).await.unwrap_or(Outcome::Unavailable) {
            Outcome::Delivered => Verdict::Delivered,
            Outcome::Stored => Verdict::Stored,
            Outcome::Refused(_) => Verdict::Rejected(Reason::RefusedByHub),
            Outcome::Unavailable => Verdict::Retry(RETRY_AFTER),
        };
        self.dedup.settle(message.id, matches!(verdict, Verdict::Delivered | Verdict::Stored));
        verdict
    }
}
