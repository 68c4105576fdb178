//! What the configuration must know of a connector. Not here: the connectors.

use std::collections::BTreeMap;
use std::fmt;

use super::auth::AuthScheme;

/// The settings of one integration: key to one text, or to several (a TOML string, number, boolean, or array of them).
pub type Settings = BTreeMap<String, Vec<String>>;

/// Finds what is wrong with the settings of an integration.
pub type CheckSettings<'a> = Box<dyn Fn(&Settings) -> Vec<SettingMistake> + 'a>;

/// A kind of source that an integration may name.
pub struct ConnectorInfo<'a> {
    /// The name in the configuration.
    pub name: &'static str,
    /// What people call the cloud.
    pub title: &'static str,
    /// What device ids start with unless the integration says otherwise.
    pub default_prefix: &'static str,
    /// The ways in which the cloud can prove a secret.
    pub auth: Vec<AuthScheme>,
    /// The settings that it takes: key, and what it does.
    pub settings: Vec<(&'static str, &'static str)>,
    /// The way down to its devices, when it has one.
    pub downlink: Option<WayDownInfo<'a>>,
    /// Looks at settings whose keys are known, so that what the connector finds is listed with everything else.
    pub check: Option<CheckSettings<'a>>,
}

impl fmt::Debug for ConnectorInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorInfo")
            .field("name", &self.name)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// Finds what is wrong with the URL (empty when there is none) and the settings of a way down.
pub type CheckWayDown<'a> = Box<dyn Fn(&str, &Settings) -> Vec<SettingMistake> + 'a>;

/// What the configuration must know of a connector's way down.
pub struct WayDownInfo<'a> {
    /// What is called, or that nothing is.
    pub manner: WayManner,
    /// Further settings: key, and what it does.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Looks at the URL and the settings.
    pub check: CheckWayDown<'a>,
}

/// How commands leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayManner {
    /// The bridge calls an API.
    Api {
        /// Where it is unless the integration says otherwise.
        default_url: Option<&'static str>,
        /// What the token is.
        token: &'static str,
        /// Settings that the cloud announces, with URL and token; none when it announces nothing.
        announces: Option<&'static [&'static str]>,
    },
    /// The cloud asks for them: there is nothing to be called.
    Mailbox {
        /// Settings for the commented template.
        example: &'static str,
    },
}

/// What a connector finds wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingMistake {
    /// Which one; one that is absent is missing.
    pub key: String,
    /// What is wrong, as a sentence about the setting without subject.
    pub message: String,
}
