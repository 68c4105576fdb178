//! AWS: moto_server as stand-in for DynamoDB, SQS, Secrets Manager, SSM and S3; one per world, so that it can be frozen.
//! And the event source that brings messages of SQS to the function. Not here: the function.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aws_sdk_sqs::types::MessageSystemAttributeName::{ApproximateReceiveCount, MessageGroupId};
use serde_json::{Value, json};
use store_dynamodb::table::FACTS;
use store_dynamodb::{Aws, DynamoStore, Settings};

use crate::emulator::{Ended, Environment};
use crate::process::{Process, wait_until};

pub const REGION: &str = "eu-central-1";
/// How long SQS keeps a message to itself that was handed out.
const VISIBILITY: i32 = 30;

/// The stand-in, with a table and a queue.
pub struct Cloud {
    pub server: Process,
    pub endpoint: String,
    pub queue_url: String,
    pub store: DynamoStore,
    sqs: aws_sdk_sqs::Client,
}

impl Cloud {
    pub async fn start() -> Self {
        let (server, endpoint) = serve();
        let sqs = sqs(&endpoint);
        let create = sqs.create_queue().queue_name("outbox.fifo");
        let create = FACTS
            .queue_attributes
            .iter()
            .fold(create, |create, (name, value)| create.attributes((*name).into(), *value));
        let queue_url = create.send().await.unwrap().queue_url.unwrap();
        let store = DynamoStore::new(&Aws::stand_in(&endpoint, REGION), Settings::new("device-bridge"));
        wait_until("the table is there", async || {
            // Its answer may be lost on a slow machine: then it exists the next time.
            let _ = store.create_table().await;
            store.check_table().await.is_ok()
        })
        .await;
        Self { server, endpoint, queue_url, store, sqs }
    }

    /// The same behind this address, for the functions to come and for the event source.
    pub fn go_behind(&mut self, endpoint: &str) {
        (self.endpoint, self.sqs) = (endpoint.to_owned(), sqs(endpoint));
    }

