//! The load: connections that post one uplink after the other, each a new one. As little work as possible per request: the
//! same two cores carry the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What was measured.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Answered 2xx.
    pub(crate) answered: u64,
    /// Of those, per second.
    pub(crate) rate: f64,
    /// Seconds.
    pub(crate) p99: f64,
    /// Seconds of the server's CPU per answered request; filled in by the caller.
    pub(crate) cpu: f64,
}

/// Devices that send.
const DEVICES: u32 = 10_000;
/// Uplinks are never sent twice in one run.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Posts for `time` over `connections`.
pub(crate) async fn run(http: SocketAddr, connections: usize, time: Duration) -> Figures {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(connection(http, stop.clone()))).collect();
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len() * 99 / 100).map_or(0.0, |micros| f64::from(*micros) / 1e6);
    let answered = latencies.len() as u64;
    Figures { answered, rate: answered as f64 / seconds, p99, cpu: 0.0 }
}

/// Posts until every device has been heard: what comes for the first time is registered, and more work.
pub(crate) async fn introduce(http: SocketAddr, connections: usize, time: Duration) {
    let mut answered = 0;
    while answered < u64::from(DEVICES) {
        answered += run(http, connections, time).await.answered;
    }
}

async fn connection(http: SocketAddr, stop: Arc<AtomicBool>) -> Vec<u32> {
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut latencies, mut answer) = (Vec::new(), [0; 4096]);
    while !stop.load(Relaxed) {
        let request = request(COUNTER.fetch_add(1, Relaxed));
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut answer[length..]).await.unwrap();
            assert!(read > 0, "the server hung up");
            length += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer[..length]));
        latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies
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
    format!(
        "POST /webhooks/farm HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        crate::process::SECRET,
        body.len()
    )
}
