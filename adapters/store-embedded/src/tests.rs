//! The store keeps the contract of its ports, over a reopen and over a kill, and says what is wrong with a bad file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bridge_core::ports::{Dedup, Outbox, OutboxEntry, Registry, StoreError};
use bridge_core::testing::{block_on, contract};
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
    assert!(block_on(Dedup::seen(&store, MessageId::from_bytes([0; 16]), since)).unwrap());
    block_on(contract::archive(&store));
    block_on(contract::credentials(&store));
    block_on(contract::subscriptions(&store));
    block_on(contract::twins(&store));
    block_on(contract::vault(&store));
}

#[test]
fn message_ids_are_known_while_they_are_sorted_in_and_over_a_reopen() {
    let id = |number: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        MessageId::from_bytes(bytes)
    };
    let at = |number: u64| Timestamp::from_seconds(i64::try_from(number / 1000).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let log = || {
        let count = Connection::open(folder.path().join(FILE)).unwrap();
        count.query_row("SELECT count(*) FROM seen_log", [], |row| row.get::<_, u64>(0)).unwrap()
    };
    for batch in 0..120 {
        let ids: Vec<_> = (batch * 1000..(batch + 1) * 1000).map(|number| (id(number), at(number))).collect();
        block_on(store.remember(&ids)).unwrap();
        assert!(log() <= 66_000, "it is bounded");
        if [10, 40, 41, 100].contains(&batch) {
            drop(store);
            store = open(folder.path());
        }
        for number in (0..(batch + 1) * 1000).step_by(4999) {
            assert!(block_on(store.seen(id(number), at(number))).unwrap(), "{number} after batch {batch}");
        }
        assert!(!block_on(store.seen(id((batch + 1) * 1000), at(0))).unwrap());
    }
    assert!(log() < 120_000, "some are sorted in");
    let recent = block_on(store.recent(at(119_000), 2000)).unwrap();
    assert_eq!(recent.len(), 1000);
    let recent = block_on(store.recent(at(0), 2500)).unwrap();
    assert!(recent.len() == 2500 && recent.iter().all(|(_, time)| *time >= at(117_000)));
    assert_eq!(block_on(store.forget(at(119_000))).unwrap(), 119_000);
    assert_eq!(block_on(store.recent(at(0), 200_000)).unwrap().len(), 1000);
    drop(store);
    assert_eq!(block_on(open(folder.path()).recent(at(0), 200_000)).unwrap().len(), 1000);
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