    /// What the runtime and the operator set for the function.
    pub fn variables(&self, config: &str) -> Vec<(String, String)> {
        [
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "stand-in"),
            ("AWS_SECRET_ACCESS_KEY", "stand-in"),
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("DEVICE_BRIDGE_CONFIG", config),
            ("DEVICE_BRIDGE_TABLE", "device-bridge"),
            ("DEVICE_BRIDGE_QUEUE_URL", &self.queue_url),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Calls a service that speaks JSON 1.1, as the command line of AWS would.
    pub async fn call(&self, service: &str, target: &str, body: &Value) {
        let signed_for = format!("AWS4-HMAC-SHA256 Credential=a/20261121/{REGION}/{service}/aws4_request");
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "-X", "POST", &self.endpoint])
            .args(["-H", &format!("authorization: {signed_for}"), "-H", &format!("x-amz-target: {target}")])
            .args(["-H", "content-type: application/x-amz-json-1.1", "-d", &body.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Keeps a secret, or replaces it.
    pub async fn set_secret(&self, name: &str, value: &str, is_new: bool) {
        let (action, key) = if is_new { ("CreateSecret", "Name") } else { ("PutSecretValue", "SecretId") };
        let body = json!({ key: name, "SecretString": value, "ClientRequestToken": format!("{:032x}", value.len() * 7919) });
        self.call("secretsmanager", &format!("secretsmanager.{action}"), &body).await;
    }

    /// Keeps a parameter.
    pub async fn set_parameter(&self, name: &str, value: &str) {
        let body = json!({ "Name": name, "Value": value, "Type": "SecureString", "Overwrite": true });
        self.call("ssm", "AmazonSSM.PutParameter", &body).await;
    }

    /// Puts a text into the queue, as a stranger would.
    pub async fn send(&self, body: &str) {
        let send = self.sqs.send_message().queue_url(&self.queue_url).message_body(body);
        send.message_group_id("x").message_deduplication_id("x").send().await.unwrap();
    }

    /// How many messages are in the queue, handed out or not.
    pub async fn queued(&self) -> u64 {
        use aws_sdk_sqs::types::QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
        };
        let get = self.sqs.get_queue_attributes().queue_url(&self.queue_url);
        let get = get.attribute_names(ApproximateNumberOfMessages);
        let attributes = get.attribute_names(ApproximateNumberOfMessagesNotVisible).send().await.unwrap();
        attributes.attributes().unwrap().values().map(|count| count.parse::<u64>().unwrap()).sum()
    }

    /// One round of the event source: a batch to the function; what it does not report as failed is deleted, the rest is
    /// handed out again at once. None when nothing was there.
    pub async fn deliver(&self, environment: &Environment) -> Option<Ended> {
        let (event, receipts) = self.batch().await?;
        let ended = environment.invoke(event).await;
        let failed: Vec<String> = match &ended {
            Ended::Answered(answer) => answer["batchItemFailures"]
                .as_array()
                .unwrap()
                .iter()
                .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
                .collect(),
            _ => receipts.keys().cloned().collect(),
        };
        self.finish(receipts, &failed).await;
        Some(ended)
    }

    /// A batch as an event, and the receipt handles by message id.
    pub async fn batch(&self) -> Option<(Value, HashMap<String, String>)> {
        let receive = self.sqs.receive_message().queue_url(&self.queue_url).max_number_of_messages(10);
        let receive = receive.visibility_timeout(VISIBILITY).wait_time_seconds(0);
        let receive = receive.message_system_attribute_names(MessageGroupId);
        let received = receive.message_system_attribute_names(ApproximateReceiveCount).send().await.unwrap();
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return None;
        }
        let (mut records, mut receipts) = (Vec::new(), HashMap::new());
        for message in messages {
            let mut record: Value = serde_json::from_str(include_str!("events/sqs-record.json")).unwrap();
            let id = message.message_id.unwrap();
            let attributes = message.attributes.unwrap_or_default();
            record["messageId"] = id.as_str().into();
            record["body"] = message.body.unwrap().into();
            record["attributes"]["MessageGroupId"] = attributes[&MessageGroupId].as_str().into();
            let count = attributes.get(&ApproximateReceiveCount).map_or("1", String::as_str);
            record["attributes"]["ApproximateReceiveCount"] = count.into();
            record["receiptHandle"] = message.receipt_handle.as_deref().unwrap().into();
            receipts.insert(id, message.receipt_handle.unwrap());
            records.push(record);
        }
        Some((json!({ "Records": records }), receipts))
    }

    /// Deletes what was done, and gives back what was not.
    pub async fn finish(&self, receipts: HashMap<String, String>, failed: &[String]) {
        for (id, receipt) in receipts {
            if failed.contains(&id) {
                let change = self.sqs.change_message_visibility().queue_url(&self.queue_url);
                change.receipt_handle(receipt).visibility_timeout(0).send().await.unwrap();
            } else {
                let delete = self.sqs.delete_message().queue_url(&self.queue_url);
                delete.receipt_handle(receipt).send().await.unwrap();
            }
        }
    }

    /// Brings everything to the functions until the queue is empty.
    pub async fn drain(&self, environments: &[Arc<Environment>]) {
        let begun = std::time::Instant::now();
        for environment in environments.iter().cycle() {
            if self.queued().await == 0 {
                return;
            }
            assert!(begun.elapsed() < crate::process::BOUND, "the queue does not become empty");
            if self.deliver(environment).await.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

fn sqs(endpoint: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(aws_sdk_sqs::config::Region::new(REGION))
        .credentials_provider(aws_sdk_sqs::config::Credentials::new("a", "b", None, None, "stand-in"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// Runs the stand-in until its standard input ends, which is when this program does.
fn serve() -> (Process, String) {
    let named = std::env::var_os("MOTO_SERVER").map(PathBuf::from).filter(|path| path.exists());
    let program = named.expect("MOTO_SERVER does not name a moto_server; `tests/moto` installs it from PyPI");
    let mut child = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let server = Process(child);
    let mut said = Vec::new();
    let address = loop {
        let line = lines.next().unwrap_or_else(|| panic!("moto_server ended: {said:?}")).unwrap();
        if let Some((_, address)) = line.split_once("Running on ") {
            break address.trim().to_owned();
        }
        said.push(line);
    };
    // It writes a line for every request, and stops when nobody reads them.
    std::thread::spawn(move || lines.for_each(drop));
    (server, address)
}
