//! Records in a datagram: RFC 6347 section 4.1, with Connection IDs RFC 9146 section 4. Not here: protection.

use bytes::BufMut;

use crate::wire::Reader;

/// DTLS 1.2 on the wire.
pub(crate) const VERSION: u16 = 0xfefd;
/// The longest content of a record: 2^14 and what protection may add (RFC 6347 section 4.1).
const MAX_BODY: usize = (1 << 14) + 2048;

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;
/// A protected record with a Connection ID; its true type is inside.
pub(crate) const TLS12_CID: u8 = 25;

/// A record as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) kind: u8,
    pub(crate) version: u16,
    pub(crate) epoch: u16,
    /// 48 bits.
    pub(crate) seq: u64,
    /// Empty unless the kind is [`TLS12_CID`].
    pub(crate) cid: &'a [u8],
    pub(crate) body: &'a [u8],
    /// All of it.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the first record off a datagram. `cid_length` is that of all our Connection IDs.
    pub(crate) fn split(datagram: &'a [u8], cid_length: usize) -> Option<(Record<'a>, &'a [u8])> {
        let mut reader = Reader(datagram);
        let kind = reader.u8()?;
        let version = reader.u16()?;
        let epoch = reader.u16()?;
        let seq = reader.uint(6)?;
        let cid = reader.take(if kind == TLS12_CID { cid_length } else { 0 })?;
        let body = reader.vector(2)?;
        if version >> 8 != 0xfe || body.len() > MAX_BODY {
            return None;
        }
        let bytes = datagram.get(..datagram.len() - reader.0.len())?;
        Some((Record { kind, version, epoch, seq, cid, body, bytes }, reader.0))
    }
}

/// Whether that is the first byte of a DTLS 1.2 record, for sockets that carry other protocols too (RFC 7983).
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(CHANGE_CIPHER_SPEC..=TLS12_CID)) && datagram.len() > 12
}

/// The node in the Connection ID of a datagram, so that a load balancer, or another node that got it, can pass it on. `None`
/// when there is none.
pub fn node_of(datagram: &[u8]) -> Option<u8> {
    (datagram.first() == Some(&TLS12_CID)).then(|| datagram.get(11).copied()).flatten()
}

/// Epoch and sequence number as one number: what nonces and MACs use.
pub(crate) fn epoch_seq(epoch: u16, seq: u64) -> u64 {
    u64::from(epoch) << 48 | seq
}

/// Writes a record; with a Connection ID when that is not empty.
pub(crate) fn write(to: &mut Vec<u8>, kind: u8, (epoch, seq): (u16, u64), cid: &[u8], body: &[u8]) {
    to.put_u8(kind);
    to.put_u16(VERSION);
    to.put_u64(epoch_seq(epoch, seq));
    to.put_slice(cid);
    to.put_u16(body.len() as u16);
    to.put_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut datagram = Vec::new();
        write(&mut datagram, HANDSHAKE, (0, 7), &[], b"abc");
        write(&mut datagram, TLS12_CID, (1, 0xffff_ffff_ffff), &[9, 8, 7], b"secret");
        let (first, rest) = Record::split(&datagram, 3).unwrap();
        assert_eq!((first.kind, first.epoch, first.seq, first.body), (HANDSHAKE, 0, 7, &b"abc"[..]));
        let (second, rest) = Record::split(rest, 3).unwrap();
        assert_eq!((second.cid, second.seq, second.body), (&[9, 8, 7][..], 0xffff_ffff_ffff, &b"secret"[..]));
        assert!(rest.is_empty());
        assert_eq!(node_of(second.bytes), Some(9));
        assert_eq!(node_of(first.bytes), None);
        for length in 0..second.bytes.len() {
            assert!(Record::split(&second.bytes[..length], 3).is_none());
        }
    }
}
