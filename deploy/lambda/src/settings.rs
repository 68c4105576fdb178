//! Reads the environment variables of the function. Not here: their names ([`crate::environment`]), and what they refer to.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use app::config::units::parse_duration;

use crate::environment as names;
use crate::remote::Reference;

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the configuration is.
    pub config: Place,
    /// The name of the table.
    pub table: String,
    /// The URL of the queue.
    pub queue_url: String,
    /// How long texts of AWS are used.
    pub refresh: Duration,
    /// The namespace of the metrics.
    pub namespace: String,
    /// The name of the function, for the metrics.
    pub function: String,
    /// The path in front of every route, like `/iot`.
    pub base_path: Option<String>,
}

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the package.
    File(PathBuf),
    /// In AWS.
    Remote(Reference),
}

/// How long texts of AWS are used, usually.
const REFRESH: Duration = Duration::from_secs(300);
/// They are not read more often than that.
const SHORTEST: Duration = Duration::from_secs(1);

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// Which variable is missing or wrong: the operator's to mend.
    pub fn read(env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let missing: Vec<&str> =
            names::COMPULSORY.iter().copied().filter(|name| get(name).is_none()).collect();
        ensure!(missing.is_empty(), "these environment variables have to be set: {}", missing.join(", "));
        let needed = |name: &str| get(name).with_context(|| format!("{name} is not set"));
        let config = needed(names::CONFIG)?;
        let config = match Reference::parse(&config) {
            Some(reference) => Place::Remote(reference),
            None => Place::File(PathBuf::from(get("LAMBDA_TASK_ROOT").unwrap_or_default()).join(config)),
        };
        let refresh = match get(names::REFRESH) {
            None => REFRESH,
            Some(text) => {
                parse_duration(&text).with_context(|| format!("{} is no time like 5m", names::REFRESH))?
            }
        };
        let base_path = get(names::BASE_PATH).map(|path| format!("/{}", path.trim_matches('/')));
        Ok(Self {
            config,
            table: needed(names::TABLE)?,
            queue_url: needed(names::QUEUE_URL)?,
            refresh: refresh.max(SHORTEST),
            namespace: get(names::METRICS_NAMESPACE).unwrap_or_else(|| "DeviceBridge".into()),
            function: get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "device-bridge".into()),
            base_path: base_path.filter(|path| path != "/"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let set: Vec<(String, String)> =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(&move |name: &str| {
            set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn what_is_missing_is_named_at_once() {
        let error = read(&[("DEVICE_BRIDGE_TABLE", "")]).unwrap_err().to_string();
        for name in names::COMPULSORY {
            assert!(error.contains(name), "{error}");
        }
        assert!(names::COMPULSORY.iter().all(|name| names::ALL.contains(name)));
    }

    #[test]
    fn the_environment_is_read() {
        let all = [
            (names::TABLE, "t"),
            (names::QUEUE_URL, "https://q"),
            (names::REFRESH, "30s"),
            (names::BASE_PATH, "iot/"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
        ];
        let with = |config: &'static str| read(&[&all[..], &[(names::CONFIG, config)]].concat()).unwrap();
        let file = with("device-bridge.toml");
        assert_eq!(file.config, Place::File("/var/task/device-bridge.toml".into()));
        assert_eq!((file.refresh, file.base_path.as_deref()), (Duration::from_secs(30), Some("/iot")));
        assert_eq!(file.namespace, "DeviceBridge");
        assert!(matches!(with("ssm:/bridge").config, Place::Remote(Reference::Parameter(..))));
        let wrong = read(&[&all[..2], &[(names::CONFIG, "x"), (names::REFRESH, "soon")]].concat());
        assert!(wrong.is_err_and(|error| error.to_string().contains(names::REFRESH)));
    }
}
