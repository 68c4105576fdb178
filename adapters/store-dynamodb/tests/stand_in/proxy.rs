//! Stands between the store and the stand-in, and does to requests what networks and services do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is refused with this code, and never carried out.
    Code(&'static str),
    /// This is the answer (status, body), and it is never carried out.
    Answer(u16, String),
    /// It is carried out, and the answer gets lost.
    Lost,
    /// It is not carried out, and there is no answer.
    Silence,
    /// It is carried out after this time.
    Late(Duration),
}

/// One request: its operation and its body.
#[derive(Debug, Clone)]
pub struct Request {
    pub operation: String,
    pub body: String,
}

type Decide = Box<dyn FnMut(&Request, usize) -> Fault + Send>;

/// The proxy. It ends with the runtime of its test.
pub struct Proxy {
    pub address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    /// In front of `target`. `decide` is asked for each request, with its number from 0 on.
    pub async fn start(target: &str, decide: impl FnMut(&Request, usize) -> Fault + Send + 'static) -> Self {
        let target = target.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let decide: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(decide)));
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, target.clone(), log.clone(), decide.clone()));
            }
        });
        Self { address, seen }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut client: TcpStream,
    target: String,
    log: Arc<Mutex<Vec<Request>>>,
    decide: Arc<Mutex<Decide>>,
) {
    let Some((raw, request)) = read_request(&mut client).await else { return };
    let operation = request.operation.clone();
    let fault = {
        let mut seen = log.lock().unwrap();
        let fault = decide.lock().unwrap()(&request, seen.len());
        seen.push(request);
        fault
    };
    let answer = match fault {
        Fault::Pass => forward(&target, &raw, &operation).await,
        Fault::Late(time) => {
            tokio::time::sleep(time).await;
            forward(&target, &raw, &operation).await
        }
        Fault::Code(code) => answer(
            if code == "InternalServerError" { 500 } else { 400 },
            &format!("{{\"__type\":\"com.amazonaws#{code}\",\"message\":\"no\"}}"),
        ),
        Fault::Answer(status, body) => answer(status, &body),
        Fault::Lost => {
            forward(&target, &raw, &operation).await;
            return;
        }
        Fault::Silence => {
            // Until the other side gives up.
            let _ = client.read(&mut [0; 1]).await;
            return;
        }
    };
    if client.write_all(&answer).await.is_ok() {
        // The stand-in says that it closes, and so does this.
        let _ = client.shutdown().await;
    }
}

async fn read_request(client: &mut TcpStream) -> Option<(Vec<u8>, Request)> {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(at) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while raw.len() < end + length {
        if client.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
    let operation = header("x-amz-target").unwrap_or_default();
    let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(&raw[end..]).into_owned();
    Some((raw, Request { operation, body }))
}

/// What changes something, alone: see `deviations.rs`.
static TURN: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
const READS: [&str; 4] = ["getitem", "batchgetitem", "query", "describetable"];

async fn forward(target: &str, raw: &[u8], operation: &str) -> Vec<u8> {
    let (_beside, _alone) = match READS.contains(&operation) {
        true => (Some(TURN.read().await), None),
        false => (None, Some(TURN.write().await)),
    };
    let mut server = TcpStream::connect(target).await.unwrap();
    // One request per connection: the answer ends where the connection does.
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    server.write_all(&raw[..end]).await.unwrap();
    server.write_all(b"\r\nconnection: close").await.unwrap();
    server.write_all(&raw[end..]).await.unwrap();
    let mut answer = Vec::new();
    let _ = server.read_to_end(&mut answer).await;
    answer
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} no\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
