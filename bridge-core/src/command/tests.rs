//! The machine by itself: one row per order in which things can come.

use std::time::Duration;

use serde_json::json;

use super::queue::{Asker, Capacity, Next};
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1000 + seconds).unwrap()
}

const BACKOFF: Backoff = Backoff { base: Duration::from_secs(4), max: Duration::from_secs(60) };

fn flight(resend: Resend, awaits: Awaits) -> Flight {
    Flight { resend, awaits, within: Duration::from_secs(50), patience: Duration::from_secs(10) }
}

fn draft(max_attempts: u32) -> Draft {
    Draft { max_attempts, ..Draft::new(CommandName::parse("reboot").unwrap()) }
}

fn make(number: u8, draft: Draft, manner: Manner) -> Command {
    let mut id = [0; 16];
    id[15] = number;
    let device = DeviceId::parse("d1").unwrap();
    let integration = IntegrationName::parse("farm").unwrap();
    Command::new(CommandId::from_bytes(id), (device, integration), draft, manner, at(0), at(100))
}

fn accepted() -> SendOutcome {
    SendOutcome::Accepted { references: vec![] }
}

fn refused(again: Again) -> SendOutcome {
    SendOutcome::Refused { cause: CauseCode::Unavailable.into(), again }
}

fn unknown() -> SendOutcome {
    SendOutcome::Unknown { cause: CauseCode::NoAnswer.into() }
}

fn failed(again: Again) -> Report {
    Report::Failed { cause: CauseCode::Rejected.into(), again }
}

const ACK: Report = Report::Acknowledged { result: None };

/// What happens to a command, one second after the other.
enum Do {
    Begin(Flight),
    HandOut(Flight),
    Answer(SendOutcome),
    Say(Report),
    SayOf(u32, Report),
    Cancel,
    Crash,
    Pass(i64),
    Wake,
}

/// The states after each step, as far as they are told to the hub.
fn run(max_attempts: u32, manner: Manner, steps: Vec<Do>) -> (Command, Vec<&'static str>) {
    let mut command = make(1, draft(max_attempts), manner);
    let mut now = 0;
    for step in steps {
        now += 1;
        let time = at(now);
        match step {
            Do::Begin(flight) => {
                assert!(command.begin(flight, time).is_some(), "does not begin: {command:?}");
            }
            Do::HandOut(flight) => assert!(command.hand_out(flight, None, time).is_some()),
            Do::Answer(outcome) => drop(command.conclude(command.attempts(), outcome, time, &BACKOFF)),
            Do::Say(report) => drop(command.report(None, report, time, &BACKOFF)),
            Do::SayOf(number, report) => drop(command.report(Some(number), report, time, &BACKOFF)),
            Do::Cancel => drop(command.cancel(CauseCode::Withdrawn.into(), time)),
            Do::Crash => drop(command.interrupt(time, &BACKOFF)),
            Do::Pass(seconds) => {
                now += seconds;
                command.pass(at(now), &BACKOFF);
            }
            Do::Wake => assert!(command.wake(time)),
        }
        assert_eq!(Command::from_record(&command.to_record()).unwrap(), command);
    }
    let states = command.history().iter().map(|change| change.state.as_str()).collect();
    (command, states)
}

