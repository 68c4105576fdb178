//! `[integrations.NAME.downlink]`: how commands go down to the devices of an integration. Not here: what a cloud wants of
//! it (the connectors), how commands live (`[commands]`).

use super::connector::{ConnectorInfo, Settings, WayDownInfo};
use super::reader::{Field, Section};
use super::secret::{Secret, Surroundings};
use super::sheet::{Sheet, quoted};

/// `[integrations.NAME.downlink]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink {
    /// The cloud's API, without a slash at its end.
    pub url: String,
    /// Its bearer token.
    pub token: Secret,
    /// What the connector wants beside.
    pub settings: Settings,
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
            field.mistake(format!("no command can be sent to {} by a call", connector.title));
            return None;
        };
        let section = field.section()?;
        let url = |field: &Field<'_>| field.parse(parse_url);
        let url = match way.default_url {
            Some(default) => Some(section.or("url", default.to_owned(), url)),
            None => section.required("url", "where the API is, such as \"https://example.com\"", url),
        };
        let token = section.required("token", way.token, |field| surroundings.secret(field));
        let mut settings = Settings::new();
        for (key, _) in &way.settings {
            if let Some(values) = section.optional(key, Field::scalars) {
                settings.insert((*key).to_owned(), values);
            }
        }
        let url = url?;
        for mistake in (way.check)(&url, &settings) {
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
        Some(Self { url, token: token?, settings })
    }

    pub(super) fn describe(sheet: &mut Sheet, name: &str, way: Option<&WayDownInfo<'_>>) {
        let Some(way) = way else { return };
        sheet.prose("How commands go down to its devices: url, token, and settings of the connector. Default: not at all.");
        for (key, help) in &way.settings {
            sheet.prose(&format!("{key}: {help}"));
        }
        let url = way.default_url.unwrap_or("https://api.example.com");
        let variable = format!("{}_TOKEN", name.to_uppercase().replace('-', "_"));
        let settings: String = way.settings.iter().map(|(key, _)| format!(", {key} = \"bridge\"")).collect();
        sheet.key(
            "downlink",
            &format!("{{ url = {}, token = {{ env = \"{variable}\" }}{settings} }}", quoted(url)),
        );
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
