//! `bootstrap`: the process that the runtime `provided.al2023` starts. Takes events one after the other, or as many at once
//! as Lambda Managed Instances ask for. Not here: what becomes of an event.

use std::process::ExitCode;
use std::sync::Arc;

use lambda::function::Function;
use lambda::metrics::{self, Measures};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> ExitCode {
    let function = match Function::start(Arc::new(|name: &str| std::env::var(name).ok())).await {
        Ok(function) => function,
        Err(error) => {
            let mut measures = Measures::default();
            measures.count("StartFailed", 1);
            let now = bridge_core::ports::Clock::wall(&app::SystemClock).as_millis();
            metrics::write(&measures.line(now, ("DeviceBridge", "device-bridge"), "start", ""));
            return failed(&format!("the function cannot start: {error:#}"));
        }
    };
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let function = function.clone();
        async move {
            let (payload, context) = event.into_parts();
            function.handle(payload, &context).await
        }
    });
    match lambda_runtime::run_concurrent(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("the runtime failed: {error}")),
    }
}

#[allow(clippy::print_stderr, reason = "there may be no log yet")]
fn failed(why: &str) -> ExitCode {
    eprintln!("device-bridge: {why}");
    ExitCode::FAILURE
}