/// Name, attempts, manner, what happens, the states that the hub is told.
type Case = (&'static str, u32, Manner, Vec<Do>, &'static [&'static str]);

#[test]
fn whatever_the_order_the_state_never_goes_back_and_ends_right() {
    use Awaits::{Acknowledgement, Nothing, Transmission};
    use Do::{Answer, Begin, Cancel, Crash, HandOut, Pass, Say, SayOf, Wake};
    use Resend::{Never, Safe};
    let acked = flight(Never, Acknowledgement);
    let safe = flight(Safe, Acknowledgement);
    let aired = flight(Never, Transmission);
    let bare = flight(Never, Nothing);
    let later = Again::Later(None);
    let push = Manner::Push;
    let cases: Vec<Case> = vec![
        (
            "plain",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Say(ACK)],
            &["queued", "sent", "acknowledged"],
        ),
        (
            "synchronous",
            3,
            push,
            vec![Begin(acked), Answer(SendOutcome::Delivered { result: None })],
            &["queued", "acknowledged"],
        ),
        ("nothing is awaited", 3, push, vec![Begin(bare), Answer(accepted()), Say(ACK)], &["queued", "sent"]),
        (
            "on the air",
            3,
            push,
            vec![Begin(aired), Answer(accepted()), Say(Report::Transmitted), Say(Report::Transmitted)],
            &["queued", "sent", "sent"],
        ),
        (
            "on the air and confirmed",
            3,
            push,
            vec![
                Begin(acked),
                Answer(accepted()),
                Say(Report::Transmitted),
                Say(Report::Transmitted),
                Say(ACK),
                Say(ACK),
            ],
            &["queued", "sent", "sent", "acknowledged"],
        ),
        (
            "the acknowledgement before the answer",
            3,
            push,
            vec![Begin(acked), Say(ACK), Answer(accepted())],
            &["queued", "acknowledged"],
        ),
        (
            "the acknowledgement before the transmission",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Say(ACK), Say(Report::Transmitted)],
            &["queued", "sent", "acknowledged"],
        ),
        (
            "the transmission before the answer",
            3,
            push,
            vec![Begin(acked), Say(Report::Transmitted), Answer(accepted()), Say(ACK)],
            &["queued", "sent", "acknowledged"],
        ),
        (
            "the transmission before a refusal",
            3,
            push,
            vec![Begin(acked), Say(Report::Transmitted), Answer(refused(later)), Say(ACK)],
            &["queued", "sent", "acknowledged"],
        ),
        (
            "refused for good",
            3,
            push,
            vec![Begin(acked), Answer(refused(Again::Never)), Say(ACK)],
            &["queued", "failed"],
        ),
        (
            "refused until attempts are spent",
            2,
            push,
            vec![Begin(acked), Answer(refused(later)), Pass(8), Begin(acked), Answer(refused(later))],
            &["queued", "queued", "failed"],
        ),
        (
            "refused, and yet it ran",
            3,
            push,
            vec![Begin(acked), Answer(refused(later)), Say(ACK)],
            &["queued", "queued", "acknowledged"],
        ),
        (
            "refused, and yet it left",
            3,
            push,
            vec![Begin(acked), Answer(refused(later)), Say(Report::Transmitted), Pass(60)],
            &["queued", "queued", "sent", "unknown"],
        ),
        (
            "refused, and the attempt before it left after all",
            3,
            push,
            vec![
                Begin(acked),
                Answer(refused(later)),
                Pass(8),
                Begin(acked),
                SayOf(1, Report::Transmitted),
                Say(failed(later)),
            ],
            &["queued", "queued", "sent", "unknown"],
        ),
        ("lost, unsafe", 3, push, vec![Begin(acked), Answer(unknown()), Pass(200)], &["queued", "unknown"]),
        (
            "lost, then acknowledged",
            3,
            push,
            vec![Begin(acked), Answer(unknown()), Say(ACK)],
            &["queued", "unknown", "acknowledged"],
        ),
        (
            "lost, then failed",
            3,
            push,
            vec![Begin(acked), Answer(unknown()), Say(failed(later)), Say(ACK)],
            &["queued", "unknown", "failed"],
        ),
        (
            "lost, then on the air, which is all that is awaited",
            3,
            push,
            vec![Begin(aired), Answer(unknown()), Say(Report::Transmitted)],
            &["queued", "unknown", "sent"],
        ),
        (
            "lost, then on the air, which is not enough",
            3,
            push,
            vec![Begin(acked), Answer(unknown()), Say(Report::Transmitted)],
            &["queued", "unknown"],
        ),
        (
            "lost, safe",
            3,
            push,
            vec![Begin(safe), Answer(unknown()), Pass(8), Begin(safe), Answer(accepted()), Say(ACK)],
            &["queued", "queued", "sent", "acknowledged"],
        ),
        (
            "lost, safe, too often",
            2,
            push,
            vec![Begin(safe), Answer(unknown()), Pass(8), Begin(safe), Answer(unknown())],
            &["queued", "queued", "unknown"],
        ),
        (
            "lost, safe, then expired",
            3,
            push,
            vec![Begin(safe), Answer(unknown()), Pass(100)],
            &["queued", "queued", "unknown"],
        ),
        (
            "lost, safe, then refused",
            3,
            push,
            vec![
                Begin(safe),
                Answer(unknown()),
                Pass(8),
                Begin(safe),
                Answer(refused(Again::Never)),
                SayOf(2, failed(later)),
                SayOf(1, ACK),
            ],
            &["queued", "queued", "unknown", "acknowledged"],
        ),
        ("crash, unsafe", 3, push, vec![Begin(acked), Crash, Pass(200)], &["queued", "unknown"]),
        ("crash, safe", 3, push, vec![Begin(safe), Crash, Pass(8), Begin(safe)], &["queued", "queued"]),
        (
            "crash with nothing under way",
            3,
            push,
            vec![Crash, Begin(acked), Answer(accepted()), Crash, Say(ACK)],
            &["queued", "sent", "acknowledged"],
        ),
        (
            "no answer at all",
            3,
            push,
            vec![Begin(acked), Pass(9), Answer(accepted())],
            &["queued", "unknown"],
        ),
        (
            "an answer that comes too late and is enough",
            3,
            push,
            vec![Begin(bare), Pass(9), Answer(accepted())],
            &["queued", "unknown", "sent"],
        ),
        (
            "a refusal that comes too late",
            3,
            push,
            vec![Begin(acked), Pass(9), Answer(refused(later))],
            &["queued", "unknown", "failed"],
        ),
        (
            "no report",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Pass(50), Say(ACK)],
            &["queued", "sent", "unknown", "acknowledged"],
        ),
        (
            "no report, safe",
            3,
            push,
            vec![Begin(safe), Answer(accepted()), Pass(50), Pass(8), Begin(safe), Answer(accepted())],
            &["queued", "sent", "sent", "sent"],
        ),
        (
            "a failed attempt and another",
            3,
            Manner::Mailbox,
            vec![
                HandOut(aired),
                Say(failed(later)),
                Say(Report::Transmitted),
                Pass(8),
                HandOut(aired),
                SayOf(1, failed(later)),
                Say(Report::Transmitted),
            ],
            &["queued", "sent", "sent", "sent", "sent"],
        ),
        ("expired in the queue", 3, push, vec![Pass(100), Say(ACK)], &["queued", "expired"]),
        (
            "expired between attempts, after it was sent",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Say(failed(later)), Pass(100)],
            &["queued", "sent", "sent", "expired"],
        ),
        (
            "expired on the way is not expired",
            3,
            push,
            vec![Begin(flight(Never, Acknowledgement)), Answer(accepted()), Pass(40), Say(ACK)],
            &["queued", "sent", "acknowledged"],
        ),
        (
            "expired at the transport",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Say(Report::Expired)],
            &["queued", "sent", "expired"],
        ),
        (
            "lost by the transport",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Say(Report::Lost { cause: CauseCode::NoReport.into() })],
            &["queued", "sent", "unknown"],
        ),
        ("cancelled", 3, push, vec![Cancel, Cancel, Say(ACK)], &["queued", "cancelled"]),
        (
            "cancelled on the way",
            3,
            push,
            vec![Begin(acked), Cancel, Cancel, Answer(refused(later))],
            &["queued", "queued", "cancelled"],
        ),
        (
            "cancelled on the way, and given back",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Cancel, Say(Report::Withdrawn)],
            &["queued", "sent", "sent", "cancelled"],
        ),
        (
            "cancelled too late",
            3,
            push,
            vec![Begin(acked), Answer(accepted()), Cancel, Say(ACK), Cancel],
            &["queued", "sent", "sent", "acknowledged"],
        ),
        (
            "cancelled although it may have run",
            3,
            push,
            vec![Begin(safe), Answer(unknown()), Cancel],
            &["queued", "queued", "unknown"],
        ),
        (
            "away, and back",
            2,
            push,
            vec![
                Begin(acked),
                Answer(refused(Again::WhenReachable)),
                Wake,
                Begin(acked),
                Answer(refused(Again::WhenReachable)),
                Wake,
                Begin(acked),
                Answer(refused(Again::WhenReachable)),
                Wake,
                Begin(acked),
                Answer(accepted()),
                Say(ACK),
            ],
            &["queued", "queued", "sent", "acknowledged"],
        ),
        (
            "a report on nothing",
            3,
            push,
            vec![Say(ACK), SayOf(1, ACK), Begin(acked), SayOf(2, ACK)],
            &["queued"],
        ),
    ];
    for (name, max_attempts, manner, steps, want) in cases {
        let (command, states) = run(max_attempts, manner, steps);
        assert_eq!(states, want, "{name}: {command:?}");
        let order = |change: &Change| match change.state {
            CommandState::Queued => 0,
            CommandState::Sent if !change.done => 1,
            CommandState::Unknown => 2,
            _ => 3,
        };
        assert!(
            command.history().windows(2).all(|two| order(&two[0]) <= order(&two[1])),
            "{name}: {command:?}"
        );
        assert_eq!(command.is_done(), command.due().is_none(), "{name}");
        assert_eq!(command.is_done(), command.finished().is_some(), "{name}");
    }
}

