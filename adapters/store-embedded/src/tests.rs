//! The store keeps the contract of its ports, over a reopen and over a kill, and says what is wrong with a bad file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bridge_core::dedup::{Claim, DedupConfig, Deduplicator};
use bridge_core::ports::{BoxFuture, Clock, Dedup, Outbox, OutboxEntry, Registry, StoreError};
use bridge_core::testing::{ManualClock, block_on, contract};
use bridge_core::{MessageId, Timestamp};
use rusqlite::Connection;

use super::*;

const ROOM: u64 = 1 << 30;

fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, Mode::Tool, ROOM).unwrap()
}

#[test]
fn it_keeps_the_contract() {
    let fresh = || {
        let folder = tempfile::tempdir().unwrap();
        (open(folder.path()), folder)
    };
    block_on(contract::outbox(&fresh().0));
    block_on(contract::dedup(&fresh().0));
    block_on(contract::archive(&fresh().0));
    block_on(contract::registry(&fresh().0));
    block_on(contract::dead_letters(&fresh().0));
    let folders = std::cell::RefCell::new(Vec::new());
    block_on(contract::commands(&|| {
        let (store, folder) = fresh();
        folders.borrow_mut().push(folder);
        Box::new(store)
    }));
    block_on(contract::credentials(&fresh().0));
    block_on(contract::subscriptions(&fresh().0));
    block_on(contract::twins(&fresh().0));
    block_on(contract::vault(&fresh().0));
}

#[test]
fn everything_is_there_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    block_on(store.append(&[contract::entry(1, "a"), contract::entry(2, "a")])).unwrap();
    block_on(Outbox::remove(&store, &[2])).unwrap();
    block_on(store.insert(&contract::device("d1", "E1"))).unwrap();
    let version = block_on(store.version()).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(block_on(store.load(0, 9)).unwrap(), [contract::entry(1, "a")]);
    assert_eq!(block_on(store.backlog()).unwrap().last_seq, 2);
    assert_eq!(block_on(store.version()).unwrap(), version);
}

#[test]
fn a_store_of_an_earlier_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = Connection::open(folder.path().join(FILE)).unwrap();
    earlier.execute_batch(include_str!("schema.sql")).unwrap();
    earlier.pragma_update(None, "user_version", 1).unwrap();
    earlier.execute("INSERT INTO seen VALUES (zeroblob(16), 7000)", []).unwrap();
    drop(earlier);
    let store = open(folder.path());
    let since = Timestamp::from_seconds(7).unwrap();
    assert!(block_on(Dedup::seen(&store, MessageId::from_bytes([0; 16]), since, None)).unwrap());
    block_on(contract::archive(&store));
    block_on(contract::credentials(&store));
    block_on(contract::subscriptions(&store));
    block_on(contract::twins(&store));
    block_on(contract::vault(&store));
}

#[test]
fn ids_of_the_log_of_an_earlier_version_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = Connection::open(folder.path().join(FILE)).unwrap();
    sqlite::STEPS[..10].iter().for_each(|step| earlier.execute_batch(step).unwrap());
    earlier.pragma_update(None, "user_version", 10).unwrap();
    earlier.execute("INSERT INTO seen (id, at) VALUES (zeroblob(16), 7000)", []).unwrap();
    for at in [9000, 8000] {
        earlier.execute("INSERT INTO seen_log (id, at) VALUES (zeroblob(16), ?1)", [at]).unwrap();
    }
    drop(earlier);
    let seen = block_on(open(folder.path()).recent(Timestamp::EPOCH, 9)).unwrap();
    assert_eq!(seen, [(MessageId::from_bytes([0; 16]), Timestamp::from_seconds(9).unwrap())]);
}

/// As many as that in one batch, all over the tree; a second for each batch.
const BATCH: u64 = 1000;

fn spread(number: u64) -> (MessageId, Timestamp) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    (MessageId::from_bytes(bytes), Timestamp::from_seconds(i64::try_from(number / BATCH).unwrap()).unwrap())
}

