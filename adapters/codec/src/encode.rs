//! Arguments of commands become bytes. Not here: decoding.

use bridge_core::Timestamp;
use serde_json::Value;

use crate::cayenne;
use crate::codec::{Codec, Context, Decoder, Downlink};
use crate::js::{CallInput, Encoded, Function};

impl Codec {
    /// Whether it encodes commands of this name.
    pub fn encodes(&self, name: &str) -> bool {
        if self.downlinks.of(name).is_some() {
            return true;
        }
        match &self.decoder {
            Decoder::Script(_, script) => script.has(Function::EncodeDownlink),
            Decoder::Cayenne => true,
            _ => false,
        }
    }

    /// Encodes the arguments of a command: by the template for its name, else as its format does.
    ///
    /// # Errors
    /// Texts for whoever sent the command.
    pub async fn encode(
        &self,
        name: &str,
        arguments: &Value,
        context: Context,
        now: Timestamp,
    ) -> Result<Encoded, Vec<String>> {
        if let Some(Downlink { template, port }) = self.downlinks.of(name) {
            let bytes = template.encode(arguments)?;
            return Ok(Encoded { bytes, port: *port, ..Encoded::default() });
        }
        let encoded = match &self.decoder {
            Decoder::Script(host, script) => {
                let Context { device, tags, radio, previous } = context;
                let call = CallInput {
                    device,
                    tags,
                    radio,
                    previous,
                    variables: self.variables.clone(),
                    data: Some(arguments.clone()),
                    ..CallInput::new(Vec::new(), None, now)
                };
                let answer = host.call(script, Function::EncodeDownlink, call).await;
                answer.map_err(|error| vec![error.to_string()])?.into_encoded().unwrap_or_default()
            }
            Decoder::Cayenne => {
                let Some(fields) = arguments.as_object() else {
                    return Err(vec!["the values must be an object, such as {\"value_1\": 21.5}".into()]);
                };
                let bytes = cayenne::encode_downlink(fields).map_err(|error| vec![error.to_string()])?;
                Encoded { bytes, ..Encoded::default() }
            }
            _ => return Err(vec![format!("codec {:?} cannot encode", self.name())]),
        };
        if encoded.errors.is_empty() { Ok(encoded) } else { Err(encoded.errors) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bridge_core::testing::block_on;
    use serde_json::json;

    use super::*;
    use crate::grammar::Template;
    use crate::js::{HostConfig, JsHost};
    use crate::{Format, Spec};

    fn codec(format: Format) -> Codec {
        let spec = Spec::plain("c", format);
        Codec::new(spec, || JsHost::new(HostConfig::default()).map(Arc::new)).unwrap()
    }

    fn encode(codec: &Codec, arguments: &Value) -> Result<Encoded, Vec<String>> {
        block_on(codec.encode("blink", arguments, Context::default(), Timestamp::EPOCH))
    }

    #[test]
    fn scripts_and_cayenne_encode_and_others_do_not() {
        let script = codec(Format::JavaScript {
            source: "function decodeUplink() { return { data: {} } }
                     function encodeDownlink(i) { return i.data.on === undefined ? { errors: ['no on'] }
                       : { bytes: [i.data.on ? 1 : 0], fPort: 9 } }"
                .into(),
        });
        assert!(script.encodes("blink"));
        let on = encode(&script, &json!({ "on": true })).unwrap();
        assert_eq!((on.bytes, on.port), (vec![1], Some(9)));
        assert_eq!(encode(&script, &json!({})), Err(vec!["no on".to_owned()]));
        assert_eq!(
            encode(&codec(Format::Cayenne), &json!({ "value_1": 1 })).unwrap().bytes,
            [1, 0, 100, 255]
        );
        assert!(encode(&codec(Format::Cayenne), &json!([1])).is_err());
        let silent =
            codec(Format::JavaScript { source: "function decodeUplink() { return { data: {} } }".into() });
        assert!(!silent.encodes("blink") && encode(&silent, &json!({})).is_err());
        assert!(!codec(Format::Text).encodes("blink") && encode(&codec(Format::Text), &json!({})).is_err());
    }

    #[test]
    fn a_template_encodes_the_commands_that_it_is_for() {
        let downlink = |template: &str, port| Downlink { template: Template::parse(template).unwrap(), port };
        let mut spec = Spec::plain("c", Format::Cayenne);
        spec.downlinks.0.insert("blink".into(), downlink("01 seconds::uint:16", Some(3)));
        let new =
            |spec: &Spec| Codec::new(spec.clone(), || Err(std::io::ErrorKind::Unsupported.into())).unwrap();
        let codec = new(&spec);
        let encode = |codec: &Codec, name, arguments| {
            block_on(codec.encode(name, &arguments, Context::default(), Timestamp::EPOCH))
        };
        let blink = encode(&codec, "blink", json!({ "seconds": 2 })).unwrap();
        assert_eq!((blink.bytes, blink.port), (vec![1, 0, 2], Some(3)));
        assert_eq!(encode(&codec, "blink", json!({})).unwrap_err(), ["seconds is missing"]);
        assert_eq!(encode(&codec, "set", json!({ "value_1": 1 })).unwrap().bytes, [1, 0, 100, 255]);
        spec.downlinks.0.insert("*".into(), downlink("ff", None));
        let codec = new(&Spec { format: Format::Text, ..spec });
        assert!(codec.encodes("blink") && codec.encodes("anything"));
        assert_eq!(encode(&codec, "anything", json!({})).unwrap().bytes, [0xff]);
    }
}
