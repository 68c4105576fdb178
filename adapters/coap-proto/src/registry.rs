//! The options that this crate knows, and the rules for those that it does not (RFC 7252 section 5.4).

use crate::Options;

/// Numbers of options (registry "CoAP Option Numbers").
pub mod number {
    /// RFC 7252 section 5.10.8.1.
    pub const IF_MATCH: u16 = 1;
    /// RFC 7252 section 5.10.1.
    pub const URI_HOST: u16 = 3;
    /// RFC 7252 section 5.10.6.
    pub const ETAG: u16 = 4;
    /// RFC 7252 section 5.10.8.2.
    pub const IF_NONE_MATCH: u16 = 5;
    /// RFC 7641 section 2.
    pub const OBSERVE: u16 = 6;
    /// RFC 7252 section 5.10.1.
    pub const URI_PORT: u16 = 7;
    /// RFC 7252 section 5.10.7.
    pub const LOCATION_PATH: u16 = 8;
    /// RFC 7252 section 5.10.1.
    pub const URI_PATH: u16 = 11;
    /// RFC 7252 section 5.10.3.
    pub const CONTENT_FORMAT: u16 = 12;
    /// Seconds, 60 when absent (RFC 7252 section 5.10.5).
    pub const MAX_AGE: u16 = 14;
    /// RFC 7252 section 5.10.1.
    pub const URI_QUERY: u16 = 15;
    /// RFC 8768.
    pub const HOP_LIMIT: u16 = 16;
    /// RFC 7252 section 5.10.4.
    pub const ACCEPT: u16 = 17;
    /// RFC 9177, not understood here.
    pub const Q_BLOCK1: u16 = 19;
    /// RFC 7252 section 5.10.7.
    pub const LOCATION_QUERY: u16 = 20;
    /// RFC 7959 section 2.1.
    pub const BLOCK2: u16 = 23;
    /// RFC 7959 section 2.1.
    pub const BLOCK1: u16 = 27;
    /// Bytes of the whole response body (RFC 7959 section 4).
    pub const SIZE2: u16 = 28;
    /// RFC 7252 section 5.10.2.
    pub const PROXY_URI: u16 = 35;
    /// RFC 7252 section 5.10.2.
    pub const PROXY_SCHEME: u16 = 39;
    /// Bytes of the whole request body (RFC 7252 section 5.10.9, RFC 7959 section 4).
    pub const SIZE1: u16 = 60;
    /// RFC 9175 section 2.
    pub const ECHO: u16 = 252;
    /// RFC 7967 section 2.
    pub const NO_RESPONSE: u16 = 258;
    /// RFC 9175 section 3.
    pub const REQUEST_TAG: u16 = 292;
}

/// Whether a receiver that does not understand the option must refuse the message.
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

/// Whether the option stays out of cache keys: it is not unsafe to forward and its bits 2 to 4 are set (RFC 7252 section
/// 5.4.6).
pub const fn is_no_cache_key(number: u16) -> bool {
    number & 0x1e == 0x1c
}

/// In which kind of message an option stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Request,
    Response,
}

struct Rule {
    number: u16,
    lengths: (usize, usize),
    repeatable: bool,
    request: bool,
    response: bool,
}

const fn rule(number: u16, lengths: (usize, usize), repeatable: bool, places: (bool, bool)) -> Rule {
    Rule { number, lengths, repeatable, request: places.0, response: places.1 }
}

const REQUEST: (bool, bool) = (true, false);
const RESPONSE: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

