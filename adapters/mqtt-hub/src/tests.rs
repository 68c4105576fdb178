//! Links against a real mosquitto on loopback. What is waited for is an event, never a time; every wait has a bound.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bridge_core::ports::{
    Arrival, BoxFuture, Clock, Desired, Hub, HubEvents, HubRefusal, Inbox, LinkId, Token,
};
use bridge_core::{
    Content, DeviceId, IdempotencyKey, IntegrationName, Kind, Measurement, Message, MessageId, Timestamp,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::dialects::{Encoding, MqttDialect};
use crate::{Credentials, HubAddress, HubConfig, MqttHub, Pem, Protocol, Secret, TlsPem};

const BOUND: Duration = Duration::from_secs(30);

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> Timestamp {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Timestamp::from_millis(ms.try_into().unwrap()).unwrap()
    }
    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

#[derive(Debug, PartialEq)]
enum Event {
    Up(LinkId, usize),
    Down(LinkId),
    Acknowledged(Token),
    Refused(Token, HubRefusal),
}

struct Recorder(mpsc::UnboundedSender<Event>);

impl HubEvents for Recorder {
    fn link_up(&self, link: LinkId, window: usize) {
        let _ = self.0.send(Event::Up(link, window));
    }
    fn link_down(&self, link: LinkId, _reason: &str) {
        let _ = self.0.send(Event::Down(link));
    }
    fn acknowledged(&self, tokens: &[Token]) {
        for token in tokens {
            let _ = self.0.send(Event::Acknowledged(*token));
        }
    }
    fn refused(&self, token: Token, refusal: HubRefusal) {
        let _ = self.0.send(Event::Refused(token, refusal));
    }
}

struct Broker {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    extra: String,
}

/// Free a moment ago, never given twice by this process soon, and below those that the kernel gives to outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let block = 10_000 + u16::try_from(std::process::id() % 220).unwrap() * 100;
    let mut ports = std::iter::repeat_with(|| block + NEXT.fetch_add(1, Ordering::Relaxed) % 100);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

impl Broker {
    fn start(extra: &str) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let child = Self::spawn(folder.path(), port, extra);
        Self { child, folder, port, extra: extra.to_owned() }
    }

    fn spawn(folder: &Path, port: u16, extra: &str) -> Child {
        let config = folder.join("mosquitto.conf");
        // It drops what a subscriber has not fetched beyond 1,000 messages. (0, for no bound, ends connections in 2.0.11.)
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 100000\n{extra}\n"
        );
        std::fs::write(&config, text).unwrap();
        let program =
            if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("install the Debian package mosquitto");
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < BOUND, "mosquitto does not come up");
            std::thread::yield_now();
        }
        child
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = Self::spawn(self.folder.path(), self.port, &self.extra);
    }

    /// Payloads on a topic, in order, from a subscription that stands when this returns.
    async fn subscribe(&self, topic: &str) -> mpsc::UnboundedReceiver<String> {
        let mut options = rumqttc::MqttOptions::new("subscriber", "127.0.0.1", self.port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = rumqttc::AsyncClient::new(options, 10);
        client.subscribe(topic, rumqttc::QoS::AtLeastOnce).await.unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (_client, mut ready) = (client, Some(ready));
            while let Ok(event) = connection.poll().await {
                match event {
                    rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_)) => {
                        ready.take().map(|ready| ready.send(()));
                    }
                    rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) => {
                        // A receiver that is gone has seen enough.
                        let _ = sender.send(String::from_utf8(publish.payload.to_vec()).unwrap());
                    }
                    _ => {}
                }
            }
        });
        tokio::time::timeout(BOUND, subscribed).await.unwrap().unwrap();
        receiver
    }
}

impl Broker {
    /// Publishes and waits until the broker has it.
    async fn publish(&self, topic: &str, payload: &str) {
        self.send(topic, false, payload).await;
    }

    async fn retain(&self, topic: &str, payload: &str) {
        self.send(topic, true, payload).await;
    }

    async fn send(&self, topic: &str, retain: bool, payload: &str) {
        let options = rumqttc::MqttOptions::new("publisher", "127.0.0.1", self.port);
        let (client, mut connection) = rumqttc::AsyncClient::new(options, 10);
        client.publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload).await.unwrap();
        let acknowledged = async {
            while !matches!(
                connection.poll().await.unwrap(),
                rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))
            ) {}
        };
        tokio::time::timeout(BOUND, acknowledged).await.unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(broker: &Broker, protocol: Protocol) -> HubConfig {
    HubConfig {
        address: HubAddress { host: "127.0.0.1".into(), port: broker.port, tls: false },
        protocol,
        client_id: "device-bridge-test".into(),
        credentials: None,
        tls: TlsPem::default(),
        window: 100,
        keep_alive: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        max_packet: 256 * 1024,
    }
}

