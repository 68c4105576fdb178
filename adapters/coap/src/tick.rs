//! A timer that is set anew for every turn of a loop. Timers are dear beside a small message: one that would fire too early is left as it is, and whoever waits for it looks what is due. Not here: what that is.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// Fires when it is due, or before.
#[derive(Default)]
pub(crate) struct Tick(Option<Pin<Box<Sleep>>>);

impl Tick {
    /// Will fire then at the latest; none: need not fire.
    pub(crate) fn set(&mut self, due: Option<Instant>) {
        let Some(due) = due else { return };
        if self.0.as_ref().is_none_or(|sleep| sleep.deadline().into_std() > due) {
            self.0 = Some(Box::pin(sleep_until(due.into())));
        }
    }

    /// Completes when it fires. May be dropped at any time.
    pub(crate) async fn fired(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}
