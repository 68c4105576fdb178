//! The life of a command as far as the bridge decides it: begin, take back, pass time, crash. Not here: what transports
//! answer and report (`report`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Again, AttemptId, Awaits, Cause, CauseCode, Change, Command, CommandId, CommandState, Draft, Flight,
    Phase, Reference, Resend,
};
use crate::id::{DeviceId, IntegrationName};
use crate::time::Timestamp;

/// Changes kept. More than ten attempts can make: each is sent, transmitted, refused and once found unreachable.
const MAX_HISTORY: usize = 48;
/// References kept; beyond it the oldest are forgotten.
const MAX_REFERENCES: usize = 16;
/// The largest answer that is kept, bytes of JSON.
const MAX_RESULT: usize = 16 * 1024;

/// The part of a command that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Life {
    pub(super) state: CommandState,
    pub(super) phase: Phase,
    /// The bridge sends it by itself.
    pub(super) pushed: bool,
    /// Attempts begun.
    pub(super) attempts: u32,
    /// Attempts that count against `max_attempts`.
    pub(super) spent: u32,
    /// The last attempt found the device away.
    pub(super) away: bool,
    /// Of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flight: Option<Flight>,
    /// The last attempt whose failure was reported, so that a report from before it is known as old.
    pub(super) failed: u32,
    /// The last attempt that was reported as transmitted.
    pub(super) transmitted: u32,
    /// An attempt before the last one may have run.
    pub(super) maybe_ran: bool,
    /// Somebody took it back while it was on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) withdrawn: Option<Cause>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) references: Vec<(Reference, u32)>,
    pub(super) changes: u32,
    pub(super) history: Vec<Change>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<Timestamp>,
}

/// Who starts an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The bridge.
    Push,
    /// The device asks, and the command travels in the answer.
    Mailbox,
}

/// What became of the wish to take a command back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is over: `cancelled`, or `unknown` when an earlier attempt may have run.
    Done,
    /// It is on its way. It will not be tried again; its transport may be asked to give it back.
    OnItsWay,
    /// It was over before.
    TooLate,
}

/// How long to wait between attempts: twice as long each time, shortened by up to half so that commands do not march in
/// step. The share comes from the command's own id: the machine has no randomness.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// After the first attempt.
    pub base: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(5), max: Duration::from_secs(15 * 60) }
    }
}

impl Backoff {
    fn pause(&self, command: CommandId, spent: u32, asked: Option<Duration>) -> Duration {
        let mut mix = u64::from_be_bytes(command.as_bytes()[8..].try_into().unwrap_or_default());
        mix = (mix ^ u64::from(spent)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let share = f64::from((mix >> 32) as u32) / f64::from(u32::MAX);
        match asked {
            // Never before the time that was asked for.
            Some(asked) => asked.saturating_add(asked.min(self.max).mul_f64(share / 10.0)),
            None => {
                let doubled = self.base.saturating_mul(1 << spent.saturating_sub(1).min(20));
                doubled.min(self.max).mul_f64(1.0 - share / 2.0)
            }
        }
    }
}

impl Command {
    /// A new command, queued.
    pub fn new(
        id: CommandId,
        (device, integration): (DeviceId, IntegrationName),
        draft: Draft,
        manner: Manner,
        now: Timestamp,
        expires: Timestamp,
    ) -> Self {
        let pushed = manner == Manner::Push;
        let life = Life {
            state: CommandState::Queued,
            phase: Phase::Waiting { not_before: now, pushed },
            pushed,
            attempts: 0,
            spent: 0,
            away: false,
            flight: None,
            failed: 0,
            transmitted: 0,
            maybe_ran: false,
            withdrawn: None,
            references: Vec::new(),
            changes: 0,
            history: Vec::new(),
            result: None,
            finished: None,
        };
        let created = now;
        let mut command =
            Self { id, device, integration, created, expires, draft, life, version: 0, published: 0 };
        command.change(CommandState::Queued, None, now);
        command
    }

    /// Begins an attempt whose outcome comes by [`conclude`](Self::conclude). None, and nothing is changed, when it is not
    /// waiting, not due or out of date. The record must be durable before anything goes out.
    pub fn begin(&mut self, flight: Flight, now: Timestamp) -> Option<AttemptId> {
        self.take_off(flight, now)?;
        self.life.phase = Phase::Sending { until: now.plus(flight.patience) };
        self.attempt()
    }

