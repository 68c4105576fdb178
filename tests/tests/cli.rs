//! The command line as a stranger uses it: the real binary, real curl, real mosquitto.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use tests::world::{Collector, SECRET, World, free_port, post, program, wait_until};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).current_dir(folder).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_demo_shows_a_message_for_every_webhook() {
    let folder = tempfile::tempdir().unwrap();
    // Twice on one data directory: what the first run left must not disturb the second.
    for _ in 0..2 {
        let [http, admin, mqtt] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let output =
            run(folder.path(), &["demo", "--once", "--http", &http, "--admin", &admin, "--mqtt", &mqtt]);
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        for topic in ["devices/greenhouse-7/telemetry", "devices/sigfox-1a2b3c/telemetry", "/connection"] {
            assert!(text.contains(topic), "{topic} is missing in {text}");
        }
        assert!(text.contains("0 without their message"));
    }
}

#[test]
fn init_writes_a_good_configuration_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), &["init", "--public-url", "https://bridge.example.com"]);
    assert!(first.status.success(), "{}", text(&first));
    let secret = std::fs::read_to_string(folder.path().join("secrets/ttn")).unwrap();
    assert!(text(&first).contains(secret.trim()), "the secret is printed for pasting");
    assert!(text(&first).contains("https://bridge.example.com/webhooks/ttn"));
    assert!(run(folder.path(), &["config", "check"]).status.success());
    let again = run(folder.path(), &["init"]);
    assert!(!again.status.success() && text(&again).contains("nothing was changed"), "{}", text(&again));
}

#[test]
fn the_template_is_a_good_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let template = run(folder.path(), &["config", "template"]);
    std::fs::write(folder.path().join("device-bridge.toml"), template.stdout).unwrap();
    let check = run(folder.path(), &["config", "check"]);
    assert!(check.status.success(), "{}", text(&check));
}

#[test]
fn a_bad_configuration_is_told_all_at_once_and_binds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let bad = format!(
        "[http]\nlisten = \"127.0.0.1:{port}\"\nheader_timeout = 10\n[hub]\nurll = \"mqtt://x\"\n\
         [integrations.farm]\nconnector = \"tnt\"\nauth = {{ scheme = \"header\", secrets = [\"open sesame, in the clear\"] }}\n"
    );
    std::fs::write(folder.path().join("device-bridge.toml"), bad).unwrap();
    let output = run(folder.path(), &["serve"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for part in
        ["http.header_timeout", "hub.urll", "did you mean", "integrations.farm.connector", "secrets[0]"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("sesame"), "a secret in the wrong place is not printed");
    assert!(!folder.path().join("device-bridge-data").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_curl_watch_devices_and_outbox() {
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let _bridge = world.start_bridge().await;
    let body = r#"{"end_device_ids":{"device_id":"Tank 7"},"uplink_message":{"session_key_id":"S","f_cnt":5,"decoded_payload":{"level":3}}}"#;
    let curl = Command::new("curl")
        .args([
            "-s",
            "-i",
            "-H",
            &format!("Authorization: Bearer {SECRET}"),
            "-H",
            "Content-Type: application/json",
        ])
        .args(["-d", body, &format!("http://{}/webhooks/farm", world.http)])
        .output();
    let answer = text(&curl.unwrap());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    wait_until("the message is at the hub", async || collector.seen().get("tank-7") == Some(&vec![5])).await;

    let ours = |arguments: &[&str]| {
        let output = world.bridge_command().args(arguments).output().unwrap();
        (output.status.success(), text(&output))
    };
    let (_, watched) = ours(&["watch", "--once", "--json"]);
    for step in ["received", "authenticated", "decoded", "resolved", "deduplicated", "queued", "acknowledged"]
    {
        assert!(watched.contains(&format!("\"step\":\"{step}\"")), "{step} is missing in {watched}");
    }
    assert_eq!(world.outbox(), 0);
    let csv = world.folder.path().join("fleet.csv");
    std::fs::write(
        &csv,
        "integration,external_id,id,tags\nfarm,pump-1,pump,roof;north\nnowhere,x,,\nfarm,Tank 7,other,\n",
    )
    .unwrap();
    let csv = csv.to_str().unwrap();
    let (good, dry) = ours(&["devices", "import", "--dry-run", csv]);
    assert!(
        !good && dry.contains("would be created 1") && dry.contains("row 2") && dry.contains("row 3"),
        "{dry}"
    );
    assert!(!ours(&["devices", "list"]).1.contains("pump"), "a dry run changes nothing");
    assert!(ours(&["devices", "import", csv]).1.contains("created 1, updated 0, failed 2"));
    assert!(ours(&["devices", "list", "--tag", "north"]).1.starts_with("pump\tfarm\tpump-1\tactive\tnever"));
    assert_eq!(post(world.http, "pump-1", 1).await, Some(200));
    wait_until("the imported id is used", async || collector.seen().contains_key("pump")).await;
    assert!(ours(&["devices", "remove", "pump"]).0);
    assert!(!ours(&["devices", "remove", "pump"]).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_device_is_approved_and_its_dead_letters_replayed() {
    let world = World::new("5");
    let config = world.folder.path().join("bridge.toml");
    let text_of = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text_of + "devices = { register = \"park\" }\n").unwrap();
    let _broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let _bridge = world.start_bridge().await;
    assert_eq!(post(world.http, "shy", 1).await, Some(200));
    let ours = |arguments: &[&str]| text(&world.bridge_command().args(arguments).output().unwrap());
    assert!(ours(&["dead-letters", "list", "--reason", "parked"]).contains("waits for approval"));
    assert!(ours(&["dead-letters", "show", "1"]).contains("\"device_id\":\"shy\""));
    assert!(ours(&["devices", "list", "--parked"]).contains("shy"));
    assert!(ours(&["devices", "approve", "shy"]).contains("done"));
    // The running service hears of it by itself; until then a replay comes back with the same reason.
    wait_until("the replayed message is at the hub", async || {
        ours(&["dead-letters", "replay", "--all"]);
        collector.seen().get("shy") == Some(&vec![1])
    })
    .await;
    wait_until("the letter is gone", async || ours(&["dead-letters", "list"]).contains("0 in all")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_over_integrations_and_a_bad_file_changes_nothing() {
    let world = World::new("3.1.1");
    let _broker = world.start_broker().await;
    let bridge = world.start_bridge().await;
    let config = world.folder.path().join("bridge.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    assert_eq!(post(world.http, "d", 1).await, Some(200));
    std::fs::write(&config, good.replace("connector = \"ttn\"", "connector = \"ttn\"\nenabled = false"))
        .unwrap();
    bridge.signal("HUP");
    wait_until("the integration is gone", async || post(world.http, "d", 2).await == Some(404)).await;
    std::fs::write(&config, "nonsense").unwrap();
    bridge.signal("HUP");
    wait_until("the bad file is logged", async || world.log().contains("nothing was reloaded")).await;
    assert_eq!(post(world.http, "d", 2).await, Some(404));
    std::fs::write(&config, good).unwrap();
    bridge.signal("HUP");
    wait_until("the integration is back", async || post(world.http, "d", 2).await == Some(200)).await;
    let second = world.bridge_command().arg("serve").output().unwrap();
    assert!(
        !second.status.success() && text(&second).contains("in use by another bridge"),
        "{}",
        text(&second)
    );
}
