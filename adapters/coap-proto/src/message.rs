//! One message on a datagram: strict decoder and encoder (RFC 7252 section 3, RFC 8974 section 2). Not here: exchanges,
//! and which options exist. Why this is not `coap-lite`: `docs/decisions/0010-coap-codec.md`.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Code, Options};

/// The longest token of RFC 8974, in bytes.
pub const MAX_EXTENDED_TOKEN: usize = 65_804;

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// CON: wants an acknowledgement.
    Confirmable,
    /// NON.
    NonConfirmable,
    /// ACK.
    Acknowledgement,
    /// RST.
    Reset,
}

/// The name of an exchange, chosen by the client, opaque to the server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Short);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Short {
    Inline(u8, [u8; 8]),
    Heap(Box<[u8]>),
}

impl Token {
    /// The token of these bytes; what is behind byte 65,804 is cut off.
    pub fn new(bytes: &[u8]) -> Token {
        let bytes = &bytes[..bytes.len().min(MAX_EXTENDED_TOKEN)];
        let mut inline = [0; 8];
        match inline.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Token(Short::Inline(bytes.len() as u8, inline))
            }
            None => Token(Short::Heap(bytes.into())),
        }
    }

    /// The token's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Short::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Short::Heap(bytes) => bytes,
        }
    }
}

impl Default for Token {
    fn default() -> Self {
        Token::new(&[])
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// CON, NON, ACK or RST.
    pub kind: Type,
    /// Method, response or empty.
    pub code: Code,
    /// The message id.
    pub mid: u16,
    /// The token.
    pub token: Token,
    /// The options.
    pub options: Options,
    /// The payload; empty means none.
    pub payload: Bytes,
}

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// To be dropped in silence: shorter than a header, or of another version.
    #[error("not a CoAP datagram of version 1")]
    NotCoap,
    /// A header, and behind it something that breaks the format. A confirmable message gets a reset.
    #[error("{fault}")]
    Malformed {
        /// The type of the message.
        kind: Type,
        /// Its id.
        mid: u16,
        /// What is wrong.
        fault: Fault,
    },
}

/// What breaks the format of a message (RFC 7252 sections 3, 4.1 to 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Length 15, or longer than this endpoint takes.
    #[error("the length of the token is reserved or not supported")]
    TokenLength,
    /// The token, an option or the rest of a length is cut off.
    #[error("the message ends too early")]
    Truncated,
    /// One where what carries the message has it (RFC 8323 section 4.2).
    #[error("a length where there is none")]
    Length,
    /// Delta or length 15 in an option, or a number over 65535.
    #[error("an option has a reserved delta or length")]
    OptionHeader,
    /// A marker and nothing behind it.
    #[error("a payload marker without a payload")]
    EmptyPayload,
    /// Code 0.00 and bytes behind the message id.
    #[error("an empty message that is not empty")]
    NonEmpty,
    /// Classes 1, 6 and 7; or a reset with a code, or an acknowledgement with a method.
    #[error("a code that this type of message cannot have")]
    Code,
}

impl Message {
    /// An empty acknowledgement or reset.
    pub fn empty(kind: Type, mid: u16) -> Message {
        Message {
            kind,
            code: Code::EMPTY,
            mid,
            token: Token::default(),
            options: Options::new(),
            payload: Bytes::new(),
        }
    }

    /// Reads a datagram. `max_token` is the longest token that is taken, in bytes: 8 without RFC 8974.
    ///
    /// # Errors
    /// When it is no message; see [`DecodeError`].
    pub fn decode(datagram: &[u8], max_token: usize) -> Result<Message, DecodeError> {
        let &[first, code, mid_high, mid_low, ref rest @ ..] = datagram else {
            return Err(DecodeError::NotCoap);
        };
        if first >> 6 != 1 {
            return Err(DecodeError::NotCoap);
        }
        let kind = match first >> 4 & 3 {
            0 => Type::Confirmable,
            1 => Type::NonConfirmable,
            2 => Type::Acknowledgement,
            _ => Type::Reset,
        };
        let mid = u16::from_be_bytes([mid_high, mid_low]);
        let head = Head { kind, code: Code(code), mid, token_nibble: first & 0x0f };
        head.decode(rest, max_token).map_err(|fault| DecodeError::Malformed { kind, mid, fault })
    }

