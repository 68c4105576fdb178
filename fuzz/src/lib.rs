//! What every fuzz target of a connector does with its input: it is a request in the text form of `webhook::fuzzing`,
//! whose laws must hold, and what comes of it must be JSON to the hub. Not here: the laws, and the targets of the codecs,
//! which `codec::fuzzing` feeds.

use mqtt_hub::Dialect;
use mqtt_hub::dialects::{Encoding, MqttDialect};
use serde::de::IgnoredAny;

/// Takes a request through the connector of that name and through every encoding of the hub.
///
/// # Panics
/// When a law does not hold.
pub fn feed(connector: &str, text: &[u8]) {
    let Some(connector) = webhook::connectors::find(connector) else {
        panic!("there is no connector {connector}")
    };
    for message in webhook::fuzzing::check(connector, text) {
        for encoding in [Encoding::Json, Encoding::Flat, Encoding::Senml] {
            let dialect = MqttDialect { bridge: "fuzz".into(), prefix: String::new(), encoding };
            let publication = dialect.publication(&message);
            if let Err(error) = serde_json::from_slice::<IgnoredAny>(&publication.payload) {
                panic!("{} is no JSON: {error}", publication.payload.escape_ascii());
            }
            assert!(!publication.topic.contains(['+', '#', '\0']), "{} is no topic", publication.topic);
        }
    }
}
