//! The processes of a run, each with its own figures of `/proc`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::coap::SEAL_KEY;

/// What the bridge's integration wants to hear.
pub(crate) const SECRET: &str = "a-secret-of-the-benchmark";

/// A server under load.
pub(crate) trait Server {
    /// Where it listens.
    fn http(&self) -> SocketAddr;
    /// Its process.
    fn id(&self) -> u32;

    /// User and system time so far (`man 5 proc`: fields 14 and 15 of `stat`, 100 ticks a second).
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Resident.
    fn memory_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// Ends with its owner.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn listens(port: u16) {
    for _ in 0..10_000 {
        if tokio::net::TcpStream::connect(crate::address(port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nothing listens on {port}");
}

/// mosquitto as Debian configures it, but for its address.
pub(crate) async fn start_broker(folder: &Path) -> (Process, u16) {
    let port = free_port();
    let config = folder.join("mosquitto.conf");
    std::fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process(command.spawn().expect("install the Debian package mosquitto"));
    listens(port).await;
    (process, port)
}

/// The floor.
pub(crate) struct Floor(Process, u16);

impl Server for Floor {
    fn http(&self) -> SocketAddr {
        crate::address(self.1)
    }
    fn id(&self) -> u32 {
        self.0.0.id()
    }
}

/// Starts the floor as a process of its own.
pub(crate) async fn start_floor(mqtt: u16) -> Floor {
    let floor = start_as_floor("floor", mqtt);
    listens(floor.1).await;
    floor
}

/// The same for datagrams. Nobody can see when it listens: what is sent before is sent again.
pub(crate) fn start_datagram_floor(mqtt: u16) -> Floor {
    start_as_floor("coap-floor", mqtt)
}

fn start_as_floor(which: &str, mqtt: u16) -> Floor {
    let port = free_port();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let child = command.args([which, &port.to_string(), &mqtt.to_string()]).spawn().unwrap();
    Floor(Process(child), port)
}

/// The bridge.
pub(crate) struct Bridge {
    process: Process,
    port: u16,
    admin: u16,
    _folder: tempfile::TempDir,
}

impl Server for Bridge {
    fn http(&self) -> SocketAddr {
        crate::address(self.port)
    }
    fn id(&self) -> u32 {
        self.process.0.id()
    }
}

impl Bridge {
    /// Starts it with more sections in its configuration.
    pub(crate) async fn start(mqtt: u16, sections: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), mqtt, sections).await
    }

    /// Starts it with more sections and what the folder holds.
    pub(crate) async fn start_in(folder: tempfile::TempDir, mqtt: u16, sections: &str) -> Self {
        Self::start_as(folder, mqtt, "", sections, "").await
    }

    /// Starts it with more keys in `[hub]`.
    pub(crate) async fn start_with_hub(mqtt: u16, hub: &str) -> Self {
        Self::start_as(tempfile::tempdir().unwrap(), mqtt, hub, "", "").await
    }

    /// Starts it with a codec for its integration, described by these lines; none when there are none.
    pub(crate) async fn start_with_codec(mqtt: u16, lines: &str) -> Self {
        let codec = format!("codec = \"bench\"\n[codecs.bench]\n{lines}");
        let integration = if lines.is_empty() { "" } else { &codec };
        Self::start_as(tempfile::tempdir().unwrap(), mqtt, "", "", integration).await
    }

    /// Starts it with Sigfox devices that ask for commands, at `/webhooks/sky`.
    pub(crate) async fn start_with_mailboxes(mqtt: u16) -> Self {
        let sky = "[integrations.sky]\nconnector = \"sigfox\"\ndownlink = { daily_budget = 4 }\n\
                   auth = { scheme = \"bearer\", secrets = [{ env = \"FARM_SECRET\" }] }\n";
        Self::start_as(tempfile::tempdir().unwrap(), mqtt, "", sky, "").await
    }

    /// Where operators ask.
    pub(crate) fn admin(&self) -> SocketAddr {
        crate::address(self.admin)
    }

    async fn start_as(
        folder: tempfile::TempDir,
        mqtt: u16,
        hub: &str,
        sections: &str,
        integration: &str,
    ) -> Self {
        let (port, admin) = (free_port(), free_port());
        let config = format!(
            "[bridge]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [admin.tokens.bench]\nsecrets = [{{ env = \"FARM_SECRET\" }}]\nscopes = [\"commands\"]\n\
             [hub]\nurl = \"mqtt://127.0.0.1:{mqtt}\"\nclient_id = \"bench-{port}\"\n{hub}{sections}[integrations.farm]\nconnector = \"ttn\"\n\
             auth = {{ scheme = \"bearer\", secrets = [{{ env = \"FARM_SECRET\" }}] }}\n{integration}"
        );
        let path = folder.path().join("bridge.toml");
        std::fs::write(&path, config).unwrap();
        std::fs::write(folder.path().join("climate.js"), crate::codecs::CLIMATE).unwrap();
        let program = std::env::current_exe().unwrap().with_file_name("device-bridge");
        let mut command = Command::new(program);
        command.arg("-c").arg(path).arg("serve").env("FARM_SECRET", SECRET).env("SEAL_KEY", SEAL_KEY);
        command.stderr(Stdio::null());
        let bridge = Self { process: Process(command.spawn().unwrap()), port, admin, _folder: folder };
        listens(port).await;
        listens(admin).await;
        bridge
    }
}
