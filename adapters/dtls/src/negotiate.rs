//! What server and client agree on, from a ClientHello and the settings. Not here: messages.

use crate::config::Config;
use crate::credential::{Credential, Form};
use crate::hello::{ClientHello, numbers};
use crate::suite::CipherSuite;

/// Alert numbers (RFC 5246 section 7.2).
pub(crate) mod alert {
    pub(crate) const CLOSE_NOTIFY: u8 = 0;
    pub(crate) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
    /// Of every proof that is not believed: whoever shows it does not learn whether it is known.
    pub(crate) const CERTIFICATE_UNKNOWN: u8 = 46;
    pub(crate) const ILLEGAL_PARAMETER: u8 = 47;
    pub(crate) const DECODE_ERROR: u8 = 50;
    pub(crate) const DECRYPT_ERROR: u8 = 51;
    pub(crate) const PROTOCOL_VERSION: u8 = 70;
    pub(crate) const NO_RENEGOTIATION: u8 = 100;
}

/// The curve P-256 among groups.
pub(crate) const SECP256R1: u16 = 23;
/// ECDSA on P-256 with SHA-256 among signature algorithms.
pub(crate) const ECDSA_SHA256: u16 = 0x0403;

/// What was agreed.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) suite: CipherSuite,
    pub(crate) extended_master_secret: bool,
    pub(crate) renegotiation_info: bool,
    pub(crate) point_formats: bool,
    /// The client's Connection ID, when both want them; may be empty.
    pub(crate) peer_cid: Option<Box<[u8]>>,
    /// As the client asked (RFC 6066 section 4).
    pub(crate) max_fragment_length: Option<u8>,
    /// What kind of proof each side gives, and whether that is said by an extension.
    pub(crate) client_form: Option<(Form, bool)>,
    pub(crate) server_form: Option<(Form, bool)>,
}

impl Choice {
    /// The longest content of a record to this client.
    pub(crate) fn max_content(&self) -> usize {
        match self.max_fragment_length {
            Some(code @ 1..=4) => 256 << code,
            _ => 1 << 14,
        }
    }
}

/// Chooses, or gives the alert that says why not.
pub(crate) fn negotiate(
    hello: &ClientHello<'_>,
    config: &Config,
    credential: Option<&Credential>,
) -> Result<Choice, u8> {
    // Versions of DTLS count down; later clients still say 1.2 here.
    if hello.version >> 8 != 0xfe || hello.version > 0xfefd {
        return Err(alert::PROTOCOL_VERSION);
    }
    if !hello.null_compression || hello.max_fragment_length.is_some_and(|code| !(1..=4).contains(&code)) {
        return Err(alert::ILLEGAL_PARAMETER);
    }
    let forms = credential.and_then(|credential| forms(hello, credential));
    let usable = |suite: CipherSuite| match suite {
        CipherSuite::PskAes128CbcSha256 => hello.encrypt_then_mac,
        _ => suite.is_psk() || forms.is_some(),
    };
    let suite = config.suites.iter().copied().find(|suite| hello.offers(suite.code()) && usable(*suite));
    let suite = suite.ok_or(alert::HANDSHAKE_FAILURE)?;
    let forms = forms.filter(|_| !suite.is_psk());
    Ok(Choice {
        suite,
        extended_master_secret: hello.extended_master_secret,
        renegotiation_info: hello.renegotiation_info,
        point_formats: hello.point_formats && !suite.is_psk(),
        peer_cid: hello.connection_id.filter(|_| config.connection_ids.is_some()).map(Box::from),
        max_fragment_length: hello.max_fragment_length,
        client_form: forms.map(|(client, _)| client),
        server_form: forms.map(|(_, server)| server),
    })
}

type Forms = ((Form, bool), (Form, bool));

/// The kinds of proof for client and server; `None` when ECDSA on P-256 is nothing for the client.
fn forms(hello: &ClientHello<'_>, credential: &Credential) -> Option<Forms> {
    let has =
        |list: Option<&[u8]>, wanted| list.is_none_or(|list| numbers(list).any(|number| number == wanted));
    if !has(hello.groups, SECP256R1) || !has(hello.signature_algorithms, ECDSA_SHA256) {
        return None;
    }
    let choose = |offered: Option<&[u8]>, can: &dyn Fn(Form) -> bool| match offered {
        None => can(Form::X509).then_some((Form::X509, false)),
        Some(list) => list
            .iter()
            .filter_map(|code| Form::from_code(*code))
            .find(|form| can(*form))
            .map(|form| (form, true)),
    };
    let client = choose(hello.client_certificate_types, &|form| credential.accepts(form))?;
    let server = choose(hello.server_certificate_types, &|form| credential.offers(form))?;
    Some((client, server))
}
