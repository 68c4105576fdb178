//! The ClientHello: RFC 6347 section 4.2.1 and the extensions that this server knows. Not here: what comes of it
//! (`negotiate`).

use crate::wire::Reader;

/// Extension numbers at IANA.
pub(crate) mod extension {
    pub(crate) const MAX_FRAGMENT_LENGTH: u16 = 1;
    pub(crate) const SUPPORTED_GROUPS: u16 = 10;
    pub(crate) const EC_POINT_FORMATS: u16 = 11;
    pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(crate) const CLIENT_CERTIFICATE_TYPE: u16 = 19;
    pub(crate) const SERVER_CERTIFICATE_TYPE: u16 = 20;
    pub(crate) const ENCRYPT_THEN_MAC: u16 = 22;
    pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(crate) const CONNECTION_ID: u16 = 54;
    pub(crate) const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746).
const RENEGOTIATION_SCSV: u16 = 0x00ff;

/// A ClientHello whose lengths fit.
#[derive(Debug, Clone)]
pub(crate) struct ClientHello<'a> {
    pub(crate) version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: &'a [u8],
    pub(crate) cookie: &'a [u8],
    /// What stands before and after the cookie.
    pub(crate) around_cookie: [&'a [u8]; 2],
    suites: &'a [u8],
    pub(crate) null_compression: bool,
    pub(crate) extended_master_secret: bool,
    pub(crate) encrypt_then_mac: bool,
    /// The id that the client wants to see in records to it; may be empty.
    pub(crate) connection_id: Option<&'a [u8]>,
    pub(crate) max_fragment_length: Option<u8>,
    pub(crate) renegotiation_info: bool,
    pub(crate) groups: Option<&'a [u8]>,
    pub(crate) point_formats: bool,
    pub(crate) signature_algorithms: Option<&'a [u8]>,
    pub(crate) client_certificate_types: Option<&'a [u8]>,
    pub(crate) server_certificate_types: Option<&'a [u8]>,
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a ClientHello; `None` when it is malformed.
    pub(crate) fn parse(body: &'a [u8]) -> Option<ClientHello<'a>> {
        let mut reader = Reader(body);
        let version = reader.u16()?;
        let random = reader.array()?;
        let session_id = reader.vector(1).filter(|id| id.len() <= 32)?;
        let before = body.get(..body.len() - reader.0.len())?;
        let cookie = reader.vector(1)?;
        let after = reader.0;
        let suites = reader.vector(2).filter(|suites| suites.len() >= 2 && suites.len() % 2 == 0)?;
        let compression = reader.vector(1)?;
        let mut hello = ClientHello {
            version,
            random,
            session_id,
            cookie,
            around_cookie: [before, after],
            suites,
            null_compression: compression.contains(&0),
            extended_master_secret: false,
            encrypt_then_mac: false,
            connection_id: None,
            max_fragment_length: None,
            renegotiation_info: false,
            groups: None,
            point_formats: false,
            signature_algorithms: None,
            client_certificate_types: None,
            server_certificate_types: None,
        };
        hello.renegotiation_info = hello.offers(RENEGOTIATION_SCSV);
        if !reader.is_empty() {
            let mut extensions = Reader(reader.vector(2)?);
            while !extensions.is_empty() {
                let kind = extensions.u16()?;
                hello.extension(kind, extensions.vector(2)?)?;
            }
        }
        reader.is_empty().then_some(hello)
    }

    /// Whether the client offers the suite of that number.
    pub(crate) fn offers(&self, code: u16) -> bool {
        numbers(self.suites).any(|offered| offered == code)
    }

    fn extension(&mut self, kind: u16, body: &'a [u8]) -> Option<()> {
        let mut reader = Reader(body);
        match kind {
            extension::EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            extension::ENCRYPT_THEN_MAC => self.encrypt_then_mac = true,
            extension::CONNECTION_ID => self.connection_id = Some(reader.vector(1)?),
            extension::MAX_FRAGMENT_LENGTH => self.max_fragment_length = Some(reader.u8()?),
            // A first handshake has nothing to say here (RFC 5746 section 3.6).
            extension::RENEGOTIATION_INFO if reader.vector(1)?.is_empty() => self.renegotiation_info = true,
            extension::RENEGOTIATION_INFO => return None,
            extension::SUPPORTED_GROUPS => self.groups = Some(reader.vector(2)?),
            extension::EC_POINT_FORMATS => self.point_formats = reader.vector(1)?.contains(&0),
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = Some(reader.vector(2)?),
            extension::CLIENT_CERTIFICATE_TYPE => self.client_certificate_types = Some(reader.vector(1)?),
            extension::SERVER_CERTIFICATE_TYPE => self.server_certificate_types = Some(reader.vector(1)?),
            _ => return Some(()),
        }
        let known_length = !matches!(kind, extension::EXTENDED_MASTER_SECRET | extension::ENCRYPT_THEN_MAC);
        (reader.is_empty() || !known_length).then_some(())
    }
}

/// The 16-bit numbers of a list.
pub(crate) fn numbers(list: &[u8]) -> impl Iterator<Item = u16> {
    list.chunks_exact(2).map(|two| u16::from(two[0]) << 8 | u16::from(two[1]))
}
