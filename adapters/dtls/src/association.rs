//! What a complete handshake leaves: keys, numbers and ids of one device. Not here: finding the right one for a record.

use std::net::SocketAddr;
use std::time::Instant;

use crate::core::Core;
use crate::event::Identity;
use crate::handshake::kind;
use crate::inbox;
use crate::protect::{self, Head, Keys};
use crate::record::{self, CHANGE_CIPHER_SPEC, HANDSHAKE, Record};
use crate::replay::Window;
use crate::suite::CipherSuite;

/// Sequence numbers have 48 bits.
const MAX_SEQ: u64 = (1 << 48) - 1;
/// The epoch of all protected records: there is no second handshake inside an association.
pub(crate) const EPOCH: u16 = 1;

pub(crate) struct Association {
    pub(crate) peer: SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) suite: CipherSuite,
    pub(crate) max_content: usize,
    pub(crate) keys: Keys,
    /// What the device puts into records to us.
    pub(crate) own_cid: Option<u64>,
    /// What it wants in records to it; empty: records of the classic form.
    pub(crate) peer_cid: Box<[u8]>,
    /// Of its handshake: a late copy of that hello begins nothing.
    pub(crate) client_random: [u8; 32],
    pub(crate) write_seq: u64,
    pub(crate) window: Window,
    pub(crate) last_flight: Option<LastFlight>,
    /// When its device was last heard.
    pub(crate) last: Instant,
    /// Its place among all by that time.
    pub(crate) turn: u64,
    /// When its address changed last.
    pub(crate) rebound: Option<Instant>,
    /// The bytes that may still go to an address that is not confirmed.
    pub(crate) budget: Option<u64>,
}

/// What it takes to send the last flight again.
pub(crate) struct LastFlight {
    pub(crate) verify_data: [u8; 12],
    pub(crate) message_seq: u16,
    pub(crate) clear_seq: u64,
    pub(crate) until: Instant,
}

impl Association {
    /// The type and content of an authentic record.
    pub(crate) fn open(&self, record: &Record<'_>) -> Option<(u8, Vec<u8>)> {
        protect::open(self.keys.cipher, &self.keys.client, record)
    }

    /// The most that a record is longer than its content.
    pub(crate) fn overhead(&self) -> usize {
        protect::overhead(self.keys.cipher) + self.peer_cid.len()
    }

    /// Whether so many bytes may go to its address now; if so, they are counted.
    pub(crate) fn affords(&mut self, bytes: usize) -> bool {
        let Some(budget) = &mut self.budget else { return true };
        let left = budget.checked_sub(bytes as u64);
        *budget = left.unwrap_or(*budget);
        left.is_some()
    }

    /// A protected record; `None` when there are no numbers left.
    pub(crate) fn seal(&mut self, core: &mut Core, kind: u8, content: &[u8]) -> Option<Vec<u8>> {
        if self.write_seq > MAX_SEQ {
            return None;
        }
        let head = Head { kind, epoch: EPOCH, seq: self.write_seq, cid: &self.peer_cid };
        self.write_seq += 1;
        let mut bytes = Vec::with_capacity(content.len() + 64);
        protect::seal(&mut bytes, self.keys.cipher, &self.keys.server, head, content, core.random());
        Some(bytes)
    }

    /// The device repeats its Finished, so ours was lost: the datagram that has it again (RFC 6347 section 4.2.4).
    pub(crate) fn last_flight(&mut self, core: &mut Core, now: Instant) -> Option<Vec<u8>> {
        let last = self.last_flight.as_mut().filter(|last| now < last.until)?;
        let message = inbox::message(kind::FINISHED, last.message_seq, &last.verify_data);
        let mut datagram = Vec::new();
        record::write(&mut datagram, CHANGE_CIPHER_SPEC, (0, last.clear_seq), &[], &[1]);
        last.clear_seq += 1;
        let sealed = self.seal(core, HANDSHAKE, &message)?;
        datagram.extend_from_slice(&sealed);
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hundreds of thousands of devices fit: with names, ids and tables it is about twice this.
    #[test]
    fn an_association_is_small() {
        assert!(size_of::<Association>() <= 512, "{} bytes", size_of::<Association>());
    }
}