    /// Begins an attempt that travels in an answer to the device's own request: it is `sent` with that. None, and nothing is
    /// changed, as in [`begin`](Self::begin). The record must be durable before the answer goes out.
    pub fn hand_out(
        &mut self,
        flight: Flight,
        exchange: Option<Reference>,
        now: Timestamp,
    ) -> Option<AttemptId> {
        self.take_off(flight, now)?;
        self.refer(exchange, self.life.attempts);
        self.landed(now);
        self.attempt()
    }

    /// Takes it back. Its transport is not asked by that.
    pub fn cancel(&mut self, cause: Cause, now: Timestamp) -> Cancelled {
        match self.life.phase {
            Phase::Done => Cancelled::TooLate,
            Phase::Waiting { .. } => {
                self.finish_undone(CommandState::Cancelled, cause, now);
                Cancelled::Done
            }
            Phase::Sending { .. } | Phase::Awaiting { .. } => {
                if self.life.withdrawn.is_none() {
                    self.life.withdrawn = Some(cause.clone());
                    self.change(self.life.state, Some(cause), now);
                }
                Cancelled::OnItsWay
            }
        }
    }

    /// A newer command of its device with the same replace key came. For stores, on insertion.
    pub fn supersede(&mut self, newer: &Self) -> Cancelled {
        self.cancel(Cause::new(CauseCode::Superseded, format!("by {}", newer.id)), newer.created)
    }

    /// When time alone changes it; none when it is over.
    pub fn due(&self) -> Option<Timestamp> {
        match self.life.phase {
            Phase::Waiting { .. } => Some(self.expires),
            Phase::Sending { until } | Phase::Awaiting { until } => Some(until),
            Phase::Done => None,
        }
    }

    /// Lets time pass: expires it, or gives up on an outcome or a report. Whether anything changed.
    pub fn pass(&mut self, now: Timestamp, backoff: &Backoff) -> bool {
        if self.due().is_none_or(|due| due > now) {
            return false;
        }
        match self.life.phase {
            Phase::Waiting { .. } => {
                self.finish_undone(CommandState::Expired, CauseCode::Expired.into(), now);
            }
            Phase::Sending { .. } => self.lost(CauseCode::NoAnswer.into(), now, backoff),
            Phase::Awaiting { .. } => self.lost(CauseCode::NoReport.into(), now, backoff),
            Phase::Done => {}
        }
        true
    }

    /// The bridge that sent it is gone, and the outcome with it. Whether anything changed.
    pub fn interrupt(&mut self, now: Timestamp, backoff: &Backoff) -> bool {
        let sending = matches!(self.life.phase, Phase::Sending { .. });
        if sending {
            self.lost(CauseCode::Interrupted.into(), now, backoff);
        }
        sending
    }

    /// Its device can be reached. Whether anything changed.
    pub fn wake(&mut self, now: Timestamp) -> bool {
        match self.life.phase {
            Phase::Waiting { pushed: false, .. } if self.life.pushed => {
                self.life.phase = Phase::Waiting { not_before: now, pushed: true };
                true
            }
            _ => false,
        }
    }

    /// From now on the bridge sends it by itself, where its device was to ask for it. What is with the device already stays
    /// there. Whether anything changed.
    pub fn push(&mut self, now: Timestamp) -> bool {
        if self.is_done() || self.life.pushed {
            return false;
        }
        self.life.pushed = true;
        if let Phase::Waiting { pushed: false, not_before } = self.life.phase {
            self.life.phase = Phase::Waiting { not_before: not_before.max(now), pushed: true };
        }
        true
    }

    /// It cannot be sent any more: no way leads to its device. Only while it waits; whether anything changed.
    pub fn give_up(&mut self, cause: Cause, now: Timestamp) -> bool {
        let waiting = matches!(self.life.phase, Phase::Waiting { .. });
        if waiting {
            self.finish_undone(CommandState::Failed, cause, now);
        }
        waiting
    }

    fn take_off(&mut self, flight: Flight, now: Timestamp) -> Option<()> {
        match self.life.phase {
            Phase::Waiting { not_before, .. } if not_before <= now && self.expires > now => {
                self.life.attempts += 1;
                self.life.flight = Some(flight);
                Some(())
            }
            _ => None,
        }
    }