#[test]
fn the_longest_life_keeps_its_whole_history() {
    let mut command = make(1, draft(Draft::MAX_ATTEMPTS), Manner::Push);
    let acked = flight(Resend::Safe, Awaits::Acknowledgement);
    let mut now = 0;
    while !command.is_done() {
        for _ in 0..2 {
            command.begin(acked, at(now)).unwrap();
            command.conclude(command.attempts(), refused(Again::WhenReachable), at(now), &BACKOFF);
            command.wake(at(now));
        }
        let attempt = command.begin(acked, at(now)).unwrap();
        command.conclude(attempt.number, accepted(), at(now), &BACKOFF);
        command.report(None, Report::Transmitted, at(now), &BACKOFF);
        command.report(None, failed(Again::Later(Some(Duration::ZERO))), at(now), &BACKOFF);
        now += 1;
    }
    assert_eq!(command.state(), CommandState::Failed);
    assert_eq!(command.history().len(), command.changes() as usize);
    assert_eq!(command.attempts(), 3 * Draft::MAX_ATTEMPTS);
}

#[test]
fn pauses_grow_and_honour_what_was_asked() {
    let mut last = Duration::ZERO;
    for spent in 1..8 {
        let mut command = make(spent, draft(9), Manner::Push);
        command.life.spent = u32::from(spent) - 1;
        command.begin(flight(Resend::Never, Awaits::Nothing), at(0)).unwrap();
        command.conclude(1, refused(Again::Later(None)), at(0), &BACKOFF);
        let Phase::Waiting { not_before, pushed: true } = command.phase() else { panic!("{command:?}") };
        let pause = not_before.since(at(0));
        let full = Duration::from_secs(4 << (spent - 1)).min(BACKOFF.max);
        assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        assert!(pause * 2 >= last);
        last = pause;
    }
    let mut command = make(1, draft(9), Manner::Push);
    command.begin(flight(Resend::Never, Awaits::Nothing), at(0)).unwrap();
    command.conclude(1, refused(Again::Later(Some(Duration::from_secs(30)))), at(0), &BACKOFF);
    let Phase::Waiting { not_before, .. } = command.phase() else { panic!("{command:?}") };
    assert!((30..=33).contains(&not_before.since(at(0)).as_secs()));
}

