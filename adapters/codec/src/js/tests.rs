//! The host against scripts, good and hostile.

mod answers;
mod built_ins;
mod hostile;
mod inline;

mod state;
mod styles;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use bridge_core::time::Timestamp;

use super::*;

/// Long enough for a slow machine, as most tests are not about time.
fn patient() -> JsHost {
    JsHost::new(HostConfig { deadline: Duration::from_secs(5), ..HostConfig::default() }).unwrap()
}

/// For scripts that never end.
fn impatient(workers: usize) -> JsHost {
    JsHost::new(HostConfig { workers, deadline: Duration::from_millis(50), ..HostConfig::default() }).unwrap()
}

fn input(bytes: &[u8]) -> CallInput {
    let received_at = Timestamp::parse_rfc3339("2024-05-13T10:55:40.306Z").unwrap();
    CallInput { device: Some("d1".into()), ..CallInput::new(bytes.to_vec(), Some(2), received_at) }
}

fn decode(host: &JsHost, script: &Script, bytes: &[u8]) -> Result<Decoded, ScriptError> {
    let answer = host.call_blocking(script, Function::DecodeUplink, input(bytes))?;
    Ok(answer.into_decoded().unwrap())
}

/// Compiles and decodes once.
fn once(source: &str) -> Result<Decoded, ScriptError> {
    let host = patient();
    decode(&host, &host.compile("farm.js", source)?, &[1, 2, 3])
}

/// What `decodeUplink` makes of a payload when its body is this.
fn body(body: &str) -> Result<Decoded, ScriptError> {
    once(&format!("function decodeUplink(input) {{ {body} }}"))
}

fn json(decoded: &Decoded) -> String {
    serde_json::to_string(&decoded.data).unwrap()
}

/// Polls on this thread and sleeps in between.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
