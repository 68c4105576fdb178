//! The bridge, mosquitto and a collector as real processes and connections on loopback. Not here: what is asserted.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

/// The longest that anything may take.
pub const BOUND: Duration = Duration::from_secs(60);
/// What the integration `farm` wants to hear.
pub const SECRET: &str = "a-secret-of-the-tests";

/// A port for a program that cannot choose one itself: free a moment ago, never given twice by this process soon, and
/// below those that the kernel gives to outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let block = 10_000 + u16::try_from(std::process::id() % 220).unwrap() * 100;
    let mut ports = std::iter::repeat_with(|| block + NEXT.fetch_add(1, Ordering::Relaxed) % 100);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Looks again until it is so; fails after [`BOUND`].
pub async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A child process that ends with its owner.
pub struct Process(Child);

impl Process {
    /// SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        let mut code = None;
        wait_until("a process ends", async || {
            let status = self.0.try_wait().unwrap();
            code = status.and_then(|status| status.code());
            status.is_some()
        })
        .await;
        code
    }

    /// Any signal, by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One bridge with one integration `farm` (The Things Stack), one mosquitto, and their folder.
pub struct World {
    /// Configuration, store and log.
    pub folder: tempfile::TempDir,
    /// Where the bridge listens.
    pub http: SocketAddr,
    /// Where it listens for operators.
    pub admin: SocketAddr,
    /// Where mosquitto listens.
    pub mqtt: u16,
}

impl World {
    /// Nothing is started yet. `protocol` is `5` or `3.1.1`.
    pub fn new(protocol: &str) -> Self {
        Self::with_hub_at(free_port(), protocol)
    }

    /// As [`new`](Self::new), with the hub on a port of the caller's choice.
    pub fn with_hub_at(mqtt: u16, protocol: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [http, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let dir = folder.path().display();
        let broker = format!(
            "listener {mqtt} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {dir}/\nmax_queued_messages 0\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), broker).unwrap();
        let config = format!(
            "[bridge]\ndata_dir = \"data\"\n[http]\nlisten = \"{http}\"\n\
             [admin]\nlisten = \"{admin}\"\n\
             [hub]\nurl = \"mqtt://127.0.0.1:{mqtt}\"\nprotocol = \"{protocol}\"\n\
             [integrations.farm]\nconnector = \"ttn\"\n\
             auth = {{ scheme = \"bearer\", secrets = [{{ env = \"FARM_SECRET\" }}] }}\n"
        );
        std::fs::write(folder.path().join("bridge.toml"), config).unwrap();
        Self { folder, http, admin, mqtt }
    }

    /// Adds these lines to the configuration: keys of the integration first, then other sections.
    pub fn configure(&self, more: &str) {
        let mut file =
            std::fs::File::options().append(true).open(self.folder.path().join("bridge.toml")).unwrap();
        std::io::Write::write_all(&mut file, more.as_bytes()).unwrap();
    }

    /// What a command of the bridge prints.
    pub fn ours(&self, arguments: &[&str]) -> String {
        let output = self.bridge_command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Devices that speak for themselves. The store must be there.
    pub fn import(&self, devices: &[&str]) {
        let csv = self.folder.path().join("fleet.csv");
        let rows: String = devices.iter().map(|device| format!("http,{device}\n")).collect();
        std::fs::write(&csv, format!("integration,external_id\n{rows}")).unwrap();
        self.ours(&["devices", "import", csv.to_str().unwrap()]);
    }

    /// The same, of one device; its token.
    pub fn enrol(&self, device: &str) -> String {
        self.import(&[device]);
        self.ours(&["devices", "token", "add", device]).trim().to_owned()
    }

    /// Starts mosquitto, with what it kept from before.
    pub async fn start_broker(&self) -> Process {
        let program =
            if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = Process(child.expect("install the Debian package mosquitto"));
        let mqtt = self.mqtt;
        wait_until("mosquitto listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", mqtt)).await.is_ok()
        })
        .await;
        process
    }

    /// Starts the bridge, with what it kept from before.
    pub async fn start_bridge(&self) -> Process {
        let log =
            std::fs::File::options().append(true).create(true).open(self.folder.path().join("log")).unwrap();
        let mut command = self.bridge_command();
        let child = command.arg("serve").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let process = Process(child);
        let http = self.http;
        wait_until("the bridge listens", async || tokio::net::TcpStream::connect(http).await.is_ok()).await;
        process
    }

