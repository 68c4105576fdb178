//! The load: clients that post one request after the other, each a new one; here over HTTP. As little work as possible per
//! request: the same two cores carry the server.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What was measured, in one turn or in several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Answered 2xx.
    pub(crate) answered: u64,
    seconds: f64,
    /// Seconds of the server's CPU; filled in by the caller.
    pub(crate) busy: f64,
    /// Microseconds, in no order.
    latencies: Vec<u32>,
}

impl Figures {
    /// Adds another turn.
    pub(crate) fn add(&mut self, turn: Self) {
        self.answered += turn.answered;
        self.seconds += turn.seconds;
        self.latencies.extend(turn.latencies);
    }

    /// Answered per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Seconds of the server's CPU per answered request.
    pub(crate) fn cpu(&self) -> f64 {
        self.busy / self.answered as f64
    }

    /// Seconds.
    pub(crate) fn p99(&mut self) -> f64 {
        self.latencies.sort_unstable();
        p99(&self.latencies)
    }
}

/// Devices that send.
const DEVICES: u32 = 10_000;
/// Uplinks are never sent twice in one run.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Who posts.
pub(crate) trait Client: Send + 'static {
    /// Posts a new uplink, and waits until it is taken.
    fn post(&mut self) -> impl Future<Output = ()> + Send;
}

/// Opens connections.
pub(crate) async fn connect(http: SocketAddr, connections: usize) -> Vec<Connection> {
    let mut all = Vec::new();
    for _ in 0..connections {
        all.push(Connection::open(http).await);
    }
    all
}

/// Has every client post one time after the other, for `time`.
pub(crate) async fn measure<C: Client>(clients: &mut Vec<C>, time: Duration) -> Figures {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Relaxed) {
                    let begun = Instant::now();
                    client.post().await;
                    latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                (client, latencies)
            })
        })
        .collect();
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        let (client, of_client) = task.await.unwrap();
        clients.push(client);
        latencies.extend(of_client);
    }
    Figures { answered: latencies.len() as u64, seconds: begun.elapsed().as_secs_f64(), busy: 0.0, latencies }
}

/// Sends these requests over `connections`, each once; microseconds until each was answered, in order. `good` looks at
/// answers.
pub(crate) async fn each(
    http: SocketAddr,
    connections: usize,
    numbers: Range<u32>,
    request: impl Fn(u32) -> String + Clone + Send + 'static,
    good: fn(&str) -> bool,
) -> Vec<u32> {
    let next = Arc::new(AtomicU32::new(numbers.start));
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (next, request, end) = (next.clone(), request.clone(), numbers.end);
            tokio::spawn(async move {
                let (mut client, mut latencies) = (Connection::open(http).await, Vec::new());
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= end {
                        return latencies;
                    }
                    latencies.push(client.exchange(&request(number), good).await);
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    latencies.sort_unstable();
    latencies
}

/// Seconds, of microseconds in order.
pub(crate) fn p99(latencies: &[u32]) -> f64 {
    latencies.get(latencies.len() * 99 / 100).map_or(0.0, |micros| f64::from(*micros) / 1e6)
}

/// Posts for every device: what comes for the first time is registered, and more work.
pub(crate) async fn introduce(http: SocketAddr, connections: usize) {
    let mut clients = connect(http, connections).await;
    let mut answered = 0;
    while answered < u64::from(DEVICES) {
        answered += measure(&mut clients, Duration::from_millis(500)).await.answered;
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    answer: [u8; 4096],
}

impl Connection {
    async fn open(http: SocketAddr) -> Self {
        let stream = TcpStream::connect(http).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, answer: [0; 4096] }
    }

    /// Microseconds until the whole answer was there; it is 2xx and good.
    async fn exchange(&mut self, request: &str, good: fn(&str) -> bool) -> u32 {
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut length = 0;
        while !is_whole(&self.answer[..length]) {
            let read = self.stream.read(&mut self.answer[length..]).await.unwrap();
            assert!(read > 0, "the server hung up");
            length += read;
        }
        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        let answer = String::from_utf8_lossy(&self.answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 20") && good(&answer), "{answer}");
        micros
    }
}

impl Client for Connection {
    async fn post(&mut self) {
        let request = request(COUNTER.fetch_add(1, Relaxed));
        self.exchange(&request, |_| true).await;
    }
}

/// With as much of a body as its head says.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4) else {
        return false;
    };
    let length = std::str::from_utf8(&answer[..head]).unwrap().lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    answer.len() >= head + length.unwrap_or(0)
}

/// About 2 KB, as The Things Stack sends it with two gateways.
fn request(counter: u32) -> String {
    let gateway = |name: &str| {
        format!(
            r#"{{"gateway_ids":{{"gateway_id":"{name}","eui":"A84041FDFE291238"}},"time":"2024-11-26T12:39:20.769507Z","timestamp":184317371,"rssi":-29,"channel_rssi":-29,"snr":14,"frequency_offset":"9922","location":{{"latitude":54.51076410677215,"longitude":9.540317058563234,"source":"SOURCE_REGISTRY"}},"uplink_token":"ChYKFAoIc2hsbWd3MDMSCKhAQf3+KRI4ELvr8VcaDAj4gpe6BhCWuPL1AiD4xK/RrrNE","channel_index":1,"received_at":"2024-11-26T12:39:20.784112662Z"}}"#
        )
    };
    let body = format!(
        r#"{{"end_device_ids":{{"device_id":"device-{device}","application_ids":{{"application_id":"app1"}},"dev_eui":"00137A1000044DF5","join_eui":"00137A1000000002","dev_addr":"260B60D9"}},"correlation_ids":["gs:uplink:01JDM7QFYGPF09F2NK2YW5GW78"],"received_at":"2024-11-26T12:39:20.993583474Z","uplink_message":{{"session_key_id":"AZNi5dvTa96t7M6UDHLcnw==","f_port":6,"f_cnt":{counter},"frm_payload":"AR4BJAAAAQIAAAA=","decoded_payload":{{"BatV":3.6,"Illuminance":258,"temperature":21.5,"humidity":48.5,"n":{counter}}},"rx_metadata":[{},{}],"settings":{{"data_rate":{{"lora":{{"bandwidth":125000,"spreading_factor":7,"coding_rate":"4/5"}}}},"frequency":"868300000","timestamp":184317371,"time":"2024-11-26T12:39:20.769507Z"}},"received_at":"2024-11-26T12:39:20.785204683Z","consumed_airtime":"0.061696s","version_ids":{{"brand_id":"netvox","model_id":"r718g","hardware_version":"2","firmware_version":"10","band_id":"EU_863_870"}},"network_ids":{{"net_id":"000013","ns_id":"EC656E0000000181","tenant_id":"ttn","cluster_id":"eu1","cluster_address":"eu1.cloud.thethings.network"}}}}}}"#,
        gateway("one"),
        gateway("two"),
        device = counter % DEVICES,
    );
    post("/webhooks/farm", &body)
}

/// A request with JSON for the bridge.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        crate::process::SECRET,
        body.len()
    )
}