    /// The transport has it.
    pub(super) fn landed(&mut self, now: Timestamp) {
        let flight = self.life.flight;
        if flight.is_none_or(|flight| flight.awaits == Awaits::Nothing) {
            self.finish(CommandState::Sent, None, now);
        } else {
            let within = flight.map_or(Duration::ZERO, |flight| flight.within);
            self.life.phase = Phase::Awaiting { until: now.plus(within) };
            self.change(CommandState::Sent, None, now);
        }
    }

    /// The last attempt did not run.
    pub(super) fn again(&mut self, cause: Cause, again: Again, now: Timestamp, backoff: &Backoff) {
        // What a transport took before it found out costs an attempt all the same.
        let free = again == Again::WhenReachable && matches!(self.life.phase, Phase::Sending { .. });
        let reachable = again != Again::WhenReachable;
        self.life.spent += u32::from(!free);
        let asked = match again {
            Again::Never => return self.finish_undone(CommandState::Failed, cause, now),
            Again::Later(asked) => asked,
            Again::WhenReachable => None,
        };
        if let Some(why) = self.life.withdrawn.clone() {
            return self.finish_undone(CommandState::Cancelled, why, now);
        }
        if self.life.maybe_ran && self.resend() == Resend::Never {
            return self.finish(CommandState::Unknown, Some(cause), now);
        }
        if self.expires <= now {
            return self.finish_undone(CommandState::Expired, CauseCode::Expired.into(), now);
        }
        if self.life.spent >= self.draft.max_attempts {
            return self.finish_undone(CommandState::Failed, cause, now);
        }
        let pause = if reachable { backoff.pause(self.id, self.life.spent, asked) } else { Duration::ZERO };
        let pushed = self.life.pushed && reachable;
        self.life.phase = Phase::Waiting { not_before: now.plus(pause), pushed };
        // A device that stays away is told of once.
        if !free || !self.life.away {
            self.change(self.life.state, Some(cause), now);
        }
        self.life.away = free;
    }

    /// Nobody knows whether the last attempt ran.
    pub(super) fn lost(&mut self, cause: Cause, now: Timestamp, backoff: &Backoff) {
        let safe = self.resend() == Resend::Safe;
        let room = self.life.spent + 1 < self.draft.max_attempts;
        if !safe || !room || self.expires <= now || self.life.withdrawn.is_some() {
            return self.finish(CommandState::Unknown, Some(cause), now);
        }
        self.life.maybe_ran = true;
        self.again(cause, Again::Later(None), now, backoff);
    }

    fn resend(&self) -> Resend {
        self.life.flight.map_or(Resend::Never, |flight| flight.resend)
    }

    /// The end, unless an earlier attempt may have run: then nobody can tell.
    pub(super) fn finish_undone(&mut self, state: CommandState, cause: Cause, now: Timestamp) {
        let state = if self.life.maybe_ran { CommandState::Unknown } else { state };
        self.finish(state, Some(cause), now);
    }

    pub(super) fn finish(&mut self, state: CommandState, cause: Option<Cause>, now: Timestamp) {
        self.life.phase = Phase::Done;
        self.life.finished = Some(now);
        self.change(state, cause, now);
    }

    /// It ran.
    pub(super) fn acknowledge(&mut self, result: Option<Value>, now: Timestamp) {
        let size = result.as_ref().map_or(0, |result| result.to_string().len());
        let fits = size <= MAX_RESULT;
        self.life.result = result.filter(|_| fits);
        let note = format!("{size} bytes, more than {MAX_RESULT}");
        let cause = (!fits).then(|| Cause::new(CauseCode::ResultTooLarge, note));
        self.finish(CommandState::Acknowledged, cause, now);
    }

    pub(super) fn refer(&mut self, references: impl IntoIterator<Item = Reference>, attempt: u32) {
        for reference in references {
            if self.life.references.iter().any(|(known, _)| *known == reference) {
                continue;
            }
            if self.life.references.len() >= MAX_REFERENCES {
                self.life.references.remove(0);
            }
            self.life.references.push((reference, attempt));
        }
    }

    pub(super) fn change(&mut self, state: CommandState, cause: Option<Cause>, now: Timestamp) {
        self.life.state = state;
        self.life.changes += 1;
        if self.life.history.len() >= MAX_HISTORY {
            self.life.history.remove(1);
        }
        self.life.history.push(Change {
            number: self.life.changes,
            at: now,
            state,
            attempts: self.life.attempts,
            done: self.is_done(),
            cause: cause.map(Cause::bounded),
        });
    }
}
