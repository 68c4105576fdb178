//! Lives of commands beside the store's own appends: each one queued, sent to a cloud that takes it at once, acknowledged,
//! every state durable, by the real dispatcher over the real store. Both sides go through the port, with as many askers of
//! which each awaits one thing at a time, and what is appended is as long as the record of a command. They take short turns,
//! so that what else the machine does meets both. Not here: HTTP and codecs on the way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use app::SystemClock;
use bridge_core::command::{
    AttemptId, Awaits, Command, CommandId, CommandName, Draft, Flight, Manner, Payload, Report, Reported,
    Resend, SendOutcome, StatusEvent,
};
use bridge_core::commands::{
    DispatchConfig, DispatchParts, Dispatcher, Route, StatusSink, Submitted, Target, Way, Ways,
};
use bridge_core::ports::{BoxFuture, Clock, CommandFilter, Commands, Outbox, OutboxEntry, StoreResult};
use bridge_core::{DeviceId, IdempotencyKey, IntegrationName, MessageId};
use store_embedded::{EmbeddedStore, Mode};
use tokio::sync::{Mutex, mpsc};

use crate::verdict;

/// Askers, each with a device of its own: as many as there are connections in the other sections.
const ASKERS: usize = 64;
/// Alternating turns of appends and lives: so many that the moods of the disk, which last seconds, meet both.
const TURNS: u32 = 60;

/// Measures and prints.
pub(crate) async fn run(folder: &Path, time: Duration) {
    let store = Arc::new(EmbeddedStore::open(folder, Mode::Tool, 1 << 30).unwrap());
    let (mut appends, mut lives) = (0, 0);
    let world = World::start(store.clone());
    world.live(time / TURNS).await;
    let length = record_length(&store).await;
    for _ in 0..TURNS {
        appends += append(&store, length, time / TURNS).await;
        lives += world.live(time / TURNS).await;
    }
    println!("commands, {ASKERS} at a time");
    verdict("lives, of the store's appends", lives as f64 / appends as f64, ">=", 1.0 / 6.0);
}

/// The mean of what a command is when it is new and when it is over, bytes.
async fn record_length(store: &EmbeddedStore) -> usize {
    let over = CommandFilter { done: Some(true), ..CommandFilter::default() };
    let over = store.list(&over, None, 1).await.unwrap().remove(0);
    let of = (over.device.clone(), over.integration.clone());
    let new = Command::new(over.id, of, over.draft.clone(), Manner::Push, over.created, over.expires);
    usize::midpoint(new.to_record().len(), over.to_record().len())
}

/// Entries of the outbox, one by one, each so long.
async fn append(store: &Arc<EmbeddedStore>, length: usize, time: Duration) -> u64 {
    static SEQ: AtomicU64 = AtomicU64::new(1);
    let integration = IntegrationName::parse("farm").unwrap();
    let store = store.clone();
    asking(time, move |asker| {
        let (store, integration) = (store.clone(), integration.clone());
        async move {
            let seq = SEQ.fetch_add(1, Relaxed);
            let id = MessageId::new(&integration, &IdempotencyKey::from_texts(&[&seq.to_string()]));
            let at = SystemClock.wall();
            let entry =
                OutboxEntry { seq, id, lane: format!("device-{asker}"), at, record: vec![b'x'; length] };
            store.append(&[entry]).await.unwrap();
        }
    })
    .await
}

