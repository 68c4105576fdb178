//! Commands over changes of the schema, and how they are found. Not here: the contract of the port (`crate::tests`).

use bridge_core::command::{Again, Awaits, Backoff, CauseCode, Flight, Resend, SendOutcome};
use bridge_core::ports::Outbox;
use bridge_core::testing::{block_on, contract};

use super::*;
use crate::{FILE, Mode};

fn open(folder: &std::path::Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, Mode::Tool, 1 << 30).unwrap()
}

#[test]
fn a_store_of_version_1_is_brought_up_to_date_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    // As the first release wrote it.
    connection.execute_batch(include_str!("../schema.sql")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let entry = contract::entry(7, "a");
    connection
        .execute(
            "INSERT INTO outbox (seq, id, lane, at, record) VALUES (7, ?1, 'a', ?2, ?3)",
            rusqlite::params![entry.id.as_bytes(), entry.at.as_millis(), entry.record],
        )
        .unwrap();
    connection.execute("UPDATE meta SET value = 7 WHERE key = 'last_seq'", []).unwrap();
    drop(connection);

    let store = open(folder.path());
    assert_eq!(block_on(store.load(0, 9)).unwrap(), [entry]);
    assert_eq!(block_on(store.backlog()).unwrap().last_seq, 7);
    let command = contract::command(1, "d1");
    block_on(store.insert(&command, None, QueueLimits::default())).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(block_on(store.get(command.id)).unwrap(), Some(command.stored(1, 0)));
    assert_eq!(block_on(store.count_open()).unwrap(), 1);
}

#[test]
fn commands_of_an_earlier_version_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    for step in [
        include_str!("../schema.sql"),
        include_str!("../schema_archive.sql"),
        include_str!("../schema_commands.sql"),
    ] {
        connection.execute_batch(step).unwrap();
    }
    connection.pragma_update(None, "user_version", 3).unwrap();
    let (waiting, mut over) = (contract::command(1, "d1"), contract::command(2, "d1"));
    over.cancel(CauseCode::Withdrawn.into(), over.created);
    for (command, published) in [(&waiting, 1), (&over, 1)] {
        let copies = Copies::of(command);
        connection
            .execute(
                "INSERT INTO commands (id, device, version, state, phase, priority, not_before, due, finished, changes, \
                 published, record) VALUES (?1, 'd1', 1, ?2, ?3, 2, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    command.id.as_bytes(),
                    command.state().as_str(),
                    copies.phase,
                    copies.not_before,
                    copies.due,
                    copies.finished,
                    command.changes(),
                    published,
                    command.to_record(),
                ],
            )
            .unwrap();
    }
    drop(connection);

    let store = open(folder.path());
    let (waiting, over) = (waiting.stored(1, 1), over.stored(1, 1));
    assert_eq!(block_on(store.open(&waiting.device, 9)).unwrap(), std::slice::from_ref(&waiting));
    assert_eq!(block_on(store.due(waiting.expires, 9)).unwrap(), std::slice::from_ref(&waiting));
    let ready = block_on(store.ready(waiting.created, None, 9)).unwrap();
    assert_eq!(ready, std::slice::from_ref(&waiting.device));
    assert_eq!(block_on(store.unpublished(None, 9)).unwrap(), std::slice::from_ref(&over));
    assert_eq!(block_on(store.count_open()).unwrap(), 1);
}

