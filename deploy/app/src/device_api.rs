//! The configuration becomes the settings of the HTTP API of devices, and codecs become its body formats. Not here: what
//! either of them is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context;
use bridge_core::Timestamp;
use bridge_core::payload::Outcome;
use codec::{Codec, Format as CodecFormat, Input, Spec};
use http_api::{ClientCertificates, Format, Formats, Gateway, Settings, SigningSecret};
use webhook::receiver::SecretDigest;

use crate::config::{Config, Secret};
use crate::sources;

/// What the API shall do.
pub(crate) fn settings(config: &Config) -> Settings {
    let gateway = |gateway: &crate::config::Gateway| Gateway {
        name: gateway.name.clone(),
        secrets: digests(&gateway.secrets),
        signing: gateway
            .secrets
            .iter()
            .map(|secret| SigningSecret::new(secret.expose().as_bytes()))
            .collect(),
        certificates: gateway.certificates.clone(),
        devices: gateway.devices.clone(),
        rate: Gateway::limit(gateway.rate),
    };
    let api = &config.devices_api;
    let certificates = |settings: &crate::config::ClientCertificates| ClientCertificates {
        is_trusted_proxy: sources::contains(&settings.proxies),
        header: settings.header.clone(),
        form: settings.form,
        device: settings.device,
    };
    let stateful = config.azure_bridge.as_ref().map(|client| Gateway {
        name: "azure_bridge".into(),
        secrets: digests(&client.secrets),
        signing: Vec::new(),
        certificates: Vec::new(),
        devices: client.devices.clone(),
        rate: Gateway::limit(client.rate),
    });
    Settings {
        enabled: api.enabled,
        register: api.register,
        body_limit: api.body_limit,
        rate: Settings::limits(api.rate),
        gateways: config.gateways.iter().map(gateway).collect(),
        seal_keys: config.secrets.seal_keys(),
        certificates: api.client_certificates.as_ref().map(certificates),
        stateful,
    }
}

fn digests(secrets: &[Secret]) -> Vec<SecretDigest> {
    secrets.iter().map(|secret| SecretDigest::of(secret.expose().as_bytes())).collect()
}

/// Keys that are never the same twice: random from one start to the next, counted within.
///
/// # Errors
/// When the system gives no random numbers.
pub(crate) fn unique_keys() -> anyhow::Result<Box<dyn Fn() -> [u8; 16] + Send + Sync>> {
    let mut start = [0; 16];
    getrandom::fill(&mut start).context("no random bytes")?;
    let (start, count) = (u128::from_be_bytes(start), AtomicU64::new(0));
    Ok(Box::new(move || start.wrapping_add(u128::from(count.fetch_add(1, Relaxed))).to_be_bytes()))
}

/// SenML and CBOR as the codecs read them, normalised like any other payload.
pub(crate) struct BodyFormats {
    senml: Codec,
    cbor: Codec,
}

impl BodyFormats {
    /// # Errors
    /// Never as it stands: neither is a script.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let codec = |name: &str, format| {
            let spec = Spec::plain(name, format);
            Codec::new(spec, || Err(std::io::Error::other("no scripts here")))
        };
        Ok(Self { senml: codec("senml", CodecFormat::Senml)?, cbor: codec("cbor", CodecFormat::Cbor)? })
    }
}

impl Formats for BodyFormats {
    fn decode(&self, format: Format, bytes: &[u8], received_at: Timestamp) -> Outcome {
        let first = bytes.iter().find(|byte| format != Format::SenmlJson || !byte.is_ascii_whitespace());
        // Both kinds of SenML have one codec, which goes by the first byte; the sender has said which one it is.
        let (codec, is_it) = match format {
            Format::SenmlJson => (&self.senml, first == Some(&b'[')),
            Format::SenmlCbor => (&self.senml, first.is_some_and(|byte| (0x80..0xa0).contains(byte))),
            Format::Cbor => (&self.cbor, true),
        };
        if !is_it {
            return Outcome::error("a SenML pack is an array of records");
        }
        // invariant: only scripts have no answer at once.
        codec.decode_now(&Input { bytes, port: None, received_at }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_what_their_senders_say() {
        let formats = BodyFormats::new().unwrap();
        let decode = |format, bytes: &[u8]| formats.decode(format, bytes, Timestamp::EPOCH);
        let json = br#" [{"bn":"urn:dev:1:","n":"temperature","u":"Cel","v":21.5}]"#;
        let sample = &decode(Format::SenmlJson, json).samples[0];
        assert_eq!(sample.measurements[0].name, "temperature");
        assert!(!decode(Format::SenmlCbor, json).errors.is_empty());
        assert!(!decode(Format::SenmlJson, br#"{"temperature":21.5}"#).errors.is_empty());
        // [{0: "a", 2: 1}]
        let cbor = [0x81, 0xa2, 0x00, 0x61, 0x61, 0x02, 0x01];
        assert_eq!(decode(Format::SenmlCbor, &cbor).samples[0].measurements[0].value, 1);
        // {"a": 1}
        assert_eq!(decode(Format::Cbor, &[0xa1, 0x61, 0x61, 0x01]).samples[0].measurements[0].name, "a");
        assert!(!decode(Format::Cbor, &[0xa1, 0x61]).errors.is_empty());
    }

    #[test]
    fn no_key_comes_twice() {
        let (one, other) = (unique_keys().unwrap(), unique_keys().unwrap());
        assert!(one() != one() && one() != other());
    }
}
