//! Messages on a stream (RFC 8323 sections 3.2 and 4.2): a length, code, token, options and payload; neither version, type nor id.
//! Not here: what a connection says about itself ([`signal`]), its life ([`link`]), frames of WebSocket, requests and responses
//! (the endpoint).

mod link;
pub mod signal;

use bytes::{BufMut, Bytes, BytesMut};

pub use link::{End, Link, LinkConfig, LinkEvent, StreamLimits};

use crate::message::{Fault, Reader, put_body, put_extended, read_body, split};
use crate::{Code, Message, Options, Token, Type};

/// The longest message that a peer takes which does not say more, in bytes (RFC 8323 section 5.3.1).
pub const BASE_MESSAGE: usize = 1152;
/// The most that stands before a token: length and its extension, code, and two bytes of RFC 8974.
const LONGEST_HEAD: usize = 8;

/// What keeps the messages of a connection apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The length that each begins with: TCP and TLS (RFC 8323 section 3.2).
    Length,
    /// What carries them: WebSocket, each of whose messages is one of ours. The length is 0 (section 4.2).
    Carrier,
}

impl Framing {
    /// The message as it goes over such a connection: its type and id are left out.
    pub fn encode(self, message: &Message) -> Bytes {
        let mut body = BytesMut::new();
        put_body(&mut body, &message.options, &message.payload);
        let token = message.token.as_bytes();
        let (token_nibble, token_rest) = split(token.len());
        let mut out = BytesMut::with_capacity(LONGEST_HEAD + token.len() + body.len());
        let length = match self {
            // 32 bits hold all that fits into memory on the systems that this is for.
            Framing::Length => u32::try_from(body.len()).unwrap_or(u32::MAX),
            Framing::Carrier => 0,
        };
        match length {
            0..=12 => out.put_u8((length as u8) << 4 | token_nibble),
            13..=268 => {
                out.put_u8(13 << 4 | token_nibble);
                out.put_u8((length - 13) as u8);
            }
            269..=65_804 => {
                out.put_u8(14 << 4 | token_nibble);
                out.put_u16((length - 269) as u16);
            }
            _ => {
                out.put_u8(15 << 4 | token_nibble);
                out.put_u32(length - 65_805);
            }
        }
        out.put_u8(message.code.0);
        put_extended(&mut out, token_nibble, token_rest);
        out.put_slice(token);
        out.put_slice(&body);
        out.freeze()
    }

    /// Reads a message, which is all of these bytes. `max_token` is the longest token that is taken.
    ///
    /// # Errors
    /// What breaks the format.
    pub fn decode(self, frame: &[u8], max_token: usize) -> Result<Message, Fault> {
        let first = *frame.first().ok_or(Fault::Truncated)?;
        match self {
            Framing::Length if frame_length(frame)? != Some(frame.len()) => return Err(Fault::Truncated),
            Framing::Carrier if first >> 4 != 0 => return Err(Fault::Length),
            _ => {}
        }
        let mut reader = Reader { bytes: frame, at: extension(first) + 1 };
        let code = Code(reader.byte().ok_or(Fault::Truncated)?);
        if matches!(code.class(), 1 | 6) {
            return Err(Fault::Code);
        }
        let length = match reader.extended(first & 0x0f) {
            Ok(length) if length <= max_token => length,
            Err(Fault::Truncated) => return Err(Fault::Truncated),
            _ => return Err(Fault::TokenLength),
        };
        let token = Token::new(reader.take(length)?);
        let (options, payload) = read_body(&Bytes::copy_from_slice(&frame[reader.at..]))?;
        Ok(Message::streamed(code, token, options, payload))
    }
}

/// How long the message is that begins there, in bytes; none while that cannot be told.
///
/// # Errors
/// When no message begins so.
pub fn frame_length(begin: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(first) = begin.first() else { return Ok(None) };
    let extension = extension(*first);
    let Some(digits) = begin.get(1..=extension) else { return Ok(None) };
    let extended = digits.iter().fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit));
    let length = match extension {
        1 => extended + 13,
        2 => extended + 269,
        4 => extended + 65_805,
        _ => u64::from(first >> 4),
    };
    let mut reader = Reader { bytes: begin, at: extension + 2 };
    let token = match reader.extended(first & 0x0f) {
        Ok(token) => token,
        Err(Fault::Truncated) => return Ok(None),
        Err(_) => return Err(Fault::TokenLength),
    };
    usize::try_from(length + (reader.at + token) as u64).map(Some).map_err(|_| Fault::Truncated)
}

/// How many bytes of length stand behind the first one.
fn extension(first: u8) -> usize {
    match first >> 4 {
        13 => 1,
        14 => 2,
        15 => 4,
        _ => 0,
    }
}