#[test]
fn what_a_transport_says_is_kept_in_bounds() {
    let mut command = make(1, draft(3), Manner::Push);
    command.begin(flight(Resend::Never, Awaits::Acknowledgement), at(1)).unwrap();
    let references: Vec<_> = (0..40).map(|n| Reference::parse(&n.to_string()).unwrap()).collect();
    command.conclude(1, SendOutcome::Accepted { references: references.clone() }, at(1), &BACKOFF);
    assert_eq!(command.references().count(), 16);
    assert_eq!(command.attempt_of(&references[39]), Some(1));
    let huge = Cause::new(CauseCode::Rejected, "ü".repeat(999));
    command.report(None, Report::Failed { cause: huge, again: Again::Later(None) }, at(2), &BACKOFF);
    assert!(command.cause().unwrap().detail.as_ref().unwrap().len() <= Cause::MAX_DETAIL);
    command.report(None, Report::Acknowledged { result: Some(json!("x".repeat(20_000))) }, at(3), &BACKOFF);
    assert_eq!((command.state(), command.result()), (CommandState::Acknowledged, None));
    assert_eq!(command.cause().unwrap().code, CauseCode::ResultTooLarge);
}

#[test]
fn an_event_says_what_happened_and_keeps_its_id() {
    let mut command = make(1, draft(3), Manner::Push);
    command.begin(flight(Resend::Never, Awaits::Acknowledgement), at(1)).unwrap();
    command.conclude(1, SendOutcome::Delivered { result: Some(json!(7)) }, at(2), &BACKOFF);
    let events: Vec<_> = command.events(0).collect();
    assert_eq!(command.events(1).collect::<Vec<_>>(), events[1..]);
    assert_ne!(events[0].id, events[1].id);
    let body = Value::Object(events[1].body.clone());
    assert_eq!(
        body,
        json!({
            "command": "00000000000000000000000000000001", "number": 2, "name": "reboot", "state": "acknowledged",
            "at": "1970-01-01T00:16:42.000Z", "attempts": 1, "done": true, "result": 7,
        })
    );
}

