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
    /// What proves to it who is calling.
    pub access: Access,
}

/// What proves to a cloud's API who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A bearer token.
    Token(Secret),
    /// What the cloud announces with its webhooks, with the URL, when that is at one of these: scheme and authority, in
    /// lower case.
    Announced(Vec<String>),
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
            WayManner::Api { announces: Some(brought), default_url, .. } if section.has("announced") => {
                for key in ["url", "token"].iter().chain(brought) {
                    section.refuse(key, "is announced, too: name it, or announced");
                }
                let access = section.optional("announced", read_origins).map(Access::Announced);
                // The URL is of no use until one is announced.
                Some((Some(default_url.unwrap_or("https://announced.invalid").to_owned()), access))
            }
            WayManner::Api { default_url, token, .. } => {
                let (url, token) = Api::read(&section, default_url, token, surroundings);
                Some((url, token.map(Access::Token)))
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
        if let WayManner::Api { announces: Some(brought), .. } = way.manner
            && section.has("announced")
        {
            for key in brought {
                settings.insert((*key).to_owned(), vec!["announced".to_owned()]);
            }
        }
        let (url, access) = api.unwrap_or_default();
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
        let api = match (url, access) {
            (Some(url), Some(access)) => Some(Api { url, access }),
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
        if let WayManner::Api { announces: Some(brought), default_url, .. } = way.manner {
            let url = default_url.unwrap_or("https://example.com");
            let host = url.trim_start_matches("https://");
            sheet.prose(&format!(
                "Or downlink = {{ announced = [{}] }}: URL, token and {} are those that the cloud announces with its webhooks, when \
                 they are for one of these hosts (https; another scheme stands before the host). They are kept encrypted, which \
                 needs a key: see [secrets].",
                quoted(host),
                brought.join(", ")
            ));
        }
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

/// Hosts (https) or schemes with hosts, as [`Access::Announced`] has them.
fn read_origins(field: &Field<'_>) -> Option<Vec<String>> {
    let origins = field.parse_items(parse_origin)?;
    if field.items().is_some_and(|items| items.is_empty()) {
        field.mistake("must name a host: an announced key goes nowhere else");
    }
    Some(origins)
}

fn parse_origin(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be a host such as \"eu1.cloud.thethings.network\", or a scheme and a host";
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = parse_url(&text).map_err(|_| WRONG)?.to_ascii_lowercase();
    let has_path = url.split_once("://").is_none_or(|(_, rest)| rest.contains(['/', '*']));
    if has_path { Err(WRONG) } else { Ok(url) }
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
