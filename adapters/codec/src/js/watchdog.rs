//! The threads of the host: those that run scripts, and the one that leaves them behind. Not here: what they do
//! ([`super::host`]), in which order ([`super::scheduler`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use super::host::Shared;
use super::realm::engine_fault;
use super::scheduler::{Patience, Watch};

/// Enough for the engine's own limit and the frames around it.
const STACK_BYTES: usize = 1024 * 1024;

/// Starts one thread that runs scripts.
pub(super) fn start_worker(shared: &Arc<Shared>) -> std::io::Result<()> {
    let host = Arc::clone(shared);
    let id = shared.next_worker();
    let started = thread::Builder::new()
        .name("codec".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || work(&host, id));
    started.map(drop).inspect_err(|_| shared.scheduler.lose_worker())
}

/// Starts the thread that watches the others.
pub(super) fn start_watchdog(shared: &Arc<Shared>) -> std::io::Result<()> {
    let host = Arc::clone(shared);
    let watch = move || {
        loop {
            match host.scheduler.watch(host.patience() / 4) {
                Watch::Stop => return,
                Watch::Abandoned { replace, scripts } => {
                    host.refuse(scripts);
                    for _ in 0..replace {
                        // A thread that cannot be started is one fewer; the scheduler counts it.
                        let _ = start_worker(&host);
                    }
                }
            }
        }
    };
    thread::Builder::new().name("codec-watchdog".to_owned()).spawn(watch).map(drop)
}

fn work(host: &Shared, id: u64) {
    let patience = Arc::new(Patience::new(host.patience()));
    loop {
        let Some((script, work)) = host.scheduler.next(id, &patience) else { return };
        let result = catch_unwind(AssertUnwindSafe(|| host.run(&script, work, &patience)))
            .unwrap_or_else(|_| Err(engine_fault(&script)));
        drop(script);
        if !host.scheduler.finish(id, result) {
            return;
        }
    }
}
