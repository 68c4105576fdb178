//! What a handshake sends: flights of messages, cut into fragments, put into records and datagrams, again and again with new
//! sequence numbers (RFC 6347 section 4.2.4). Not here: when.

use std::net::SocketAddr;

use crate::core::Core;
use crate::inbox::{HEADER, write_fragment};
use crate::protect::{self, Head, Keys};
use crate::record::{self, CHANGE_CIPHER_SPEC, HANDSHAKE};

/// The header of a record without Connection ID.
const RECORD_HEADER: usize = 13;
/// No fragment is shorter than this, whatever the settings say.
const LEAST_FRAGMENT: usize = 64;

#[derive(Debug)]
enum Part {
    /// A whole message in the clear.
    Message(Vec<u8>),
    ChangeCipherSpec,
    /// A whole message, protected.
    Finished(Vec<u8>),
}

/// One direction of a handshake: the last flight and the numbers.
#[derive(Debug)]
pub(crate) struct Outbox {
    parts: Vec<Part>,
    /// The next handshake message.
    pub(crate) message_seq: u16,
    /// The next record in the clear.
    pub(crate) clear_seq: u64,
    /// The next protected record.
    pub(crate) sealed_seq: u64,
}

/// What protects records to the client, and for whom they are.
pub(crate) struct Line<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) keys: Option<&'a Keys>,
    pub(crate) cid: &'a [u8],
    pub(crate) max_content: usize,
}

impl Outbox {
    pub(crate) fn new(message_seq: u16, clear_seq: u64) -> Outbox {
        Outbox { parts: Vec::new(), message_seq, clear_seq, sealed_seq: 0 }
    }

    /// Begins a new flight.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Adds a message and gives its bytes, for the transcript.
    pub(crate) fn message(&mut self, kind: u8, body: &[u8]) -> &[u8] {
        let bytes = crate::inbox::message(kind, self.message_seq, body);
        self.message_seq += 1;
        self.parts.push(Part::Message(bytes));
        match self.parts.last() {
            Some(Part::Message(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Adds the change to protected records and the first of them, and gives the bytes of the message.
    pub(crate) fn finished(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let bytes = crate::inbox::message(kind, self.message_seq, body);
        self.message_seq += 1;
        self.parts.push(Part::ChangeCipherSpec);
        self.parts.push(Part::Finished(bytes.clone()));
        bytes
    }

    /// Sends the flight.
    pub(crate) fn transmit(&mut self, core: &mut Core, line: &Line<'_>) {
        let mtu = core.config.handshake_mtu;
        let longest =
            mtu.saturating_sub(RECORD_HEADER + HEADER).min(line.max_content - HEADER).max(LEAST_FRAGMENT);
        let parts = std::mem::take(&mut self.parts);
        let mut records: Vec<Vec<u8>> = Vec::new();
        for part in &parts {
            match part {
                Part::Message(bytes) => self.fragments(&mut records, bytes, longest),
                Part::ChangeCipherSpec => records.push(self.clear_record(CHANGE_CIPHER_SPEC, &[1])),
                Part::Finished(bytes) => records.extend(self.sealed_record(core, line, bytes)),
            }
        }
        self.parts = parts;
        let mut datagram = Vec::new();
        for record in records {
            if !datagram.is_empty() && datagram.len() + record.len() > mtu {
                core.transmit(line.peer, std::mem::take(&mut datagram));
            }
            datagram.extend_from_slice(&record);
        }
        if !datagram.is_empty() {
            core.transmit(line.peer, datagram);
        }
    }

    /// A record in the clear.
    pub(crate) fn clear_record(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_HEADER + body.len());
        record::write(&mut bytes, kind, (0, self.clear_seq), &[], body);
        self.clear_seq += 1;
        bytes
    }

    fn fragments(&mut self, records: &mut Vec<Vec<u8>>, message: &[u8], longest: usize) {
        let (header, body) = message.split_at(HEADER);
        let message_seq = u16::from_be_bytes([header[4], header[5]]);
        let mut offset = 0;
        loop {
            let piece = &body[offset..body.len().min(offset + longest)];
            let mut content = Vec::with_capacity(HEADER + piece.len());
            write_fragment(&mut content, header[0], message_seq, body.len(), offset, piece);
            records.push(self.clear_record(HANDSHAKE, &content));
            offset += piece.len();
            if offset >= body.len() {
                return;
            }
        }
    }

    fn sealed_record(&mut self, core: &mut Core, line: &Line<'_>, message: &[u8]) -> Option<Vec<u8>> {
        let keys = line.keys?;
        let head = Head { kind: HANDSHAKE, epoch: 1, seq: self.sealed_seq, cid: line.cid };
        self.sealed_seq += 1;
        let mut bytes = Vec::new();
        protect::seal(&mut bytes, keys.cipher, &keys.server, head, message, core.random());
        Some(bytes)
    }
}
