//! The contract of the command port.

use std::time::Duration;

use crate::command::{
    Awaits, Backoff, Cause, CauseCode, Command, CommandId, CommandName, CommandState, Draft, Flight, Manner,
    Phase, Priority, Reference, ReplaceKey, Report, RequestKey, Resend, SendOutcome,
};
use crate::id::{DeviceId, IntegrationName};
use crate::ports::{CommandFilter, Commands, Inserted, QueueLimits};
use crate::time::Timestamp;

const WIDE: QueueLimits = QueueLimits { per_device: 100, total: 100 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(10_000 + seconds).unwrap()
}

fn id(number: u8) -> CommandId {
    let mut id = [0; 16];
    id[15] = number;
    CommandId::from_bytes(id)
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

/// A command that the bridge sends by itself, asked for at second `number` and with 100 seconds to live.
pub fn command(number: u8, device_name: &str) -> Command {
    with(number, device_name, |_| ())
}

fn with(number: u8, device_name: &str, change: impl FnOnce(&mut Draft)) -> Command {
    let mut draft = Draft::new(CommandName::parse("reboot").unwrap());
    change(&mut draft);
    let of = (device(device_name), IntegrationName::parse("farm").unwrap());
    let now = at(number.into());
    Command::new(id(number), of, draft, Manner::Push, now, now.plus(Duration::from_secs(100)))
}

fn flight() -> Flight {
    Flight {
        resend: Resend::Never,
        awaits: Awaits::Acknowledgement,
        within: Duration::from_secs(50),
        patience: Duration::from_secs(10),
    }
}

async fn put(store: &dyn Commands, command: &Command) {
    let of_device = CommandFilter { device: Some(command.device.clone()), ..CommandFilter::default() };
    let open = CommandFilter { done: Some(false), ..of_device };
    let others = store.list(&open, None, 99).await.unwrap().len();
    let stored = Inserted::Stored { superseded: vec![], others, begun: false };
    assert_eq!(store.insert(command, None, WIDE).await.unwrap(), stored);
}

async fn take(store: &dyn Commands, number: u8) -> Command {
    store.get(id(number)).await.unwrap().unwrap()
}

/// Begins the command's next attempt.
async fn fly(store: &dyn Commands, number: u8, now: Timestamp) {
    let mut command = take(store, number).await;
    command.begin(flight(), now).unwrap();
    assert!(store.update(&command).await.unwrap());
}

async fn finish(store: &dyn Commands, number: u8, now: Timestamp) {
    let mut command = take(store, number).await;
    command.cancel(CauseCode::Withdrawn.into(), now);
    assert!(store.update(&command).await.unwrap());
}

fn numbers(commands: &[Command]) -> Vec<u8> {
    commands.iter().map(|command| command.id.as_bytes()[15]).collect()
}

/// Commands are inserted by the rules, changed by compare-and-set, found in every way that the bridge looks for them, and
/// purged when they are over. `fresh` makes stores that hold nothing yet.
pub async fn commands<'s>(fresh: &dyn Fn() -> Box<dyn Commands + 's>) {
    rules_of_insertion(&*fresh()).await;
    insertion_begun(&*fresh()).await;
    limits(&*fresh()).await;
    compare_and_set(&*fresh()).await;
    queues(&*fresh()).await;
    time(&*fresh()).await;
    lists(&*fresh()).await;
    events_and_purge(&*fresh()).await;
}

