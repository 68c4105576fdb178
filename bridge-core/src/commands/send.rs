//! The sending half of the dispatcher: push ways. Not here: mailboxes ([`Dispatcher::take`]).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{CONTENDED, Dispatcher, Route, Way, contended};
use crate::command::queue::{Asker, Next, is_replaceable, next};
use crate::command::{AttemptId, Cause, CauseCode, Command, Manner, Report, Reported, SendOutcome};
use crate::id::DeviceId;
use crate::ports::{StoreError, StoreResult};

/// How long to wait before an outcome is written again that the store did not take.
const STORE_RETRY: Duration = Duration::from_millis(500);

impl Dispatcher {
    /// Sends for ever, to many devices at once and to each one after the other. Run it as one task. Dropped in the middle,
    /// what it was sending is as after a crash.
    pub async fn run_sender(&self) {
        let mut sending = FuturesUnordered::new();
        loop {
            while sending.len() < self.config.at_once
                && let Some(device) = self.kicks.next()
            {
                sending.push(async move {
                    // A store that fails now is asked again by the next tick.
                    let _ = self.dispatch(&device).await;
                    self.kicks.done(device);
                });
            }
            let mut more = pin!(self.kicks.more.wait());
            poll_fn(|context| {
                let mut moved = more.as_mut().poll(context).is_ready();
                while let Poll::Ready(Some(())) = sending.poll_next_unpin(context) {
                    moved = true;
                }
                if moved { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Sends what a device's queue has to send now, one after the other. For callers without [`run_sender`](Self::run_sender).
    ///
    /// # Errors
    /// When the store failed; the queue is as it was.
    pub async fn dispatch(&self, device: &DeviceId) -> StoreResult<()> {
        let mut fruitless = 0;
        let mut only = self.only(device);
        while fruitless < CONTENDED {
            let open = match only.take() {
                Some(only) => vec![only],
                None => self.parts.store.open(device, 1).await?,
            };
            if !open.iter().any(|command| !command.is_in_flight()) {
                return Ok(());
            }
            let way = match self.parts.ways.route(device).await? {
                Route::To { way, .. } if way.manner() == Manner::Push => way,
                Route::To { .. } | Route::NoWay(_) => return Ok(()),
                Route::UnknownDevice => {
                    self.give_up(&open).await?;
                    continue;
                }
            };
            let now = self.parts.clock.wall();
            match next(&open, Asker::Bridge, way.capacity(), now) {
                Next::Wait(_) => return Ok(()),
                Next::Expire(command) => self.pass(command.id).await?,
                Next::Send(command) => {
                    let others = open.iter().filter(|other| other.is_in_flight()).count();
                    let sent = self.attempt(command.clone(), others, &way).await?;
                    fruitless = if sent { 0 } else { fruitless + 1 };
                    let full = others + 1 >= way.capacity().in_flight && !way.capacity().replaces;
                    if !sent {
                        self.alone.forget(device);
                    } else if full && self.look(command.id).await?.is_some_and(|sent| sent.is_in_flight()) {
                        return Ok(());
                    }
                }
            }
        }
        Err(contended())
    }

    /// One attempt; false when somebody else was quicker.
    async fn attempt(&self, mut command: Command, others: usize, way: &Arc<dyn Way>) -> StoreResult<bool> {
        let flight = way.flight(&command);
        let Some(attempt) = command.begin(flight, self.parts.clock.wall()) else { return Ok(false) };
        if !self.parts.store.start(&command, others).await? {
            return Ok(false);
        }
        command.version += 1;
        self.written(&command);
        let give_up = self.parts.clock.now() + flight.patience;
        let outcome = way.send(&command, attempt).await;
        let accepted = matches!(outcome, SendOutcome::Accepted { .. });
        loop {
            match self.conclude(attempt, &outcome).await {
                // What it said is worth more than what time will make of it.
                Err(StoreError::Unavailable(_)) if self.parts.clock.now() < give_up => {
                    self.parts.clock.sleep_until(self.parts.clock.now() + STORE_RETRY).await;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        if accepted && way.capacity().replaces {
            self.displace(&command).await?;
        }
        Ok(true)
    }

    async fn conclude(&self, attempt: AttemptId, outcome: &SendOutcome) -> StoreResult<()> {
        let now = self.parts.clock.wall();
        let conclude = |command: &mut Command| {
            let reported = command.conclude(attempt.number, outcome.clone(), now, &self.config.backoff);
            (reported == Reported::Applied, ())
        };
        self.change(attempt.command, conclude).await.map(drop)
    }

    /// The transport has put `newer` in the place of older ones with its replace key. Whether one of them had left by then,
    /// only a late report can tell.
    async fn displace(&self, newer: &Command) -> StoreResult<()> {
        for older in self.parts.store.open(&newer.device, 0).await? {
            if is_replaceable(&older, newer) {
                let cause = Cause::new(CauseCode::Superseded, format!("by {}", newer.id));
                self.say(older.id, Some(older.attempts()), Report::Lost { cause }).await?;
            }
        }
        Ok(())
    }

    async fn give_up(&self, open: &[Command]) -> StoreResult<()> {
        let now = self.parts.clock.wall();
        for command in open.iter().filter(|command| !command.is_in_flight()) {
            let cause = Cause::from(CauseCode::UnknownDevice);
            self.change(command.id, |command| (command.give_up(cause.clone(), now), ())).await?;
        }
        Ok(())
    }
}
