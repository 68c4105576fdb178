//! What an integration can say about its Sigfox callbacks. Not here: the variables' own settings
//! ([`super::variables`]).

use super::pattern::LinePattern;
use super::service::Service;
use super::variables::Keys;
use crate::connector::{SettingError, Settings};

/// Forces the service.
pub(super) const SERVICE: &str = "service";
/// The pattern of a line of a batch or text.
pub(super) const LINE_PATTERN: &str = "line_pattern";
/// The parameter that holds a batch.
pub(super) const BATCH_FIELD: &str = "batch_field";

/// The settings of one integration.
#[derive(Debug, Clone)]
pub(super) struct SigfoxSettings {
    /// Which keys hold which variable.
    pub(super) keys: Keys,
    /// What every request is.
    pub(super) service: Option<Service>,
    /// How a line of a batch or text is made.
    pub(super) line_pattern: Option<LinePattern>,
    /// The parameter that holds a batch.
    pub(super) batch_field: String,
}

impl SigfoxSettings {
    /// Reads an integration's settings.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(super) fn read(settings: &Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = Vec::new();
        let mut wrong = |key, message: String| errors.push(SettingError { key, message });
        let mut one = |key| match settings.get(key).map(Vec::as_slice) {
            None => None,
            Some([value]) if !value.is_empty() => Some(value.clone()),
            Some(_) => {
                wrong(key, "must be one text that is not empty".into());
                None
            }
        };
        let (service, pattern, batch_field) = (one(SERVICE), one(LINE_PATTERN), one(BATCH_FIELD));
        let service = service.and_then(|name| {
            let service = Service::parse(&name);
            if service.is_none() {
                wrong(SERVICE, format!("is not a service; use one of {}", Service::names()));
            }
            service
        });
        let line_pattern = pattern.and_then(|text| {
            LinePattern::parse(&text).map_err(|error| wrong(LINE_PATTERN, error.to_string())).ok()
        });
        let keys = Keys::from_settings(settings).map_err(|more| errors.extend(more)).ok();
        match keys {
            Some(keys) if errors.is_empty() => {
                let batch_field = batch_field.unwrap_or_else(|| "batch".into());
                Ok(Self { keys, service, line_pattern, batch_field })
            }
            _ => Err(errors),
        }
    }
}
