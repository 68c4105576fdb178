//! Signed requests and client certificates against the real binary, as the documentation tells devices to make them: with
//! openssl and curl. Not here: every way to be wrong (`adapters/http-api`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use tests::world::World;

/// Signs as `docs/http-api.md` says, and sends; prints the status. `$1` method, `$2` host, `$3` path, `$4` body, `$5` keyId,
/// `$6` key, `$7` nonce.
const SIGN_AND_SEND: &str = r#"
ts=$(date +%s)
body=$(printf %s "$4" | openssl dgst -sha256 | sed 's/.* //')
signature=$(printf '%s\n%s\n%s\n%s\n%s' "$1" "$3" "$ts" "$7" "$body" | openssl dgst -sha256 -hmac "$6" | sed 's/.* //')
curl -s -o /dev/null -w '%{http_code}' -X "$1" -H 'Content-Type: application/json' -d "$4" \
    -H "Authorization: HMAC-SHA256 keyId=$5, ts=$ts, nonce=$7, body=$body, signature=$signature" "http://$2$3"
"#;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_sign_and_show_certificates() {
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let bridge = world.start_bridge().await;
    let ours = |arguments: &[&str]| world.bridge_command().args(arguments).output().unwrap();
    world.import(&["pump-1", "pump-2"]);
    let refused = ours(&["devices", "token", "add", "pump-1", "--signing"]);
    assert!(!refused.status.success() && text(&refused).contains("set [secrets] keys"), "{}", text(&refused));

    std::fs::write(world.folder.path().join("seal.key"), "a-key-for-secrets-at-rest-of-the-tests").unwrap();
    let more = "[secrets]\nkeys = [{ file = \"seal.key\" }]\n[devices_api.client_certificates]\n\
                proxies = [\"127.0.0.1\"]\nheader = \"X-Client\"\nform = \"plain\"\n";
    world.configure(more);
    bridge.signal("HUP");
    let added = ours(&["devices", "token", "add", "pump-1", "--signing"]);
    let key = String::from_utf8(added.stdout.clone()).unwrap().trim().to_owned();
    assert_eq!(key.len(), 43, "alone on standard output: {}", text(&added));
    let listed = text(&ours(&["devices", "token", "list", "pump-1"]));
    let id = listed.split('\t').nth(1).unwrap().to_owned();
    assert!(
        listed.trim().ends_with("\tsigning-key") && text(&added).contains(&format!("keyId={id}")),
        "{listed}"
    );

    let host = world.http.to_string();
    let sign = |path: &str, key: &str, nonce: &str| {
        let arguments =
            ["-c", SIGN_AND_SEND, "sign", "POST", &host, path, r#"{"temperature":21.5}"#, &id, key, nonce];
        text(&Command::new("bash").args(arguments).output().unwrap())
    };
    let path = "/v1/devices/pump-1/telemetry?of=the%20tests";
    // The bridge takes the new configuration over when it gets to it.
    let mut number = 0;
    tests::world::wait_until("the signed request is taken", async || {
        number += 1;
        sign(path, &key, &format!("nonce-{number:06}")) == "204"
    })
    .await;
    assert_eq!(sign(path, "another", "nonce-another"), "401");
    assert_eq!(sign("/v1/devices/pump-2/telemetry", &key, "nonce-pump-2"), "403");

    // The key for keys is replaced.
    std::fs::write(world.folder.path().join("new.key"), "another-key-for-secrets-at-rest-of-the-tests")
        .unwrap();
    let config = world.folder.path().join("bridge.toml");
    let text_now = std::fs::read_to_string(&config).unwrap();
    let old = "{ file = \"seal.key\" }";
    std::fs::write(&config, text_now.replace(old, &format!("{{ file = \"new.key\" }}, {old}"))).unwrap();
    let resealed = text(&ours(&["devices", "token", "reseal"]));
    assert_eq!(resealed, "encrypted 1 anew\n");
    std::fs::write(&config, text_now.replace("seal.key", "new.key")).unwrap();
    assert_eq!(text(&ours(&["devices", "token", "reseal"])), "encrypted 0 anew\n");
    bridge.signal("HUP");
    tests::world::wait_until("the key is opened with the new key", async || {
        number += 1;
        sign(path, &key, &format!("nonce-{number:06}")) == "204"
    })
    .await;

    let fingerprint = "0123456789abcdef".repeat(4);
    assert!(ours(&["devices", "token", "add", "pump-2", "--certificate", &fingerprint]).status.success());
    let again = ours(&["devices", "token", "add", "pump-1", "--certificate", &fingerprint]);
    assert!(!again.status.success() && text(&again).contains("it is there already"), "{}", text(&again));
    let wrong = ours(&["devices", "token", "add", "pump-2", "--certificate", "nowhere.pem"]);
    assert!(!wrong.status.success() && text(&wrong).contains("neither a SHA-256 fingerprint nor a file"));
    let show = |device: &str| {
        let url = format!("http://{host}/v1/devices/{device}/telemetry");
        let header = format!("X-Client: {fingerprint}");
        let arguments =
            ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &header, "-d", r#"{"a":1}"#, &url];
        let json = ["-H", "Content-Type: application/json"];
        text(&Command::new("curl").args(arguments).args(json).output().unwrap())
    };
    tests::world::wait_until("the certificate is known", async || show("pump-2") == "204").await;
    assert_eq!(show("pump-1"), "403");
    assert_eq!(world.metric("bridge_client_certificates_ignored_total").await, 0.0);

    drop(bridge);
    for file in std::fs::read_dir(world.folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "the key is in the store");
    }
    let log = std::fs::read_to_string(world.folder.path().join("log")).unwrap();
    assert!(!log.contains(&key) && log.contains("a wrong signature"), "{log}");
}
