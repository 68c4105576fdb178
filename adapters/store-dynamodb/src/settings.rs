//! Which table, and how long to wait for it; the connection to AWS. Not here: reading configuration files.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};

/// How the store is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the table.
    pub table: String,
    /// How long one call of a port may take, retries included. Above it, the store is not available.
    pub wait: Duration,
    /// How long one request may take before it is tried again.
    pub attempt: Duration,
    /// How often a request is made at most.
    pub attempts: u32,
    /// How long message ids are kept at least; DynamoDB removes them some time after that. Longer than the window of
    /// deduplication.
    pub remember: Duration,
}

impl Settings {
    /// With the usual bounds: an answer within 4 seconds, so that a webhook is answered in time.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            wait: Duration::from_secs(4),
            attempt: Duration::from_millis(1500),
            attempts: 5,
            remember: Duration::from_secs(24 * 3600),
        }
    }
}

/// Region, credentials and connections, shared by the store and the queue.
#[derive(Debug, Clone)]
pub struct Aws(SdkConfig);

impl Aws {
    /// From the environment, as every AWS program finds them (environment variables, profile, container, instance);
    /// `region` goes before.
    pub async fn from_environment(region: Option<String>) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        Self(loader.load().await)
    }

    /// Of a stand-in at this address, which takes any credentials.
    pub fn stand_in(endpoint: &str, region: &str) -> Self {
        let nobody = Credentials::new("stand-in", "stand-in", None, None, "stand-in");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(nobody))
            .http_client(http_client())
            .build();
        Self(config)
    }

    /// The region, when one is configured: requests without it fail.
    pub fn region(&self) -> Option<&str> {
        self.0.region().map(AsRef::as_ref)
    }

    /// For other services of AWS: region, credentials and, of a stand-in, the address.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.0
    }

    pub(crate) fn dynamodb(&self, settings: &Settings) -> aws_sdk_dynamodb::Config {
        aws_sdk_dynamodb::config::Builder::from(&self.0)
            .retry_config(retry(settings))
            .timeout_config(timeout(settings, Duration::ZERO))
            .build()
    }

    /// `long` is what a request for messages may wait on top.
    pub(crate) fn sqs(&self, settings: &Settings, long: Duration) -> aws_sdk_sqs::Config {
        aws_sdk_sqs::config::Builder::from(&self.0)
            .retry_config(retry(settings))
            .timeout_config(timeout(settings, long))
            .build()
    }
}

/// The workspace has one provider for rustls, and it is ring.
fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

fn retry(settings: &Settings) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(settings.attempts)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1))
}

fn timeout(settings: &Settings, long: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.attempt)
        .operation_attempt_timeout(settings.attempt + long)
        .operation_timeout(settings.wait + long)
        .build()
}
