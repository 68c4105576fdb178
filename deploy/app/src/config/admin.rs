//! `[admin]`: where operators are served, and what each of their tokens allows. Not here: the token that the bridge makes
//! for the command line at each start.

use std::collections::HashMap;
use std::net::SocketAddr;

use bridge_core::IntegrationName;

use super::auth::{AuthScheme, read_secrets};
use super::choice::choices;
use super::http::parse_listen;
use super::reader::Section;
use super::secret::{Secret, Surroundings};
use super::sheet::{Sheet, quoted, words};

choices! {
    /// What a token allows. None includes another.
    Scope {
        /// To look at everything, and to try codecs, which changes nothing.
        Read = "read",
        /// To send and cancel commands, and to change what is wanted of devices.
        Commands = "commands",
        /// To change and remove devices.
        Devices = "devices",
        /// To send dead letters and archived payloads again, and to remove dead letters.
        Replay = "replay",
    }
}

/// The name of the token in the data directory, which allows everything.
pub const LOCAL: &str = "local";

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address and port.
    pub listen: SocketAddr,
    /// In order of their names; no two have a secret in common.
    pub tokens: Vec<AdminToken>,
}

/// `[admin.tokens.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Stands in the log as who did something.
    pub name: String,
    /// One to eight; several while one is being rotated. Each has at least 16 bytes.
    pub secrets: Vec<Secret>,
    /// At least one.
    pub scopes: Vec<Scope>,
}

impl Default for Admin {
    /// For the command line on the same machine, and nobody else.
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), tokens: Vec::new() }
    }
}

impl Admin {
    pub(super) fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Self {
        let default = Self::default();
        let listen = section.or("listen", default.listen, |field| field.parse(parse_listen));
        let tokens = AdminToken::read_all(&section.section("tokens"), surroundings);
        section.finish();
        Self { listen, tokens }
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        const NAME: &str = "my-dashboard";
        sheet.table(
            "admin",
            "Where operators are served: /admin/v1, which the command line speaks to with a token of its own.",
        );
        sheet.explained(
            "listen",
            &quoted(&Self::default().listen.to_string()),
            "IP address and port. There is no TLS: whoever is to reach it from elsewhere needs a proxy that speaks it.",
        );
        sheet.example(
            &format!("admin.tokens.{NAME}"),
            "Somebody else who may ask there, with Authorization: Bearer SECRET. The name stands in the log.",
        );
        sheet.explained(
            "secrets",
            "[{ env = \"MY_DASHBOARD_TOKEN\" }]",
            "One of these it must prove; several while one is being rotated.",
        );
        sheet.explained(
            "scopes",
            "[\"read\"]",
            &format!(
                "What it may do, any of: {}. To look; to send commands and change what is wanted of devices; to change \
                 and remove devices; to send dead letters and archived payloads again, and to remove dead letters.",
                words(Scope::CHOICES)
            ),
        );
    }
}

impl AdminToken {
    fn read_all(section: &Section<'_>, surroundings: &Surroundings<'_>) -> Vec<Self> {
        let entries = section.entries();
        let mut owners: HashMap<String, &str> = HashMap::new();
        let mut tokens = Vec::new();
        for (name, field) in &entries {
            if let Err(error) = IntegrationName::parse(name) {
                field.mistake(format!("the name {error}; it stands in the log"));
            }
            if *name == LOCAL {
                field.mistake("the token in the data directory has this name");
            }
            let Some(token) = field.section().and_then(|section| Self::read(section, name, surroundings))
            else {
                continue;
            };
            for secret in &token.secrets {
                if let Some(other) = owners.insert(secret.expose().to_owned(), name)
                    && other != *name
                {
                    field.mistake(format!("has a secret of token {other}: nobody could tell them apart"));
                }
            }
            tokens.push(token);
        }
        tokens
    }

    fn read(section: Section<'_>, name: &str, surroundings: &Surroundings<'_>) -> Option<Self> {
        let secrets = section.required("secrets", "a list such as [{ env = \"ADMIN_TOKEN\" }]", |field| {
            read_secrets(field, Some(AuthScheme::Bearer), surroundings)
        });
        let help = format!("what it may do, any of {}", words(Scope::CHOICES));
        let scopes = section.required("scopes", &help, |field| {
            let items = field.items()?;
            if items.is_empty() {
                field.mistake(format!("must name what it may do: {}", words(Scope::CHOICES)));
            }
            Some(items.iter().filter_map(|item| item.one_of(Scope::CHOICES)).collect())
        });
        section.finish();
        Some(Self { name: name.to_owned(), secrets: secrets?, scopes: scopes? })
    }
}
