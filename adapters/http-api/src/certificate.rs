//! Client certificates as a proxy in front tells of them: it has ended TLS, and has seen that the sender has the key. Not
//! here: whose certificate it is ([`crate::caller`]), and which proxies are believed (settings).

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::DeviceId;
use http::HeaderName;
use http::request::Parts as Head;
use percent_encoding::percent_decode_str;

use crate::signed::{hex, sha256};

/// What is believed about client certificates.
pub struct ClientCertificates {
    /// Whether a peer is a proxy that is believed. A header of any other is ignored, and counted.
    pub is_trusted_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Where it tells of the certificate.
    pub header: HeaderName,
    /// How.
    pub form: CertificateForm,
    /// What names the device.
    pub device: CertificateDevice,
}

/// How a proxy tells of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateForm {
    /// Envoy's `X-Forwarded-Client-Cert`: the last element, which the proxy itself has added, with `Hash` or `Subject`.
    Xfcc,
    /// The SHA-256 fingerprint of its DER form in hex digits, with or without colons; or the subject (RFC 4514).
    Plain,
    /// The certificate itself: PEM, percent-encoded (`$ssl_client_escaped_cert` of nginx), or only its base64.
    Pem,
}

/// What of a certificate names the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateDevice {
    /// The fingerprint, which is enrolled for the device.
    Fingerprint,
    /// The common name of the subject is the device's id. The proxy must refuse what its own CA has not signed.
    CommonName,
}

/// What a believed proxy says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Fingerprint([u8; 32]),
    Device(DeviceId),
}

/// What the header of a request counts for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is not there.
    Nothing,
    /// It came from somebody else than a believed proxy.
    Ignored,
    /// It cannot be used; why, for the log.
    Unreadable(&'static str),
    /// It can.
    Shown(Shown),
}

impl ClientCertificates {
    pub(crate) fn told(&self, head: &Head) -> Told {
        let mut values = head.headers.get_all(&self.header).iter();
        let Some(value) = values.next() else { return Told::Nothing };
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
        if !peer.is_some_and(|ConnectInfo(peer)| (self.is_trusted_proxy)(peer.ip().to_canonical())) {
            return Told::Ignored;
        }
        if values.next().is_some() {
            return Told::Unreadable("the proxy tells of several certificates");
        }
        let Ok(value) = value.to_str() else { return Told::Unreadable("the header is not text") };
        let shown = match self.device {
            CertificateDevice::Fingerprint => self.fingerprint(value.trim()).map(Shown::Fingerprint),
            CertificateDevice::CommonName => self.common_name(value.trim()).map(Shown::Device),
        };
        shown.map_or_else(Told::Unreadable, Told::Shown)
    }

    fn fingerprint(&self, value: &str) -> Result<[u8; 32], &'static str> {
        match self.form {
            CertificateForm::Xfcc => {
                let hash = xfcc(value, "Hash").ok_or("the certificate's element has no Hash")?;
                fingerprint(&hash)
            }
            CertificateForm::Plain => fingerprint(value),
            CertificateForm::Pem => pem(value),
        }
    }

    fn common_name(&self, value: &str) -> Result<DeviceId, &'static str> {
        let name = match self.form {
            CertificateForm::Xfcc => {
                common_name(&xfcc(value, "Subject").ok_or("the certificate's element has no Subject")?)
            }
            CertificateForm::Plain => common_name(value),
            CertificateForm::Pem => None,
        };
        let name = name.ok_or("the subject has not exactly one common name")?;
        DeviceId::parse(&name).map_err(|_| "the common name is no device id")
    }
}

/// A fingerprint as people and tools write it: 64 hex digits, with or without colons.
///
/// # Errors
/// What it is not.
pub fn fingerprint(text: &str) -> Result<[u8; 32], &'static str> {
    let text = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("SHA256:")).unwrap_or(text);
    hex(&text.replace(':', "")).ok_or("the fingerprint is not SHA-256 in 64 hex digits")
}

