//! The environment variables of the function: their names and what they mean, in one place, so that the Terraform module
//! can be held against it. Not here: reading them ([`crate::settings`]), and the variables that Lambda sets by itself
//! (`AWS_LAMBDA_RUNTIME_API`, `AWS_REGION`, …).

/// Where the configuration is: a path in the package (relative ones start at `LAMBDA_TASK_ROOT`), `ssm:/name` (Parameter
/// Store), or `s3://bucket/key`. Compulsory.
pub const CONFIG: &str = "DEVICE_BRIDGE_CONFIG";

/// The name of the DynamoDB table. Compulsory.
pub const TABLE: &str = "DEVICE_BRIDGE_TABLE";

/// The URL of the SQS FIFO queue that is the outbox. Compulsory.
pub const QUEUE_URL: &str = "DEVICE_BRIDGE_QUEUE_URL";

/// How long a configuration and secrets that were read from AWS are used before they are read again, like `5m` (the
/// default). A secret that was rotated is taken over within this time.
pub const REFRESH: &str = "DEVICE_BRIDGE_REFRESH";

/// The namespace of the metrics in CloudWatch; `DeviceBridge` by default.
pub const METRICS_NAMESPACE: &str = "DEVICE_BRIDGE_METRICS_NAMESPACE";

/// The path in front of every route, like `/iot`: the API mapping of a custom domain name. The name of a stage need not be
/// said, it is in every event. None by default.
pub const BASE_PATH: &str = "DEVICE_BRIDGE_BASE_PATH";

/// Every variable that the function reads by a name of its own. Those that the configuration names by `{ env = "X" }`, for
/// secrets, come on top: their values may be references (`ssm:/name`, `secretsmanager:name-or-arn`, either with `#key` for
/// a member of a JSON object).
pub const ALL: &[&str] = &[CONFIG, TABLE, QUEUE_URL, REFRESH, METRICS_NAMESPACE, BASE_PATH];

/// Those without which the function does not start.
pub const COMPULSORY: &[&str] = &[CONFIG, TABLE, QUEUE_URL];
