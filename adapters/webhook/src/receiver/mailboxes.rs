//! What the mailboxes of devices have for an answer, in time for it. Not here: mailboxes (the caller's), and the form of an
//! answer (connectors).

use std::time::{Duration, Instant};

use bridge_core::IntegrationName;
use bridge_core::ports::{BoxFuture, Clock, StoreResult};

use super::Source;
use crate::connector::{Ask, Letter, Request, WayDown};

/// What is in the mailboxes of devices.
pub trait Mailboxes: Send + Sync {
    /// Whether devices of this integration have mailboxes.
    fn are_of(&self, integration: &IntegrationName) -> bool;

    /// The bytes for a device that asks; none when there are none for it now. That they are given is durable when this
    /// completes. The same key gets the same bytes.
    ///
    /// # Errors
    /// When the store failed: the device gets nothing, and its uplink is as good as ever.
    fn take<'a>(
        &'a self,
        integration: &'a IntegrationName,
        ask: &'a Ask,
    ) -> BoxFuture<'a, StoreResult<Option<Vec<u8>>>>;
}

/// The latest moment for an answer, counted from the request: Sigfox waits 10 s (reference page "webhooks", section 1.3).
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// What all devices of a request get. Whatever goes wrong costs the answer its commands, not the uplink its acceptance.
pub(super) async fn letters(
    mailboxes: &dyn Mailboxes,
    (source, request): (&Source, &Request<'_>),
    clock: &dyn Clock,
    entered: Instant,
) -> Vec<Letter> {
    let integration = &source.integration.name;
    // The cloud first: that is known without a look at the configuration of now.
    let asks = matches!(source.connector.downlink(), Some(WayDown::Mailbox(_)));
    if !asks || !mailboxes.are_of(integration) {
        return Vec::new();
    }
    let mut letters = Vec::new();
    for ask in source.decode.asks(request) {
        let left = (entered + ANSWER_WITHIN).saturating_duration_since(clock.now());
        match tokio::time::timeout(left, mailboxes.take(integration, &ask)).await {
            Ok(Ok(data)) => letters.extend(data.map(|data| Letter { name: ask.name, data })),
            Ok(Err(error)) => {
                tracing::warn!(%error, %integration, device = ask.device.id, "a mailbox could not be opened");
            }
            Err(_) => {
                tracing::warn!(%integration, device = ask.device.id, "a mailbox was too slow for the answer");
                break;
            }
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bridge_core::counters::IntegrationCounters;
    use bridge_core::pipeline::Integration;
    use bridge_core::ports::StoreError;
    use bridge_core::registrar::{DeviceRule, Register};
    use bridge_core::testing::ManualClock;

    use super::super::{Auth, LogGate};
    use super::*;
    use crate::connectors;

    /// Has bytes for `1A`, fails for `2B`, and never answers for `3C`.
    struct Boxes;

    impl Mailboxes for Boxes {
        fn are_of(&self, integration: &IntegrationName) -> bool {
            integration.as_str() == "sky"
        }

        fn take<'a>(
            &'a self,
            _: &'a IntegrationName,
            ask: &'a Ask,
        ) -> BoxFuture<'a, StoreResult<Option<Vec<u8>>>> {
            Box::pin(async move {
                match ask.name.as_str() {
                    "1A" => Ok(Some(vec![7; 8])),
                    "2B" => Err(StoreError::Unavailable("it is full".into())),
                    "3C" => std::future::pending().await,
                    _ => Ok(None),
                }
            })
        }
    }

    fn source(name: &str) -> Source {
        let connector = connectors::find("sigfox").unwrap();
        Source {
            integration: Integration {
                name: IntegrationName::parse(name).unwrap(),
                source: "sigfox",
                devices: DeviceRule { register: Register::Auto, naming: Default::default() },
                counters: Arc::new(IntegrationCounters::default()),
            },
            connector,
            decode: connector.configure(&Default::default()).unwrap(),
            auth: Auth::Bearer(Vec::new()),
            body_limit: 1024,
            allows: None,
            rate: None,
            device_rate: None,
            refusal_log: LogGate::default(),
        }
    }

    #[tokio::test]
    async fn a_mailbox_that_fails_or_is_slow_costs_the_answer_its_command_only() {
        let clock = ManualClock::default();
        let entered = clock.now();
        let ask = async |source: &Source, device: &str| {
            let body =
                format!(r#"{{"device":"{device}","time":1795175990,"seqNumber":1,"data":"0a","ack":true}}"#);
            let request = Request {
                method: &http::Method::POST,
                path_device: None,
                query: "",
                content_type: "application/json",
                body: body.as_bytes(),
                received_at: clock.wall(),
            };
            letters(&Boxes, (source, &request), &clock, entered).await
        };
        let sky = source("sky");
        assert_eq!(ask(&sky, "1A").await, [Letter { name: "1A".into(), data: vec![7; 8] }]);
        assert!(ask(&sky, "2B").await.is_empty() && ask(&sky, "4D").await.is_empty());
        assert!(ask(&source("elsewhere"), "1A").await.is_empty());
        clock.advance(ANSWER_WITHIN);
        assert!(ask(&sky, "3C").await.is_empty(), "the time for the answer is over");
    }
}