impl Message {
    /// Reads a message that came over a stream, which is all of these bytes. `max_token` is the longest token that is taken.
    ///
    /// # Errors
    /// What breaks the format.
    pub fn decode_stream(frame: &[u8], max_token: usize) -> Result<Message, Fault> {
        Framing::Length.decode(frame, max_token)
    }

    /// The message as it goes over a stream: its type and id are left out.
    pub fn encode_stream(&self) -> Bytes {
        Framing::Length.encode(self)
    }

    /// A message for a stream.
    pub(crate) fn streamed(code: Code, token: Token, options: Options, payload: Bytes) -> Message {
        Message { kind: Type::NonConfirmable, code, mid: 0, token, options, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number;

    fn message(body: usize, token: &[u8]) -> Message {
        let payload = Bytes::from(vec![7; body]);
        Message::streamed(Code::POST, Token::new(token), Options::new(), payload)
    }

    #[test]
    fn every_length_has_its_form() {
        // The length counts the payload marker.
        for (body, head) in [
            (0, &[0x02, 0x02, 1, 2][..]),
            (11, &[0xc2, 0x02, 1, 2]),
            (12, &[0xd2, 0, 0x02, 1, 2]),
            (267, &[0xd2, 255, 0x02, 1, 2]),
            (268, &[0xe2, 0, 0, 0x02, 1, 2]),
            (65_803, &[0xe2, 0xff, 0xff, 0x02, 1, 2]),
            (65_804, &[0xf2, 0, 0, 0, 0, 0x02, 1, 2]),
            (70_000, &[0xf2, 0, 0, 0x10, 0x64, 0x02, 1, 2]),
        ] {
            let message = message(body, &[1, 2]);
            let frame = message.encode_stream();
            assert_eq!(&frame[..head.len()], head, "{body}");
            assert_eq!(frame_length(&frame), Ok(Some(frame.len())));
            let framed = Framing::Carrier.encode(&message);
            assert_eq!((framed[0], &framed[1..]), (0x02, &frame[extension(frame[0]) + 1..]));
            assert_eq!(Framing::Carrier.decode(&framed, 8).as_ref(), Ok(&message));
            assert_eq!(Message::decode_stream(&frame, 8), Ok(message));
            for cut in 0..frame.len().min(9) {
                assert!(matches!(frame_length(&frame[..cut]), Ok(None | Some(_))), "{body} at {cut}");
                assert_eq!(Message::decode_stream(&frame[..cut], 8), Err(Fault::Truncated));
            }
        }
    }

    #[test]
    fn options_and_payload_are_those_of_a_datagram() {
        let options = [(number::URI_PATH, "t"), (number::URI_QUERY, "x=1")].into_iter().collect();
        let message = Message::streamed(Code::GET, Token::new(b"abc"), options, Bytes::from_static(b"hi"));
        let datagram = message.encode();
        let frame = message.encode_stream();
        assert_eq!(frame[frame.len() - 12..], datagram[datagram.len() - 12..]);
        assert_eq!(Message::decode_stream(&frame, 8), Ok(message));
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let refused = |frame: &[u8]| Message::decode_stream(frame, 8).unwrap_err();
        assert_eq!(refused(&[0x0f, 0x01]), Fault::TokenLength);
        assert_eq!(refused(&[0x09, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9]), Fault::TokenLength, "nine bytes");
        assert_eq!(refused(&[0x10, 0x01, 0xff]), Fault::EmptyPayload);
        assert_eq!(refused(&[0x10, 0x01, 0xf0]), Fault::OptionHeader);
        assert_eq!(refused(&[0x10, 0x01, 0x01]), Fault::Truncated);
        assert_eq!(refused(&[0x00, 0x20]), Fault::Code);
        assert_eq!(refused(&[0x00, 0x01, 0x00]), Fault::Truncated, "more than one message");
        assert_eq!(frame_length(&[]), Ok(None));
        assert_eq!(frame_length(&[0xf0, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(Some(0xffff_ffff + 65_805 + 6)));
        let framed = |frame: &[u8]| Framing::Carrier.decode(frame, 8).unwrap_err();
        assert_eq!(framed(&[]), Fault::Truncated);
        assert_eq!(framed(&[0x10, 0x01, 0x01]), Fault::Length);
        assert_eq!(framed(&[0x0f, 0x01]), Fault::TokenLength);
        assert_eq!(framed(&[0x00, 0x01, 0xff]), Fault::EmptyPayload);
        // An empty message is one, and means nothing (section 3.4).
        assert_eq!(Message::decode_stream(&[0, 0], 8).map(|message| message.code), Ok(Code::EMPTY));
    }
}
