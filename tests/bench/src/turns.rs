//! Servers that are measured beside each other: all are warm, and take short turns, so that what else the machine does meets
//! all of them. Not here: what is sent.

use std::time::Duration;

use crate::load::{Client, Figures, measure};
use crate::process::Server;

/// How often each has its turn; before that, how often in vain.
const TURNS: usize = 20;
const WARM: usize = 8;

/// Loads each server with its clients, in turns of an eighth of `time`; the first of them do not count. A server's CPU is all
/// that it uses meanwhile: what it does after its turn counts, too.
pub(crate) async fn beside<C: Client, const N: usize>(
    servers: [&dyn Server; N],
    mut clients: [Vec<C>; N],
    time: Duration,
) -> [Figures; N] {
    in_turns(&mut clients, WARM, time / 8).await;
    let before = servers.map(Server::cpu_seconds);
    let mut figures = in_turns(&mut clients, TURNS, time / 8).await;
    for ((figures, server), before) in figures.iter_mut().zip(servers).zip(before) {
        figures.busy = server.cpu_seconds() - before;
    }
    figures
}

async fn in_turns<C: Client, const N: usize>(
    clients: &mut [Vec<C>; N],
    turns: usize,
    time: Duration,
) -> [Figures; N] {
    let mut sums = [(); N].map(|()| Figures::default());
    for turn in 0..turns {
        for place in 0..N {
            // To come after another one is not the same as to come before it.
            let place = if turn % 2 == 0 { place } else { N - 1 - place };
            sums[place].add(measure(&mut clients[place], time).await);
        }
    }
    sums
}