async fn rules_of_insertion(store: &dyn Commands) {
    let keyed = |number, device| with(number, device, |draft| draft.key = RequestKey::parse("k").ok());
    let first = keyed(1, "d1");
    put(store, &first).await;
    let kept = first.stored(1, 0);
    assert_eq!(take(store, 1).await, kept);
    assert_eq!(store.get(id(9)).await.unwrap(), None);
    let again = store.insert(&keyed(2, "d1"), None, WIDE).await.unwrap();
    assert_eq!(again, Inserted::Exists(Box::new(kept)));
    put(store, &keyed(3, "d2")).await;
    finish(store, 1, at(1)).await;
    let over = store.insert(&keyed(4, "d1"), None, WIDE).await.unwrap();
    assert_eq!(over, Inserted::Exists(Box::new(take(store, 1).await)), "also when it is over");

    let valve =
        |number, device| with(number, device, |draft| draft.replace = ReplaceKey::parse("valve").ok());
    put(store, &valve(10, "d1")).await;
    put(store, &valve(11, "d2")).await;
    put(store, &with(12, "d1", |draft| draft.replace = ReplaceKey::parse("lamp").ok())).await;
    put(store, &command(13, "d1")).await;
    let Inserted::Stored { superseded, others, .. } =
        store.insert(&valve(14, "d1"), None, WIDE).await.unwrap()
    else {
        panic!("not stored")
    };
    assert_eq!(others, 2, "what was superseded and is over does not count");
    assert_eq!(superseded, [take(store, 10).await]);
    assert_eq!((superseded[0].state(), superseded[0].version), (CommandState::Cancelled, 2));
    assert_eq!(superseded[0].cause().map(|cause| cause.code), Some(CauseCode::Superseded));
    fly(store, 14, at(15)).await;
    let Inserted::Stored { superseded, others, .. } =
        store.insert(&valve(16, "d1"), None, WIDE).await.unwrap()
    else {
        panic!("not stored")
    };
    assert_eq!(others, 3, "what is on its way does");
    assert_eq!(numbers(&superseded), [14], "what is on its way is told that it is not tried again");
    assert!(superseded[0].is_withdrawn() && superseded[0].is_in_flight());
    for other in [11, 12, 13] {
        assert_eq!(take(store, other).await.state(), CommandState::Queued);
    }
}

/// Only a command that its device has alone is stored as begun.
async fn insertion_begun(store: &dyn Commands) {
    let keyed = |number| {
        with(number, "d1", |draft| {
            draft.key = RequestKey::parse(&format!("k{number}")).ok();
            draft.replace = ReplaceKey::parse("valve").ok();
        })
    };
    let begin = |command: &Command, now| {
        let mut begun = command.clone();
        begun.begin(flight(), now).unwrap();
        begun
    };
    let insert =
        async |command: &Command, now| store.insert(command, Some(&begin(command, now)), WIDE).await.unwrap();
    let first = keyed(1);
    assert_eq!(insert(&first, at(1)).await, Inserted::Stored { superseded: vec![], others: 0, begun: true });
    assert_eq!(take(store, 1).await, begin(&first, at(1)).stored(1, 0));
    assert_eq!(numbers(&store.sending(None, 9).await.unwrap()), [1]);
    assert!(store.ready(at(50), None, 9).await.unwrap().is_empty(), "it is in flight");
    assert_eq!(numbers(&store.due(at(11), 9).await.unwrap()), [1]);
    assert_eq!(insert(&first, at(2)).await, Inserted::Exists(Box::new(take(store, 1).await)));

    let beside = command(2, "d1");
    assert_eq!(
        insert(&beside, at(2)).await,
        Inserted::Stored { superseded: vec![], others: 1, begun: false }
    );
    assert_eq!(take(store, 2).await, beside.stored(1, 0), "it waits");
    let Inserted::Stored { superseded, begun: false, .. } = insert(&keyed(3), at(3)).await else {
        panic!("not as it is given")
    };
    assert_eq!(numbers(&superseded), [1]);
    for number in [2, 3] {
        finish(store, number, at(4)).await;
    }
    let mut only = take(store, 1).await;
    only.report(None, Report::Acknowledged { result: None }, at(4), &Backoff::default());
    assert!(only.is_done() && store.update(&only).await.unwrap());

    // What is superseded while it waits leaves its device with no other, and may still matter to somebody.
    put(store, &keyed(5)).await;
    let Inserted::Stored { superseded, others: 0, begun: false } = insert(&keyed(6), at(6)).await else {
        panic!("not as it is given")
    };
    assert_eq!(numbers(&superseded), [5]);
    finish(store, 6, at(7)).await;
    let alone = keyed(7);
    assert_eq!(insert(&alone, at(7)).await, Inserted::Stored { superseded: vec![], others: 0, begun: true });
    assert_eq!(store.count_open().await.unwrap(), 1);
}

