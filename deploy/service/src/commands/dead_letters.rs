//! `device-bridge dead-letters`: list, show, replay, remove. Works on the store; a running service picks replays up.

use crate::terminal::say;
use anyhow::{Context, bail};
use bridge_core::ports::{DeadLetter, DeadLetterFilter, DeadLetters};
use bridge_core::{IntegrationName, Reason};

/// What to do with dead letters.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// List them, one a line: number, time, integration, device, reason, detail.
    List {
        #[command(flatten)]
        which: Which,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one with the request that it came by.
    Show {
        /// Its number.
        #[arg(value_parser = clap::value_parser!(u64).range(..=LAST))]
        number: u64,
    },
    /// Ask the running service to send them through again. What goes through is removed.
    Replay {
        #[command(flatten)]
        which: Which,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Remove them for good.
    Remove {
        #[command(flatten)]
        which: Which,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Which {
    /// Only this number.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=LAST))]
    number: Option<u64>,
    /// Only of this integration.
    #[arg(long)]
    integration: Option<String>,
    /// Only of this device, as the source calls it.
    #[arg(long)]
    device: Option<String>,
    /// Only for this reason (`unmappable`, `unknown-device`, `parked`, ...).
    #[arg(long)]
    reason: Option<String>,
}

/// The greatest number that the store has (SQLite's INTEGER, 64 bits with a sign).
const LAST: u64 = i64::MAX as u64;
/// Letters that the store is asked to remove at once.
const REMOVED_AT_ONCE: usize = 1000;

impl Which {
    fn filter(self, all: bool) -> anyhow::Result<DeadLetterFilter> {
        let reason = self.reason.as_deref().map(|name| {
            let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
            Reason::parse(name)
                .with_context(|| format!("no reason {name:?}; there are: {}", names.join(", ")))
        });
        let filter = DeadLetterFilter {
            integration: self.integration.as_deref().map(IntegrationName::parse).transpose()?,
            device: self.device,
            reason: reason.transpose()?,
            number: self.number,
        };
        if filter == DeadLetterFilter::default() && !all {
            bail!("say which (--number, --integration, --device, --reason) or --all");
        }
        Ok(filter)
    }
}

/// Runs it. False when nothing matched.
pub(crate) async fn run(command: DeadLetterCommand, store: &dyn DeadLetters) -> anyhow::Result<bool> {
    match command {
        DeadLetterCommand::List { which, limit } => {
            let letters = store.list(&which.filter(true)?, 0, limit).await?;
            letters.iter().for_each(|letter| say!("{}", line(letter)));
            let total = store.count().await?;
            eprintln!("{} shown, {total} in all", letters.len());
            Ok(true)
        }
        DeadLetterCommand::Show { number } => {
            let filter = DeadLetterFilter { number: Some(number), ..DeadLetterFilter::default() };
            let letters = store.list(&filter, 0, 1).await?;
            let Some(letter) = letters.first() else { bail!("there is no dead letter {number}") };
            show(letter);
            Ok(true)
        }
        DeadLetterCommand::Replay { which, all } => {
            let marked = store.mark_for_replay(&which.filter(all)?).await?;
            say!("{marked} marked; the running service sends them within a few seconds");
            Ok(marked > 0)
        }
        DeadLetterCommand::Remove { which, all } => {
            let (filter, mut removed) = (which.filter(all)?, 0);
            loop {
                let more = store.remove_matching(&filter, REMOVED_AT_ONCE).await?;
                removed += more;
                if more < REMOVED_AT_ONCE as u64 {
                    break;
                }
            }
            say!("{removed} removed");
            Ok(removed > 0)
        }
    }
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { number, letter, replay } = letter;
    let device = letter.device.as_deref().unwrap_or("-");
    let mark = if *replay { " (replay asked for)" } else { "" };
    format!(
        "{number}\t{}\t{}\t{device}\t{}\t{}{mark}",
        letter.at, letter.integration, letter.reason, letter.detail
    )
}

fn show(letter: &DeadLetter) {
    say!("{}", line(letter));
    if let Some(request) = &letter.letter.request {
        let device = request.path_device.as_deref().map(|device| format!("/{device}")).unwrap_or_default();
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        say!("\n{} /webhooks/{}{device}{query}", request.method, letter.letter.integration);
        say!("Content-Type: {}\n", request.content_type.as_deref().unwrap_or("-"));
        say!("{}", String::from_utf8_lossy(&request.body));
    }
    if let Some(record) = &letter.letter.record {
        say!("\nmessage: {}", String::from_utf8_lossy(record));
    }
}