fn batch(number: u64) -> Vec<(MessageId, Timestamp)> {
    (number * BATCH..(number + 1) * BATCH).map(spread).collect()
}

fn count(folder: &Path, what: &str) -> u64 {
    let connection = Connection::open(folder.join(FILE)).unwrap();
    connection.query_row(&format!("SELECT {what}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn message_ids_are_known_while_they_are_sorted_in_and_over_a_reopen() {
    const KNOWN: usize = 20_000;
    let at = |second| Timestamp::from_seconds(second).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = || open(folder.path()).beside_ids_in_memory(KNOWN);
    let in_batches = || count(folder.path(), "coalesce(sum(length(ids)), 0) / 24 FROM seen_batches");
    let mut store = open();
    for number in 0..120 {
        block_on(store.remember(&batch(number))).unwrap();
        assert!(in_batches() <= 36_000, "it is bounded");
        if [10, 40, 41, 100].contains(&number) {
            drop(store);
            store = open();
        }
        for number in (0..(number + 1) * BATCH).step_by(4999) {
            let (id, at) = spread(number);
            let later = at.plus(Duration::from_millis(1));
            assert!(block_on(store.seen(id, at, None)).unwrap(), "{number}");
            assert!(!block_on(store.seen(id, later, None)).unwrap(), "{number}");
        }
        assert!(!block_on(store.seen(spread((number + 1) * BATCH).0, at(0), None)).unwrap());
        // For what the bridge does not have in memory any more no batch is read: it is sorted in.
        let known_from = at(i64::try_from((number + 1).saturating_sub(KNOWN as u64 / BATCH)).unwrap());
        assert_eq!(store.sorting.unsorted(known_from.as_millis()), None, "after batch {number}");
        for number in (0..known_from.as_millis().cast_unsigned()).step_by(4999) {
            let (id, at) = spread(number);
            assert!(block_on(store.seen(id, at, Some(known_from))).unwrap(), "{number}");
        }
    }
    assert!(in_batches() >= KNOWN as u64, "whoever opens the store again finds the newest there");
    assert_eq!(block_on(store.recent(at(119), 2000)).unwrap().len(), 1000);
    for (limit, oldest) in [(2500, 117), (100_000, 20)] {
        let recent = block_on(store.recent(at(0), limit)).unwrap();
        assert!(recent.len() == limit && recent.iter().all(|(_, time)| *time >= at(oldest)));
    }
    let is_left = || block_on(store.recent(at(0), 200_000)).unwrap().len();
    (0..32).for_each(|_| block_on(store.forget(at(119))).unwrap());
    assert_eq!(is_left(), 1000);
    drop(store);
    assert_eq!(block_on(open().recent(at(0), 200_000)).unwrap().len(), 1000);
}

/// A clock on the wall that is set back by so many milliseconds.
#[derive(Default)]
struct Wall(ManualClock, AtomicU64);

impl Clock for Wall {
    fn now(&self) -> Instant {
        self.0.now()
    }
    fn wall(&self) -> Timestamp {
        self.0.wall().minus(Duration::from_millis(self.1.load(Relaxed)))
    }
    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()> {
        self.0.sleep_until(at)
    }
}

#[test]
fn what_memory_has_forgotten_is_no_new_message() {
    for (max_in_memory, each_milli, set_back) in [(1000, 7, 0), (1000, 1, 300), (40, 3, 0), (2, 1, 10)] {
        let folder = tempfile::tempdir().unwrap();
        let config = DedupConfig { window: Duration::from_secs(4000), max_in_memory };
        let clock = Arc::new(Wall::default());
        let store = || Arc::new(open(folder.path()).beside_ids_in_memory(config.newest_in_memory()));
        let life = || block_on(Deduplicator::open(config, store(), clock.clone())).unwrap();
        let mut dedup = life();
        for number in 0..4000 {
            let (id, _) = spread(number);
            assert!(matches!(block_on(dedup.claim(id)).unwrap(), Claim::New), "{number}");
            dedup.settle(id, true);
            if number % each_milli == 0 {
                clock.0.advance(Duration::from_millis(1));
            }
            if number == 2000 {
                clock.1.store(set_back, Relaxed);
            }
            if number % 50 == 0 {
                block_on(dedup.flush()).unwrap();
            }
            if number == 3000 {
                drop(dedup);
                dedup = life();
            }
            for earlier in [number, number.saturating_sub(20 * (number % 100)), number / 2, 0] {
                let claim = block_on(dedup.claim(spread(earlier).0)).unwrap();
                assert!(
                    matches!(claim, Claim::Duplicate),
                    "{earlier} after {number}, {max_in_memory} in memory"
                );
            }
        }
    }
}

#[test]
fn what_is_forgotten_in_the_middle_of_a_round_is_what_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).beside_ids_in_memory(8000);
    for number in 0..60 {
        block_on(store.remember(&batch(number))).unwrap();
        let second = i64::try_from(number.saturating_sub(6)).unwrap();
        block_on(store.forget(Timestamp::from_seconds(second).unwrap())).unwrap();
        for young in (number.saturating_sub(6) * BATCH..(number + 1) * BATCH).step_by(97) {
            let (id, at) = spread(young);
            assert!(block_on(store.seen(id, at, None)).unwrap(), "{young} after batch {number}");
        }
    }
    assert!(store.sorting.sorted.load(Relaxed) > 40);
    assert!(count(folder.path(), "count(*) FROM seen") < 50 * BATCH, "some are gone");
}

