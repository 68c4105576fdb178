//! `[devices_api.client_certificates]`: which proxies are believed about client certificates, and how they tell of them. Not
//! here: reading what they say (`http-api`), and whose certificate it is (the store).

use http::HeaderName;
use http_api::{CertificateDevice, CertificateForm};

use super::auth::parse_header;
use super::cidr::Cidr;
use super::reader::{Field, Section};
use super::sheet::{Sheet, quoted, words};

/// `[devices_api.client_certificates]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Who is believed.
    pub proxies: Vec<Cidr>,
    /// Where they tell of the certificate.
    pub header: HeaderName,
    /// How.
    pub form: CertificateForm,
    /// What names the device.
    pub device: CertificateDevice,
}

const HEADER: &str = "X-Forwarded-Client-Cert";
const FORM: &[(&str, CertificateForm)] =
    &[("xfcc", CertificateForm::Xfcc), ("plain", CertificateForm::Plain), ("pem", CertificateForm::Pem)];
const DEVICE: &[(&str, CertificateDevice)] =
    &[("fingerprint", CertificateDevice::Fingerprint), ("common-name", CertificateDevice::CommonName)];

impl ClientCertificates {
    /// Reads it; none when it is absent, or wrong (and reported).
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let section: Section<'_> = field.section()?;
        let help = "the addresses of the proxies that are believed, such as [\"127.0.0.1\"]";
        let proxies: Option<Vec<Cidr>> = section.required("proxies", help, |field| {
            let proxies = field.parse_items(str::parse)?;
            if field.items().is_some_and(|items| items.is_empty()) {
                field.mistake("must name a proxy: nobody else is believed");
            }
            Some(proxies)
        });
        let header =
            section.field("header").map_or(parse_header(HEADER).ok(), |field| field.parse(parse_header));
        let form = section.or("form", CertificateForm::Xfcc, |field| field.one_of(FORM));
        let device = section.or("device", CertificateDevice::Fingerprint, |field| field.one_of(DEVICE));
        if form == CertificateForm::Pem && device == CertificateDevice::CommonName {
            let why = "with form = \"pem\" only \"fingerprint\" is possible; have the proxy send the subject, with form = \"plain\"";
            section.refuse("device", why);
        }
        section.finish();
        Some(Self { proxies: proxies?, header: header?, form, device })
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.example(
            "devices_api.client_certificates",
            "Devices and gateways may prove themselves with client certificates, of which a proxy in front tells in a header: it \
             must ask for them, and remove that header from what its clients send. From anybody else the header is ignored, \
             and counted. A certificate is enrolled with: device-bridge devices token add ID --certificate FILE",
        );
        sheet.explained("proxies", "[\"127.0.0.1\"]", "The proxies that are believed, by their addresses.");
        sheet.explained("header", &quoted(HEADER), "The header.");
        sheet.explained(
            "form",
            &quoted("xfcc"),
            &format!(
                "What is in it: {}. Envoy's elements (of several the last one counts); the SHA-256 fingerprint in hex digits, or \
                 the subject; the certificate itself, percent-encoded (nginx: $ssl_client_escaped_cert).",
                words(FORM)
            ),
        );
        sheet.explained(
            "device",
            &quoted("fingerprint"),
            &format!(
                "What names the device: {}. With a common name, which is the device's id, nothing is enrolled: the proxy must \
                 refuse what your own CA has not signed.",
                words(DEVICE)
            ),
        );
    }
}
