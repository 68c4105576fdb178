//! Values of options, read while the command line is, so that a mistake ends with the usage. Not here: the options.

use bridge_core::Timestamp;

/// Bytes, however they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload(pub(super) Vec<u8>);

/// `01aa`, `0x01 aa`, `01:aa`.
pub(super) fn hex(text: &str) -> Result<Payload, String> {
    app::tryout::parse_hex(text).map(Payload)
}

/// Standard base64.
pub(super) fn base64(text: &str) -> Result<Payload, String> {
    app::tryout::parse_base64(text).map(Payload)
}

/// The text itself.
pub(super) fn text(text: &str) -> Result<Payload, String> {
    Ok(Payload(text.as_bytes().to_vec()))
}

/// `NAME=VALUE`; the value may be empty and may hold `=`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("this is not of the form NAME=VALUE".into()),
    }
}

/// RFC 3339.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "this is not RFC 3339, such as 2026-11-21T08:46:00Z".into())
}

/// The values of a downlink.
pub(super) fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

/// Digits without blanks.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_explained() {
        assert_eq!(hex("0x01 AA"), Ok(Payload(vec![1, 0xAA])));
        assert_eq!(base64("AQI="), Ok(Payload(vec![1, 2])));
        assert!(hex("1").is_err() && base64("?").is_err() && time("noon").is_err() && json("{").is_err());
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err() && pair("=a").is_err());
        assert_eq!(to_hex(&[0, 0xFF]), "00ff");
    }
}