/// Has every asker ask one time after the other; how often they did.
async fn asking<F: Future<Output = ()> + Send>(
    time: Duration,
    ask: impl Fn(usize) -> F + Clone + Send + 'static,
) -> u64 {
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..ASKERS)
        .map(|asker| {
            let ask = ask.clone();
            tokio::spawn(async move {
                let mut asked = 0;
                while Instant::now() < until {
                    ask(asker).await;
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let mut asked = 0;
    for task in tasks {
        asked += task.await.unwrap();
    }
    asked
}

/// A dispatcher at work.
struct World {
    dispatcher: Arc<Dispatcher>,
    /// The commands that were sent, by asker.
    sent: Vec<Arc<Mutex<mpsc::UnboundedReceiver<CommandId>>>>,
}

impl World {
    fn start(store: Arc<EmbeddedStore>) -> Self {
        let (senders, sent): (Vec<_>, Vec<_>) = (0..ASKERS).map(|_| mpsc::unbounded_channel()).unzip();
        let random = AtomicU64::new(1);
        let parts = DispatchParts {
            store,
            ways: Arc::new(ToCloud),
            sink: Arc::new(Hub(senders)),
            clock: Arc::new(SystemClock),
            random: Box::new(move || random.fetch_add(1, Relaxed).into()),
        };
        let dispatcher = Arc::new(Dispatcher::new(DispatchConfig::default(), parts));
        let [sender, announcer, timer] = [(); 3].map(|()| dispatcher.clone());
        tokio::spawn(async move { sender.run_sender().await });
        tokio::spawn(async move { announcer.run_announcer().await });
        tokio::spawn(async move { timer.run_timer().await });
        Self { dispatcher, sent: sent.into_iter().map(|sent| Arc::new(Mutex::new(sent))).collect() }
    }

    /// How many commands lived from their submission to their acknowledgement.
    async fn live(&self, time: Duration) -> u64 {
        let (dispatcher, sent) = (self.dispatcher.clone(), self.sent.clone());
        asking(time, move |asker| {
            let (dispatcher, sent) = (dispatcher.clone(), sent[asker].clone());
            async move {
                let device = device(asker);
                let mut draft = Draft::new(CommandName::parse("open").unwrap());
                draft.payload = Some(Payload { data: vec![1; 8], port: Some(15) });
                let submitted = dispatcher.submit(&device, draft).await.unwrap();
                assert!(matches!(submitted, Submitted::New(_)));
                let command = sent.lock().await.recv().await.unwrap();
                let report = Report::Acknowledged { result: None };
                let said = dispatcher.report(&device, &Target::Command(command), report).await.unwrap();
                assert_eq!(said.unwrap().1, Reported::Applied);
            }
        })
        .await
    }
}

fn device(asker: usize) -> DeviceId {
    DeviceId::parse(&format!("device-{asker}")).unwrap()
}

/// Takes every command at once.
struct Cloud;

impl Way for Cloud {
    fn manner(&self) -> Manner {
        Manner::Push
    }

    fn prepare<'a>(
        &'a self,
        _device: &'a DeviceId,
        _draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn flight(&self, _command: &Command) -> Flight {
        let (within, patience) = (Duration::from_secs(60), Duration::from_secs(10));
        Flight { resend: Resend::Never, awaits: Awaits::Acknowledgement, within, patience }
    }

    fn send<'a>(&'a self, _command: &'a Command, _attempt: AttemptId) -> BoxFuture<'a, SendOutcome> {
        Box::pin(std::future::ready(SendOutcome::Accepted { references: Vec::new() }))
    }
}

struct ToCloud;

impl Ways for ToCloud {
    fn route<'a>(&'a self, _device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Route>> {
        let integration = IntegrationName::parse("farm").unwrap();
        Box::pin(std::future::ready(Ok(Route::To { integration, way: Arc::new(Cloud) })))
    }
}

/// A hub that takes every event at once. `sent` is durable when it hears of it: from then on the cloud may acknowledge.
struct Hub(Vec<mpsc::UnboundedSender<CommandId>>);

impl StatusSink for Hub {
    fn publish(&self, event: StatusEvent) -> BoxFuture<'static, bool> {
        if event.body["state"] == "sent" {
            let asker: usize = event.device.as_str().trim_start_matches("device-").parse().unwrap();
            // At the end of a turn nobody listens any more.
            let _ = self.0[asker].send(event.command);
        }
        Box::pin(std::future::ready(true))
    }
}