#[test]
fn a_full_store_of_an_earlier_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = Connection::open(folder.path().join(FILE)).unwrap();
    earlier.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
    sqlite::STEPS[..10].iter().for_each(|step| earlier.execute_batch(step).unwrap());
    earlier.pragma_update(None, "user_version", 10).unwrap();
    earlier.execute_batch("BEGIN").unwrap();
    for number in 0..20_000 {
        let (id, at) = spread(number);
        let mut log = earlier.prepare_cached("INSERT INTO seen_log (id, at) VALUES (?1, ?2)").unwrap();
        log.execute((id.as_bytes(), at.as_millis())).unwrap();
    }
    earlier.execute_batch("COMMIT").unwrap();
    let pages: u64 = earlier.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    drop(earlier);
    let store = EmbeddedStore::open(folder.path(), Mode::Tool, pages * 4096).unwrap();
    let (id, at) = spread(19_999);
    assert!(block_on(store.seen(id, at, None)).unwrap());
}

#[test]
fn a_round_of_sorting_that_fails_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).beside_ids_in_memory(4000);
    let outside = Connection::open(folder.path().join(FILE)).unwrap();
    for number in 0..40 {
        // Some ids cannot be put into the table for a while: whatever step it is that meets them fails.
        if number % 4 == 1 {
            outside
                .execute_batch(
                    "CREATE TRIGGER no BEFORE INSERT ON seen WHEN substr(NEW.id, 1, 1) > x'B0' \
                     BEGIN SELECT RAISE(ABORT, 'no'); END",
                )
                .unwrap();
        }
        let mut tries = 0;
        while block_on(store.remember(&batch(number))).is_err() {
            tries += 1;
            assert!(tries < 3);
            outside.execute_batch("DROP TRIGGER IF EXISTS no").unwrap();
        }
        outside.execute_batch("DROP TRIGGER IF EXISTS no").unwrap();
    }
    let sorted = store.sorting.sorted.load(Relaxed);
    assert!(sorted >= 30, "{sorted}");
    let waiting =
        count(folder.path(), &format!("sum(length(ids)) / 24 FROM seen_batches WHERE number > {sorted}"));
    let in_table = count(folder.path(), "count(*) FROM seen");
    assert!(in_table + waiting >= 40 * BATCH);
    for number in (0..40 * BATCH).step_by(37) {
        let (id, at) = spread(number);
        assert!(block_on(store.seen(id, at, None)).unwrap(), "{number}");
    }
}