const RULES: &[Rule] = &[
    rule(number::IF_MATCH, (0, 8), true, REQUEST),
    rule(number::URI_HOST, (1, 255), false, REQUEST),
    rule(number::ETAG, (1, 8), true, BOTH),
    rule(number::IF_NONE_MATCH, (0, 0), false, REQUEST),
    rule(number::OBSERVE, (0, 3), false, BOTH),
    rule(number::URI_PORT, (0, 2), false, REQUEST),
    rule(number::LOCATION_PATH, (0, 255), true, RESPONSE),
    rule(number::URI_PATH, (0, 255), true, REQUEST),
    rule(number::CONTENT_FORMAT, (0, 2), false, BOTH),
    rule(number::MAX_AGE, (0, 4), false, RESPONSE),
    rule(number::URI_QUERY, (0, 255), true, REQUEST),
    rule(number::HOP_LIMIT, (1, 1), false, REQUEST),
    rule(number::ACCEPT, (0, 2), false, REQUEST),
    rule(number::LOCATION_QUERY, (0, 255), true, RESPONSE),
    rule(number::BLOCK2, (0, 3), false, BOTH),
    rule(number::BLOCK1, (0, 3), false, BOTH),
    rule(number::SIZE2, (0, 4), false, BOTH),
    rule(number::PROXY_URI, (1, 1034), false, REQUEST),
    rule(number::PROXY_SCHEME, (1, 255), false, REQUEST),
    rule(number::SIZE1, (0, 4), false, BOTH),
    rule(number::ECHO, (1, 40), false, BOTH),
    rule(number::NO_RESPONSE, (0, 1), false, REQUEST),
    rule(number::REQUEST_TAG, (0, 8), true, REQUEST),
];

/// Takes away what is not understood and may be ignored: unknown elective options, those of a wrong length (RFC 7252
/// section 5.4.3) and supernumerary ones (section 5.4.5). `understood` are further options of the application.
///
/// # Errors
/// The number of the first critical option that is not understood.
pub(crate) fn sanitise(options: &mut Options, place: Place, understood: &[u16]) -> Result<(), u16> {
    let mut bad = None;
    let mut last = None;
    options.retain(|number, value| {
        let repeated = last == Some(number);
        last = Some(number);
        let known = match RULES.iter().find(|rule| rule.number == number) {
            Some(rule) => {
                (if place == Place::Request { rule.request } else { rule.response })
                    && (rule.lengths.0..=rule.lengths.1).contains(&value.len())
                    && (rule.repeatable && !(number == number::ETAG && place == Place::Response) || !repeated)
            }
            None => understood.contains(&number),
        };
        if !known && is_critical(number) && bad.is_none() {
            bad = Some(number);
        }
        known
    });
    bad.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused_or_ignored() {
        let check = |list: &[(u16, &'static [u8])], place| {
            let mut options: Options = list.iter().copied().collect();
            sanitise(&mut options, place, &[9]).map(|()| options.len())
        };
        assert_eq!(check(&[(11, b"a"), (11, b"b"), (9, b"")], Place::Request), Ok(3));
        assert_eq!(check(&[(9999, b"")], Place::Request), Err(9999));
        assert_eq!(check(&[(9998, b"")], Place::Request), Ok(0));
        assert_eq!(check(&[(17, b""), (17, b"2")], Place::Request), Err(17));
        assert_eq!(check(&[(12, b""), (12, b"2")], Place::Request), Ok(1));
        assert_eq!(check(&[(7, b"123")], Place::Request), Err(7));
        assert_eq!(check(&[(12, b"123")], Place::Request), Ok(0));
        assert_eq!(check(&[(11, b"a")], Place::Response), Err(11));
        assert_eq!(check(&[(4, b"a"), (4, b"b")], Place::Request), Ok(2));
        assert_eq!(check(&[(4, b"a"), (4, b"b")], Place::Response), Ok(1));
    }

    #[test]
    fn cache_keys_leave_out_sizes_and_echo() {
        for number in [number::SIZE1, number::SIZE2, number::ECHO] {
            assert!(is_no_cache_key(number));
        }
        for number in [number::URI_PATH, number::REQUEST_TAG, number::ACCEPT] {
            assert!(!is_no_cache_key(number));
        }
    }
}
