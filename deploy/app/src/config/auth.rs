//! `[integrations.NAME.auth]`: how requests prove the secret of an integration. There is no default that is open. Not
//! here: the proof itself.

use http::HeaderName;

use super::choice::choices;
use super::connector::ConnectorInfo;
use super::reader::{Field, Section};
use super::secret::{Secret, Surroundings, user};
use super::sheet::{Sheet, quoted};

/// The header that holds the secret unless the integration says otherwise.
pub const DEFAULT_HEADER: &str = "X-Bridge-Secret";
/// The query parameter that holds the secret unless the integration says otherwise.
pub const DEFAULT_PARAMETER: &str = "token";
/// The shortest secret, bytes.
const MIN_SECRET: usize = 16;
/// The most secrets that are valid at once.
const MAX_SECRETS: usize = 8;

choices! {
    /// The ways to prove a secret.
    AuthScheme {
        /// A header holds it.
        Header = "header",
        /// `Authorization: Basic` (RFC 7617).
        Basic = "basic",
        /// `Authorization: Bearer` (RFC 6750).
        Bearer = "bearer",
        /// A query parameter holds it.
        UrlToken = "url-token",
    }
}

/// How requests prove a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Where the secret is in a request.
    pub proof: Proof,
    /// One to eight secrets; several while one is being rotated. Each has at least 16 bytes.
    pub secrets: Vec<Secret>,
}

/// Where the secret is in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// In this header.
    Header(HeaderName),
    /// In `Authorization: Basic`, as the password of this user.
    Basic {
        /// The user.
        user: String,
    },
    /// In `Authorization: Bearer`.
    Bearer,
    /// In this query parameter.
    UrlToken {
        /// Its name.
        parameter: String,
    },
}

impl Auth {
    /// Reads the section; `integration` is its name, for the hint when it is missing.
    pub(super) fn read(
        integration: &Section<'_>,
        name: &str,
        connector: Option<&ConnectorInfo<'_>>,
        surroundings: &Surroundings<'_>,
    ) -> Option<Self> {
        let section = integration.section("auth");
        if !section.is_present() {
            // A value of another type is reported already.
            if integration.field("auth").is_none() {
                integration.missing("auth", &hint(name));
            }
            return None;
        }
        let allowed: Vec<(&'static str, AuthScheme)> = match connector {
            Some(connector) => connector.auth.iter().map(|scheme| (scheme.as_str(), *scheme)).collect(),
            None => AuthScheme::CHOICES.to_vec(),
        };
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let help = format!("one of {}", names.join(", "));
        let scheme = section.required("scheme", &help, |field| field.one_of(&allowed));
        let secrets = section.required("secrets", "a list such as [{ env = \"NAME\" }]", |field| {
            read_secrets(field, scheme, surroundings)
        });
        let proof = scheme.and_then(|scheme| Proof::read(&section, scheme));
        if scheme.is_none() {
            // Which of them have a meaning is not known.
            for key in ["header", "user", "parameter"] {
                section.field(key);
            }
        }
        section.finish();
        Some(Self { proof: proof?, secrets: secrets? })
    }

    /// Writes the key in every form that these schemes give it, explained.
    pub(super) fn describe(sheet: &mut Sheet, integration: &str, schemes: &[AuthScheme]) {
        sheet.prose(&format!(
            "How requests prove the secret; without it nothing is accepted. A secret stands in an environment variable \
             or in a file ({{ file = \"secrets/{integration}\" }}) and has at least {MIN_SECRET} bytes. Up to \
             {MAX_SECRETS} secrets are valid at once: to rotate one, add the new one, change the cloud, remove the old \
             one."
        ));
        Self::describe_in_short(sheet, integration, schemes);
        for scheme in schemes.iter().skip(1) {
            sheet.alternative("auth", &scheme.example(integration));
        }
    }

    /// Writes the key with the first of these schemes.
    pub(super) fn describe_in_short(sheet: &mut Sheet, integration: &str, schemes: &[AuthScheme]) {
        if let Some(scheme) = schemes.first() {
            sheet.key("auth", &scheme.example(integration));
        }
    }
}

