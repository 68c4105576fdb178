//! Reading fields of the wire, where everything may be too short. Writing is `bytes::BufMut` and [`vector`]. Not here: what
//! the fields mean.

use bytes::BufMut;

/// Reads big-endian fields from the front; `None` when there are too few bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A number of up to eight bytes.
    pub(crate) fn uint(&mut self, length: usize) -> Option<u64> {
        Some(self.take(length)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A vector behind its length in that many bytes.
    pub(crate) fn vector(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.uint(length_bytes)?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a vector behind its length in that many bytes.
pub(crate) fn vector(to: &mut Vec<u8>, length_bytes: usize, bytes: &[u8]) {
    to.put_uint(bytes.len() as u64, length_bytes);
    to.put_slice(bytes);
}