fn hub(config: HubConfig) -> (MqttHub, mpsc::UnboundedReceiver<Event>) {
    let dialect = MqttDialect { bridge: "test".into(), prefix: String::new(), encoding: Encoding::Json };
    let hub = MqttHub::new(config, Arc::new(dialect), Arc::new(SystemClock), Handle::current()).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    hub.start(Arc::new(Recorder(sender)));
    (hub, receiver)
}

async fn next(events: &mut mpsc::UnboundedReceiver<Event>) -> Event {
    tokio::time::timeout(BOUND, events.recv()).await.expect("no event in time").expect("hub is gone")
}

fn message(device: &str, number: u64, size: usize) -> Arc<Message> {
    let integration = IntegrationName::parse("test").unwrap();
    let mut content = Content::default();
    content.measure(Measurement::new("n", number));
    content.measure(Measurement::new("filler", "x".repeat(size)));
    Arc::new(Message {
        id: MessageId::new(&integration, &IdempotencyKey::from_texts(&[&number.to_string()])),
        device: DeviceId::parse(device).ok(),
        source: "test".into(),
        integration,
        kind: Kind::Telemetry,
        time: None,
        received_at: Timestamp::EPOCH,
        superseded: false,
        replayed: false,
        corrects: None,
        reply: None,
        content,
    })
}

/// Takes nothing until it may.
struct Hesitant {
    may: std::sync::atomic::AtomicBool,
    seen: mpsc::UnboundedSender<Arrival>,
    wishes: mpsc::UnboundedSender<Desired>,
}

impl Inbox for Hesitant {
    fn take(&self, arrival: Arrival) -> BoxFuture<'_, bool> {
        let may = self.may.load(Ordering::SeqCst);
        let _ = self.seen.send(arrival);
        Box::pin(std::future::ready(may))
    }

    fn desire(&self, desired: Desired) -> BoxFuture<'_, bool> {
        // What is retained would come first each time, and nothing else would get through.
        let may = self.may.load(Ordering::SeqCst) || desired.payload == b"kept";
        let _ = self.wishes.send(desired);
        Box::pin(std::future::ready(may))
    }
}