impl AuthScheme {
    /// The value of `auth`, for the template.
    fn example(self, integration: &str) -> String {
        let own = match self {
            Self::Header => format!(", header = {}", quoted(DEFAULT_HEADER)),
            Self::Basic => ", user = \"bridge\"".to_owned(),
            Self::Bearer => String::new(),
            Self::UrlToken => format!(", parameter = {}", quoted(DEFAULT_PARAMETER)),
        };
        let secrets = format!("[{{ env = {} }}]", quoted(&variable(integration)));
        format!("{{ scheme = {}{own}, secrets = {secrets} }}", quoted(self.as_str()))
    }
}

impl Proof {
    fn read(section: &Section<'_>, scheme: AuthScheme) -> Option<Self> {
        let refuse = |key, of: AuthScheme| {
            if scheme != of {
                section.refuse(key, &format!("has a meaning only with scheme = \"{}\"", of.as_str()));
            }
        };
        refuse("header", AuthScheme::Header);
        refuse("user", AuthScheme::Basic);
        refuse("parameter", AuthScheme::UrlToken);
        match scheme {
            AuthScheme::Header => section
                .field("header")
                .map_or(parse_header(DEFAULT_HEADER).ok(), |field| field.parse(parse_header))
                .map(Self::Header),
            AuthScheme::Basic => {
                user(section, "user", "the user name that the cloud sends").map(|user| Self::Basic { user })
            }
            AuthScheme::Bearer => Some(Self::Bearer),
            AuthScheme::UrlToken => {
                let parameter = section
                    .field("parameter")
                    .map_or(Some(DEFAULT_PARAMETER.to_owned()), |field| field.parse(parse_parameter));
                parameter.map(|parameter| Self::UrlToken { parameter })
            }
        }
    }
}

/// The environment variable that examples name.
pub(super) fn variable(integration: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{}_SECRET", integration.chars().map(plain).collect::<String>())
}

fn hint(name: &str) -> String {
    format!(
        "every integration must prove a secret; add auth = {{ scheme = \"header\", secrets = [{{ env = \"{}\" }}] }}",
        variable(name)
    )
}

/// Reads a list of secrets that a request can carry in that way.
pub(super) fn read_secrets(
    field: &Field<'_>,
    scheme: Option<AuthScheme>,
    surroundings: &Surroundings<'_>,
) -> Option<Vec<Secret>> {
    let items = field.items()?;
    if items.is_empty() || items.len() > MAX_SECRETS {
        field.mistake(format!("must hold 1 to {MAX_SECRETS} secrets"));
        return None;
    }
    let read = |item: &Field<'_>| {
        let secret = surroundings.secret(item)?;
        match check(secret.expose(), scheme) {
            Ok(()) => Some(secret),
            Err(message) => {
                item.mistake(message);
                None
            }
        }
    };
    // All are read before any is given up, so that all mistakes are found.
    let secrets: Vec<Option<Secret>> = items.iter().map(read).collect();
    secrets.into_iter().collect()
}

/// Whether a cloud can send the secret at all.
fn check(secret: &str, scheme: Option<AuthScheme>) -> Result<(), String> {
    if secret.len() < MIN_SECRET {
        return Err(format!(
            "the secret is shorter than {MIN_SECRET} bytes; make one with: openssl rand -base64 32"
        ));
    }
    let in_a_header = matches!(scheme, Some(AuthScheme::Header | AuthScheme::Bearer));
    if secret.chars().any(char::is_control) || in_a_header && !secret.is_ascii() {
        return Err("the secret holds characters that cannot be sent".into());
    }
    if secret.trim() != secret {
        return Err("the secret begins or ends with a blank, which gets lost on the way".into());
    }
    Ok(())
}

pub(super) fn parse_header(text: &str) -> Result<HeaderName, &'static str> {
    text.parse()
        .map_err(|_| "must be the name of a header (RFC 9110 section 5.1), such as \"X-Bridge-Secret\"")
}

fn parse_parameter(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    match !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 64 letters, digits and - _ . ~"),
    }
}
