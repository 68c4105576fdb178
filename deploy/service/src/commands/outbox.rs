//! `device-bridge outbox`: what was accepted and waits for the hub. Reads the store; changes nothing.

use crate::terminal::say;
use bridge_core::Message;
use bridge_core::ports::Outbox;

/// How to show the outbox.
#[derive(Debug, clap::Args)]
pub(crate) struct OutboxArgs {
    /// List the first entries, not only the sums: place, time, message id, lane, kind.
    #[arg(long)]
    list: bool,
    /// How many at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Runs it.
pub(crate) async fn run(args: &OutboxArgs, store: &dyn Outbox) -> anyhow::Result<()> {
    let backlog = store.backlog().await?;
    let messages: u64 = backlog.lanes.iter().map(|(_, count)| count).sum();
    say!("{messages} messages of {} devices, {} bytes", backlog.lanes.len(), backlog.bytes);
    if let Some(oldest) = backlog.oldest {
        say!("oldest accepted {oldest}");
    }
    if args.list {
        for entry in store.load(0, args.limit).await? {
            let kind =
                Message::from_record(&entry.record).map_or("unreadable", |message| message.kind.as_str());
            say!("{}\t{}\t{}\t{}\t{kind}", entry.seq, entry.at, entry.id, entry.lane);
        }
    }
    Ok(())
}
