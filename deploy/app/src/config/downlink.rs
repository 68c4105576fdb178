//! `[integrations.NAME.downlink]`: how commands go down to the devices of an integration. Not here: what a cloud wants of
//! it (the connectors), how commands live (`[commands]`).

use super::connector::{ConnectorInfo, Settings, WayDownInfo, WayManner};
use super::reader::{Field, Section};
use super::secret::{Secret, Surroundings};
use super::sheet::{Sheet, quoted};

/// `[integrations.NAME.downlink]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink {
    /// What is called; none when the cloud asks for commands.
    pub api: Option<Api>,
    /// What the connector wants beside.
    pub settings: Settings,
}

/// A cloud's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Where it is, without a slash at its end.
    pub url: String,
    /// Its bearer token.
    pub token: Secret,
}

impl Downlink {
    /// Reads it; none when it is absent, or wrong (and reported).
    pub(super) fn read(
        integration: &Section<'_>,
        connector: Option<&ConnectorInfo<'_>>,
        surroundings: &Surroundings<'_>,
    ) -> Option<Self> {
        let field = integration.field("downlink")?;
        let connector = connector?;
        let Some(way) = &connector.downlink else {
            field.mistake(format!("no command can be sent to {}", connector.title));
            return None;
        };
        let section = field.section()?;
        let api = match way.manner {
            WayManner::Api { default_url, token } => {
                Some(Api::read(&section, default_url, token, surroundings))
            }
            WayManner::Mailbox { .. } => {
                for key in ["url", "token"] {
                    let why = "nothing is called: commands travel in the answers to the cloud's own requests";
                    section.refuse(key, why);
                }
                None
            }
        };
        let mut settings = Settings::new();
        for (key, _) in &way.settings {
            if let Some(values) = section.optional(key, Field::scalars) {
                settings.insert((*key).to_owned(), values);
            }
        }
        let (url, token) = api.unwrap_or_default();
        let is_api = matches!(way.manner, WayManner::Api { .. });
        if is_api && url.is_none() {
            return None;
        }
        for mistake in (way.check)(url.as_deref().unwrap_or_default(), &settings) {
            match way
                .settings
                .iter()
                .find(|(key, _)| *key == mistake.key)
                .and_then(|(key, _)| section.field(key))
            {
                Some(field) => field.mistake(mistake.message),
                None => section.missing(&mistake.key, &mistake.message),
            }
        }
        section.finish();
        let api = match (url, token) {
            (Some(url), Some(token)) => Some(Api { url, token }),
            _ if is_api => return None,
            _ => None,
        };
        Some(Self { api, settings })
    }

    pub(super) fn describe(sheet: &mut Sheet, name: &str, way: Option<&WayDownInfo<'_>>) {
        let Some(way) = way else { return };
        sheet.prose(match way.manner {
            WayManner::Api { .. } => {
                "How commands go down to its devices: url, token, and settings of the connector. Default: not at all."
            }
            WayManner::Mailbox { .. } => {
                "Commands for its devices wait here until they ask, and travel in the answers. Default: not at all."
            }
        });
        for (key, help) in &way.settings {
            sheet.prose(&format!("{key}: {help}"));
        }
        let example = match way.manner {
            WayManner::Api { default_url, .. } => {
                let url = default_url.unwrap_or("https://api.example.com");
                let variable = format!("{}_TOKEN", name.to_uppercase().replace('-', "_"));
                let settings: String =
                    way.settings.iter().map(|(key, _)| format!(", {key} = \"bridge\"")).collect();
                format!("{{ url = {}, token = {{ env = \"{variable}\" }}{settings} }}", quoted(url))
            }
            WayManner::Mailbox { example } => format!("{{ {example} }}"),
        };
        sheet.key("downlink", &example);
    }
}

impl Api {
    /// Its URL and its token, where they are there and right.
    fn read(
        section: &Section<'_>,
        default_url: Option<&'static str>,
        token: &'static str,
        surroundings: &Surroundings<'_>,
    ) -> (Option<String>, Option<Secret>) {
        let url = |field: &Field<'_>| field.parse(parse_url);
        let url = match default_url {
            Some(default) => Some(section.or("url", default.to_owned(), url)),
            None => section.required("url", "where the API is, such as \"https://example.com\"", url),
        };
        (url, section.required("token", token, |field| surroundings.secret(field)))
    }
}

fn parse_url(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be a URL such as \"https://example.com\", without query";
    let url: http::Uri = text.parse().map_err(|_| WRONG)?;
    let good =
        matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some() && url.query().is_none();
    if !good || url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(WRONG);
    }
    Ok(text.trim_end_matches('/').to_owned())
}
