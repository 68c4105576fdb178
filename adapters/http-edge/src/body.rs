//! Reads a request body within its limits: size, time, and the size after decompression. Not here: what is in it.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use bridge_core::counters::Refusal;
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::{Problem, Refused, refused};

/// The body, decompressed.
///
/// # Errors
/// Over the limit before or after decompression, not in time, broken off, or in an encoding that is not taken.
pub async fn read<B>(headers: &HeaderMap, body: B, limit: usize, timeout: Duration) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    read_checked(headers, body, limit, timeout, |_| Ok(())).await
}

/// The same, when the body as it was sent passes a check.
///
/// # Errors
/// As above, and that of the check.
pub async fn read_checked<B>(
    headers: &HeaderMap,
    body: B,
    limit: usize,
    timeout: Duration,
    check: impl FnOnce(&[u8]) -> Result<(), Refused>,
) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || refused(Refusal::TooLarge, Problem::too_large(limit));
    let encoding = Encoding::of(headers).ok_or_else(|| refused(Refusal::Encoding, Problem::encoding()))?;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await;
    let body = match collected {
        Err(_) => return Err(refused(Refusal::Timeout, Problem::timeout())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => {
            return Err(refused(Refusal::Malformed, Problem::malformed("the body ended before its end")));
        }
        Ok(Ok(body)) => body.to_bytes(),
    };
    check(&body)?;
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => inflate(MultiGzDecoder::new(&body[..]), limit),
        Encoding::Deflate => inflate(ZlibDecoder::new(&body[..]), limit),
    }
}

/// The media type of a body in lower case, without its parameters; empty when the sender does not say.
pub fn media_type(headers: &HeaderMap) -> Cow<'static, str> {
    const JSON: &str = "application/json";
    let value = headers.get(header::CONTENT_TYPE);
    if value.is_some_and(|value| value == JSON) {
        return JSON.into();
    }
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().into()
}

#[derive(Debug, PartialEq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let encoding = match (values.next(), values.next()) {
            (None, _) => return Some(Self::Identity),
            (Some(value), None) => value.to_str().ok()?.trim().to_ascii_lowercase(),
            // Stacked encodings serve nobody but bombs.
            (Some(_), Some(_)) => return None,
        };
        match encoding.as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Stops one byte after the limit, however much more there would be.
fn inflate(decoder: impl Read, limit: usize) -> Result<Bytes, Refused> {
    let mut plain = Vec::new();
    match decoder.take(limit as u64 + 1).read_to_end(&mut plain) {
        Ok(_) if plain.len() > limit => Err(refused(Refusal::TooLarge, Problem::too_large(limit))),
        Ok(_) => Ok(plain.into()),
        Err(_) => Err(refused(
            Refusal::Malformed,
            Problem::malformed("the body is not compressed as its header says"),
        )),
    }
}
