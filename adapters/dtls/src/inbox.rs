//! Handshake messages from their fragments, in their order: RFC 6347 section 4.2.3. Fragments may overlap, repeat and come in
//! any order; memory is bounded whatever they claim. Not here: what the messages say.

use std::collections::BTreeMap;

use crate::wire::Reader;

pub(crate) const HEADER: usize = 12;
/// How many messages ahead of the next one are kept.
const AHEAD: u16 = 5;
/// How many pieces a message may have before they are joined.
const MAX_PIECES: usize = 64;

/// One fragment, as a record has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    /// Of the whole message.
    pub(crate) length: usize,
    pub(crate) message_seq: u16,
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Takes the first fragment off the content of a record.
    pub(crate) fn split(content: &mut Reader<'a>) -> Option<Fragment<'a>> {
        let kind = content.u8()?;
        let length = content.uint(3)? as usize;
        let message_seq = content.u16()?;
        let offset = content.uint(3)? as usize;
        let bytes = content.vector(3)?;
        (offset + bytes.len() <= length).then_some(Fragment { kind, length, message_seq, offset, bytes })
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.len() == self.length
    }
}

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    /// Header, as if it had come in one piece, and body: what the transcript takes.
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }
}

/// Why a fragment was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It belongs to a message that was there already.
    Repeated,
    /// Over a limit, too far ahead, or at odds with an earlier fragment.
    Bad,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    epoch: u16,
    data: Vec<u8>,
    /// What has come: from, to. Disjoint.
    pieces: BTreeMap<usize, usize>,
}

/// The messages of one handshake that are not complete or not yet their turn.
#[derive(Debug)]
pub(crate) struct Inbox {
    next: u16,
    limit: usize,
    held: usize,
    partial: BTreeMap<u16, Partial>,
}

impl Inbox {
    /// `limit` is about the bytes of all messages held.
    pub(crate) fn new(next: u16, limit: usize) -> Inbox {
        Inbox { next, limit, held: 0, partial: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, epoch: u16, fragment: Fragment<'_>) -> Result<(), Refused> {
        if fragment.message_seq < self.next {
            return Err(Refused::Repeated);
        }
        if fragment.message_seq - self.next >= AHEAD {
            return Err(Refused::Bad);
        }
        if !self.partial.contains_key(&fragment.message_seq) {
            if self.held + fragment.length > self.limit {
                return Err(Refused::Bad);
            }
            self.held += fragment.length;
        }
        let partial = self.partial.entry(fragment.message_seq).or_insert_with(|| Partial {
            kind: fragment.kind,
            epoch,
            data: vec![0; fragment.length],
            pieces: BTreeMap::new(),
        });
        if (partial.kind, partial.epoch, partial.data.len()) != (fragment.kind, epoch, fragment.length) {
            return Err(Refused::Bad);
        }
        partial.add(fragment.offset, fragment.bytes)
    }

    /// The next message, when it is complete and came in that epoch.
    pub(crate) fn pop(&mut self, epoch: u16) -> Option<Message> {
        let first = self.partial.first_entry()?;
        if *first.key() != self.next || first.get().epoch != epoch || !first.get().is_complete() {
            return None;
        }
        let (message_seq, partial) = first.remove_entry();
        self.next += 1;
        self.held -= partial.data.len();
        Some(Message { kind: partial.kind, bytes: message(partial.kind, message_seq, &partial.data) })
    }
}

impl Partial {
    fn is_complete(&self) -> bool {
        self.data.is_empty() || self.pieces.get(&0) == Some(&self.data.len())
    }

    fn add(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Refused> {
        let (mut from, mut to) = (offset, offset + bytes.len());
        if bytes.is_empty() || self.pieces.range(..=from).next_back().is_some_and(|(_, end)| *end >= to) {
            return Ok(());
        }
        self.data[from..to].copy_from_slice(bytes);
        while let Some((start, end)) = self.pieces.range(..=to).next_back().map(|(start, end)| (*start, *end))
        {
            if end < from {
                break;
            }
            self.pieces.remove(&start);
            from = from.min(start);
            to = to.max(end);
        }
        if self.pieces.len() >= MAX_PIECES {
            return Err(Refused::Bad);
        }
        self.pieces.insert(from, to);
        Ok(())
    }
}

/// A whole message as one fragment.
pub(crate) fn message(kind: u8, message_seq: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    write_fragment(&mut bytes, kind, message_seq, body.len(), 0, body);
    bytes
}

/// Writes a fragment of a message of that length.
pub(crate) fn write_fragment(
    to: &mut Vec<u8>,
    kind: u8,
    message_seq: u16,
    length: usize,
    offset: usize,
    bytes: &[u8],
) {
    let [_, l0, l1, l2] = (length as u32).to_be_bytes();
    let [_, o0, o1, o2] = (offset as u32).to_be_bytes();
    let [_, f0, f1, f2] = (bytes.len() as u32).to_be_bytes();
    let [s0, s1] = message_seq.to_be_bytes();
    to.extend_from_slice(&[kind, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2]);
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fragments_in_any_order_make_the_message(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..80), 0..40),
            seed in any::<u64>(),
        ) {
            let mut pieces: Vec<(usize, usize)> = (0..body.len().div_ceil(50)).map(|at| (at * 50, body.len().min(at * 50 + 50))).collect();
            pieces.extend(cuts.iter().map(|(at, length)| {
                let from = at.index(body.len() + 1);
                (from, body.len().min(from + length))
            }));
            if body.is_empty() {
                pieces.push((0, 0));
            }
            fastrand::Rng::with_seed(seed).shuffle(&mut pieces);
            let mut inbox = Inbox::new(3, 400);
            for (from, to) in pieces {
                let fragment = Fragment { kind: 11, length: body.len(), message_seq: 3, offset: from, bytes: &body[from..to] };
                prop_assert_eq!(inbox.insert(0, fragment), Ok(()));
            }
            let whole = inbox.pop(0).unwrap();
            prop_assert_eq!(whole.body(), &body[..]);
            prop_assert_eq!(inbox.held, 0);
        }
    }

    #[test]
    fn what_fragments_claim_costs_no_memory() {
        let mut inbox = Inbox::new(1, 1000);
        let claim = |message_seq, length, offset, bytes: &'static [u8]| Fragment {
            kind: 11,
            length,
            message_seq,
            offset,
            bytes,
        };
        assert_eq!(inbox.insert(0, claim(1, 1 << 23, 0, b"x")), Err(Refused::Bad));
        assert_eq!(inbox.insert(0, claim(1, 900, 0, b"x")), Ok(()));
        assert_eq!(inbox.insert(0, claim(2, 200, 0, b"x")), Err(Refused::Bad));
        assert_eq!(inbox.insert(0, claim(1, 901, 0, b"x")), Err(Refused::Bad));
        assert_eq!(inbox.insert(1, claim(1, 900, 0, b"x")), Err(Refused::Bad));
        assert_eq!(inbox.insert(0, claim(0, 900, 0, b"x")), Err(Refused::Repeated));
        assert_eq!(inbox.insert(0, claim(6, 1, 0, b"x")), Err(Refused::Bad));
        for at in 1..MAX_PIECES {
            assert_eq!(inbox.insert(0, claim(1, 900, at * 2, b"x")), Ok(()));
        }
        assert_eq!(inbox.insert(0, claim(1, 900, 800, b"x")), Err(Refused::Bad));
        assert!(inbox.held <= 1000);
    }
}
