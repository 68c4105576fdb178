//! Which broker is the hub: one inside the process, or another by URL. Not here: how the bridge speaks to it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::http::parse_listen;
use super::reader::Section;
use super::secret::{PemFile, Secret, Surroundings, user};
use super::sheet::{Sheet, quoted};

/// Where the embedded broker listens unless the configuration says otherwise.
const EMBEDDED_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1883));

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// One inside the process. It speaks MQTT 3.1.1 and asks nobody who they are.
    Embedded {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Another one.
    Remote(Remote),
}

/// A broker that is reached over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Set for `mqtts://`.
    pub tls: Option<Tls>,
    /// Who the bridge says it is.
    pub credentials: Option<Credentials>,
}

/// How a TLS connection is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that may have signed the broker's certificate; none for those that the system knows.
    pub ca: Option<PemFile>,
    /// What the bridge shows.
    pub client: Option<ClientCertificate>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain.
    pub certificate: PemFile,
    /// The private key.
    pub key: PemFile,
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Option<Secret>,
}

impl Default for Broker {
    fn default() -> Self {
        Self::Embedded { listen: EMBEDDED_LISTEN }
    }
}

impl Broker {
    /// Reads what says which broker. None when (reported) it does not.
    pub(super) fn read(hub: &Section<'_>, surroundings: &Surroundings<'_>) -> Option<Self> {
        let Some(url) = hub.field("url") else {
            for key in ["user", "password", "tls"] {
                hub.refuse(key, "has a meaning only with a url; the embedded broker takes none");
            }
            let embedded = hub.section("embedded");
            let listen = embedded.or("listen", EMBEDDED_LISTEN, |field| field.parse(parse_listen));
            embedded.finish();
            return Some(Self::Embedded { listen });
        };
        hub.refuse("embedded", "cannot stand beside url: the hub is one or the other");
        let address = url.parse(parse_url);
        let tls = hub.section("tls");
        if tls.is_present() && address.as_ref().is_some_and(|(_, _, tls)| !tls) {
            hub.refuse("tls", "has a meaning only with a url that begins with mqtts://");
        }
        let settings = Tls::read(tls, surroundings);
        let credentials = Credentials::read(hub, surroundings);
        let (host, port, tls) = address?;
        Some(Self::Remote(Remote { host, port, tls: tls.then_some(settings), credentials }))
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.explained(
            "url",
            &quoted("mqtts://broker.example.com:8883"),
            "Where the broker is: mqtt:// (TCP, port 1883 unless given) or mqtts:// (TLS, port 8883). Without it the \
             bridge brings a broker of its own, which forgets what it holds when it stops: for trying out.",
        );
        sheet.alternative("embedded", &format!("{{ listen = {} }}", quoted(&EMBEDDED_LISTEN.to_string())));
        sheet.explained("user", &quoted("bridge"), "Who the bridge says it is. No default.");
        sheet.explained(
            "password",
            "{ env = \"HUB_PASSWORD\" }",
            "Its password, by reference: an environment variable, or { file = \"path\" }. No default.",
        );
        sheet.explained(
            "tls",
            "{ ca_file = \"ca.pem\", client_cert_file = \"client.pem\", client_key_file = \"client.key\" }",
            "For mqtts://, each optional, PEM files: who may have signed the broker's certificate (otherwise: whom the \
             system trusts), and the certificate and key that the bridge shows.",
        );
    }
}

impl Tls {
    fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Self {
        let pem = |key, kind| section.optional(key, |field| surroundings.pem_file(field, kind));
        let ca = pem("ca_file", "CERTIFICATE");
        let certificate = pem("client_cert_file", "CERTIFICATE");
        let key = pem("client_key_file", "PRIVATE KEY");
        match (section.field("client_cert_file"), section.field("client_key_file")) {
            (Some(_), None) => section.missing("client_key_file", "a certificate needs its key"),
            (None, Some(_)) => section.missing("client_cert_file", "a key needs its certificate"),
            _ => {}
        }
        section.finish();
        let client = certificate.zip(key).map(|(certificate, key)| ClientCertificate { certificate, key });
        Self { ca, client }
    }
}

impl Credentials {
    fn read(hub: &Section<'_>, surroundings: &Surroundings<'_>) -> Option<Self> {
        let password = hub.optional("password", |field| surroundings.secret(field));
        if hub.field("password").is_none() && hub.field("user").is_none() {
            return None;
        }
        let user = user(hub, "user", "a password needs a user (MQTT 3.1.1 section 3.1.2.9)")?;
        Some(Self { user, password })
    }
}

/// Host, port, and whether TLS is spoken.
fn parse_url(text: &str) -> Result<(String, u16, bool), String> {
    const WRONG: &str = "must be mqtt://host:port or mqtts://host:port";
    let (scheme, rest) = text.split_once("://").ok_or(WRONG)?;
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        "tcp" => return Err(format!("{WRONG}; write mqtt:// for tcp://")),
        "ssl" | "tls" => return Err(format!("{WRONG}; write mqtts:// for {scheme}://")),
        "ws" | "wss" => return Err(format!("{WRONG}; MQTT over WebSocket is not spoken here")),
        _ => return Err(WRONG.into()),
    };
    if rest.contains('@') {
        return Err("must not hold credentials; they have the keys user and password".into());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default_port = if tls { 8883 } else { 1883 };
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of a bare IPv6 address do not separate a port.
        _ if rest.ends_with(']') => (rest, default_port),
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or(WRONG)?),
        None => (rest, default_port),
    };
    let is_name = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
    };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => Ok((address.to_owned(), port, tls)),
        None if is_name(host) => Ok((host.to_owned(), port, tls)),
        _ => Err(WRONG.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn urls_of_brokers() {
        for (url, parsed) in [
            ("mqtt://127.0.0.1:1883", Some(("127.0.0.1", 1883, false))),
            ("mqtt://broker", Some(("broker", 1883, false))),
            ("mqtts://broker.example.com", Some(("broker.example.com", 8883, true))),
            ("mqtts://broker.example.com:443/", Some(("broker.example.com", 443, true))),
            ("mqtt://[::1]:1884", Some(("::1", 1884, false))),
            ("mqtt://[::1]", Some(("::1", 1883, false))),
            ("mqtt://::1", None),
            ("mqtt://", None),
            ("mqtt://:1883", None),
            ("mqtt://host:0", None),
            ("mqtt://host:70000", None),
            ("mqtt://user:hunter2@host", None),
            ("mqtt://host/path", None),
            ("tcp://host:1883", None),
            ("wss://host", None),
            ("host:1883", None),
        ] {
            let expected = parsed.map(|(host, port, tls)| (host.to_owned(), port, tls));
            assert_eq!(parse_url(url).ok(), expected, "{url}");
        }
        assert!(!parse_url("mqtt://user:hunter2@host").unwrap_err().contains("hunter2"));
    }
}
