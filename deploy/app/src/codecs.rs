//! Codecs from the configuration, and those that need none. Not here: reading it, decoding.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use bridge_core::IntegrationName;
use codec::js::{HostConfig, JsHost};
use codec::{Assignment, Codec, Format, Spec, Table};

use crate::config::Config;

/// Codecs that need no description: `codec = "cayenne"` is enough.
pub fn built_in() -> [(&'static str, Format); 6] {
    [
        ("cayenne", Format::Cayenne),
        ("senml", Format::Senml),
        ("cbor", Format::Cbor),
        ("json", Format::Json { fields: Vec::new() }),
        ("text", Format::Text),
        ("auto", Format::Auto),
    ]
}

/// Makes codecs, and the threads for scripts when the first one comes. They outlive a change of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Workshop(OnceLock<Arc<JsHost>>);

impl Workshop {
    /// The codecs of a configuration, and those that need no description.
    ///
    /// # Errors
    /// When one cannot be made; a configuration that was read has been checked for that.
    pub(crate) fn table(&self, config: &Config) -> anyhow::Result<Table> {
        let mut table = Table::default();
        for (name, format) in built_in() {
            let spec = Spec::plain(name, format);
            table.codecs.insert(name.into(), self.codec(spec)?);
        }
        for described in &config.codecs {
            let name = &described.spec.name;
            let codec = self.codec(described.spec.clone())?;
            for warning in codec.warnings() {
                tracing::warn!(codec = %name, warning, "doubtful codec");
            }
            if let Some(live) = &described.trial_of {
                table.trials.insert(live.clone(), codec.clone());
            }
            table.codecs.insert(name.clone(), codec);
        }
        for integration in &config.integrations {
            table.assignments.insert(integration.name.clone(), integration.codecs.clone());
        }
        let devices = IntegrationName::parse(http_api::INTEGRATION)?;
        let default = config.devices_api.codec.clone();
        table.assignments.insert(devices, Assignment { default, ..Assignment::default() });
        Ok(table)
    }

    fn codec(&self, spec: Spec) -> anyhow::Result<Arc<Codec>> {
        let name = spec.name.clone();
        let codec = Codec::new(spec, || self.host()).with_context(|| format!("codecs.{name}"))?;
        Ok(Arc::new(codec))
    }

    fn host(&self) -> std::io::Result<Arc<JsHost>> {
        if let Some(host) = self.0.get() {
            return Ok(host.clone());
        }
        let host = Arc::new(JsHost::new(HostConfig::default())?);
        Ok(self.0.get_or_init(|| host).clone())
    }
}
