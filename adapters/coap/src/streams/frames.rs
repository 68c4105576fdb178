//! Frames of WebSocket (RFC 6455 section 5): what a device sends becomes messages, and what it gets is framed. Not here: the
//! handshake ([`super::handshake`]), what messages say, how long they may be and may take (`coap-proto`).

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use coap_proto::stream::Framing;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

/// The longest payload of a frame that is no data, bytes (RFC 6455 section 5.5).
const LONGEST_CONTROL: usize = 125;

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A binary message, put together.
    Message(BytesMut),
    /// To be answered with [`pong`].
    Ping(BytesMut),
    /// The peer ends.
    Close,
}

/// What comes in over one connection. What is kept is bounded by whoever hears that a message is too long.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    /// The fragments of a message whose last one has not come.
    fragments: Option<BytesMut>,
}

impl Frames {
    /// A connection after its handshake, with what came behind that.
    pub(super) fn new(begin: BytesMut) -> Self {
        Self { buffer: begin, fragments: None }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next that has come whole.
    ///
    /// # Errors
    /// With what to close when it is nothing that a device may send.
    pub(super) fn next(&mut self) -> Result<Option<Came>, CloseCode> {
        while let Some((header, head, length)) = self.header()? {
            if self.buffer.len() - head < length {
                break;
            }
            self.buffer.advance(head);
            let mut payload = self.buffer.split_to(length);
            if self.buffer.is_empty() {
                // The room of a long message is not kept.
                self.buffer = BytesMut::new();
            }
            // There is a mask, or it was refused.
            let mask = header.mask.unwrap_or_default();
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            match header.opcode {
                OpCode::Control(Control::Ping) => return Ok(Some(Came::Ping(payload))),
                OpCode::Control(Control::Close) => return Ok(Some(Came::Close)),
                OpCode::Control(_) => {}
                OpCode::Data(_) => {
                    let message = match self.fragments.take() {
                        Some(mut begin) => {
                            begin.extend_from_slice(&payload);
                            begin
                        }
                        None => payload,
                    };
                    match header.is_final {
                        true => return Ok(Some(Came::Message(message))),
                        false => self.fragments = Some(message),
                    }
                }
            }
        }
        Ok(None)
    }

    /// How many bytes have come or are announced of a message that is not whole; 0 when none has begun, and no less than 1 when
    /// a frame has.
    pub(super) fn begun(&self) -> usize {
        let have = self.fragments.as_ref().map_or(0, BytesMut::len);
        let announced = match self.header() {
            Ok(Some((FrameHeader { opcode: OpCode::Data(_), .. }, _, length))) => length,
            _ => 0,
        };
        let is_there = self.fragments.is_some() || !self.buffer.is_empty();
        have.saturating_add(announced).max(usize::from(is_there))
    }

    /// The header of the frame that comes next, its length, and that of its payload.
    fn header(&self) -> Result<Option<(FrameHeader, usize, usize)>, CloseCode> {
        let mut cursor = Cursor::new(&self.buffer);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| CloseCode::Protocol)?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let is_reserved = header.rsv1 || header.rsv2 || header.rsv3;
        if is_reserved || header.mask.is_none() {
            return Err(CloseCode::Protocol);
        }
        match header.opcode {
            OpCode::Control(_) if header.is_final && length <= LONGEST_CONTROL => {}
            OpCode::Data(Data::Text) => return Err(CloseCode::Unsupported),
            OpCode::Data(Data::Binary) if self.fragments.is_none() => {}
            OpCode::Data(Data::Continue) if self.fragments.is_some() => {}
            _ => return Err(CloseCode::Protocol),
        }
        // A header has 14 bytes at most.
        Ok(Some((header, cursor.position() as usize, length)))
    }
}

/// A message as it is written to such a connection.
pub(super) fn on_wire(framing: Framing, message: Bytes) -> Bytes {
    match framing {
        Framing::Length => message,
        Framing::Carrier => written(Frame::message(message, OpCode::Data(Data::Binary), true)),
    }
}

/// The answer to a ping.
pub(super) fn pong(payload: BytesMut) -> Bytes {
    written(Frame::pong(payload))
}

/// The last frame.
pub(super) fn close(code: CloseCode) -> Bytes {
    written(Frame::close(Some(CloseFrame { code, reason: "".into() })))
}

