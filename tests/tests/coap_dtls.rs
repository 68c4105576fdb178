//! Devices that speak CoAP over DTLS against the real binary with mosquitto, by libcoap's clients on OpenSSL and GnuTLS. Not
//! here: DTLS (`adapters/dtls`), Connection IDs, which these clients do not have (`adapters/coap`), refusals of requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tests::world::{World, free_port, wait_until};

const CLIENTS: [&str; 2] = ["coap-client-openssl", "coap-client-gnutls"];

/// A bridge to be, with CoAP over DTLS alone for devices of all kinds, and the devices `pump-1` and `pump-2`, each with a key.
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
        let [key, certificate, authority] = ["bridge.key", "bridge.pem", "ca.pem"].map(fixture);
        world.configure(&format!(
            "[secrets]\nkeys = [{{ file = \"{}\" }}]\n[coap]\ndtls = {{ listen = \"{coap}\", node = 3, \
             key_file = \"{key}\", cert_file = \"{certificate}\", client_ca_file = \"{authority}\" }}\n",
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
        let mut command = self.command(program, &["-u", identity, "-k", key], seconds, arguments);
        said(&command.output().expect("install the Debian package libcoap3-bin"))
    }

    /// The same with another proof.
    fn command(&self, program: &str, proof: &[&str], seconds: &str, arguments: &[&str]) -> Command {
        let (path, arguments) = arguments.split_last().unwrap();
        let url = format!("coaps://{}{path}", self.coap);
        let mut command = Command::new(program);
        command.args(["-v", "7", "-B", seconds]).args(proof).args(arguments).arg(url).stdin(Stdio::null());
        command
    }

    /// Sends a reading with that proof.
    fn shows(&self, (program, proof): &Shows, path: &str) -> String {
        let proof: Vec<&str> = proof.iter().map(String::as_str).collect();
        let arguments = ["-m", "post", "-t", "50", "-e", "{\"level\":1}", path];
        said(&self.command(program, &proof, "8", &arguments).output().unwrap())
    }

    /// Sends readings with that proof, one a second, beside the test.
    fn keeps_showing(&self, (program, proof): &Shows, count: &str) -> Child {
        let proof: Vec<&str> = proof.iter().map(String::as_str).collect();
        let arguments = ["-G", count, "-m", "post", "-t", "50", "-e", "{\"level\":1}", "/telemetry"];
        let mut command = self.command(program, &proof, "30", &arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until so many readings have come since the bridge began.
    async fn received(&self, count: f64) {
        let received = "bridge_uplinks_delivered_total";
        wait_until("readings come", async || self.world.metric(received).await >= count).await;
    }

    /// Takes away every credential of `pump-1`.
    fn strip(&self) {
        self.world.ours(&["devices", "token", "remove", "pump-1", "--all"]);
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

/// A client and what it shows.
type Shows = (&'static str, Vec<String>);

fn fixture(name: &str) -> String {
    format!("{}/fixtures/x509/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A certificate, to a bridge whose authority is ours.
fn certificate(program: &'static str, certificate: &str, key: &str) -> Shows {
    let file = |option: &str, name: &str| [option.to_owned(), fixture(name)];
    (program, [file("-c", certificate), file("-j", key), file("-R", "ca.pem")].concat())
}

/// A raw public key: libcoap has them with GnuTLS; Debian's build on OpenSSL says "no RPK support". It wants both halves of a
/// key in one file.
fn raw_public_key(folder: &Path, public: &str, key: &str) -> Shows {
    let both = folder.join(format!("{key}.both"));
    let halves = [public, key].map(|name| std::fs::read_to_string(fixture(name)).unwrap());
    std::fs::write(&both, halves.concat()).unwrap();
    let [both, authority] = [both.to_str().unwrap().to_owned(), fixture("ca.pem")];
    ("coap-client-gnutls", ["-M".into(), both, "-R".into(), authority].into())
}

/// The alerts that a client has heard.
fn alerts(said: &str) -> Vec<&str> {
    let alerts = said.lines().filter(|line| line.to_lowercase().contains("alert"));
    alerts.map(|line| line.rsplit("***").next().unwrap().rsplit(": ").next().unwrap()).collect()
}

fn private(path: &Path) {
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
            assert!(answer.contains("c:2.04"), "{program}: {answer}");
            sent += 1.0;
        }
        let blocks = ["-m", "put", "-t", "50", "-b", "64", "-f", long.to_str().unwrap(), "/telemetry"];
        let answer = bridge.client(program, ("pump-1", &bridge.key), "20", &blocks);
        assert!(answer.contains("c:2.04"), "{program}: {answer}");
        // The first datagram with data gets lost, as the client counts them.
        let lost = ["-m", "post", "-l", "1", "-t", "50", "-e", "{\"level\":-1}", "/telemetry"];
        let answer = bridge.client(program, ("pump-1", &bridge.key), "20", &lost);
        assert!(answer.contains("c:2.04"), "{program}: {answer}");
        sent += 2.0;
        // Another device's path; a token does not change who it is.
        let answer =
            bridge.reading(program, "/t/pump-2?t=0000000000000000000000000000000000000000000", &json!({}));
        assert!(answer.contains("c:4.03") && !answer.contains("c:2.04"), "{program}: {answer}");
        let time = bridge.client(program, ("pump-1", &bridge.key), "20", &["-m", "get", "/time"]);
        assert!(time.contains("c:2.05"), "{time}");
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
        let mut heard = Vec::new();
        for who in [("pump-1", "wrong"), ("pump-9", &bridge.key), ("pump-2", &named), ("", "")] {
            let who = if who.0.is_empty() { ("urn:imei:1", bridge.key.as_str()) } else { who };
            let answer =
                bridge.client(program, who, "3", &["-m", "post", "-t", "50", "-e", "{}", "/telemetry"]);
            assert!(!answer.contains("c:2.04"), "{program}: {answer}");
            heard.push(alerts(&answer).join("\n"));
        }
        assert!(!heard[0].is_empty() && heard.iter().all(|alert| *alert == heard[0]), "{program}: {heard:?}");
    }
    assert_eq!(bridge.dtls("handshake-completed").await, 0.0);
    assert!(bridge.dtls("wrong-key-or-identity").await >= 8.0);
    let answer = bridge.client(
        CLIENTS[0],
        ("urn:imei:1", &named),
        "20",
        &["-m", "post", "-t", "50", "-e", "{\"a\":1}", "/t/pump-2"],
    );
    assert!(answer.contains("c:2.04"), "{answer}");
    // What is not known may be known a moment later, and the other way round.
    let id = bridge.ours(&["devices", "token", "list", "pump-2"]).1.split('\t').nth(1).unwrap().to_owned();
    assert!(bridge.ours(&["devices", "token", "remove", "pump-2", &id]).0);
    wait_until("the key is no longer good", async || {
        let who = ("urn:imei:1", named.as_str());
        let answer =
            bridge.client(CLIENTS[0], who, "2", &["-m", "post", "-t", "50", "-e", "{\"a\":2}", "/t/pump-2"]);
        !answer.contains("c:2.04")
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
    assert!(bridge.reading(CLIENTS[0], path, &reading).contains("c:2.04"));
    // It did not get the answer, it believes, and starts anew: another process, another association.
    assert!(bridge.reading(CLIENTS[1], path, &reading).contains("c:2.04"));
    assert_eq!(bridge.accepted().await, 1.0);
    assert_eq!(bridge.world.metric("bridge_uplinks_duplicate_total").await, 1.0);
    assert_eq!(process.terminate().await, Some(0));
    let saved = bridge.world.folder.path().join("data/dtls-associations.sealed");
    assert!(saved.exists());
    let mut process = bridge.world.start_bridge().await;
    wait_until("what was saved is deleted", async || !saved.exists()).await;
    assert!(bridge.reading(CLIENTS[0], path, &reading).contains("c:2.04"));
    assert_eq!(bridge.accepted().await, 0.0, "it is a duplicate");
    process.kill();
    assert!(!saved.exists(), "after a crash nothing is restored");
    let _process = bridge.world.start_bridge().await;
    assert!(bridge.reading(CLIENTS[0], path, &reading).contains("c:2.04"));
    assert_eq!(bridge.accepted().await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_or_raw_public_key_says_which_device_it_is() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let mut process = bridge.world.start_bridge().await;
    let raw = raw_public_key(bridge.world.folder.path(), "device.pub", "device.key");
    let shown = |program| certificate(program, "device.pem", "device.key");
    for (shows, option, file) in [
        (shown(CLIENTS[0]), "--certificate", "device.pem"),
        (shown(CLIENTS[1]), "--certificate", "device.pem"),
        (raw, "--raw-public-key", "device.pub"),
    ] {
        let nobody = bridge.shows(&shows, "/telemetry");
        assert!(!nobody.contains("c:2.04") && !alerts(&nobody).is_empty(), "{shows:?}: {nobody}");
        bridge.world.ours(&["devices", "token", "add", "pump-1", option, &fixture(file)]);
        wait_until("it is known", async || bridge.shows(&shows, "/telemetry").contains("c:2.04")).await;
        let other = bridge.shows(&shows, "/t/pump-2");
        assert!(other.contains("c:4.03") && !other.contains("c:2.04"), "{shows:?}: {other}");
        // The bridge is another process then, and the association the same.
        let device = bridge.keeps_showing(&shows, "6");
        let before = bridge.accepted().await;
        bridge.received(before + 1.0).await;
        assert_eq!(process.terminate().await, Some(0));
        process = bridge.world.start_bridge().await;
        let told = said(&device.wait_with_output().unwrap());
        assert!(told.matches("c:2.04").count() >= 6, "{shows:?}: {told}");
        assert_eq!(bridge.dtls("handshake-completed").await, 0.0);
        let device = bridge.keeps_showing(&shows, "20");
        let before = bridge.accepted().await;
        bridge.received(before + 1.0).await;
        bridge.strip();
        let told = said(&device.wait_with_output().unwrap());
        let (good, gone) = (told.find("c:2.04"), told.find("c:4.01"));
        assert!(good.is_some() && good < gone, "{shows:?}: {told}");
        wait_until("its association is closed", async || bridge.dtls("association-closed").await >= 1.0)
            .await;
        let nobody = bridge.shows(&shows, "/telemetry");
        assert!(!nobody.contains("c:2.04") && !alerts(&nobody).is_empty(), "{shows:?}: {nobody}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_common_name_may_say_which_device_it_is() {
    let bridge = Bridge::new().await;
    bridge.world.configure("certificate_device = \"common-name\"\n");
    let _process = bridge.world.start_bridge().await;
    for program in CLIENTS {
        let device = certificate(program, "device.pem", "device.key");
        let answer = bridge.shows(&device, "/telemetry");
        let before = program == CLIENTS[0];
        assert!(answer.contains(if before { "c:4.04" } else { "c:2.04" }), "{program}: {answer}");
        if before {
            // The device of that name.
            bridge.world.import(&["d1"]);
        }
        wait_until("it is registered", async || bridge.shows(&device, "/telemetry").contains("c:2.04")).await;
        assert!(bridge.shows(&device, "/t/pump-1").contains("c:4.03"), "{program}");
        let stranger = bridge.shows(&certificate(program, "stranger.pem", "stranger.key"), "/telemetry");
        assert!(!stranger.contains("c:2.04") && !alerts(&stranger).is_empty(), "{program}: {stranger}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_believed_looks_like_one_who_is_nobody() {
    let bridge = Bridge::new().await;
    let _process = bridge.world.start_bridge().await;
    for file in ["expired.pem", "stranger.pem"] {
        bridge.world.ours(&["devices", "token", "add", "pump-1", "--certificate", &fixture(file)]);
    }
    for program in CLIENTS {
        let mut heard = Vec::new();
        for (pem, key) in
            [("device.pem", "device.key"), ("expired.pem", "device.key"), ("stranger.pem", "stranger.key")]
        {
            let answer = bridge.shows(&certificate(program, pem, key), "/telemetry");
            assert!(!answer.contains("c:2.04"), "{program} {pem}: {answer}");
            heard.push(alerts(&answer).join("\n"));
        }
        assert!(!heard[0].is_empty() && heard.iter().all(|alert| *alert == heard[0]), "{program}: {heard:?}");
    }
    assert_eq!(bridge.dtls("handshake-completed").await, 0.0);
    assert!(bridge.dtls("certificate-or-raw-key-refused").await >= 6.0);
    let add = |given: &str| bridge.ours(&["devices", "token", "add", "pump-1", "--raw-public-key", given]);
    for (given, why) in [
        (fixture("device.pem"), "it is no public key"),
        (fixture("p384.pem"), "it is no public key"),
        ("nowhere.pub".into(), "nor a file that can be read"),
    ] {
        let (added, told) = add(&given);
        assert!(!added && told.contains(why), "{given}: {told}");
    }
    // As its fingerprint, and once.
    assert!(add(&"0123456789abcdef".repeat(4)).0 && !add(&"0123456789abcdef".repeat(4)).0);
    let listed = bridge.ours(&["devices", "token", "list", "pump-1"]).1;
    assert!(listed.contains("\t0123456789abcdef\t") && listed.contains("\traw-public-key"), "{listed}");
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
    assert!(answer.contains("c:2.04"), "{answer}");
}