    /// The datagram.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size_hint());
        let kind = match self.kind {
            Type::Confirmable => 0,
            Type::NonConfirmable => 1,
            Type::Acknowledgement => 2,
            Type::Reset => 3,
        };
        let token = self.token.as_bytes();
        let (nibble, extended) = split(token.len());
        out.put_u8(1 << 6 | kind << 4 | nibble);
        out.put_u8(self.code.0);
        out.put_u16(self.mid);
        put_extended(&mut out, nibble, extended);
        out.put_slice(token);
        put_body(&mut out, &self.options, &self.payload);
        out.freeze()
    }

    fn size_hint(&self) -> usize {
        let options: usize = self.options.iter().map(|(_, value)| value.len() + 5).sum();
        7 + self.token.as_bytes().len() + options + self.payload.len()
    }
}

struct Head {
    kind: Type,
    code: Code,
    mid: u16,
    token_nibble: u8,
}

impl Head {
    fn decode(self, rest: &[u8], max_token: usize) -> Result<Message, Fault> {
        let Head { kind, code, mid, token_nibble } = self;
        if code == Code::EMPTY {
            let empty = rest.is_empty() && token_nibble == 0;
            return if empty { Ok(Message::empty(kind, mid)) } else { Err(Fault::NonEmpty) };
        }
        let possible = match kind {
            Type::Reset => false,
            Type::Acknowledgement => code.is_response(),
            Type::Confirmable | Type::NonConfirmable => code.is_request() || code.is_response(),
        };
        if !possible {
            return Err(Fault::Code);
        }
        let mut reader = Reader { bytes: rest, at: 0 };
        if token_nibble == 15 {
            return Err(Fault::TokenLength);
        }
        // 9 to 12 are reserved but for RFC 8974.
        let length = reader.extended(token_nibble)?;
        if length > max_token {
            return Err(Fault::TokenLength);
        }
        let token = Token::new(reader.take(length)?);
        let (options, payload) = read_body(&Bytes::copy_from_slice(&rest[reader.at..]))?;
        Ok(Message { kind, code, mid, token, options, payload })
    }
}

/// Reads options and payload.
pub(crate) fn read_body(body: &Bytes) -> Result<(Options, Bytes), Fault> {
    let mut reader = Reader { bytes: body, at: 0 };
    let mut options = Options::new();
    let mut number = 0_usize;
    loop {
        match reader.byte() {
            None => return Ok((options, Bytes::new())),
            Some(0xff) if reader.at == body.len() => return Err(Fault::EmptyPayload),
            Some(0xff) => return Ok((options, body.slice(reader.at..))),
            Some(byte) => {
                number += reader.extended(byte >> 4)?;
                let length = reader.extended(byte & 0x0f)?;
                let from = reader.at;
                reader.take(length)?;
                let short = u16::try_from(number).map_err(|_| Fault::OptionHeader)?;
                options.append(short, body.slice(from..from + length));
            }
        }
    }
}

/// Writes options and payload.
pub(crate) fn put_body(out: &mut BytesMut, options: &Options, payload: &[u8]) {
    let mut last = 0;
    for (number, value) in options.iter() {
        let (delta, delta_rest) = split(usize::from(number - last));
        let (length, length_rest) = split(value.len());
        out.put_u8(delta << 4 | length);
        put_extended(out, delta, delta_rest);
        put_extended(out, length, length_rest);
        out.put_slice(value);
        last = number;
    }
    if !payload.is_empty() {
        out.put_u8(0xff);
        out.put_slice(payload);
    }
}

pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or(Fault::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    /// A nibble and its extension: up to 12 itself, 13 and 14 with one and two bytes more.
    pub(crate) fn extended(&mut self, nibble: u8) -> Result<usize, Fault> {
        match nibble {
            13 => Ok(usize::from(self.byte().ok_or(Fault::Truncated)?) + 13),
            14 => {
                let bytes = self.take(2)?;
                Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) + 269)
            }
            15 => Err(Fault::OptionHeader),
            nibble => Ok(usize::from(nibble)),
        }
    }
}

/// The nibble of a delta or length, and what stands in its extension.
pub(crate) fn split(value: usize) -> (u8, u16) {
    match value {
        0..=12 => (value as u8, 0),
        13..=268 => (13, (value - 13) as u16),
        // Numbers, lengths of values and of tokens never go beyond this.
        _ => (14, (value - 269).min(usize::from(u16::MAX)) as u16),
    }
}

pub(crate) fn put_extended(out: &mut BytesMut, nibble: u8, rest: u16) {
    match nibble {
        13 => out.put_u8(rest as u8),
        14 => out.put_u16(rest),
        _ => {}
    }
}