#[test]
fn writers_share_transactions_and_a_bad_job_fails_alone() {
    const WRITERS: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    block_on(store.append(&[contract::entry(1000, "x")])).unwrap();
    let before = store.commits();
    // Asked for first and waited for afterwards: they stand in the queue together.
    let bad = [contract::entry(1000, "x")];
    let entries: Vec<_> = (1..=WRITERS).map(|seq| [contract::entry(seq, "a")]).collect();
    let mut answers = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        answers.push(store.append(entry));
        if n == 10 {
            answers.push(store.append(&bad));
        }
    }
    let failed = answers.into_iter().map(block_on).filter(Result::is_err).count();
    assert_eq!(failed, 1);
    assert_eq!(block_on(store.load(0, 999)).unwrap().len() as u64, WRITERS + 1);
    let commits = store.commits() - before;
    assert!(commits < WRITERS / 2, "{commits} transactions for {WRITERS} appends");
}

/// Set in the child that is killed: the folder to write to.
const CHILD: &str = "STORE_TEST_FOLDER";

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let store = open(Path::new(&folder));
        for seq in 1.. {
            block_on(store.append(&[contract::entry(seq, "a")])).unwrap();
            println!("stored {seq}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut last = 0;
    for line in lines.by_ref() {
        if let Some(seq) = line.split("stored ").nth(1) {
            last = seq.parse().unwrap();
        }
        if last >= 200 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines {
        last = line.split("stored ").nth(1).and_then(|seq| seq.parse().ok()).unwrap_or(last);
    }
    assert!(last >= 200, "the child did not write");
    let stored = block_on(open(folder.path()).load(0, 1_000_000)).unwrap();
    let seqs: Vec<u64> = stored.iter().map(|entry| entry.seq).collect();
    assert!(seqs.len() as u64 >= last, "{} of {last} are there", seqs.len());
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "none is missing in between");
}

#[test]
fn one_service_and_any_number_of_tools() {
    let folder = tempfile::tempdir().unwrap();
    let service = EmbeddedStore::open(folder.path(), Mode::Service, ROOM).unwrap();
    let second = EmbeddedStore::open(folder.path(), Mode::Service, ROOM);
    assert!(matches!(second, Err(OpenError::InUse(_))));
    let tool = open(folder.path());
    block_on(tool.insert(&contract::device("d1", "E1"))).unwrap();
    assert_eq!(block_on(service.version()).unwrap(), 1, "each sees what the other wrote");
    block_on(service.append(&[contract::entry(1, "a")])).unwrap();
    assert_eq!(block_on(tool.load(0, 9)).unwrap().len(), 1);
    drop(service);
    assert!(EmbeddedStore::open(folder.path(), Mode::Service, ROOM).is_ok(), "free again");
}

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), vec![b'x'; 8192]).unwrap();
    let garbage = EmbeddedStore::open(folder.path(), Mode::Tool, ROOM).err();
    assert!(matches!(garbage, Some(OpenError::Store { source: StoreError::Damaged(_), .. })), "{garbage:?}");

    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let newer = EmbeddedStore::open(folder.path(), Mode::Tool, ROOM).err();
    let Some(OpenError::Store { source: StoreError::Damaged(why), .. }) = newer else { panic!("{newer:?}") };
    assert!(why.contains("99"), "{why}");
}

#[test]
fn a_full_store_says_so_and_goes_on_reading() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), Mode::Tool, 1 << 20).unwrap();
    let big = |seq| OutboxEntry { record: vec![1; 100 * 1024], ..contract::entry(seq, "a") };
    let mut stored = 0;
    let error = loop {
        match block_on(store.append(&[big(stored + 1)])) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 20, "the bound does not hold");
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(block_on(store.load(0, 99)).unwrap().len() as u64, stored);
    block_on(Outbox::remove(&store, &[1, 2])).unwrap();
    block_on(store.append(&[big(stored + 1)])).expect("room again");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let _store = open(&folder);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
}