async fn limits(store: &dyn Commands) {
    let narrow = QueueLimits { per_device: 2, total: 3 };
    let insert = async |command: Command| store.insert(&command, None, narrow).await.unwrap();
    let stored = |inserted: &Inserted| matches!(inserted, Inserted::Stored { .. });
    let keyed = |number| with(number, "d1", |draft| draft.replace = ReplaceKey::parse("v").ok());
    assert!(stored(&insert(command(1, "d1")).await));
    assert!(stored(&insert(keyed(2)).await));
    assert_eq!(insert(command(3, "d1")).await, Inserted::DeviceFull);
    assert_eq!(store.get(id(3)).await.unwrap(), None);
    assert!(stored(&insert(keyed(4)).await), "it takes the place of the one that it supersedes");
    fly(store, 4, at(5)).await;
    assert_eq!(insert(keyed(5)).await, Inserted::DeviceFull, "what is on its way keeps its place");
    assert!(!take(store, 4).await.is_withdrawn(), "all or nothing");
    assert!(stored(&insert(command(6, "d2")).await));
    assert_eq!(insert(command(7, "d2")).await, Inserted::Full);
    assert_eq!(store.count_open().await.unwrap(), 3);
    finish(store, 1, at(8)).await;
    assert!(stored(&insert(command(9, "d2")).await));
    assert_eq!(store.count_open().await.unwrap(), 3);
}

async fn compare_and_set(store: &dyn Commands) {
    put(store, &command(1, "d1")).await;
    put(store, &command(2, "d1")).await;
    put(store, &command(3, "d2")).await;
    let begun = async |number| {
        let mut command = take(store, number).await;
        command.begin(flight(), at(5)).unwrap();
        command
    };
    let (first, second) = (begun(1).await, begun(2).await);
    assert!(store.start(&first, 0).await.unwrap());
    assert!(!store.start(&first, 0).await.unwrap(), "the version is another");
    assert!(!store.update(&first).await.unwrap());
    assert_eq!(take(store, 1).await, first.stored(2, 0));
    assert!(!store.start(&second, 0).await.unwrap(), "another one of the device is in flight");
    assert_eq!(take(store, 2).await.phase(), Phase::Waiting { not_before: at(2), pushed: true });
    assert!(store.start(&begun(3).await, 0).await.unwrap(), "of another device");
    assert!(store.start(&second, 1).await.unwrap());
    assert!(!store.update(&command(9, "d1")).await.unwrap(), "not there");
    assert_eq!(store.get(id(9)).await.unwrap(), None);
}

async fn queues(store: &dyn Commands) {
    for number in 1..=4 {
        put(store, &command(number, "d1")).await;
    }
    put(store, &with(5, "d1", |draft| draft.priority = Priority::High)).await;
    put(store, &command(6, "d2")).await;
    let (d1, d2) = (device("d1"), device("d2"));
    let open = async |waiting| numbers(&store.open(&d1, waiting).await.unwrap());
    assert_eq!(open(9).await, [5, 1, 2, 3, 4]);
    assert_eq!(open(2).await, [5, 1]);
    finish(store, 1, at(10)).await;
    fly(store, 3, at(10)).await;
    let mut found = open(2).await;
    found.sort_unstable();
    assert_eq!(found, [2, 3, 5], "what is in flight does not count");
    assert_eq!(numbers(&store.sending(None, 9).await.unwrap()), [3]);
    assert!(store.sending(Some(id(3)), 9).await.unwrap().is_empty());

    let ready = async |now, after: Option<&DeviceId>, limit| store.ready(now, after, limit).await.unwrap();
    assert_eq!(ready(at(10), None, 9).await, std::slice::from_ref(&d2), "d1 has one in flight");
    assert!(ready(at(5), None, 9).await.is_empty(), "not before");
    put(store, &command(7, "d0")).await;
    let d0 = device("d0");
    assert_eq!(ready(at(10), None, 9).await, [d0.clone(), d2.clone()]);
    assert_eq!(ready(at(10), None, 1).await, std::slice::from_ref(&d0));
    assert_eq!(ready(at(10), Some(&d0), 9).await, [d2]);

    let mut flying = take(store, 3).await;
    let reference = |name: &str| Reference::parse(name).unwrap();
    let accepted = SendOutcome::Accepted { references: vec![reference("r1"), reference("r2")] };
    flying.conclude(1, accepted, at(11), &Backoff::default());
    assert!(store.update(&flying).await.unwrap());
    assert!(store.sending(None, 9).await.unwrap().is_empty());
    let find = async |device: &DeviceId, name| store.find(device, &reference(name)).await.unwrap();
    assert_eq!(numbers(&find(&d1, "r2").await.into_iter().collect::<Vec<_>>()), [3]);
    assert_eq!(find(&d1, "r3").await, None);
    assert_eq!(find(&d0, "r1").await, None, "of another device");
    flying = take(store, 3).await;
    flying.report(None, Report::Acknowledged { result: None }, at(12), &Backoff::default());
    assert!(store.update(&flying).await.unwrap());
    assert!(find(&d1, "r1").await.is_some_and(|command| command.is_done()), "also when it is over");
    let mut newer = take(store, 4).await;
    newer.hand_out(flight(), Some(reference("r1")), at(13)).unwrap();
    assert!(store.update(&newer).await.unwrap());
    assert_eq!(find(&d1, "r1").await.map(|command| command.id), Some(id(4)), "the newest");
}

