//! The hub: a real mosquitto that keeps what it has taken over a restart, and a subscriber that writes down what it gets, in
//! order. Not here: the bridge.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{BOUND, Process, free_port, wait_until};

/// Topic and payload.
pub type Seen = (String, Value);

/// See the module.
pub struct Hub {
    pub port: u16,
    folder: tempfile::TempDir,
    broker: Option<Process>,
    _subscriber: Process,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Hub {
    /// Started, and subscribed.
    pub async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let dir = folder.path().display();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {dir}/\nmax_queued_messages 0\nconnection_messages true\nlog_dest file {dir}/log\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let broker = listen(port, folder.path()).await;
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-i", "collector", "-c", "-q", "1"])
            .args(["-t", "devices/#", "-F", "%t %p"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("install the Debian package mosquitto-clients");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let into = seen.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((topic, payload)) = line.split_once(' ') {
                    let payload = serde_json::from_str(payload).unwrap_or_default();
                    into.lock().unwrap().push((topic.to_owned(), payload));
                }
            }
        });
        let hub = Self { port, folder, broker: Some(broker), _subscriber: Process(child), seen };
        wait_until("the subscriber has subscribed", async || {
            hub.publish("devices/probe/ready");
            hub.seen.lock().unwrap().iter().any(|(topic, _)| topic == "devices/probe/ready")
        })
        .await;
        hub
    }

    fn publish(&self, topic: &str) {
        let port = self.port.to_string();
        let publish = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic, "-m", "{}"])
            .status();
        assert!(publish.unwrap().success());
    }

    /// Ends the broker in good order: what it has acknowledged it keeps.
    pub fn stop(&mut self) {
        self.broker.take().unwrap().terminate();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.broker = Some(listen(self.port, self.folder.path()).await);
    }

    /// Freezes or thaws the broker: connections stay open, and nothing is answered.
    pub fn signal(&self, name: &str) {
        self.broker.as_ref().unwrap().signal(name);
    }

    /// What the broker says of its connections.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Telemetry per device: counter and message id, in order.
    pub fn telemetry(&self) -> BTreeMap<String, Vec<(u64, String)>> {
        let mut devices: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for (topic, message) in self.seen() {
            if topic.ends_with("/telemetry") {
                let counter = message["radio"]["counter"].as_u64().unwrap();
                let id = message["id"].as_str().unwrap().to_owned();
                devices
                    .entry(message["device"].as_str().unwrap().to_owned())
                    .or_default()
                    .push((counter, id));
            }
        }
        devices
    }

    /// Waits until these counters of a device were seen, each at least once.
    pub async fn has(&self, device: &str, counters: impl IntoIterator<Item = u64> + Clone) {
        let begun = Instant::now();
        loop {
            let seen = self.telemetry().remove(device).unwrap_or_default();
            let is_there = |counter: &u64| seen.iter().any(|(known, _)| known == counter);
            let lacks: Vec<u64> = counters.clone().into_iter().filter(|counter| !is_there(counter)).collect();
            if lacks.is_empty() {
                return;
            }
            assert!(begun.elapsed() < BOUND, "the hub lacks {lacks:?} of {device} and has {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn listen(port: u16, folder: &Path) -> Process {
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process(command.spawn().expect("install the Debian package mosquitto"));
    wait_until("mosquitto listens", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    process
}
