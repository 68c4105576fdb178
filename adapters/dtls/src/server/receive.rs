//! Where a record belongs: to a handshake, to an association, or to nobody. Not here: ClientHellos (`hello`).

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::Server;
use crate::association::EPOCH;
use crate::event::{Closed, Event, SessionId};
use crate::handshake::{Failure, Handshake, Step, kind};
use crate::inbox::Fragment;
use crate::negotiate::alert;
use crate::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Record, TLS12_CID};
use crate::wire::Reader;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

impl Server {
    pub(super) fn on_record(&mut self, now: Instant, peer: SocketAddr, record: &Record<'_>) {
        match (record.kind, record.epoch) {
            (TLS12_CID, EPOCH) => self.on_cid(now, peer, record),
            (HANDSHAKE, 0) => self.on_clear_handshake(now, peer, record),
            (ALERT, 0) => self.on_clear_alert(peer, record),
            // The epoch of what follows says the same.
            (CHANGE_CIPHER_SPEC, 0) => {}
            (CHANGE_CIPHER_SPEC..=APPLICATION_DATA, EPOCH) => self.on_classic(now, peer, record),
            _ => self.core.stats.unexpected += 1,
        }
    }

    /// Goes on with what handshakes kept until they had keys.
    pub(super) fn on_early(&mut self, now: Instant, peer: SocketAddr, early: &[Vec<u8>]) {
        for bytes in early {
            if let Some((record, _)) = Record::split(bytes, self.core.cid_length()) {
                self.on_record(now, peer, &record);
            }
        }
    }

    /// Puts a handshake back, or ends it.
    pub(super) fn settle(&mut self, now: Instant, mut handshake: Handshake, step: Step) {
        let failure = match step {
            Step::Waits => return self.handshakes.put(handshake),
            Step::Done => return self.complete(now, handshake),
            Step::Failed(failure) => failure,
        };
        let stats = &mut self.core.stats;
        let description = match failure {
            Failure::WrongKey => {
                stats.wrong_keys += 1;
                Some(alert::DECRYPT_ERROR)
            }
            Failure::Protocol(description) => {
                stats.protocol_errors += 1;
                Some(description)
            }
            Failure::Refused(description) => {
                stats.certificates_refused += 1;
                Some(description)
            }
            Failure::Aborted => {
                stats.aborted += 1;
                None
            }
        };
        if let Some(description) = description {
            handshake.send_alert(&mut self.core, description);
        }
        if handshake.resumed {
            self.resumables.remove(&handshake.session_id);
        }
    }

    fn on_clear_handshake(&mut self, now: Instant, peer: SocketAddr, record: &Record<'_>) {
        let mut reader = Reader(record.body);
        while !reader.is_empty() {
            let Some(fragment) = Fragment::split(&mut reader) else {
                self.core.stats.malformed += 1;
                return;
            };
            if fragment.kind == kind::CLIENT_HELLO {
                self.on_client_hello(now, peer, record, fragment);
            } else if let Some(mut handshake) = self.handshakes.take(peer) {
                let step = handshake.on_fragment(&mut self.core, now, fragment);
                let early = if handshake.is_ready() { handshake.take_early() } else { Vec::new() };
                self.settle(now, handshake, step);
                self.on_early(now, peer, &early);
            } else {
                self.core.stats.stale += 1;
            }
        }
    }

    /// Anybody can send one: it ends a handshake, as other forged messages would, but no association.
    fn on_clear_alert(&mut self, peer: SocketAddr, record: &Record<'_>) {
        if record.body.first() != Some(&FATAL) {
            self.core.stats.unexpected += 1;
        } else if self.handshakes.take(peer).is_some() {
            self.core.stats.aborted += 1;
        } else {
            self.core.stats.stale += 1;
        }
    }

    fn on_cid(&mut self, now: Instant, peer: SocketAddr, record: &Record<'_>) {
        let node = self.core.config.connection_ids.map(|ids| ids.node);
        let cid = record.cid.iter().fold(0, |cid, byte| cid << 8 | u64::from(*byte));
        if let Some(id) = self.sessions.with_cid(cid) {
            self.on_association(now, peer, id, record);
        } else if self.handshakes.with_cid(cid) == Some(peer) {
            match self.handshakes.get(peer).map(|handshake| (handshake.is_ready(), handshake.open(record))) {
                Some((true, opened)) => self.on_handshake(now, peer, record, opened),
                _ => self.keep(peer, record),
            }
        } else if record.cid.first().copied() != node {
            self.core.stats.other_node += 1;
        } else {
            self.core.stats.unknown_cid += 1;
        }
    }

