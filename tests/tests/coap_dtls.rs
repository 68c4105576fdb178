//! Devices that speak CoAP over DTLS against the real binary with mosquitto, by libcoap's clients on OpenSSL and GnuTLS. Not
//! here: DTLS (`adapters/dtls`), Connection IDs, which these clients do not have (`adapters/coap`), refusals of requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tests::world::{World, free_port, wait_until};

const CLIENTS: [&str; 2] = ["coap-client-openssl", "coap-client-gnutls"];

/// A bridge to be, with CoAP over DTLS alone, and the devices `pump-1` and `pump-2`, each with a key.
struct Bridge {
    world: World,
    coap: SocketAddr,
    /// Of `pump-1`: its identity is its id.
    key: String,
}

impl Bridge {
    async fn new() -> Self {
        let world = World::new("5");
        let coap = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let seal = world.folder.path().join("seal.key");
        std::fs::write(&seal, "0123456789abcdef0123456789abcdef0123456789a\n").unwrap();
        private(&seal);
        world.configure(&format!(
            "[secrets]\nkeys = [{{ file = \"{}\" }}]\n[coap]\ndtls = {{ listen = \"{coap}\", node = 3 }}\n",
            seal.display()
        ));
        let mut bridge = world.start_bridge().await;
        world.import(&["pump-1", "pump-2"]);
        let mut new = Self { world, coap, key: String::new() };
        new.key = new.enrol(&["pump-1"], "pump-1");
        assert_eq!(bridge.terminate().await, Some(0));
        new
    }

    fn ours(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.world.bridge_command().args(arguments).output().unwrap();
        (output.status.success(), said(&output))
    }

    /// A new key; its identity is as expected.
    fn enrol(&self, arguments: &[&str], identity: &str) -> String {
        let add = [&["devices", "token", "add", "--psk"], arguments].concat();
        let output = self.world.bridge_command().args(add).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let (shown, key) = printed.trim_end().split_once('\t').unwrap();
        assert_eq!((shown, key.len()), (identity, 22), "{printed}");
        key.to_owned()
    }

    /// What a client says, with every message that it sends or gets.
    fn client(
        &self,
        program: &str,
        (identity, key): (&str, &str),
        seconds: &str,
        arguments: &[&str],
    ) -> String {
        let path = arguments.last().unwrap();
        let url = format!("coaps://{}{path}", self.coap);
        let mut command = Command::new(program);
        command.args(["-v", "7", "-B", seconds, "-u", identity, "-k", key]);
        command.args(&arguments[..arguments.len() - 1]).arg(url).stdin(Stdio::null());
        said(&command.output().expect("install the Debian package libcoap3-bin"))
    }

    /// Sends a reading as `pump-1`.
    fn reading(&self, program: &str, path: &str, body: &Value) -> String {
        let body = body.to_string();
        self.client(program, ("pump-1", &self.key), "20", &["-m", "post", "-t", "50", "-e", &body, path])
    }

    async fn dtls(&self, kind: &str) -> f64 {
        self.world.metric(&format!("bridge_dtls_total{{kind=\"{kind}\"}}")).await
    }

    /// How many messages were accepted since the bridge began; all of them are at the hub.
    async fn accepted(&self) -> f64 {
        let mut accepted = 0.0;
        wait_until("the outbox is empty", async || {
            accepted = self.world.metric("bridge_uplinks_delivered_total").await
                + self.world.metric("bridge_uplinks_stored_total").await;
            self.world.outbox() == 0
        })
        .await;
        accepted
    }
}

fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_who_its_key_says() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.world.start_bridge().await;
    let long = bridge.world.folder.path().join("long.json");
    std::fs::write(&long, json!({ "note": "x".repeat(3000) }).to_string()).unwrap();
    let mut sent = 0.0;
    for program in CLIENTS {
        for path in ["/t/pump-1", "/telemetry"] {
            let answer = bridge.reading(program, path, &json!({ "level": sent }));
            assert!(answer.contains("2.04"), "{program}: {answer}");
            sent += 1.0;
        }
        let blocks = ["-m", "put", "-t", "50", "-b", "64", "-f", long.to_str().unwrap(), "/telemetry"];
        let answer = bridge.client(program, ("pump-1", &bridge.key), "20", &blocks);
        assert!(answer.contains("2.04"), "{program}: {answer}");
        // The first datagram with data gets lost, as the client counts them.
        let lost = ["-m", "post", "-l", "1", "-t", "50", "-e", "{\"level\":-1}", "/telemetry"];
        let answer = bridge.client(program, ("pump-1", &bridge.key), "20", &lost);
        assert!(answer.contains("2.04"), "{program}: {answer}");
        sent += 2.0;
        // Another device's path; a token does not change who it is.
        let answer =
            bridge.reading(program, "/t/pump-2?t=0000000000000000000000000000000000000000000", &json!({}));
        assert!(answer.contains("4.03") && !answer.contains("2.04"), "{program}: {answer}");
        let time = bridge.client(program, ("pump-1", &bridge.key), "20", &["-m", "get", "/time"]);
        assert!(time.contains("2.05"), "{time}");
    }
    assert_eq!(bridge.accepted().await, sent);
    assert_eq!(bridge.dtls("handshake-completed").await, 12.0);
    assert_eq!(bridge.dtls("wrong-key-or-identity").await, 0.0);
    let listed = bridge.ours(&["devices", "token", "list", "pump-1"]).1;
    assert!(listed.contains("\tpsk") && !listed.contains(&bridge.key), "{listed}");
    let mut files = std::fs::read_dir(bridge.world.folder.path().join("data")).unwrap();
    let holds_key = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(bridge.key.len()).any(|window| window == bridge.key.as_bytes())
    };
    assert!(!files.any(|file| holds_key(file.unwrap().path())), "the key is kept sealed");
    assert!(!bridge.world.log().contains(&bridge.key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_and_an_unknown_identity_look_the_same() {
    let bridge = Bridge::new().await;
    let _process = bridge.world.start_bridge().await;
    let named = bridge.enrol(&["pump-2", "--identity", "urn:imei:1"], "urn:imei:1");
    for program in CLIENTS {
        let mut alerts = Vec::new();
        for who in [("pump-1", "wrong"), ("pump-9", &bridge.key), ("pump-2", &named), ("", "")] {
            let who = if who.0.is_empty() { ("urn:imei:1", bridge.key.as_str()) } else { who };
            let answer =
                bridge.client(program, who, "3", &["-m", "post", "-t", "50", "-e", "{}", "/telemetry"]);
            assert!(!answer.contains("2.04"), "{program}: {answer}");
            let alert = answer.lines().filter(|line| line.to_lowercase().contains("alert"));
            alerts.push(
                alert
                    .map(|line| line.rsplit("***").next().unwrap().rsplit(": ").next().unwrap().to_owned())
                    .collect::<Vec<_>>(),
            );
        }
        assert!(
            !alerts[0].is_empty() && alerts.iter().all(|alert| *alert == alerts[0]),
            "{program}: {alerts:?}"
        );
    }
    assert_eq!(bridge.dtls("handshake-completed").await, 0.0);
    assert!(bridge.dtls("wrong-key-or-identity").await >= 8.0);
    let answer = bridge.client(
        CLIENTS[0],
        ("urn:imei:1", &named),
        "20",
        &["-m", "post", "-t", "50", "-e", "{\"a\":1}", "/t/pump-2"],
    );
    assert!(answer.contains("2.04"), "{answer}");
    // What is not known may be known a moment later, and the other way round.
    let id = bridge.ours(&["devices", "token", "list", "pump-2"]).1.split('\t').nth(1).unwrap().to_owned();
    assert!(bridge.ours(&["devices", "token", "remove", "pump-2", &id]).0);
    wait_until("the key is no longer good", async || {
        let who = ("urn:imei:1", named.as_str());
        let answer =
            bridge.client(CLIENTS[0], who, "2", &["-m", "post", "-t", "50", "-e", "{\"a\":2}", "/t/pump-2"]);
        !answer.contains("2.04")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_bridge_nor_device_has_to_stay() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let mut process = bridge.world.start_bridge().await;
    let path = "/telemetry?i=boot-7.1";
    let reading = json!({ "level": 7 });
    assert!(bridge.reading(CLIENTS[0], path, &reading).contains("2.04"));
    // It did not get the answer, it believes, and starts anew: another process, another association.
    assert!(bridge.reading(CLIENTS[1], path, &reading).contains("2.04"));
    assert_eq!(bridge.accepted().await, 1.0);
    assert_eq!(bridge.world.metric("bridge_uplinks_duplicate_total").await, 1.0);
    assert_eq!(process.terminate().await, Some(0));
    let saved = bridge.world.folder.path().join("data/dtls-associations.sealed");
    assert!(saved.exists());
    let mut process = bridge.world.start_bridge().await;
    wait_until("what was saved is deleted", async || !saved.exists()).await;
    assert!(bridge.reading(CLIENTS[0], path, &reading).contains("2.04"));
    assert_eq!(bridge.accepted().await, 0.0, "it is a duplicate");
    process.kill();
    assert!(!saved.exists(), "after a crash nothing is restored");
    let _process = bridge.world.start_bridge().await;
    assert!(bridge.reading(CLIENTS[0], path, &reading).contains("2.04"));
    assert_eq!(bridge.accepted().await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_keys_is_replaced() {
    let bridge = Bridge::new().await;
    let folder = bridge.world.folder.path();
    let (config, new) = (folder.join("bridge.toml"), folder.join("new.key"));
    std::fs::write(&new, "another-0123456789abcdef0123456789abcdef0123\n").unwrap();
    private(&new);
    let text = std::fs::read_to_string(&config).unwrap();
    let old = format!("{{ file = \"{}\" }}", folder.join("seal.key").display());
    let new = format!("{{ file = \"{}\" }}", new.display());
    std::fs::write(&config, text.replace(&old, &format!("{new}, {old}"))).unwrap();
    assert!(bridge.ours(&["devices", "token", "reseal"]).1.contains("encrypted 1 anew"));
    std::fs::write(&config, text.replace(&old, &new)).unwrap();
    let _process = bridge.world.start_bridge().await;
    let answer = bridge.reading(CLIENTS[0], "/telemetry", &json!({ "level": 1 }));
    assert!(answer.contains("2.04"), "{answer}");
}
