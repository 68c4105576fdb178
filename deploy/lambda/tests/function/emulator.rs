//! Lambda: the Runtime API (AWS: "Using the Lambda runtime API") for one execution environment, which is the real binary as
//! a process. Between events it is frozen (SIGSTOP) and thawed (SIGCONT) with the next; an event that is not answered in
//! time ends it (SIGKILL), and the next event finds a new one. Not here: where events come from.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::process::Process;

/// The program: cargo names it to tests; for others it is beside them.
pub fn bootstrap() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_bootstrap") {
        Some(path) => path.into(),
        None => std::env::current_exe().unwrap().with_file_name("bootstrap"),
    }
}

/// What the function is told of its time-out, unless the test says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// The function's answer.
    Answered(Value),
    /// The function's error.
    Failed(Value),
    /// It did not answer in time, or ended, and is gone.
    TimedOut,
}

impl Ended {
    /// The answer.
    pub fn answer(self) -> Value {
        match self {
            Self::Answered(value) => value,
            other => panic!("{other:?}"),
        }
    }
}

/// One execution environment. One event at a time unless it was started with more.
pub struct Environment {
    program: PathBuf,
    variables: Vec<(String, String)>,
    api: Arc<Api>,
    process: AsyncMutex<Option<Arc<Process>>>,
    /// What it has written to standard output, line by line.
    pub output: Arc<Mutex<Vec<Value>>>,
}

struct Event {
    id: String,
    payload: Value,
    deadline_ms: u128,
    ended: oneshot::Sender<Ended>,
}

struct Api {
    sender: mpsc::UnboundedSender<Event>,
    events: AsyncMutex<mpsc::UnboundedReceiver<Event>>,
    waiting: Mutex<std::collections::HashMap<String, oneshot::Sender<Ended>>>,
    process: Mutex<Option<Arc<Process>>>,
    freezes: bool,
    /// How often the process was thawed.
    thaws: AtomicU64,
}

impl Environment {
    /// An environment with these variables; the process starts with the first event. With one event at once it freezes.
    pub async fn new(variables: &[(String, String)], at_once: usize) -> Self {
        Self::of(bootstrap(), variables, at_once, at_once == 1).await
    }

    /// The same of any program that asks the Runtime API for events.
    pub async fn of(program: PathBuf, variables: &[(String, String)], at_once: usize, freezes: bool) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            sender,
            events: AsyncMutex::new(events),
            waiting: Mutex::default(),
            process: Mutex::default(),
            freezes,
            thaws: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(async || StatusCode::ACCEPTED))
            .with_state(api.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut variables = variables.to_vec();
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "device-bridge".into()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".into()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ] {
            variables.push((name.into(), value));
        }
        if at_once > 1 {
            variables.push(("AWS_LAMBDA_MAX_CONCURRENCY".into(), at_once.to_string()));
        }
        Self { program, variables, api, process: AsyncMutex::default(), output: Arc::default() }
    }

    /// One event, and what becomes of it.
    pub async fn invoke(&self, payload: Value) -> Ended {
        self.invoke_within(payload, TIMEOUT, TIMEOUT).await
    }

    /// The same with the time that the function is told, and the time after which it is ended.
    pub async fn invoke_within(&self, payload: Value, told: Duration, real: Duration) -> Ended {
        self.start().await;
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let id = format!("{:08x}-0000-4000-8000-{:012x}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + told;
        let (ended, outcome) = oneshot::channel();
        let event = Event { id, payload, deadline_ms: deadline.as_millis(), ended };
        assert!(self.api.sender.send(event).is_ok());
        match tokio::time::timeout(real, outcome).await {
            Ok(Ok(ended)) => ended,
            _ => {
                self.end().await;
                Ended::TimedOut
            }
        }
    }

    /// How often it was thawed.
    pub fn thaws(&self) -> u64 {
        self.api.thaws.load(Relaxed)
    }

    /// Ends the process; the next event finds a new one.
    pub async fn end(&self) {
        self.api.process.lock().unwrap().take();
        let process = self.process.lock().await.take();
        if let Some(process) = process {
            process.signal("KILL");
        }
        self.api.forget();
    }

    async fn start(&self) {
        let mut process = self.process.lock().await;
        if process.is_some() {
            return;
        }
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.variables.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::piped());
        let log = std::env::var_os("FUNCTION_LOG").map(PathBuf::from);
        command.stderr(match log {
            Some(path) => std::fs::File::options().append(true).create(true).open(path).unwrap().into(),
            None => Stdio::null(),
        });
        let mut child = command.spawn().unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let output = self.output.clone();
        let started = Arc::new(Process(child));
        let (api, of) = (self.api.clone(), Arc::downgrade(&started));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                output.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
            // It has ended by itself: whoever waits is told so.
            let current = api.process.lock().unwrap().clone();
            if current.is_some_and(|current| std::ptr::eq(Arc::as_ptr(&current), of.as_ptr())) {
                api.forget();
            }
        });
        *self.api.process.lock().unwrap() = Some(started.clone());
        *process = Some(started);
    }
}

/// The thread that reads what the process writes holds it until it ends.
impl Drop for Environment {
    fn drop(&mut self) {
        if let Some(process) = self.api.process.lock().unwrap().take() {
            process.signal("KILL");
        }
    }
}

impl Api {
    /// Whoever waits has no answer.
    fn forget(&self) {
        if let Ok(mut events) = self.events.try_lock() {
            while events.try_recv().is_ok() {}
        }
        self.waiting.lock().unwrap().clear();
    }
}

/// The next event. The process is frozen while there is none: the runtime has said everything by then.
async fn next(State(api): State<Arc<Api>>) -> Response {
    let mut events = api.events.lock().await;
    let event = match events.try_recv() {
        Ok(event) => event,
        Err(_) => {
            let frozen = api.process.lock().unwrap().clone().filter(|_| api.freezes);
            if let Some(process) = &frozen {
                process.signal("STOP");
            }
            let event = events.recv().await.unwrap();
            if let Some(process) = &frozen {
                process.signal("CONT");
                api.thaws.fetch_add(1, Relaxed);
            }
            event
        }
    };
    api.waiting.lock().unwrap().insert(event.id.clone(), event.ended);
    let headers = [
        ("lambda-runtime-aws-request-id", event.id),
        ("lambda-runtime-deadline-ms", event.deadline_ms.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:device-bridge".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event.payload.to_string()).into_response()
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    end(&api, &id, Ended::Answered(serde_json::from_slice(&body).unwrap()))
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    end(&api, &id, Ended::Failed(serde_json::from_slice(&body).unwrap_or(json!(null))))
}

fn end(api: &Api, id: &str, ended: Ended) -> StatusCode {
    let Some(waiter) = api.waiting.lock().unwrap().remove(id) else { return StatusCode::FORBIDDEN };
    // Whoever invoked it may have given up.
    let _ = waiter.send(ended);
    StatusCode::ACCEPTED
}