#[test]
fn the_queue_is_strict() {
    let low = make(1, Draft { priority: Priority::Low, ..draft(3) }, Manner::Push);
    let old = make(2, draft(3), Manner::Push);
    let new = make(3, draft(3), Manner::Push);
    let next = |open: &[Command], asker, capacity, now| match queue::next(open, asker, capacity, now) {
        Next::Send(command) => format!("send {}", command.id.as_bytes()[15]),
        Next::Expire(command) => format!("expire {}", command.id.as_bytes()[15]),
        Next::Wait(until) => format!("wait {:?}", until.map(|until| until.since(at(0)).as_secs())),
    };
    let one = Capacity::default();
    let bridge = Asker::Bridge;
    assert_eq!(next(&[], bridge, one, at(1)), "wait None");
    assert_eq!(next(&[low.clone(), new.clone(), old.clone()], bridge, one, at(1)), "send 2");
    assert_eq!(next(&[low.clone(), old.clone()], bridge, one, at(100)), "expire 2");

    let mut refusing = old.clone();
    refusing.begin(flight(Resend::Never, Awaits::Nothing), at(1)).unwrap();
    assert_eq!(next(&[refusing.clone(), new.clone()], bridge, one, at(1)), "wait None", "one is in flight");
    let two = Capacity { in_flight: 2, replaces: false };
    assert_eq!(next(&[refusing.clone(), new.clone()], bridge, two, at(1)), "send 3");
    refusing.conclude(1, refused(Again::Later(Some(Duration::from_secs(20)))), at(1), &BACKOFF);
    let waits = next(&[refusing.clone(), new.clone()], bridge, one, at(1));
    assert!(waits.starts_with("wait Some(2"), "the first holds up the second: {waits}");

    let boxed = make(1, draft(3), Manner::Mailbox);
    assert_eq!(next(std::slice::from_ref(&boxed), bridge, one, at(1)), "wait None");
    assert_eq!(next(std::slice::from_ref(&boxed), Asker::Device, one, at(1)), "send 1");

    let replacing = |number, key: &str| {
        make(number, Draft { replace: ReplaceKey::parse(key).ok(), ..draft(3) }, Manner::Push)
    };
    let mut at_transport = replacing(4, "valve");
    at_transport.begin(flight(Resend::Never, Awaits::Acknowledgement), at(1)).unwrap();
    let newer = [at_transport.clone(), replacing(5, "valve")];
    let able = Capacity { in_flight: 1, replaces: true };
    assert_eq!(next(&newer, bridge, able, at(1)), "wait None", "its answer is not there yet");
    at_transport.conclude(1, accepted(), at(1), &BACKOFF);
    assert_eq!(next(&[at_transport.clone(), replacing(5, "valve")], bridge, able, at(1)), "send 5");
    assert_eq!(next(&[at_transport.clone(), replacing(5, "lamp")], bridge, able, at(1)), "wait None");
    assert_eq!(next(&[at_transport, replacing(5, "valve")], bridge, one, at(1)), "wait None");
}

#[test]
fn a_draft_is_checked_before_it_is_a_command() {
    let limits = DraftLimits { arguments: 10, payload: 2 };
    let plain = draft(3);
    assert_eq!(plain.check(at(0), &limits), Ok(()));
    let bad = [
        Draft { arguments: json!("12345678901"), ..plain.clone() },
        Draft { options: json!({ "option": "value" }).as_object().unwrap().clone(), ..plain.clone() },
        Draft { payload: Some(Payload { data: vec![1, 2, 3], port: None }), ..plain.clone() },
        Draft { expires: Some(at(0)), ..plain.clone() },
        Draft { max_attempts: 0, ..plain.clone() },
        Draft { max_attempts: 11, ..plain.clone() },
        Draft { reply: Some(Reply { topic: "t".repeat(2000), correlation: vec![] }), ..plain.clone() },
    ];
    for draft in bad {
        assert!(draft.check(at(0), &limits).is_err(), "{draft:?}");
    }
}

#[test]
fn what_its_device_was_to_ask_for_is_pushed_from_now_on() {
    let waits = |command: &Command, wanted| matches!(command.phase(), Phase::Waiting { pushed, .. } if pushed == wanted);
    let mut waiting = make(1, draft(5), Manner::Mailbox);
    assert!(waits(&waiting, false) && waiting.push(at(1)) && waits(&waiting, true));
    assert!(!waiting.push(at(2)), "it is pushed already");
    // What the device has is not sent beside it; when that attempt is over, the next one is pushed.
    let mut given = make(2, draft(5), Manner::Mailbox);
    assert!(given.hand_out(flight(Resend::Safe, Awaits::Acknowledgement), None, at(1)).is_some());
    assert!(given.push(at(2)) && given.is_in_flight());
    given.report(None, Report::Lost { cause: CauseCode::NoAnswer.into() }, at(3), &BACKOFF);
    assert!(waits(&given, true));
    let mut over = make(3, draft(5), Manner::Mailbox);
    over.cancel(CauseCode::Withdrawn.into(), at(1));
    assert!(!over.push(at(2)));
}
