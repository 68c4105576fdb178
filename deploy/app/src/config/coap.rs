//! `[coap]`: devices that speak CoAP over UDP, DTLS, TCP, TLS or WebSocket. Not here: tokens and keys of devices, which are in the store;
//! codecs of raw payloads, which are those of `[devices_api]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use ::coap::{CertificateDevice, DtlsKey, DtlsKeyError, DtlsPem};

use super::delivery::rate;
use super::http::parse_listen;
use super::reader::{Field, Section};
use super::secret::{PemFile, Surroundings};
use super::sheet::{Sheet, quoted, words};
use super::units::{format_size, size_range};

const BODY: RangeInclusive<u64> = 1024..=1 << 20;
const NODE: RangeInclusive<u64> = 0..=255;
/// What the template shows: the port that belongs to `coaps` (RFC 7252 section 6.2).
const DTLS: &str = "{ listen = \"0.0.0.0:5684\", node = 0, key_file = \"coap.key\", cert_file = \"coap.pem\", client_ca_file = \"devices-ca.pem\" }";

/// The ports that belong to `coap+tcp` and `coaps+tcp` (RFC 8323 sections 8.1 and 8.2).
const TCP: &str = "0.0.0.0:5683";
const TLS: &str = "{ listen = \"0.0.0.0:5684\", cert_file = \"coap.pem\", key_file = \"coap.key\", client_ca_file = \"devices-ca.pem\" }";

/// The ports of aiocoap: those that belong to `coap+ws` and `coaps+ws` are those of HTTP (RFC 8323 sections 8.3 and 8.4).
const WS: &str = "0.0.0.0:8683";
const WSS: &str = "{ listen = \"0.0.0.0:8684\", cert_file = \"coap.pem\", key_file = \"coap.key\", client_ca_file = \"devices-ca.pem\" }";

const CERTIFICATE_DEVICE: &[(&str, CertificateDevice)] =
    &[("fingerprint", CertificateDevice::Fingerprint), ("common-name", CertificateDevice::CommonName)];

/// `[coap]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coap {
    /// Whether it is served over plain UDP.
    pub enabled: bool,
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// The longest body, bytes; blocks are put together first.
    pub body_limit: usize,
    /// Requests per second of each device; none for no limit.
    pub rate: Option<u32>,
    /// What of a certificate names the device that shows it, over DTLS or TLS.
    pub certificate_device: CertificateDevice,
    /// Over DTLS, beside plain UDP or without it; none: not served.
    pub dtls: Option<Dtls>,
    /// Address and TCP port of plain TCP; none: not served.
    pub tcp: Option<SocketAddr>,
    /// Over TLS; none: not served.
    pub tls: Option<CoapTls>,
    /// Address and TCP port of WebSocket over plain TCP; none: not served.
    pub ws: Option<SocketAddr>,
    /// WebSocket over TLS; none: not served.
    pub wss: Option<CoapTls>,
}

/// `coap.tls` and `coap.wss`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoapTls {
    /// Address and TCP port.
    pub listen: SocketAddr,
    /// The certificates that are shown, the bridge's own first.
    pub certificate: PemFile,
    /// Its private key.
    pub key: PemFile,
    /// Who may have signed the certificates that devices show; none: they show none.
    pub client_authorities: Option<PemFile>,
}

/// `coap.dtls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtls {
    /// Address and UDP port.
    pub listen: SocketAddr,
    /// The first byte of its Connection IDs.
    pub node: u8,
    /// The bridge's private key, whose public one is shown to devices that know it; none: pre-shared keys alone.
    pub key: Option<PemFile>,
    /// The certificates of that key that are shown to other devices, the bridge's own first.
    pub certificate: Option<PemFile>,
    /// Who may have signed the certificates that devices show; none: they show none.
    pub client_authorities: Option<PemFile>,
}

impl Default for Coap {
    /// Off: over plain UDP everybody on the way can read a token, and whoever wants that must say so.
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::from(([0, 0, 0, 0], 5683)),
            body_limit: 64 * 1024,
            rate: None,
            certificate_device: CertificateDevice::default(),
            dtls: None,
            tcp: None,
            tls: None,
            ws: None,
            wss: None,
        }
    }
}

impl Coap {
    /// Whether it is served at all.
    pub fn is_served(&self) -> bool {
        let is_streamed = self.tcp.or(self.ws).is_some() || self.tls.as_ref().or(self.wss.as_ref()).is_some();
        self.enabled || self.dtls.is_some() || is_streamed
    }