async fn wishes(protocol: Protocol) {
    let broker = Broker::start("");
    let (hub, _events) = hub(config(&broker, protocol));
    let (wishes, mut seen) = mpsc::unbounded_channel();
    let inbox = Arc::new(Hesitant { may: true.into(), seen: mpsc::unbounded_channel().0, wishes });
    broker.retain("devices/d1/properties/desired", "kept").await;
    hub.receive(inbox.clone());
    let mut next = async || tokio::time::timeout(BOUND, seen.recv()).await.unwrap().unwrap();
    let first = next().await;
    assert_eq!((first.device.as_str(), &first.payload[..], first.is_copy), ("d1", &b"kept"[..], true));
    // What is retained may come again, at any time.
    let mut fresh = async || loop {
        let wish = next().await;
        if wish.payload != b"kept" {
            return wish;
        }
    };

    inbox.may.store(false, Ordering::SeqCst);
    broker.publish("devices/d2/properties/desired", "live").await;
    let live = fresh().await;
    assert_eq!((live.device.as_str(), live.is_copy), ("d2", false));
    let again = fresh().await;
    assert_eq!((&again.payload[..], again.is_copy), (&b"live"[..], true), "what was not taken comes again");
    inbox.may.store(true, Ordering::SeqCst);
    broker.publish("devices/d2/properties/desired", "next").await;
    let mut taken = fresh().await;
    while taken.payload == b"live" {
        taken = fresh().await;
    }
    assert_eq!(taken.payload, b"next");

    hub.stop_receiving(BOUND).await;
    broker.publish("devices/d3/properties/desired", "meanwhile").await;
    hub.receive(inbox.clone());
    let mut later = fresh().await;
    while later.payload != b"meanwhile" {
        // The acknowledgement of one before may not have got through.
        assert!(later.is_copy);
        later = fresh().await;
    }
    assert_eq!((&later.payload[..], later.is_copy), (&b"meanwhile"[..], false));
    hub.stop_receiving(BOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_are_acknowledged_when_they_are_taken_mqtt5() {
    wishes(Protocol::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_are_acknowledged_when_they_are_taken_mqtt311() {
    wishes(Protocol::V311).await;
}

async fn commands(protocol: Protocol) {
    let broker = Broker::start("");
    let (hub, _events) = hub(config(&broker, protocol));
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let inbox = Arc::new(Hesitant { may: true.into(), seen: sender, wishes: mpsc::unbounded_channel().0 });
    let may = |may| inbox.may.store(may, Ordering::SeqCst);
    hub.receive(inbox.clone());
    // Nobody but the broker knows when the subscription stands: the first command that comes through tells.
    let mut first = None;
    while first.is_none() {
        broker.publish("devices/d1/commands/open", "probe").await;
        first = tokio::time::timeout(Duration::from_millis(100), arrivals.recv()).await.ok();
    }
    let first: Arrival = first.unwrap().unwrap();
    assert_eq!((first.device.as_str(), first.name.as_str(), first.redelivered), ("d1", "open", false));
    let mut next = async || tokio::time::timeout(BOUND, arrivals.recv()).await.unwrap().unwrap();

    broker.publish("devices/d1/commands/open", "0").await;
    while next().await.payload != b"0" {}

    may(false);
    broker.publish("devices/d1/commands/open", "1").await;
    let refused = next().await;
    let again = next().await;
    assert_eq!((refused.redelivered, again.redelivered), (false, true), "what was not taken comes again");
    assert_eq!((again.packet, &again.payload[..]), (refused.packet, &b"1"[..]));
    may(true);
    broker.publish("devices/d1/commands/open", "2").await;
    // mosquitto 2.0.11 may send what is new before what it sends again.
    let mut fresh = async || loop {
        let payload = next().await.payload;
        if payload != b"1" {
            return payload;
        }
    };
    assert_eq!(fresh().await, b"2", "and nothing beside it");

    hub.stop_receiving(BOUND).await;
    for (topic, payload) in [
        ("devices/d1/commands/close", "3"),
        ("devices/d1/other", "not for the bridge"),
        ("devices/d 1/commands/close", "no device"),
        ("devices/d2/commands/close", "4"),
    ] {
        broker.publish(topic, payload).await;
    }
    hub.receive(inbox.clone());
    assert_eq!(
        fresh().await,
        b"3",
        "what was wanted while the bridge was away waits at the hub; what was taken has gone"
    );
    assert_eq!(fresh().await, b"4");
    hub.stop_receiving(BOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_acknowledged_when_they_are_taken_mqtt5() {
    commands(Protocol::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_acknowledged_when_they_are_taken_mqtt311() {
    commands(Protocol::V311).await;
}

async fn pipelined(protocol: Protocol, want_window: usize) {
    const COUNT: u64 = 3000;
    let broker = Broker::start("");
    let mut subscriber = broker.subscribe("devices/+/telemetry").await;
    let (hub, mut events) = hub(config(&broker, protocol));
    hub.open(LinkId(0));
    assert_eq!(next(&mut events).await, Event::Up(LinkId(0), want_window));
    let (mut sent, mut done) = (0, 0);
    while done < COUNT {
        while sent < COUNT && (sent - done) < want_window as u64 {
            hub.publish(LinkId(0), Token(sent), message("d1", sent, 10));
            sent += 1;
        }
        assert_eq!(next(&mut events).await, Event::Acknowledged(Token(done)));
        done += 1;
    }
    for n in 0..COUNT {
        let payload = tokio::time::timeout(BOUND, subscriber.recv()).await.unwrap().unwrap();
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(payload["measurements"]["n"], n);
    }
    assert!(subscriber.try_recv().is_err(), "more than was sent");
    hub.shutdown(BOUND).await;
    assert_eq!(next(&mut events).await, Event::Down(LinkId(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt5_keeps_the_window_that_the_broker_grants() {
    // mosquitto grants 20; two are the bridge's own.
    pipelined(Protocol::V5, 18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt311_keeps_the_configured_window() {
    pipelined(Protocol::V311, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_publish_ends_once_when_the_broker_is_killed_and_the_link_comes_back() {
    let mut broker = Broker::start("");
    let (hub, mut events) = hub(config(&broker, Protocol::V311));
    hub.open(LinkId(0));
    assert_eq!(next(&mut events).await, Event::Up(LinkId(0), 100));
    for n in 0..50 {
        hub.publish(LinkId(0), Token(n), message("d1", n, 10));
    }
    assert_eq!(next(&mut events).await, Event::Acknowledged(Token(0)));
    broker.kill();
    let mut acknowledged = 1;
    loop {
        match next(&mut events).await {
            Event::Acknowledged(token) => {
                assert_eq!(token, Token(acknowledged));
                acknowledged += 1;
            }
            Event::Down(link) => break assert_eq!(link, LinkId(0)),
            other => panic!("{other:?}"),
        }
    }
    // Dropped: the link is down, and its outcome was reported.
    hub.publish(LinkId(0), Token(1000), message("d1", 1000, 10));
    broker.restart();
    assert_eq!(next(&mut events).await, Event::Up(LinkId(0), 100));
    hub.publish(LinkId(0), Token(1001), message("d1", 1001, 10));
    assert_eq!(next(&mut events).await, Event::Acknowledged(Token(1001)));
    hub.shutdown(BOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn birth_is_retained_and_good_bye_follows() {
    let broker = Broker::start("");
    let (hub, mut events) = hub(config(&broker, Protocol::V5));
    let mut subscriber = broker.subscribe("bridges/test/connection").await;
    hub.open(LinkId(0));
    assert_eq!(next(&mut events).await, Event::Up(LinkId(0), 18));
    hub.shutdown(BOUND).await;
    for online in [true, false] {
        let payload = tokio::time::timeout(BOUND, subscriber.recv()).await.unwrap().unwrap();
        assert!(payload.contains(&format!("\"online\":{online}")), "{payload}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_apart_and_the_link_stays() {
    let acl = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(acl.path(), "topic write devices/good/#\ntopic write bridges/#\n").unwrap();
    let broker = Broker::start(&format!("acl_file {}\nmessage_size_limit 100000", acl.path().display()));
    let (hub, mut events) = hub(HubConfig { max_packet: 50_000, ..config(&broker, Protocol::V5) });
    hub.open(LinkId(0));
    assert_eq!(next(&mut events).await, Event::Up(LinkId(0), 18));
    hub.publish(LinkId(0), Token(1), message("bad", 1, 10));
    assert!(matches!(next(&mut events).await, Event::Refused(Token(1), HubRefusal::Never(_))));
    hub.publish(LinkId(0), Token(2), message("good", 2, 60_000));
    assert!(matches!(next(&mut events).await, Event::Refused(Token(2), HubRefusal::Never(_))));
    hub.publish(LinkId(0), Token(3), message("good", 3, 10));
    assert_eq!(next(&mut events).await, Event::Acknowledged(Token(3)));
    hub.shutdown(BOUND).await;
}

fn pem(folder: &Path, name: &str) -> Pem {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    Pem { origin: folder.join(name), text: Secret::new(text) }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("install the Debian package openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_private_authority_a_client_certificate_and_a_password() {
    let pki = tempfile::tempdir().unwrap();
    let dir = pki.path();
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca");
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    for name in ["server", "client"] {
        openssl(
            dir,
            &format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile ext"
            ),
        );
    }
    let password_file = dir.join("passwords");
    let status = Command::new("mosquitto_passwd")
        .args(["-c", "-b", password_file.to_str().unwrap(), "bridge", "right"])
        .status();
    assert!(status.expect("install the Debian package mosquitto").success());
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let broker = Broker::start(&format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\npassword_file {}\nallow_anonymous false",
        path("ca.pem"),
        path("server.pem"),
        path("server.key"),
        path("passwords")
    ));
    let good = HubConfig {
        address: HubAddress { host: "127.0.0.1".into(), port: broker.port, tls: true },
        credentials: Some(Credentials { user: "bridge".into(), password: Secret::new("right") }),
        tls: TlsPem {
            authorities: Some(pem(dir, "ca.pem")),
            client: Some((pem(dir, "client.pem"), pem(dir, "client.key"))),
        },
        ..config(&broker, Protocol::V5)
    };
    let (with_all, mut events) = hub(good.clone());
    with_all.open(LinkId(0));
    assert_eq!(next(&mut events).await, Event::Up(LinkId(0), 18));
    with_all.publish(LinkId(0), Token(1), message("d", 1, 10));
    assert_eq!(next(&mut events).await, Event::Acknowledged(Token(1)));
    with_all.shutdown(BOUND).await;

    // The others never come up; that a good link comes up after them is the proof that they had their chance.
    let wrong_password = HubConfig {
        credentials: Some(Credentials { user: "bridge".into(), password: Secret::new("wrong") }),
        ..good.clone()
    };
    let no_certificate = HubConfig { tls: TlsPem { client: None, ..good.tls.clone() }, ..good.clone() };
    for bad in [wrong_password, no_certificate] {
        let (bad, mut bad_events) = hub(bad);
        bad.open(LinkId(0));
        let (again, mut events) = hub(HubConfig { client_id: "other".into(), ..good.clone() });
        again.open(LinkId(0));
        assert_eq!(next(&mut events).await, Event::Up(LinkId(0), 18));
        assert!(bad_events.try_recv().is_err());
        bad.shutdown(BOUND).await;
        again.shutdown(BOUND).await;
    }
    assert!(
        MqttHub::new(
            HubConfig { tls: TlsPem { authorities: Some(pem(dir, "ext")), client: None }, ..good },
            Arc::new(MqttDialect { bridge: "b".into(), prefix: String::new(), encoding: Encoding::Json }),
            Arc::new(SystemClock),
            Handle::current()
        )
        .is_err()
    );
}