/// A value of the last element of `X-Forwarded-Client-Cert`; none when it is not there exactly once.
fn xfcc(header: &str, wanted: &str) -> Option<String> {
    let (mut key, mut value, mut in_value, mut in_quotes) = (String::new(), String::new(), false, false);
    let mut found = Vec::new();
    let mut characters = header.chars();
    loop {
        let next = characters.next();
        match next {
            Some('\\') if in_quotes => value.push(characters.next()?),
            Some('"') if in_value => in_quotes = !in_quotes,
            None if in_quotes => return None,
            None | Some(';' | ',') if !in_quotes => {
                if key.trim().eq_ignore_ascii_case(wanted) {
                    found.push(std::mem::take(&mut value));
                }
                key.clear();
                value.clear();
                in_value = false;
                match next {
                    // What stands before was said by somebody further away.
                    Some(',') => found.clear(),
                    Some(_) => {}
                    None => break,
                }
            }
            Some('=') if !in_value => in_value = true,
            Some(other) if in_value => value.push(other),
            Some(other) => key.push(other),
            None => return None,
        }
    }
    let only = found.pop().filter(|_| found.is_empty())?;
    Some(only.trim().to_owned())
}

/// The common name of a subject in the form of RFC 4514; none when there is not exactly one, or it is written otherwise.
fn common_name(subject: &str) -> Option<String> {
    let mut names = Vec::new();
    let mut characters = subject.chars().peekable();
    while characters.peek().is_some() {
        let mut kind = String::new();
        loop {
            match characters.next()? {
                '=' => break,
                other => kind.push(other),
            }
        }
        let (mut value, mut in_quotes) = (Vec::new(), false);
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.next()? {
                    high if high.is_ascii_hexdigit() => {
                        let low = characters.next()?.to_digit(16)?;
                        value.push(u8::try_from(high.to_digit(16)? * 16 + low).ok()?);
                    }
                    other => value.extend(other.encode_utf8(&mut [0; 4]).bytes()),
                },
                '"' => in_quotes = !in_quotes,
                ',' | '+' | ';' if !in_quotes => break,
                other => value.extend(other.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        let kind = kind.trim();
        if kind.eq_ignore_ascii_case("CN") || kind == "2.5.4.3" {
            names.push(String::from_utf8(value).ok()?.trim().to_owned());
        }
    }
    names.pop().filter(|_| names.is_empty())
}

/// The fingerprint of a certificate in PEM form (RFC 7468), percent-encoded or not, or only its base64. Of a chain it is the
/// first one, the sender's own.
///
/// # Errors
/// What it is not.
pub fn pem(text: &str) -> Result<[u8; 32], &'static str> {
    const WRONG: &str = "the certificate is not PEM";
    // No '+' stands for a space here: it is a digit of base64.
    let text = percent_decode_str(text).decode_utf8().map_err(|_| WRONG)?;
    let body = match text.split_once("-----BEGIN CERTIFICATE-----") {
        Some((_, rest)) => rest.split_once("-----END CERTIFICATE-----").ok_or(WRONG)?.0,
        None => text.split(',').next().unwrap_or_default(),
    };
    let body: String = body.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(body).map_err(|_| WRONG)?;
    // A certificate is a SEQUENCE (RFC 5280 section 4.1).
    if der.first() != Some(&0x30) {
        return Err(WRONG);
    }
    Ok(sha256(&der))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const HASH: &str = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";

    fn told(form: CertificateForm, device: CertificateDevice, peer: Option<&str>, values: &[&str]) -> Told {
        let header = HeaderName::from_static("x-client");
        let settings = ClientCertificates {
            is_trusted_proxy: Box::new(|ip| ip.is_loopback()),
            header: header.clone(),
            form,
            device,
        };
        let mut request = Request::get("/");
        for value in values {
            request = request.header(&header, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        if let Some(peer) = peer {
            head.extensions.insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        }
        settings.told(&head)
    }

    #[test]
    fn only_a_believed_proxy_tells() {
        use CertificateDevice::Fingerprint;
        use CertificateForm::Plain;
        let local = Some("127.0.0.1:9");
        let shown = Told::Shown(Shown::Fingerprint(hex(HASH).unwrap()));
        assert_eq!(told(Plain, Fingerprint, local, &[HASH]), shown);
        assert_eq!(told(Plain, Fingerprint, Some("[::ffff:127.0.0.1]:9"), &[HASH]), shown);
        assert_eq!(told(Plain, Fingerprint, Some("10.0.0.1:9"), &[HASH]), Told::Ignored);
        assert_eq!(told(Plain, Fingerprint, None, &[HASH]), Told::Ignored);
        assert_eq!(told(Plain, Fingerprint, local, &[]), Told::Nothing);
        assert!(matches!(told(Plain, Fingerprint, local, &[HASH, HASH]), Told::Unreadable(_)));
        for bad in ["", "468e", &HASH.replace('4', "g"), "da39a3ee5e6b4b0d3255bfef95601890afd80709"] {
            assert!(matches!(told(Plain, Fingerprint, local, &[bad]), Told::Unreadable(_)), "{bad}");
        }
    }

    #[test]
    fn envoy_s_last_element_counts() {
        let forged = format!("Hash={HASH}");
        let own = HASH.replace('4', "5");
        let header = format!(
            "{forged};URI=a,By=spiffe://x;Hash={own};Subject=\"CN=pump-1,O=\\\"Acme, Inc;Hash=1\\\"\""
        );
        assert_eq!(xfcc(&header, "hash"), Some(own));
        assert_eq!(xfcc(&header, "Subject").as_deref(), Some("CN=pump-1,O=\"Acme, Inc;Hash=1\""));
        assert_eq!(xfcc(&header, "URI"), None, "that was somebody further away");
        for bad in [
            "",
            "Hash",
            &format!("{forged};{forged}"),
            &format!("{forged},"),
            "Subject=\"CN=a",
            "Subject=\"a\\",
        ] {
            assert_eq!(xfcc(bad, "Hash").filter(|hash| !hash.is_empty()), None, "{bad}");
        }
    }

    #[test]
    fn a_subject_has_one_common_name() {
        for (subject, name) in [
            ("CN=pump-1,O=Acme", Some("pump-1")),
            ("O=Acme, cn = pump-1 ", Some("pump-1")),
            ("OU=x+CN=pump-1,O=Acme", Some("pump-1")),
            ("2.5.4.3=pump-1", Some("pump-1")),
            ("CN=pump\\2d1,O=a\\,CN=x", Some("pump-1")),
            ("O=\"a,CN=x\",CN=pump-1", Some("pump-1")),
            ("O=a\\,CN=pump-1", None),
            ("CN=a,CN=b", None),
            ("/O=Acme/CN=pump-1", None),
            ("pump-1", None),
            ("CN=a\\", None),
            ("CN=a\\ff", None),
            ("", None),
        ] {
            assert_eq!(common_name(subject).as_deref(), name, "{subject}");
        }
    }

    #[test]
    fn a_certificate_has_a_fingerprint() {
        let der = [0x30, 0x03, 0x02, 0x01, 0x3e, 0xfb, 0xef];
        let base64 = BASE64_STANDARD.encode(der);
        let text = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let escaped = text.replace('\n', "%0A").replace('/', "%2F").replace('=', "%3D");
        for form in [&base64, &text, &escaped, &format!("{base64},{base64}")] {
            assert_eq!(pem(form), Ok(sha256(&der)), "{form}");
        }
        for bad in ["", "AAAA", "-----BEGIN CERTIFICATE-----\nMAMCAQA=", "%%%", "%ff"] {
            assert!(pem(bad).is_err(), "{bad}");
        }
    }
}