    /// What the bridge has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// `device-bridge -c bridge.toml`, with the secret in its environment.
    pub fn bridge_command(&self) -> Command {
        let program = program();
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.path().join("bridge.toml")).env("FARM_SECRET", SECRET);
        command
    }

    /// A metric of the bridge; the sum over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let request = http::Request::get("/metrics").header("host", self.http.to_string());
        let (status, page) =
            exchange(self.http, request.body(Full::default()).unwrap()).await.expect("the bridge answers");
        assert_eq!(status, 200);
        let page = String::from_utf8(page.into()).unwrap();
        let samples = page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once([' ', '}']));
        let samples: Vec<f64> = samples
            .filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'))
            .map(|(_, value)| value.trim().parse().unwrap())
            .collect();
        assert!(!samples.is_empty(), "{name} is missing in {page}");
        samples.into_iter().sum()
    }

    /// How many messages wait in the outbox, says the command line.
    pub fn outbox(&self) -> u64 {
        let output = self.bridge_command().arg("outbox").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        text.split(' ')
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{text} {error}"))
    }
}

/// The binary beside the test's own.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("device-bridge");
    assert!(
        program.exists(),
        "run `cargo build --bin device-bridge` first: {} is missing",
        program.display()
    );
    program
}

/// What a subscriber with a persistent session has received: counters per device, in order.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<BTreeMap<String, Vec<u64>>>>);

impl Collector {
    /// Subscribes; the subscription stands when this returns.
    pub async fn start(mqtt: u16) -> Self {
        let collector = Self::default();
        let seen = collector.0.clone();
        let mut options = MqttOptions::new("collector", "127.0.0.1", mqtt);
        options.set_clean_session(false).set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = AsyncClient::new(options, 10);
        client.subscribe("devices/+/telemetry", QoS::AtLeastOnce).await.unwrap();
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (_client, mut ready) = (client, Some(ready));
            loop {
                match connection.poll().await {
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready.take().map(|ready| ready.send(()))),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let message: Value = serde_json::from_slice(&publish.payload).unwrap();
                        let counter = message["radio"]["counter"].as_u64().unwrap();
                        let device = message["device"].as_str().unwrap().to_owned();
                        seen.lock().unwrap().entry(device).or_default().push(counter);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        tokio::time::timeout(BOUND, subscribed).await.unwrap().unwrap();
        collector
    }

    /// All so far.
    pub fn seen(&self) -> BTreeMap<String, Vec<u64>> {
        self.0.lock().unwrap().clone()
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listened; nothing was sent.
    Unreached,
    /// It was sent, at least in part.
    Lost,
}

/// Posts one uplink; its status, or nothing when there was no answer.
pub async fn post(http: SocketAddr, device: &str, counter: u64) -> Option<u16> {
    send(http, device, counter).await.ok()
}

/// Posts one uplink; its status.
///
/// # Errors
/// When there was no answer.
pub async fn send(http: SocketAddr, device: &str, counter: u64) -> Result<u16, NoAnswer> {
    let body = json!({
        "end_device_ids": { "device_id": device, "application_ids": { "application_id": "app" } },
        "uplink_message": {
            "session_key_id": "S", "f_port": 1, "f_cnt": counter, "frm_payload": "AQ==",
            "decoded_payload": { "n": counter }, "received_at": "2026-11-20T12:00:00Z"
        }
    });
    let request = http::Request::post("/webhooks/farm")
        .header("host", http.to_string())
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())));
    Ok(exchange(http, request.unwrap()).await?.0)
}

/// One request on a connection of its own: status and body of its answer.
///
/// # Errors
/// When there was no answer.
pub async fn exchange(
    http: SocketAddr,
    request: http::Request<Full<Bytes>>,
) -> Result<(u16, Bytes), NoAnswer> {
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(http).await.map_err(|_| NoAnswer::Unreached)?;
        let answer = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
            let answer = async {
                let answer = sender.send_request(request).await.ok()?;
                let status = answer.status().as_u16();
                Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
            };
            let mut answer = std::pin::pin!(answer);
            tokio::select! {
                answer = &mut answer => answer,
                // A server that goes down closes right after its answer.
                _ = connection => answer.await,
            }
        };
        answer.await.ok_or(NoAnswer::Lost)
    };
    tokio::time::timeout(Duration::from_secs(8), exchange).await.unwrap_or(Err(NoAnswer::Lost))
}