async fn time(store: &dyn Commands) {
    for number in 1..=3 {
        put(store, &command(number, "d1")).await;
    }
    fly(store, 3, at(10)).await;
    let due = async |now, limit| numbers(&store.due(now, limit).await.unwrap());
    assert!(due(at(19), 9).await.is_empty());
    assert_eq!(due(at(20), 9).await, [3], "its outcome is overdue");
    assert_eq!(due(at(102), 9).await, [3, 1, 2], "the most overdue first");
    assert_eq!(due(at(102), 1).await, [3]);
    finish(store, 1, at(20)).await;
    assert_eq!(due(at(102), 9).await, [3, 2]);
}

async fn lists(store: &dyn Commands) {
    for number in 1..=4 {
        put(store, &command(number, if number == 3 { "d2" } else { "d1" })).await;
    }
    finish(store, 2, at(9)).await;
    let list = async |filter: CommandFilter, before, limit| {
        numbers(&store.list(&filter, before, limit).await.unwrap())
    };
    let all = CommandFilter::default;
    assert_eq!(list(all(), None, 9).await, [4, 3, 2, 1]);
    assert_eq!(list(all(), None, 2).await, [4, 3]);
    assert_eq!(list(all(), Some(id(3)), 9).await, [2, 1]);
    let of_d1 = || CommandFilter { device: Some(device("d1")), ..all() };
    assert_eq!(list(of_d1(), None, 9).await, [4, 2, 1]);
    assert_eq!(list(of_d1(), Some(id(4)), 1).await, [2]);
    let queued = CommandFilter { state: Some(CommandState::Queued), ..of_d1() };
    assert_eq!(list(queued, None, 9).await, [4, 1]);
    assert_eq!(list(CommandFilter { done: Some(true), ..all() }, None, 9).await, [2]);
    assert_eq!(list(CommandFilter { done: Some(false), ..all() }, None, 9).await, [4, 3, 1]);
}

async fn events_and_purge(store: &dyn Commands) {
    for number in 1..=4 {
        put(store, &command(number, "d1")).await;
    }
    let unpublished = async |after, limit| {
        let found = store.unpublished(after, limit).await.unwrap();
        found.iter().map(|command| (command.id.as_bytes()[15], command.published)).collect::<Vec<_>>()
    };
    assert_eq!(unpublished(None, 9).await, [(1, 0), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(unpublished(Some(id(2)), 1).await, [(3, 0)]);
    store.published(&[(id(1), 1), (id(2), 1), (id(99), 1)]).await.unwrap();
    assert_eq!(unpublished(None, 9).await, [(3, 0), (4, 0)]);
    assert_eq!(take(store, 1).await.version, 1, "the version is that of the command itself");
    for number in 1..=3 {
        finish(store, number, at(i64::from(number) * 10)).await;
    }
    store.published(&[(id(1), 0)]).await.unwrap();
    assert_eq!(unpublished(None, 9).await, [(1, 1), (2, 1), (3, 0), (4, 0)], "never goes back");
    assert_eq!(store.purge(at(99), 0, 9).await.unwrap(), 0, "nothing goes before it is told of");

    let told: Vec<_> = (1..=4).map(|number| (id(number), 2)).collect();
    store.published(&told).await.unwrap();
    assert!(unpublished(None, 9).await.is_empty());
    assert_eq!(store.purge(at(11), 99, 9).await.unwrap(), 1);
    assert_eq!(store.get(id(1)).await.unwrap(), None);
    assert_eq!(store.purge(at(0), 1, 9).await.unwrap(), 1, "beyond the newest that are kept");
    assert_eq!(store.get(id(2)).await.unwrap(), None);
    assert_eq!(store.purge(at(99), 0, 0).await.unwrap(), 0);
    assert_eq!(store.purge(at(99), 0, 9).await.unwrap(), 1);
    let left = store.list(&CommandFilter::default(), None, 9).await.unwrap();
    assert_eq!(numbers(&left), [4], "what is open stays");
    assert_eq!(left[0].cause(), None::<&Cause>);
    assert_eq!(store.count_open().await.unwrap(), 1);
}