    pub(super) fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Self {
        let default = Self::default();
        let coap = Self {
            enabled: section.or("enabled", default.enabled, Field::flag),
            listen: section.or("listen", default.listen, |field| field.parse(parse_listen)),
            body_limit: section
                .or("body_limit", default.body_limit, |field| usize::try_from(field.size(&BODY)?).ok()),
            rate: rate(&section, "rate"),
            certificate_device: section.or("certificate_device", default.certificate_device, |field| {
                field.one_of(CERTIFICATE_DEVICE)
            }),
            dtls: section.optional("dtls", |field| Dtls::read(field.section()?, surroundings)),
            tcp: section.optional("tcp", |field| field.parse(parse_listen)),
            tls: section.optional("tls", |field| CoapTls::read(field.section()?, surroundings)),
            ws: section.optional("ws", |field| field.parse(parse_listen)),
            wss: section.optional("wss", |field| CoapTls::read(field.section()?, surroundings)),
        };
        if coap.enabled && coap.dtls.as_ref().is_some_and(|dtls| dtls.listen == coap.listen) {
            section.refuse("dtls", "coap.listen and coap.dtls.listen cannot be the same address");
        }
        section.finish();
        coap
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table(
            "coap",
            "Devices that speak CoAP over UDP (POST /t/ID?t=TOKEN), DTLS, TCP, TLS or WebSocket. They and their tokens are those of \
             devices_api (integration \"http\"). UDP, TCP and ws are not encrypted: use them in networks that you trust, or DTLS, TLS and \
             wss.",
        );
        sheet.explained("enabled", &default.enabled.to_string(), "Whether it is served over plain UDP.");
        sheet.explained(
            "listen",
            &quoted(&default.listen.to_string()),
            "IP address and UDP port. On a host with several addresses name the one that devices send to: answers leave from it.",
        );
        sheet.explained(
            "body_limit",
            &quoted(&format_size(default.body_limit as u64)),
            &format!("The largest body, in blocks or not: {}.", size_range(&BODY)),
        );
        sheet.explained("rate", "0", "Requests per second of each device; 0 for no limit.");
        sheet.explained(
            "certificate_device",
            &quoted("fingerprint"),
            &format!(
                "What of a certificate that a client_ca_file has signed names its device: {}. With a common name, which is the \
                 device's id, nothing is enrolled: use it with a CA of your own, for devices alone.",
                words(CERTIFICATE_DEVICE)
            ),
        );
        sheet.explained(
            "dtls",
            DTLS,
            "Over DTLS with pre-shared keys (device-bridge devices token add ID --psk), also when enabled is false. Needs [secrets] \
             keys. node is the first byte of its Connection IDs: another one for each bridge behind one address. The PEM files are \
             optional: with key_file, an ECDSA key on P-256, devices may have raw public keys (--raw-public-key); they know the \
             bridge by that key's public one, or by the certificate of cert_file. With client_ca_file they may have certificates \
             that it has signed (--certificate); most of those want to see one of the bridge, too: cert_file. Default: not served.",
        );
        sheet.explained(
            "tcp",
            &quoted(TCP),
            "IP address and port of CoAP over plain TCP (coap+tcp), also when enabled is false. Default: not served.",
        );
        sheet.explained(
            "tls",
            TLS,
            "Over TLS (coaps+tcp), also when enabled is false. PEM files, which are read at the start: the certificate with its chain, \
             its key, and, if devices may show certificates that are enrolled for them, who has signed those (optional). Default: not \
             served.",
        );
        sheet.explained(
            "ws",
            &quoted(WS),
            "IP address and port of CoAP over WebSocket (coap+ws) at /.well-known/coap, also when enabled is false. Default: not \
             served.",
        );
        sheet.explained(
            "wss",
            WSS,
            "Over WebSocket and TLS (coaps+ws), with files as those of tls. Default: not served.",
        );
    }
}

impl CoapTls {
    fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Option<Self> {
        let listen =
            section.required("listen", "IP address and TCP port, such as \"0.0.0.0:5684\"", |field| {
                field.parse(parse_listen)
            });
        let certificate =
            section.required("cert_file", "a PEM file", |field| surroundings.pem_file(field, "CERTIFICATE"));
        let key =
            section.required("key_file", "a PEM file", |field| surroundings.pem_file(field, "PRIVATE KEY"));
        let authorities =
            section.optional("client_ca_file", |field| surroundings.pem_file(field, "CERTIFICATE"));
        section.finish();
        Some(Self { listen: listen?, certificate: certificate?, key: key?, client_authorities: authorities })
    }
}

impl Dtls {
    /// What the bridge proves itself with beside pre-shared keys; none without a key.
    ///
    /// # Errors
    /// When it cannot be used. What was read can.
    pub fn own_key(&self) -> Result<Option<DtlsKey>, DtlsKeyError> {
        let Some(key) = &self.key else { return Ok(None) };
        let pem = DtlsPem {
            key: key.pem.expose(),
            certificates: self.certificate.as_ref().map(|file| file.pem.expose()),
            client_authorities: self.client_authorities.as_ref().map(|file| file.pem.expose()),
        };
        DtlsKey::new(&pem).map(Some)
    }

    fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Option<Self> {
        let listen =
            section.required("listen", "IP address and UDP port, such as \"0.0.0.0:5684\"", |field| {
                field.parse(parse_listen)
            });
        let node = section.or("node", 0, |field| field.number(&NODE));
        let pem = |key, kind| section.optional(key, |field| surroundings.pem_file(field, kind));
        let key = pem("key_file", "PRIVATE KEY");
        let (certificate, client_authorities) =
            (pem("cert_file", "CERTIFICATE"), pem("client_ca_file", "CERTIFICATE"));
        if section.field("key_file").is_none() {
            for key in ["cert_file", "client_ca_file"] {
                section.refuse(key, "needs key_file: the bridge has to prove itself, too");
            }
        }
        let dtls = listen.map(|listen| Self { listen, node, key, certificate, client_authorities });
        if let Some(Err(error)) = dtls.as_ref().map(Self::own_key) {
            let key = match error {
                DtlsKeyError::Key => "key_file",
                DtlsKeyError::Certificates => "cert_file",
                DtlsKeyError::Authorities => "client_ca_file",
            };
            section.refuse(key, &error.to_string());
        }
        section.finish();
        dtls
    }
}
