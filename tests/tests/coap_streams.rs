//! CoAP over TCP, TLS and WebSocket, and observed commands over every transport, against the real binary with mosquitto, by
//! libcoap's clients, which have no WebSocket, by aiocoap, which has, and by clients that misbehave. Not here: the protocol (`adapters/coap-proto`), refusals (`adapters/coap`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use coap_proto::stream::signal;
use coap_proto::{Code, Message, Options, Token, Type, number};
use serde_json::{Value, json};
use tests::world::{BOUND, Process, World, free_port, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A bridge to be, with CoAP over everything, and the device `pump-1` with a token and a pre-shared key.
struct Bridge {
    world: World,
    udp: SocketAddr,
    dtls: SocketAddr,
    tcp: SocketAddr,
    tls: SocketAddr,
    ws: SocketAddr,
    wss: SocketAddr,
    token: String,
    key: String,
}

impl Bridge {
    async fn new() -> Self {
        let world = World::new("5");
        let [udp, dtls, tcp, tls, ws, wss] =
            [(); 6].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let folder = world.folder.path();
        let seal = folder.join("seal.key");
        std::fs::write(&seal, "0123456789abcdef0123456789abcdef0123456789a\n").unwrap();
        std::fs::set_permissions(&seal, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        certificate(folder, "ca", None);
        certificate(folder, "bridge", Some("ca"));
        certificate(folder, "pump", Some("ca"));
        certificate(folder, "stranger", None);
        let files = "cert_file = \"bridge.pem\", key_file = \"bridge.key\", client_ca_file = \"ca.pem\"";
        world.configure(&format!(
            "[secrets]\nkeys = [{{ file = \"seal.key\" }}]\n[coap]\nenabled = true\nlisten = \"{udp}\"\ntcp = \"{tcp}\"\n\
             dtls = {{ listen = \"{dtls}\" }}\n\
             tls = {{ listen = \"{tls}\", {files} }}\nws = \"{ws}\"\nwss = {{ listen = \"{wss}\", {files} }}\n"
        ));
        let mut new = Self { world, udp, dtls, tcp, tls, ws, wss, token: String::new(), key: String::new() };
        let mut process = new.start().await;
        new.world.import(&["pump-2"]);
        new.token = new.world.enrol("pump-1");
        let printed = new.world.ours(&["devices", "token", "add", "pump-1", "--psk"]);
        new.key = printed.trim_end().split_once('\t').unwrap().1.to_owned();
        assert_eq!(process.terminate().await, Some(0));
        new
    }

    async fn start(&self) -> Process {
        let process = self.world.start_bridge().await;
        for address in [self.tcp, self.tls, self.ws, self.wss] {
            wait_until("the bridge listens", async || TcpStream::connect(address).await.is_ok()).await;
        }
        process
    }

    /// A command, as operators see it.
    fn shown(&self, id: &str) -> Value {
        serde_json::from_str(&self.world.ours(&["commands", "show", id])).unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.world.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A client, with every message that it sends or gets; the last argument is the path.
    fn client(&self, transport: Transport, arguments: &[&str]) -> Command {
        let (program, scheme, address) = match transport {
            Transport::Udp => ("coap-client-notls", "coap", self.udp),
            Transport::Tcp => ("coap-client-notls", "coap+tcp", self.tcp),
            Transport::Tls(program) => (program, "coaps+tcp", self.tls),
            Transport::Dtls => ("coap-client-openssl", "coaps", self.dtls),
        };
        let (path, arguments) = arguments.split_last().unwrap();
        let mut command = Command::new(program);
        command.args(["-v", "7", "-B", "20"]).stdin(Stdio::null());
        match transport {
            Transport::Tls(_) => command.args(["-R", &self.file("ca.pem")]),
            Transport::Dtls => command.args(["-u", "pump-1", "-k", &self.key]),
            Transport::Udp | Transport::Tcp => &mut command,
        };
        command.args(arguments).arg(format!("{scheme}://{address}{path}"));
        command
    }

    fn says(&self, transport: Transport, arguments: &[&str]) -> String {
        let mut command = self.client(transport, arguments);
        said(&command.output().expect("install the Debian package libcoap3-bin"))
    }

    /// How many messages have been accepted since the bridge began; all of them are at the hub.
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

    async fn connections(&self, kind: &str) -> f64 {
        self.world.metric(&format!("bridge_coap_connections_total{{kind=\"{kind}\"}}")).await
    }

    /// A reading as it goes over a stream.
    fn reading(&self, token: u8, body: &Value) -> Message {
        let mut options = Options::new();
        for segment in ["t", "pump-1"] {
            options.push(number::URI_PATH, segment.to_owned());
        }
        options.push(number::URI_QUERY, format!("t={}", self.token));
        options.push_uint(number::CONTENT_FORMAT, 50);
        let (kind, payload) = (Type::NonConfirmable, body.to_string().into());
        Message { kind, code: Code::POST, mid: 0, token: Token::new(&[token]), options, payload }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    Udp,
    Dtls,
    Tcp,
    /// By this program.
    Tls(&'static str),
}

const TLS: [Transport; 2] = [Transport::Tls("coap-client-openssl"), Transport::Tls("coap-client-gnutls")];

/// `NAME.pem` and `NAME.key`: of 127.0.0.1 and signed by another one, or an authority of its own.
fn certificate(folder: &Path, name: &str, by: Option<&str>) {
    let file = |name: &str, kind: &str| -> PathBuf { folder.join(format!("{name}.{kind}")) };
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "2", "-subj", &format!("/CN={name}")]);
    command.arg("-keyout").arg(file(name, "key")).arg("-out").arg(file(name, "pem"));
    if let Some(by) = by {
        command.arg("-CA").arg(file(by, "pem")).arg("-CAkey").arg(file(by, "key"));
        command.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    }
    let output = command.output().expect("install the Debian package openssl");
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A client of our own, after the settings of both.
async fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&signal::settings(5000).encode_stream()).await.unwrap();
    assert_eq!(receive(&mut stream).await.code, signal::CSM);
    stream
}

async fn receive(stream: &mut TcpStream) -> Message {
    let mut frame = Vec::new();
    let received = async {
        loop {
            let length = coap_proto::stream::frame_length(&frame).unwrap();
            if length == Some(frame.len()) {
                return Message::decode_stream(&frame, 8).unwrap();
            }
            frame.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(BOUND, received).await.unwrap()
}

async fn ask(stream: &mut TcpStream, message: &Message) -> Code {
    stream.write_all(&message.encode_stream()).await.unwrap();
    let answer = receive(stream).await;
    assert_eq!(answer.token, message.token);
    answer.code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libcoap_s_clients_are_served_over_streams() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.start().await;
    let telemetry = format!("/t/pump-1?t={}", bridge.token);
    let long = bridge.file("long.json");
    std::fs::write(&long, json!({ "note": "x".repeat(5000) }).to_string()).unwrap();
    let mut sent = 0.0;
    for transport in [&[Transport::Tcp][..], &TLS].concat() {
        for arguments in [
            &["-m", "post", "-t", "50", "-e", r#"{"temperature":21.5}"#, &telemetry][..],
            &["-m", "put", "-t", "50", "-e", r#"{"temperature":22}"#, &telemetry],
            &["-m", "post", "-e", "humidity=48.5", &telemetry],
            &["-m", "post", "-t", "50", "-f", &long, &telemetry],
        ] {
            let output = bridge.says(transport, arguments);
            assert!(output.contains("2.04"), "{transport:?} {arguments:?}: {output}");
            sent += 1.0;
        }
        let refused = bridge.says(transport, &["-m", "post", "-t", "50", "-e", "{}", "/t/pump-1?t=x"]);
        assert!(refused.contains("4.01") && refused.contains("TOKEN"), "{refused}");
        let links = bridge.says(transport, &["-m", "get", "/.well-known/core"]);
        assert!(links.contains("</telemetry>") && links.contains("obs"), "{links}");
        let time = bridge.says(transport, &["-m", "get", "/time"]);
        assert!(time.contains("2.05"), "{time}");
        // A client that takes short messages alone gets blocks.
        let blocks = bridge.says(transport, &["-m", "get", "-X", "100", "/.well-known/core"]);
        assert!(blocks.contains("</telemetry>"), "{blocks}");
    }
    assert_eq!(bridge.accepted().await, sent);
    assert_eq!(bridge.connections("malformed").await + bridge.connections("not-understood").await, 0.0);
}

/// The Python that has aiocoap; none when PyPI cannot be reached.
#[allow(clippy::print_stderr, reason = "what is not tried is said")]
fn aiocoap() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new("tests/venv").arg("tests/plugtest/aiocoap.txt").current_dir(root).output();
    let output = output.expect("install the Debian package python3");
    if output.status.code() == Some(3) {
        eprintln!("######## SKIPPED: PyPI cannot be reached: CoAP over WebSocket was NOT tried with aiocoap");
        return None;
    }
    assert!(output.status.success(), "{}", said(&output));
    Some(Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("bin/python"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiocoap_is_served_over_websocket() {
    let Some(python) = aiocoap() else { return };
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let mut process = bridge.start().await;
    for base in [format!("coap+ws://{}", bridge.ws), format!("coaps+ws://{}", bridge.wss)] {
        let mut command = Command::new(&python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/coap_streams.py"));
        command.args([&base, &bridge.token, &bridge.file("ca.pem")]);
        let mut device = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(device.stdout.take().unwrap()).lines().map_while(Result::ok);
        let begin: Vec<String> = lines.by_ref().take_while(|line| line != "observes").collect();
        let wanted = ["/t/pump-1 2.04 Changed", "/t/pump-1 2.04 Changed", "/telemetry 4.01 Unauthorized"];
        assert_eq!(begin, [&wanted[..], &["/.well-known/core 2.05 Content"]].concat(), "{base}");
        let ids = ["open", "close"].map(|name| bridge.world.ours(&["commands", "send", "pump-1", name]));
        let reports: Vec<String> = lines.collect();
        assert!(device.wait().unwrap().success(), "{base}: {reports:?}");
        for id in ids.iter().map(|printed| printed.split_whitespace().next().unwrap()) {
            assert!(reports.contains(&format!("/commands/{id} 2.04 Changed")), "{base}: {reports:?}");
            let shown = bridge.shown(id);
            assert_eq!((&shown["state"], &shown["attempts"]), (&json!("acknowledged"), &json!(1)), "{shown}");
        }
    }
    assert_eq!(bridge.accepted().await, 4.0);
    assert_eq!(bridge.connections("malformed").await, 0.0);
    wait_until("it has released its connections", async || bridge.connections("hung-up").await == 2.0).await;
    assert_eq!(process.terminate().await, Some(0));
}

/// A client's handshake, and the beginning of the answer to it.
async fn shake_hands(address: SocketAddr, line: &str, more: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let head = async {
        while !answer.ends_with("\r\n\r\n") {
            answer.push(char::from(stream.read_u8().await.unwrap()));
        }
    };
    timeout(BOUND, head).await.unwrap();
    (stream, answer)
}

/// A frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_that_misbehave_cost_others_nothing() {
    const PATH: &str = "GET /.well-known/coap";
    const COAP: &str = "Sec-WebSocket-Protocol: coap\r\n";
    let bridge = Bridge::new().await;
    let mut process = bridge.start().await;
    let socket = async || {
        let (mut stream, answer) = shake_hands(bridge.ws, PATH, COAP).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        stream.write_all(&frame(0x82, &[0x00, 0xe1])).await.unwrap();
        let mut settings = [0; 2];
        stream.read_exact(&mut settings).await.unwrap();
        assert_eq!(settings[0], 0x82);
        stream.read_exact(&mut vec![0; settings[1].into()]).await.unwrap();
        stream
    };
    // Those that only looked whether somebody listens.
    let failed = async || bridge.connections("handshake-failed").await;
    wait_until("they have come and gone", async || {
        bridge.connections("opened").await == 4.0
            && bridge.world.metric("bridge_coap_connections").await == 0.0
    })
    .await;
    let before = failed().await;
    for (line, more, status) in [
        (PATH, "", "400"),
        (PATH, "Sec-WebSocket-Protocol: mqtt\r\n", "400"),
        ("GET /coap", COAP, "404"),
        ("POST /.well-known/coap", COAP, "405"),
    ] {
        let (_, answer) = shake_hands(bridge.ws, line, more).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    wait_until("they are counted", async || failed().await == before + 4.0).await;
    // Half a handshake, half a message, and nothing.
    let mut good = socket().await;
    let mut bad = Vec::new();
    for _ in 0..30 {
        let mut half = TcpStream::connect(bridge.ws).await.unwrap();
        half.write_all(b"GET /.well-known/coap HTTP/1.1\r\nHost: ").await.unwrap();
        let mut stalled = socket().await;
        stalled.write_all(&[0x82, 0xfe, 0xf0, 0x00, 0, 0, 0, 0, 1]).await.unwrap();
        bad.extend([half, stalled, TcpStream::connect(bridge.wss).await.unwrap()]);
    }
    let too_long = [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for (bytes, code, kind) in [
        (frame(0x81, b"{}"), 1003_u16, "malformed"),
        (vec![0x82, 2, 0x00, 0xe2], 1002, "malformed"),
        (frame(0xc2, &[0x00, 0xe2]), 1002, "malformed"),
        (frame(0x80, &[0x00, 0xe2]), 1002, "malformed"),
        (frame(0x82, &[0x10, 0xe2, 0x01]), 1002, "malformed"),
        (too_long.to_vec(), 1009, "too-long"),
        ([frame(0x02, &[0x00]), too_long.to_vec()].concat(), 1002, "malformed"),
        (frame(0x88, &[3, 232]), 1000, "closed"),
    ] {
        let before = bridge.connections(kind).await;
        let mut stream = socket().await;
        stream.write_all(&bytes).await.unwrap();
        let mut last = Vec::new();
        timeout(BOUND, stream.read_to_end(&mut last)).await.unwrap().unwrap();
        let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
        assert!(last.ends_with(&close), "{bytes:x?}: {last:x?}");
        drop(stream);
        wait_until(kind, async || bridge.connections(kind).await == before + 1.0).await;
    }
    // Fragments, and a ping between them: a ping in CoAP, which has its answer.
    let parts = [frame(0x02, &[0x01]), frame(0x89, b"?"), frame(0x80, &[0xe2, b'p'])].concat();
    good.write_all(&parts).await.unwrap();
    let mut answers = [0; 8];
    timeout(BOUND, good.read_exact(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers, [0x8a, 1, b'?', 0x82, 3, 0x01, 0xe3, b'p']);
    // Those without a handshake lose their places; messages have longer.
    wait_until("handshakes are over", async || bridge.connections("handshake-timed-out").await == 60.0).await;
    drop(bad);
    wait_until("they are gone", async || bridge.world.metric("bridge_coap_connections").await < 2.0).await;
    // At its end: Release, and 1000.
    let ended = process.terminate();
    let mut last = Vec::new();
    let (ended, _) =
        tokio::join!(ended, async { timeout(BOUND, good.read_to_end(&mut last)).await.unwrap() });
    assert_eq!((ended, &last[..]), (Some(0), &[0x82, 2, 0x00, 0xe4, 0x88, 2, 3, 232][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_which_device_it_is() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.start().await;
    let shows = |transport, name: &str, path: &str| {
        let (pem, key) = (bridge.file(&format!("{name}.pem")), bridge.file(&format!("{name}.key")));
        bridge.says(transport, &["-c", &pem, "-j", &key, "-m", "post", "-t", "50", "-e", "{\"a\":1}", path])
    };
    let with_token = format!("/telemetry?t={}", bridge.token);
    for transport in TLS {
        let answer = shows(transport, "pump", "/telemetry");
        assert!(answer.contains("4.01"), "nobody's certificate, and no token: {answer}");
        let answer = shows(transport, "pump", &with_token);
        assert!(answer.contains("2.04"), "{answer}");
    }
    bridge.world.ours(&["devices", "token", "add", "pump-1", "--certificate", &bridge.file("pump.pem")]);
    for transport in TLS {
        wait_until("the certificate is known", async || {
            shows(transport, "pump", "/telemetry").contains("2.04")
        })
        .await;
        let answer = shows(transport, "pump", "/t/pump-2");
        assert!(answer.contains("4.03"), "{answer}");
        // OpenSSL's client shows it, and GnuTLS's does not: it is not of the authority that the bridge names.
        let answer = shows(transport, "stranger", "/telemetry");
        assert!(!answer.contains("c:2.04"), "the authority has not signed it: {answer}");
    }
    assert!(bridge.connections("handshake-failed").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_are_told_of_commands_over_every_transport() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.start().await;
    let observers = async || bridge.world.metric("bridge_coap_observers").await;
    for transport in [Transport::Udp, Transport::Dtls, Transport::Tcp, TLS[0]] {
        let commands = match transport {
            Transport::Dtls => "/commands".to_owned(),
            _ => format!("/commands?t={}", bridge.token),
        };
        let mut observer = bridge.client(transport, &["-v", "0", "-m", "get", "-s", "8", &commands]);
        observer.stdout(Stdio::piped()).stderr(Stdio::piped());
        let observer: Child = observer.spawn().expect("install the Debian package libcoap3-bin");
        wait_until("it observes", async || observers().await == 1.0).await;
        let names = ["open", "close"];
        let ids =
            names.map(|name| bridge.world.ours(&["commands", "send", "pump-1", name, r#"{"valve":2}"#]));
        let ids: Vec<&str> = ids.iter().map(|printed| printed.split_whitespace().next().unwrap()).collect();
        let told = said(&observer.wait_with_output().unwrap());
        for (name, id) in names.iter().zip(&ids) {
            assert!(told.contains(&format!("\"name\":\"{name}\"")), "{transport:?}: {told}");
            assert_eq!(told.matches(id).count(), 1, "{transport:?}: {told}");
            let shown = bridge.shown(id);
            assert_eq!((&shown["state"], &shown["attempts"]), (&json!("sent"), &json!(1)), "{shown}");
        }
        // At its end the client has said that it observes no more.
        wait_until("it does not observe", async || observers().await == 0.0).await;
        for id in ids {
            let path = commands.replace("/commands", &format!("/commands/{id}"));
            let report = ["-m", "post", "-t", "50", "-e", r#"{"status":"done","result":7}"#, &path];
            let answer = bridge.says(transport, &report);
            assert!(answer.contains("2.04"), "{transport:?}: {answer}");
            let shown = bridge.shown(id);
            assert_eq!((&shown["state"], &shown["attempts"]), (&json!("acknowledged"), &json!(1)), "{shown}");
        }
        let asked = bridge.says(transport, &["-m", "get", &commands]);
        assert!(asked.contains(r#"{"commands":[]}"#), "{transport:?}: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_over_tcp_is_the_same_promise() {
    let bridge = Bridge::new().await;
    let process = bridge.start().await;
    let mut device = connect(bridge.tcp).await;
    for count in 1..=5 {
        assert_eq!(ask(&mut device, &bridge.reading(count, &json!({ "n": count }))).await, Code::CHANGED);
    }
    assert_eq!(bridge.world.outbox(), 5);
    drop(process);
    assert_eq!(bridge.world.outbox(), 5, "it was killed, and they are on disk");
    assert!(matches!(device.read(&mut [0; 10]).await, Ok(0) | Err(_)), "its connection has ended");
    let _broker = bridge.world.start_broker().await;
    let mut process = bridge.start().await;
    wait_until("all of it is at the hub", async || bridge.world.outbox() == 0).await;
    // An orderly end releases connections.
    let mut device = connect(bridge.tcp).await;
    assert_eq!(ask(&mut device, &bridge.reading(7, &json!({ "n": 7 }))).await, Code::CHANGED);
    let ended = process.terminate();
    let (ended, last) = tokio::join!(ended, receive(&mut device));
    assert_eq!((ended, last.code), (Some(0), signal::RELEASE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_misbehave_cost_others_nothing() {
    let bridge = Bridge::new().await;
    let _broker = bridge.world.start_broker().await;
    let _process = bridge.start().await;
    let mut good = connect(bridge.tcp).await;
    let mut bad = Vec::new();
    // Messages that never come to their end, connections without a word, and handshakes that are none.
    for _ in 0..30 {
        let mut stalled = connect(bridge.tcp).await;
        stalled.write_all(&[0xe0, 0xff, 0x00, 0x02, 0x11]).await.unwrap();
        bad.push(stalled);
        bad.push(TcpStream::connect(bridge.tcp).await.unwrap());
        bad.push(TcpStream::connect(bridge.tls).await.unwrap());
    }
    let flood: Vec<u8> = bridge.reading(1, &json!({})).encode_stream().repeat(200);
    let flooding: Vec<_> = (0..4)
        .map(|_| {
            let (address, flood) = (bridge.tcp, flood.clone());
            // It asks and asks, and reads nothing.
            tokio::spawn(async move {
                let mut stream = connect(address).await;
                while stream.write_all(&flood).await.is_ok() {}
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for count in 0..20 {
        let asked = Instant::now();
        let mut message = bridge.reading(count, &json!({}));
        message.code = Code::GET;
        message.options = [(number::URI_PATH, "time")].into_iter().collect();
        assert_eq!(ask(&mut good, &message).await, Code::CONTENT);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let mut long = connect(bridge.tcp).await;
    long.write_all(&[0xf0, 0x7f, 0xff, 0xff, 0xff, 0x02]).await.unwrap();
    assert_eq!(receive(&mut long).await.code, signal::ABORT);
    let mut rubbish = TcpStream::connect(bridge.tcp).await.unwrap();
    rubbish.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rubbish_tls = TcpStream::connect(bridge.tls).await.unwrap();
    rubbish_tls.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    for kind in ["too-long", "malformed", "handshake-failed"] {
        wait_until(kind, async || bridge.connections(kind).await >= 1.0).await;
    }
    assert!(bridge.world.metric("bridge_coap_connections").await >= 30.0);
    drop(bad);
    flooding.iter().for_each(tokio::task::JoinHandle::abort);
    wait_until("they are gone", async || bridge.world.metric("bridge_coap_connections").await < 10.0).await;
    assert_eq!(ask(&mut good, &bridge.reading(99, &json!({ "n": 1 }))).await, Code::CHANGED);
}