    /// A protected record without Connection ID. At its address there may be an association and, when the device began anew, a
    /// handshake: who can open it has it.
    fn on_classic(&mut self, now: Instant, peer: SocketAddr, record: &Record<'_>) {
        let session = self.sessions.at_address(peer);
        let Some(handshake) = self.handshakes.get(peer).filter(|handshake| handshake.own_cid.is_none())
        else {
            match session {
                Some(id) => self.on_association(now, peer, id, record),
                None if self.sessions.with_cid_at(peer).is_some() || self.handshakes.get(peer).is_some() => {
                    self.core.stats.not_authentic += 1;
                }
                None => self.core.stats.unknown_address += 1,
            }
            return;
        };
        let (is_ready, opened) = (handshake.is_ready(), handshake.open(record));
        let of_session =
            |id: &u64| self.sessions.get(*id).is_some_and(|session| session.open(record).is_some());
        if opened.is_some() {
            self.on_handshake(now, peer, record, opened);
        } else if let Some(id) = session.filter(of_session) {
            self.on_association(now, peer, id, record);
        } else if is_ready {
            self.on_handshake(now, peer, record, None);
        } else {
            self.keep(peer, record);
        }
    }

    fn keep(&mut self, peer: SocketAddr, record: &Record<'_>) {
        if let Some(handshake) = self.handshakes.get_mut(peer) {
            handshake.keep(record);
        }
    }

    fn on_handshake(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        record: &Record<'_>,
        opened: Option<(u8, Vec<u8>)>,
    ) {
        let Some(mut handshake) = self.handshakes.take(peer) else { return };
        let step = match opened {
            Some((kind, content)) => handshake.on_opened(&mut self.core, now, record.seq, kind, &content),
            None => Step::Failed(Failure::WrongKey),
        };
        self.settle(now, handshake, step);
    }

    fn on_association(&mut self, now: Instant, peer: SocketAddr, id: u64, record: &Record<'_>) {
        let Some(association) = self.sessions.get_mut(id) else { return };
        if !association.window.is_new(record.seq) {
            self.core.stats.replayed += 1;
            return;
        }
        let Some((kind, content)) = association.open(record) else {
            self.core.stats.not_authentic += 1;
            return;
        };
        let newest = association.window.accept(record.seq);
        self.sessions.heard(id, now);
        if newest {
            self.rebind(now, peer, id);
        }
        let factor = self.core.config.unconfirmed_factor;
        if let Some(association) = self.sessions.get_mut(id).filter(|association| association.peer == peer)
            && let Some(budget) = &mut association.budget
        {
            *budget += record.bytes.len() as u64 * u64::from(factor.unwrap_or(0));
        }
        self.on_content(now, id, kind, content);
    }

    /// Only the newest authentic record says where a device is (RFC 9146 section 6), and not too often.
    fn rebind(&mut self, now: Instant, to: SocketAddr, id: u64) {
        let Some(association) = self.sessions.get_mut(id) else { return };
        let from = association.peer;
        if from == to || association.own_cid.is_none() {
            return;
        }
        let pause = self.core.config.timing.rebind;
        if association.rebound.is_some_and(|at| now.saturating_duration_since(at) < pause) {
            self.core.stats.rebinds_limited += 1;
            return;
        }
        association.rebound = Some(now);
        association.budget = self.core.config.unconfirmed_factor.map(|_| 0);
        self.core.stats.rebound += 1;
        self.sessions.relocate(id, to);
        self.core.events.push_back(Event::Rebound { session: SessionId(id), from, to });
    }

    fn on_content(&mut self, now: Instant, id: u64, kind: u8, content: Vec<u8>) {
        let Some(association) = self.sessions.get_mut(id) else { return };
        let peer = association.peer;
        match (kind, &content[..]) {
            (APPLICATION_DATA, _) => {
                // The device has our Finished, or it would not send data.
                association.last_flight = None;
                let data = Bytes::from(content);
                self.core.events.push_back(Event::Data { session: SessionId(id), data });
            }
            (HANDSHAKE, [kind::FINISHED, ..]) => {
                let datagram = association.last_flight(&mut self.core, now);
                if let Some(datagram) = datagram.filter(|datagram| association.affords(datagram.len())) {
                    self.core.stats.retransmitted += 1;
                    self.core.transmit(peer, datagram);
                }
            }
            (HANDSHAKE, [kind::CLIENT_HELLO, ..]) => {
                self.core.stats.unexpected += 1;
                if let Some(record) =
                    association.seal(&mut self.core, ALERT, &[WARNING, alert::NO_RENEGOTIATION])
                {
                    self.core.transmit(peer, record);
                }
            }
            (ALERT, [_, alert::CLOSE_NOTIFY]) => {
                if let Some(record) = association.seal(&mut self.core, ALERT, &[WARNING, alert::CLOSE_NOTIFY])
                {
                    self.core.transmit(peer, record);
                }
                self.end(id, Closed::ByPeer);
            }
            (ALERT, [FATAL, description]) => self.end(id, Closed::Alert(*description)),
            _ => self.core.stats.unexpected += 1,
        }
    }
}
