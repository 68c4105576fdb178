//! `mqtt://host:port` and `mqtts://host:port`, parsed.

use std::fmt;
use std::str::FromStr;

/// Where the hub is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS from the first byte.
    pub tls: bool,
}

/// Why a text is not a hub's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither `mqtt` nor `mqtts`.
    #[error("starts with neither mqtt:// nor mqtts://")]
    Scheme,
    /// User and password have settings of their own.
    #[error("holds a user or password: use `user` and `password`")]
    Credentials,
    /// No host, or more than host and port.
    #[error("is not of the form mqtt://HOST:PORT")]
    Form,
}

impl FromStr for HubAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtt" | "tcp", rest)) => (false, rest),
            Some(("mqtts" | "ssl" | "tls", rest)) => (true, rest),
            _ => return Err(AddressError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(AddressError::Credentials);
        }
        let default = if tls { 8883 } else { 1883 };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(AddressError::Form)?)),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Ok(default), |port| port.parse().map_err(|_| AddressError::Form))?;
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(AddressError::Form);
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_write() {
        for (text, written) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker.example:8884/", "mqtts://broker.example:8884"),
            ("mqtts://[::1]", "mqtts://[::1]:8883"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
        ] {
            assert_eq!(text.parse::<HubAddress>().unwrap().to_string(), written);
        }
        for (text, error) in [
            ("http://x", AddressError::Scheme),
            ("broker:1883", AddressError::Scheme),
            ("mqtt://u:p@x", AddressError::Credentials),
            ("mqtt://", AddressError::Form),
            ("mqtt://x:port", AddressError::Form),
            ("mqtt://x/path", AddressError::Form),
            ("mqtt://[::1]x", AddressError::Form),
        ] {
            assert_eq!(text.parse::<HubAddress>(), Err(error), "{text}");
        }
    }
}
