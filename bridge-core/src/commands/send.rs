//! The sending half of the dispatcher: push ways. Not here: mailboxes ([`Dispatcher::take`]).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;

use super::firsts::First;
use super::{CONTENDED, Dispatcher, Route, Way, contended};
use crate::command::queue::{Asker, Next, is_replaceable, next};
use crate::command::{
    Again, AttemptId, Cause, CauseCode, Command, CommandId, Manner, Phase, Report, Reported, SendOutcome,
};
use crate::id::DeviceId;
use crate::ports::{StoreError, StoreResult};

/// How long to wait before an outcome is written again that the store did not take.
const STORE_RETRY: Duration = Duration::from_millis(500);

impl Dispatcher {
    /// Sends for ever, to many devices at once and to each one after the other. Run it as one task. Dropped in the middle,
    /// what it was sending is as after a crash.
    pub async fn run_sender(&self) {
        let _serving = self.firsts.serve();
        let mut sending = FuturesUnordered::new();
        loop {
            // They have their places by the claims of their devices.
            while let Some(first) = self.firsts.next() {
                sending.push(Either::Left(async move {
                    let device = first.command.device.clone();
                    // As below; one that was not told of is found by time.
                    let _ = self.send_first(first).await;
                    self.kicks.done(device);
                }));
            }
            while sending.len() < self.config.at_once
                && let Some(device) = self.kicks.next()
            {
                sending.push(Either::Right(async move {
                    // A store that fails now is asked again by the next tick.
                    let _ = self.dispatch(&device).await;
                    self.kicks.done(device);
                }));
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
                    if !sent {
                        self.alone.forget(device);
                    } else if self.is_full(command.id, others, &way).await? {
                        return Ok(());
                    }
                }
            }
        }
        Err(contended())
    }

    /// Sends a command that was begun with its insertion, and then what else its device's queue has to send.
    async fn send_first(&self, first: First) -> StoreResult<()> {
        let First { command, attempt, patience, way, is_stored } = first;
        let give_up = self.parts.clock.now() + patience;
        if !is_stored {
            // Whoever inserted it is gone. What is written comes after the insertion, and changes nothing; only where the
            // store is far away the insertion may come later still, and time finds it.
            while let Err(error) = self.parts.store.published(&[(command.id, 0)]).await {
                self.rest(error, give_up).await?;
            }
        }
        // It had to wait for its turn: it may have been taken back meanwhile, or reported on.
        let known = loop {
            match self.look(command.id).await {
                Ok(known) => break known,
                Err(error) => self.rest(error, give_up).await?,
            }
        };
        let sending = |known: &&Arc<Command>| matches!(known.phase(), Phase::Sending { .. });
        let Some(known) = known.as_ref().filter(sending).filter(|known| known.attempts() == attempt.number)
        else {
            return self.dispatch(&command.device).await;
        };
        let too_late = known.due().is_some_and(|due| due <= self.parts.clock.wall());
        if too_late || known.is_withdrawn() {
            let code = if too_late { CauseCode::Interrupted } else { CauseCode::Withdrawn };
            let cause = Cause::from(code);
            let unsent = SendOutcome::Refused { cause, again: Again::Later(None) };
            while let Err(error) = self.conclude(attempt, &unsent).await {
                self.rest(error, give_up).await?;
            }
        } else {
            self.send(known, attempt, give_up, &way).await?;
        }
        if self.is_full(command.id, 0, &way).await? {
            return Ok(());
        }
        self.dispatch(&command.device).await
    }

    /// Nothing can be sent beside it and these others, for now.
    async fn is_full(&self, sent: CommandId, others: usize, way: &Arc<dyn Way>) -> StoreResult<bool> {
        let full = others + 1 >= way.capacity().in_flight && !way.capacity().replaces;
        Ok(full && self.look(sent).await?.is_some_and(|sent| sent.is_in_flight()))
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
        self.send(&command, attempt, give_up, way).await?;
        Ok(true)
    }

    /// Sends a command whose attempt is on disk.
    async fn send(
        &self,
        command: &Command,
        attempt: AttemptId,
        give_up: Instant,
        way: &Arc<dyn Way>,
    ) -> StoreResult<()> {
        let outcome = way.send(command, attempt).await;
        let accepted = matches!(outcome, SendOutcome::Accepted { .. });
        // What it said is worth more than what time will make of it.
        while let Err(error) = self.conclude(attempt, &outcome).await {
            self.rest(error, give_up).await?;
        }
        if accepted && way.capacity().replaces {
            self.displace(command).await?;
        }
        Ok(())
    }

    /// Waits before a store that failed is asked again; with its error when it is too late for that.
    async fn rest(&self, error: StoreError, until: Instant) -> StoreResult<()> {
        let now = self.parts.clock.now();
        if !matches!(error, StoreError::Unavailable(_)) || now >= until {
            return Err(error);
        }
        self.parts.clock.sleep_until(now + STORE_RETRY).await;
        Ok(())
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
