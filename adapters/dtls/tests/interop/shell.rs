//! A socket, a clock and randomness around the server, in a thread; and clients as processes. It answers CoAP requests with
//! 2.05 and everything else with itself behind `echo:`. Not here: what is tested.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dtls::{Config, Credential, Event, Identity, Psk, Server, Stats};

/// No client takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const KEY: &[u8] = b"sesame-sesame-16";
pub(crate) const IDENTITY: &str = "password";

pub(crate) struct Shell {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome>>,
}

/// What a server saw.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) stats: Stats,
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    pub(crate) fn identities(&self) -> Vec<Identity> {
        let connected = self.events.iter().filter_map(|event| match event {
            Event::Connected { identity, .. } => Some(identity.clone()),
            _ => None,
        });
        connected.collect()
    }
}

impl Shell {
    /// Serves on a free port. `accept` says which proven keys and certificates may come in.
    pub(crate) fn start(
        config: Config,
        credential: Option<Credential>,
        accept: fn(&Identity) -> bool,
    ) -> Shell {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let mut urandom = File::open("/dev/urandom").unwrap();
            let random = move |bytes: &mut [u8]| urandom.read_exact(bytes).unwrap();
            let mut server = Server::new(config, Instant::now(), unix, random).unwrap();
            server.set_credential(credential);
            let mut events = Vec::new();
            let mut buffer = vec![0; 65_536];
            let end = Instant::now() + 2 * PATIENCE;
            while !stopped.load(Ordering::Relaxed) && Instant::now() < end {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    server.handle_datagram(Instant::now(), from, &buffer[..length]);
                }
                server.handle_timeout(Instant::now());
                while let Some(event) = server.poll_event() {
                    on_event(&mut server, &event, accept);
                    events.push(event);
                }
                while let Some(transmit) = server.poll_transmit() {
                    socket.send_to(&transmit.payload, transmit.peer).unwrap();
                }
            }
            Outcome { stats: server.stats(), events }
        });
        Shell { address, stop, thread: Some(thread) }
    }

    pub(crate) fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn on_event(server: &mut Server, event: &Event, accept: fn(&Identity) -> bool) {
    match event {
        Event::KeyRequest { request, identity } => {
            let key = Psk::new(KEY).filter(|_| identity == IDENTITY.as_bytes());
            server.provide_key(Instant::now(), *request, key.as_ref());
        }
        Event::VerdictRequest { request, identity } => {
            server.provide_verdict(Instant::now(), *request, accept(identity));
        }
        Event::Data { session, data } => {
            let answer = coap_answer(data).unwrap_or_else(|| [b"echo:", &data[..]].concat());
            server.send(*session, &answer).unwrap();
        }
        _ => {}
    }
}

/// A piggybacked 2.05 for a confirmable CoAP request.
fn coap_answer(request: &[u8]) -> Option<Vec<u8>> {
    let (first, code) = (*request.first()?, *request.get(1)?);
    if first >> 4 != 4 || !(1..8).contains(&code) {
        return None;
    }
    let token = request.get(4..4 + usize::from(first & 15))?;
    Some([&[0x60 | first & 15, 0x45], &request[2..4], token, b"\xfffrom the bridge"].concat())
}

/// A client process that ends with the test, and after a while in any case.
pub(crate) struct Process {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    pub(crate) output: String,
}

/// Starts a program of that Debian package.
pub(crate) fn run(package: &str, program: &str, arguments: &[&str]) -> Process {
    let patience = PATIENCE.as_secs().to_string();
    assert!(
        Command::new("which").arg(program).stdout(Stdio::null()).status().unwrap().success(),
        "{program} is missing: install the Debian package {package}"
    );
    let mut child = Command::new("timeout")
        .args([patience.as_str(), program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Process { child, lines, output: String::new() }
}

impl Process {
    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads up to a line that holds that text; false when the process ends without one.
    pub(crate) fn wait_for(&mut self, text: &str) -> bool {
        let mut line = Vec::new();
        while self.lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let read = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            self.output.push_str(&read);
            if read.contains(text) {
                return true;
            }
        }
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.output.push_str(&errors);
        false
    }

    /// Ends its input and waits for its end.
    pub(crate) fn finish(mut self) -> String {
        drop(self.child.stdin.take());
        self.lines.read_to_string(&mut self.output).unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
