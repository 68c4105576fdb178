//! What follows from a transport's answer and from its reports, in whatever order they come. Not here: what the bridge does
//! by itself (`life`).

use super::{Awaits, Backoff, Cause, CauseCode, Command, CommandState, Phase, Report, Reported, SendOutcome};
use crate::time::Timestamp;

impl Command {
    /// Takes the transport's own answer to attempt `number`.
    pub fn conclude(
        &mut self,
        number: u32,
        outcome: SendOutcome,
        now: Timestamp,
        backoff: &Backoff,
    ) -> Reported {
        if number == 0 || number > self.life.attempts {
            return Reported::Stale;
        }
        let current = number == self.life.attempts;
        let sending = current && matches!(self.life.phase, Phase::Sending { .. });
        match outcome {
            SendOutcome::Delivered { result } => {
                self.report(Some(number), Report::Acknowledged { result }, now, backoff)
            }
            SendOutcome::Accepted { references } => {
                let known = self.life.references.len();
                self.refer(references, number);
                let learned = self.life.references.len() > known;
                let lost = current && self.life.state == CommandState::Unknown && self.is_done();
                if sending {
                    self.landed(now);
                } else if lost && self.awaits() == Awaits::Nothing {
                    self.finish(CommandState::Sent, None, now);
                } else if !learned {
                    return Reported::Late;
                }
                Reported::Applied
            }
            SendOutcome::Refused { cause, again } if sending => {
                self.again(cause, again, now, backoff);
                Reported::Applied
            }
            // A report that it left, or was done, came first and tells more.
            SendOutcome::Refused { cause, again } if self.is_done() => {
                self.report(Some(number), Report::Failed { cause, again }, now, backoff)
            }
            SendOutcome::Unknown { cause } if sending => {
                self.lost(cause, now, backoff);
                Reported::Applied
            }
            SendOutcome::Refused { .. } | SendOutcome::Unknown { .. } => Reported::Late,
        }
    }

    /// Takes a report about attempt `number`, or about the last one when the transport does not say which.
    pub fn report(
        &mut self,
        number: Option<u32>,
        report: Report,
        now: Timestamp,
        backoff: &Backoff,
    ) -> Reported {
        let number = number.unwrap_or(self.life.attempts);
        if number == 0 || number > self.life.attempts {
            return Reported::Stale;
        }
        if self.is_done() && self.life.state != CommandState::Unknown {
            return Reported::Late;
        }
        let last = number == self.life.attempts;
        match report {
            Report::Acknowledged { result } => {
                self.acknowledge(result, now);
                Reported::Applied
            }
            Report::Transmitted => self.transmitted(number, now),
            _ if !last => Reported::Stale,
            _ if self.is_done() => self.resolve(report, now),
            Report::Failed { cause, again } => {
                self.life.failed = number;
                match (self.life.phase, again) {
                    (Phase::Waiting { .. }, super::Again::Never) => {
                        self.finish_undone(CommandState::Failed, cause, now);
                    }
                    (Phase::Waiting { .. }, _) => return Reported::Late,
                    _ => self.again(cause, again, now, backoff),
                }
                Reported::Applied
            }
            // The attempt is over already.
            _ if !self.is_in_flight() => Reported::Stale,
            Report::Withdrawn => {
                let cause = self.life.withdrawn.clone().unwrap_or(CauseCode::Withdrawn.into());
                self.finish_undone(CommandState::Cancelled, cause, now);
                Reported::Applied
            }
            Report::Expired => {
                self.finish_undone(CommandState::Expired, CauseCode::Expired.into(), now);
                Reported::Applied
            }
            Report::Lost { cause } => {
                self.lost(cause, now, backoff);
                Reported::Applied
            }
        }
    }

    /// An `unknown` command, and a report about its last attempt that did not run.
    fn resolve(&mut self, report: Report, now: Timestamp) -> Reported {
        // What one attempt says tells nothing about an earlier one that may have run.
        if self.life.maybe_ran {
            return Reported::Late;
        }
        let (state, cause) = match report {
            Report::Failed { cause, .. } => (CommandState::Failed, cause),
            Report::Withdrawn => (CommandState::Cancelled, Cause::from(CauseCode::Withdrawn)),
            Report::Expired => (CommandState::Expired, CauseCode::Expired.into()),
            Report::Lost { .. } | Report::Transmitted | Report::Acknowledged { .. } => return Reported::Late,
        };
        self.finish(state, Some(cause), now);
        Reported::Applied
    }

    fn transmitted(&mut self, number: u32, now: Timestamp) -> Reported {
        if number <= self.life.failed {
            return Reported::Stale;
        }
        if number <= self.life.transmitted {
            return Reported::Late;
        }
        let enough = self.awaits() != Awaits::Acknowledgement;
        if self.is_done() && !enough {
            return Reported::Late;
        }
        self.life.transmitted = number;
        self.life.maybe_ran |= number < self.life.attempts;
        if enough {
            self.finish(CommandState::Sent, Some(CauseCode::Transmitted.into()), now);
            return Reported::Applied;
        }
        // Also when it waits for its next attempt: it left all the same, and does not leave again by itself.
        if let Some(flight) = self.life.flight {
            self.life.phase = Phase::Awaiting { until: now.plus(flight.within) };
        }
        self.change(CommandState::Sent, Some(CauseCode::Transmitted.into()), now);
        Reported::Applied
    }

    fn awaits(&self) -> Awaits {
        self.life.flight.map_or(Awaits::Nothing, |flight| flight.awaits)
    }
}
