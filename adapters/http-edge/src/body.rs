//! Reads a request body within its limits: size, time, and the size after decompression. Not here: what is in it.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io::Read;
use std::pin::pin;
use std::task::Poll;
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
    let body = match in_time(timeout, whole(Limited::new(body, limit))).await {
        None => return Err(refused(Refusal::Timeout, Problem::timeout())),
        Some(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Some(Err(_)) => {
            return Err(refused(Refusal::Malformed, Problem::malformed("the body ended before its end")));
        }
        Some(Ok(body)) => body,
    };
    check(&body)?;
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => inflate(MultiGzDecoder::new(&body[..]), limit),
        Encoding::Deflate => inflate(ZlibDecoder::new(&body[..]), limit),
    }
}

/// What a future comes to; none when it does not within the limit. Most bodies are there with their heads: a timer is made
/// for the others only.
async fn in_time<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout(limit, future).await.ok(),
    }
}

/// All data of a body. Most come in one piece, which is handed on as it is.
async fn whole<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, B::Error> {
    let mut body = pin!(body);
    let (mut first, mut further) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if first.is_empty() => first = data,
            Ok(data) => further.push(data),
            // Trailers.
            Err(_) => {}
        }
    }
    if further.is_empty() {
        return Ok(first);
    }
    further.insert(0, first);
    Ok(further.concat().into())
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::Context;

    use http_body::Frame;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    /// A body whose pieces let themselves be waited for. Without an end when `endless`.
    struct Pieces {
        left: VecDeque<&'static str>,
        endless: bool,
        waited: bool,
    }

    fn pieces(texts: &[&'static str], endless: bool) -> Pieces {
        Pieces { left: texts.iter().copied().collect(), endless, waited: false }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.waited = !self.waited;
            if self.waited {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.left.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))),
                None if self.endless => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_whole_in_however_many_pieces_it_comes() {
        let none = HeaderMap::new();
        for texts in [&[][..], &[""], &["one two"], &["", "one ", "", "two"]] {
            let read = read(&none, pieces(texts, false), 7, SOON).await;
            assert_eq!(read.ok().unwrap(), texts.concat(), "{texts:?}");
        }
        let over = read(&none, pieces(&["one ", "two"], false), 6, SOON).await;
        assert_eq!(over.err().unwrap().0, Refusal::TooLarge);
        let late = read(&none, pieces(&["one "], true), 7, SOON).await;
        assert_eq!(late.err().unwrap().0, Refusal::Timeout);
    }
}
