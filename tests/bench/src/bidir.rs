//! Sigfox callbacks that are answered with a waiting command, beside plain ones: the whole bridge, a real broker, each
//! command asked for through the operator API before and handed out once. Not here: lives of commands (`commands.rs`).

use std::time::SystemTime;

use crate::load::{each, p99, post};
use crate::process::{Bridge, Server};
use crate::verdict;

/// As in the other sections.
const CONNECTIONS: usize = 64;
/// Turns of plain callbacks and of those with an answer, alternating; one more warms up.
const TURNS: u32 = 5;
/// Devices that take part in one turn: each sends once plainly, and asks once.
const DEVICES: u32 = 2_000;

/// Measures and prints.
pub(crate) async fn run(mqtt: u16) {
    let bridge = Bridge::start_with_mailboxes(mqtt).await;
    let (http, now) = (bridge.http(), seconds());
    let all = 0..DEVICES * (TURNS + 1);
    // Registers the devices.
    each(http, CONNECTIONS, all.clone(), move |number| callback(number, now, false), |_| true).await;
    each(bridge.admin(), CONNECTIONS, all, command, |_| true).await;
    let (mut plain, mut answered) = (Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        let devices = turn * DEVICES..(turn + 1) * DEVICES;
        let sent = each(
            http,
            CONNECTIONS,
            devices.clone(),
            move |number| callback(number, now + 1, false),
            |answer| answer.starts_with("HTTP/1.1 204"),
        );
        let sent = sent.await;
        let asked = each(
            http,
            CONNECTIONS,
            devices,
            move |number| callback(number, now + 2, true),
            |answer| answer.contains("\"downlinkData\":\"0123456789abcdef\""),
        );
        let asked = asked.await;
        if turn > 0 {
            plain.extend(sent);
            answered.extend(asked);
        }
    }
    plain.sort_unstable();
    answered.sort_unstable();
    println!("{CONNECTIONS} connections, Sigfox callbacks");
    verdict("p99 with a command, of that without", p99(&answered) / p99(&plain), "<=", 3.0);
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// As Sigfox sends it; `ack` asks for a command.
fn callback(device: u32, time: u64, ack: bool) -> String {
    let body = format!(
        r#"{{"device":"{:X}","time":{time},"seqNumber":{},"data":"0a1b2c3d4e5f60718293a4b5","ack":{ack}}}"#,
        0x10_0000 + device,
        time % 4096
    );
    post("/webhooks/sky", &body)
}

/// What an operator asks for.
fn command(device: u32) -> String {
    let body = format!(
        r#"{{"device":"sigfox-{:x}","name":"open","arguments":{{"hex":"0123456789abcdef"}}}}"#,
        0x10_0000 + device
    );
    post("/admin/v1/commands", &body)
}