fn written(frame: Frame) -> Bytes {
    let mut bytes = Vec::with_capacity(frame.len());
    // Memory takes all of it.
    let _ = frame.format(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a device sends it.
    fn frame(is_final: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final, opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
        written(Frame::from_payload(header, Bytes::copy_from_slice(payload))).to_vec()
    }

    fn data(is_final: bool, kind: Data, payload: &[u8]) -> Vec<u8> {
        frame(is_final, OpCode::Data(kind), payload)
    }

    fn message(payload: &[u8]) -> Came {
        Came::Message(payload.into())
    }

    /// What comes of these bytes in pieces of so many.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Came>, CloseCode> {
        let mut frames = Frames::new(BytesMut::new());
        let mut came = Vec::new();
        for piece in bytes.chunks(step) {
            frames.take(piece);
            while let Some(next) = frames.next()? {
                came.push(next);
            }
        }
        assert_eq!(frames.begun(), 0);
        Ok(came)
    }

    #[test]
    fn messages_come_however_they_are_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
        let bytes = [
            data(true, Data::Binary, b"one"),
            data(false, Data::Binary, b""),
            frame(true, OpCode::Control(Control::Ping), b"there?"),
            data(false, Data::Continue, b"t"),
            frame(true, OpCode::Control(Control::Pong), b""),
            data(true, Data::Continue, b"wo"),
            data(true, Data::Binary, b""),
            data(true, Data::Binary, &long[..300]),
            data(true, Data::Binary, &long),
            frame(true, OpCode::Control(Control::Close), &[3, 232]),
        ]
        .concat();
        for step in [1, 2, 7, 4096, bytes.len()] {
            let wanted = vec![
                message(b"one"),
                Came::Ping(b"there?"[..].into()),
                message(b"two"),
                message(b""),
                message(&long[..300]),
                message(&long),
                Came::Close,
            ];
            assert!(read(&bytes, step) == Ok(wanted), "in pieces of {step}");
        }
    }

    #[test]
    fn what_a_device_may_not_send_has_its_code() {
        let unmasked = written(Frame::message(&b"x"[..], OpCode::Data(Data::Binary), true)).to_vec();
        let with_first = |first: u8| [&[first], &data(true, Data::Binary, b"x")[1..]].concat();
        let both = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
        for (bytes, code) in [
            (data(true, Data::Text, b"{}"), CloseCode::Unsupported),
            (unmasked, CloseCode::Protocol),
            (with_first(0xc2), CloseCode::Protocol),
            (with_first(0x83), CloseCode::Protocol),
            (with_first(0x8b), CloseCode::Protocol),
            (data(true, Data::Continue, b"x"), CloseCode::Protocol),
            (both(data(false, Data::Binary, b"x"), data(true, Data::Binary, b"x")), CloseCode::Protocol),
            (frame(false, OpCode::Control(Control::Ping), b""), CloseCode::Protocol),
            (frame(true, OpCode::Control(Control::Ping), &[0; 126]), CloseCode::Protocol),
        ] {
            for step in [1, bytes.len()] {
                assert_eq!(read(&bytes, step), Err(code), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn junk_means_the_same_however_it_is_cut() {
        let mut seed = 20_261_121_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..20_000 {
            // Frames that are nearly right, or they would end at the first byte.
            let bytes: Vec<u8> = (0..=random(3))
                .flat_map(|_| {
                    let first = [0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x81][random(8) as usize];
                    let payload = vec![7; random(200) as usize];
                    let mut frame = [&[first], &data(true, Data::Binary, &payload)[1..]].concat();
                    if random(4) == 0 {
                        let at = random(frame.len().min(12) as u64) as usize;
                        frame[at] = random(256) as u8;
                    }
                    frame
                })
                .collect();
            let read = |step: usize| {
                let mut frames = Frames::new(BytesMut::new());
                let mut came = Vec::new();
                for piece in bytes.chunks(step) {
                    frames.take(piece);
                    loop {
                        match frames.next() {
                            Ok(Some(next)) => came.push(next),
                            Ok(None) => break,
                            Err(code) => return (came, Err(code)),
                        }
                    }
                }
                (came, Ok(frames.begun()))
            };
            let whole = read(bytes.len());
            for step in [1, 5] {
                assert!(read(step) == whole, "{bytes:x?}");
            }
        }
    }

    #[test]
    fn what_has_begun_is_known_before_it_comes() {
        let mut frames = Frames::new(BytesMut::new());
        let begins = |frames: &mut Frames, bytes: &[u8]| {
            frames.take(bytes);
            assert_eq!(frames.next(), Ok(None));
            frames.begun()
        };
        assert_eq!(begins(&mut frames, &[0x02]), 1, "a frame, of what length is not known");
        assert_eq!(begins(&mut frames, &[0xfe, 0x01, 0x00, 1, 2, 3, 4]), 256);
        assert_eq!(begins(&mut frames, &[0; 256]), 256, "one of its fragments is there");
        assert_eq!(begins(&mut frames, &[0x89, 0x81, 1, 2, 3, 4]), 256, "a ping is no part of it");
        frames.take(&[1]);
        assert!(matches!(frames.next(), Ok(Some(Came::Ping(_)))));
        let most = [[0x80, 0xff].as_slice(), &[0x7f; 8], &[1, 2, 3, 4]].concat();
        assert_eq!(begins(&mut frames, &most), 256 + 0x7f7f_7f7f_7f7f_7f7f);
    }

    #[test]
    fn what_is_written_is_not_masked() {
        assert_eq!(on_wire(Framing::Carrier, Bytes::from_static(b"\0\xe1"))[..], [0x82, 2, 0, 0xe1]);
        assert_eq!(on_wire(Framing::Length, Bytes::from_static(b"\0\xe1"))[..], [0, 0xe1]);
        assert_eq!(close(CloseCode::Size)[..], [0x88, 2, 3, 241]);
        assert_eq!(pong(b"x"[..].into())[..], [0x8a, 1, b'x']);
    }
}
