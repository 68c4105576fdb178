//! A function with its cloud and its hub, and the events that it gets. Not here: what is asserted.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::aws::Cloud;
use crate::emulator::{Ended, Environment};
use crate::hub::Hub;
use crate::process::{BOUND, wait_until};

/// What the integration `farm` wants to hear.
pub const SECRET: &str = "a-secret-of-the-tests";
/// What operators show.
pub const OPERATOR: &str = "an-operators-token-of-the-tests";

/// See the module.
pub struct World {
    pub cloud: Cloud,
    pub hub: Hub,
    _package: tempfile::TempDir,
    pub variables: Vec<(String, String)>,
    _turn: MutexGuard<'static, ()>,
}

/// One world at a time: how long an answer takes is a part of what is tested.
static TURN: Mutex<()> = Mutex::const_new(());

impl World {
    /// With this text behind the configuration.
    pub async fn new(more: &str) -> Self {
        let turn = TURN.lock().await;
        let (cloud, hub) = (Cloud::start().await, Hub::start().await);
        let package = tempfile::tempdir().unwrap();
        let path = package.path().join("device-bridge.toml");
        std::fs::write(&path, config(hub.port, more)).unwrap();
        let mut variables = cloud.variables("device-bridge.toml");
        variables.push(("LAMBDA_TASK_ROOT".into(), package.path().to_str().unwrap().into()));
        variables.push(("FARM_SECRET".into(), SECRET.into()));
        variables.push(("OPERATOR".into(), OPERATOR.into()));
        Self { cloud, hub, _package: package, variables, _turn: turn }
    }

    /// AWS at this address for the functions to come and for the event source.
    pub fn go_behind(&mut self, endpoint: &str) {
        self.cloud.go_behind(endpoint);
        let found = self.variables.iter_mut().find(|(name, _)| name == "AWS_ENDPOINT_URL");
        found.unwrap().1 = endpoint.to_owned();
    }

    /// One execution environment.
    pub async fn environment(&self) -> Arc<Environment> {
        Arc::new(Environment::new(&self.variables, 1).await)
    }

    /// Several.
    pub async fn environments(&self, count: usize) -> Vec<Arc<Environment>> {
        let mut environments = Vec::new();
        for _ in 0..count {
            environments.push(self.environment().await);
        }
        environments
    }
}

/// The configuration of the tests; what follows is of the integration first.
pub fn config(mqtt: u16, more: &str) -> String {
    format!(
        "[hub]\nurl = \"mqtt://127.0.0.1:{mqtt}\"\nkeep_alive = \"5s\"\n\
         [admin.tokens.night]\nsecrets = [{{ env = \"OPERATOR\" }}]\nscopes = [\"read\"]\n\
         [integrations.farm]\nconnector = \"ttn\"\n\
         auth = {{ scheme = \"bearer\", secrets = [{{ env = \"FARM_SECRET\" }}] }}\n{more}"
    )
}

/// A webhook of The Things Stack, as API Gateway brings it.
pub fn uplink(device: &str, counter: u64) -> Value {
    http_api(uplink_body(device, counter).to_string(), SECRET)
}

/// The body of that webhook.
pub fn uplink_body(device: &str, counter: u64) -> Value {
    json!({
        "end_device_ids": { "device_id": device, "application_ids": { "application_id": "app" } },
        "uplink_message": {
            "session_key_id": "S", "f_port": 1, "f_cnt": counter, "frm_payload": "AQ==",
            "decoded_payload": { "n": counter }, "received_at": "2026-11-20T12:00:00Z"
        }
    })
}

/// A request to the webhook by an HTTP API.
pub fn http_api(body: String, secret: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/http-api.json")).unwrap();
    event["headers"]["authorization"] = format!("Bearer {secret}").into();
    event["requestContext"]["timeEpoch"] = epoch_ms().into();
    event["body"] = body.into();
    event
}

/// The same by a Function URL, whose bodies are base64.
pub fn function_url(body: &str, secret: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/function-url.json")).unwrap();
    event["headers"]["authorization"] = format!("Bearer {secret}").into();
    event["requestContext"]["timeEpoch"] = epoch_ms().into();
    event["body"] = BASE64.encode(body).into();
    event
}

/// Any other request.
pub fn request(method: &str, path: &str, token: &str, body: &Value) -> Value {
    let mut event = http_api(body.to_string(), token);
    event["rawPath"] = path.into();
    event["requestContext"]["http"]["path"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    event
}

/// The status of an answer; of none, what API Gateway makes of that.
pub fn status(ended: Ended) -> u64 {
    if ended == Ended::TimedOut {
        return 504;
    }
    let answer = ended.answer();
    answer["statusCode"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// Sends an uplink until it is accepted, as a source does.
pub async fn accept(environment: &Environment, device: &str, counter: u64) {
    accept_event(environment, || uplink(device, counter)).await;
}

/// The same for any event; each time it is a new request.
pub async fn accept_event(environment: &Environment, event: impl Fn() -> Value) {
    let begun = Instant::now();
    while status(environment.invoke(event()).await) >= 300 {
        assert!(begun.elapsed() < BOUND, "{} is not accepted", event());
    }
}

/// Lets the schedule come until everything is done: what the table does not answer in time is left to the next one.
pub async fn keep_house(environment: &Environment, scheduled: &Value) {
    wait_until("housekeeping is done", async || {
        environment.invoke(scheduled.clone()).await.answer() == json!({ "done": true })
    })
    .await;
}

/// The sum of a metric over everything that environments wrote.
pub fn metric(environments: &[Arc<Environment>], name: &str) -> f64 {
    let lines = environments.iter().flat_map(|environment| environment.output.lock().unwrap().clone());
    lines.filter(|line| line.get("_aws").is_some()).filter_map(|line| line[name].as_f64()).sum()
}

/// Waits until a metric is as it should be: what a function writes is read a moment later.
pub async fn counts(environments: &[Arc<Environment>], name: &str, is_so: impl Fn(f64) -> bool) {
    wait_until(&format!("{name} is right"), async || is_so(metric(environments, name))).await;
}

fn epoch_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
