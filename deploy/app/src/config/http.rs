//! `[http]`: where requests are received, and their limits. Not here: the limits of one integration.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::cidr::Cidr;
use super::reader::Section;
use super::sheet::{Sheet, grouped, quoted};
use super::units::{duration_range, format_duration};

const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// Connections at once; more wait.
    pub max_connections: usize,
    /// For the head of a request to arrive, also while a connection is idle.
    pub header_timeout: Duration,
    /// For the body of a request to arrive.
    pub body_timeout: Duration,
    /// How clouds reach the bridge, without a slash at the end.
    pub public_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            public_url: None,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Http {
    /// Where clouds reach the bridge: the public URL, or else the address that it listens on.
    pub fn base_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen))
    }

    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let http = Self {
            listen: section.or("listen", default.listen, |field| field.parse(parse_listen)),
            max_connections: section
                .or("max_connections", default.max_connections, |field| field.number(&CONNECTIONS)),
            header_timeout: section
                .or("header_timeout", default.header_timeout, |field| field.duration(&TIMEOUT)),
            body_timeout: section.or("body_timeout", default.body_timeout, |field| field.duration(&TIMEOUT)),
            public_url: section.optional("public_url", |field| field.parse(parse_public_url)),
            trusted_proxies: section
                .or("trusted_proxies", default.trusted_proxies, |field| field.parse_items(str::parse)),
        };
        section.finish();
        http
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table("http", "Where webhooks are received.");
        sheet.explained(
            "listen",
            &quoted(&default.listen.to_string()),
            "IP address and port. Clouds need TLS: put a proxy that speaks it in front, or a tunnel.",
        );
        sheet.explained(
            "public_url",
            &quoted("https://bridge.example.com"),
            "How clouds reach the bridge, for the URLs that it prints. No default.",
        );
        sheet.explained(
            "max_connections",
            &grouped(default.max_connections as u64),
            "Connections at once; more wait.",
        );
        sheet.explained(
            "header_timeout",
            &quoted(&format_duration(default.header_timeout)),
            &format!("For the head of a request to arrive: {}.", duration_range(&TIMEOUT)),
        );
        sheet.explained(
            "body_timeout",
            &quoted(&format_duration(default.body_timeout)),
            &format!("For the body of a request to arrive: {}.", duration_range(&TIMEOUT)),
        );
        sheet.explained(
            "trusted_proxies",
            "[]",
            "Proxies whose X-Forwarded-For is believed when an integration names its sources, such as \
             [\"127.0.0.1\", \"10.0.0.0/8\"].",
        );
    }
}

/// Reads an address to listen on.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let example = match text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')) {
            Some(port) if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
            _ => "127.0.0.1:8080".to_owned(),
        };
        format!("must be an IP address and a port, such as \"{example}\"")
    })
}

/// Reads the address under which clouds reach the bridge.
pub(super) fn parse_public_url(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be a URL with http or https and a host, such as \"https://bridge.example.com\"";
    let url: ::http::Uri = text.parse().map_err(|_| WRONG)?;
    let host = url.authority().filter(|authority| !authority.host().is_empty()).ok_or(WRONG)?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(WRONG);
    }
    if host.as_str().contains('@') || url.query().is_some() || text.contains('#') {
        return Err("must be a URL without credentials, query and fragment");
    }
    Ok(text.trim_end_matches('/').to_owned())
}