#[test]
fn a_time_that_is_noted_too_early_is_put_right_and_moves_back_when_it_must() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut command = contract::command(1, "d1");
    let (now, seconds) = (command.created, std::time::Duration::from_secs);
    block_on(Commands::insert(&store, &command, None, QueueLimits::default())).unwrap();
    let flight = Flight {
        resend: Resend::Safe,
        awaits: Awaits::Acknowledgement,
        within: seconds(50),
        patience: seconds(10),
    };
    command = command.stored(1, 0);
    command.begin(flight, now).unwrap();
    assert!(block_on(store.start(&command, 0)).unwrap());
    let wake = || -> i64 {
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        connection.query_row("SELECT wake FROM commands", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(wake(), now.as_millis(), "as when it came");
    block_on(store.settle(now)).unwrap();
    assert_eq!(wake(), now.plus(seconds(10)).as_millis());

    // Its answer is lost at once: it goes again before that.
    command.version = 2;
    let refused =
        SendOutcome::Refused { cause: CauseCode::Unavailable.into(), again: Again::Later(Some(seconds(2))) };
    let backoff = Backoff { base: seconds(1), max: seconds(1) };
    command.conclude(1, refused, now, &backoff);
    assert!(block_on(store.update(&command)).unwrap());
    assert!(block_on(store.ready(now, None, 9)).unwrap().is_empty());
    assert_eq!(block_on(store.ready(now.plus(seconds(4)), None, 9)).unwrap(), [command.device]);
}

/// Queries of the command port that run for every command, or once a second.
#[test]
fn commands_are_found_by_index() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    for (wanted, index) in [
        (
            "wake IS NOT NULL AND device = 'd' AND phase = 0 ORDER BY priority DESC, id LIMIT 1",
            "commands_open",
        ),
        ("wake IS NOT NULL AND device = 'd' AND phase IN (1, 2)", "commands_open"),
        ("request_key IS NOT NULL AND device = 'd' AND request_key = 'k'", "commands_request"),
        ("wake IS NOT NULL AND wake <= 5 AND not_before <= 5 AND device > 'd'", "commands_wake"),
        ("wake IS NOT NULL AND wake <= 5 AND due <= 5", "commands_wake"),
        ("device = 'd' AND id < x'00' ORDER BY id DESC LIMIT 5", "commands_device"),
    ] {
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN SELECT record FROM commands WHERE {wanted}"))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(plan.contains(&format!("INDEX {index} ")) && !plan.contains("TEMP"), "{wanted}: {plan}");
    }
}

/// A bridge and a tool on one file: what the one knows of the other's commands is looked up again.
#[test]
fn what_another_process_changed_is_not_taken_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let (bridge, tool) = (open(folder.path()), open(folder.path()));
    let untold = || {
        let left = block_on(bridge.unpublished(None, 9)).unwrap();
        left.iter().map(|command| (command.published, command.changes())).collect::<Vec<_>>()
    };
    let cancel = |store: &EmbeddedStore, number| {
        let mut command = block_on(store.get(contract::command(number, "d1").id)).unwrap().unwrap();
        command.cancel(CauseCode::Withdrawn.into(), command.created);
        assert!(block_on(store.update(&command)).unwrap());
    };
    let [first, second] = [1, 2].map(|number| contract::command(number, "d1"));
    for command in [&first, &second] {
        block_on(Commands::insert(&bridge, command, None, QueueLimits::default())).unwrap();
    }
    cancel(&tool, 1);
    block_on(bridge.published(&[(first.id, 1), (second.id, 1)])).unwrap();
    assert_eq!(untold(), [(1, 2)]);
    block_on(bridge.published(&[(first.id, 2)])).unwrap();
    assert_eq!(untold(), []);
    // Told by one, changed by the other.
    cancel(&tool, 2);
    assert_eq!(untold(), [(1, 2)]);
    block_on(tool.published(&[(second.id, 2)])).unwrap();
    assert_eq!(untold(), []);
}

#[test]
fn a_full_store_counts_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), Mode::Tool, 1).unwrap();
    let all: Vec<Command> =
        (1..=255).map(|number| contract::command(number, &format!("d{}", number % 8))).collect();
    let mut stored = 0;
    for some in all.chunks(5) {
        // Asked for together: they share transactions.
        let inserting: Vec<_> = some
            .iter()
            .map(|command| Commands::insert(&store, command, None, QueueLimits::default()))
            .collect();
        stored += inserting.into_iter().map(block_on).filter(Result::is_ok).count();
    }
    assert!((10..250).contains(&stored), "{stored}");
    let kept = block_on(Commands::list(&store, &CommandFilter::default(), None, 999)).unwrap();
    assert_eq!(kept.len(), stored);
    assert_eq!(block_on(store.unpublished(None, 999)).unwrap().len(), stored);
    assert_eq!(block_on(store.count_open()).unwrap(), stored as u64);
}
