//! Associations over a restart: all that devices need to go on without a handshake, sealed with AES-256-GCM. Not here: where
//! it is kept.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use bytes::{BufMut, Bytes};
use zeroize::Zeroizing;

use crate::Server;
use crate::association::Association;
use crate::event::{Identity, SessionId};
use crate::protect::{Direction, Keys};
use crate::replay::Window;
use crate::resumption::Resumable;
use crate::suite::CipherSuite;
use crate::wire::{Reader, vector};

/// What the bytes are, and in which version.
const MAGIC: &[u8; 8] = b"dtls\x001.0";
const NONCE: usize = 12;
const TAG: usize = 16;

/// An association that is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name, as before.
    pub session: SessionId,
    /// Where its device was last.
    pub peer: SocketAddr,
    /// Who it is.
    pub identity: Identity,
}

/// Why nothing was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The key is another one, or the bytes were changed, cut off, or written by another version.
    #[error("the saved associations cannot be opened with this key")]
    Unreadable,
    /// The server has associations already: the application's fault.
    #[error("associations are restored before the first handshake only")]
    TooLate,
}

impl Server {
    /// Ends the server and gives its associations, sealed under `key`. Nothing that it queued is sent after this: drain it
    /// first.
    ///
    /// Whoever restores the same bytes twice uses the same nonces twice, which gives secrets away: delete them before the first
    /// datagram of the restored server leaves. For the same reason there is no copy of a running server's state.
    pub fn shutdown(mut self, now: Instant, key: &[u8; 32]) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::new());
        plain.put_u64(self.core.unix(now).as_secs());
        plain.put_u8(self.core.cid_length() as u8);
        plain.put_u32(self.sessions.len() as u32);
        for (id, association) in self.sessions.iter() {
            plain.put_u64(id);
            put_association(&mut plain, association, now);
        }
        plain.put_u32(self.resumables.len() as u32);
        for (id, resumable) in self.resumables.iter() {
            plain.put_slice(id);
            plain.put_slice(&*resumable.master);
            plain.put_u16(resumable.suite.code());
            put_identity(&mut plain, &resumable.identity);
            plain.put_u64(now.saturating_duration_since(resumable.since).as_secs());
        }
        let nonce: [u8; NONCE] = self.core.random();
        let sealed =
            Aes256Gcm::new(key.into()).encrypt_inout_detached(&nonce.into(), MAGIC, (&mut plain[..]).into());
        let Ok(tag) = sealed else {
            unreachable!("the state of a server is far below the 64 GiB that GCM takes")
        };
        [&MAGIC[..], &nonce, &tag, &plain[..]].concat()
    }

    /// Takes over what a server left at its [`shutdown`](Self::shutdown): names, keys, numbers and replay windows. What is too
    /// old, over the limits, or has Connection IDs of another length is left out. Call it before the first datagram.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub fn restore(
        &mut self,
        now: Instant,
        key: &[u8; 32],
        saved: &[u8],
    ) -> Result<Vec<Restored>, RestoreError> {
        if self.sessions.len() > 0 {
            return Err(RestoreError::TooLate);
        }
        let plain = unseal(key, saved).ok_or(RestoreError::Unreadable)?;
        self.take_over(now, &mut Reader(&plain)).ok_or(RestoreError::Unreadable)
    }

    fn take_over(&mut self, now: Instant, reader: &mut Reader<'_>) -> Option<Vec<Restored>> {
        let away = self.core.unix(now).saturating_sub(Duration::from_secs(reader.uint(8)?));
        let same_cids = usize::from(reader.u8()?) == self.core.cid_length();
        let mut associations = Vec::new();
        for _ in 0..reader.uint(4)? {
            associations.push((reader.uint(8)?, read_association(reader, now, away)?));
        }
        let mut resumables = Vec::new();
        for _ in 0..reader.uint(4)? {
            resumables.push((reader.array()?, read_resumable(reader, now, away)?));
        }
        reader.is_empty().then_some(())?;
        let (idle, limit) = (self.core.config.timing.idle, self.core.config.limits.sessions);
        let fits = |association: &Association| {
            (association.own_cid.is_none() || same_cids)
                && now.saturating_duration_since(association.last) < idle
        };
        let skip = associations.len().saturating_sub(limit);
        let mut restored = Vec::new();
        for (id, association) in
            associations.into_iter().skip(skip).filter(|(_, association)| fits(association))
        {
            let (peer, identity) = (association.peer, association.identity.clone());
            restored.push(Restored { session: SessionId(id), peer, identity });
            self.sessions.insert(id, association);
        }
        for (id, resumable) in resumables {
            self.resumables.insert(id, resumable, self.core.config.limits.resumable);
        }
        Some(restored)
    }
}

fn unseal(key: &[u8; 32], saved: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut reader = Reader(saved);
    let magic = reader.take(MAGIC.len()).filter(|magic| magic == MAGIC)?;
    let nonce: [u8; NONCE] = reader.array()?;
    let tag: [u8; TAG] = reader.array()?;
    let mut plain = Zeroizing::new(reader.0.to_vec());
    let aead = Aes256Gcm::new(key.into());
    aead.decrypt_inout_detached(&nonce.into(), magic, (&mut plain[..]).into(), &tag.into()).ok()?;
    Some(plain)
}

fn put_association(to: &mut Vec<u8>, association: &Association, now: Instant) {
    match association.peer.ip() {
        IpAddr::V4(ip) => vector(to, 1, &ip.octets()),
        IpAddr::V6(ip) => vector(to, 1, &ip.octets()),
    }
    to.put_u16(association.peer.port());
    put_identity(to, &association.identity);
    to.put_u16(association.suite.code());
    to.put_u16(association.max_content as u16);
    for direction in [&association.keys.client, &association.keys.server] {
        to.put_slice(&*direction.key);
        to.put_slice(&*direction.iv);
        to.put_slice(&*direction.mac);
    }
    match association.own_cid {
        Some(cid) => vector(to, 1, &cid.to_be_bytes()),
        None => vector(to, 1, &[]),
    }
    vector(to, 1, &association.peer_cid);
    to.put_slice(&association.client_random);
    to.put_u64(association.write_seq);
    to.put_u64(association.window.next);
    to.put_u64(association.window.seen);
    to.put_u64(now.saturating_duration_since(association.last).as_secs());
}

fn read_association(reader: &mut Reader<'_>, now: Instant, away: Duration) -> Option<Association> {
    let ip = reader.vector(1)?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    let peer = SocketAddr::new(ip, reader.u16()?);
    let identity = read_identity(reader)?;
    let suite = CipherSuite::from_code(reader.u16()?)?;
    let max_content = usize::from(reader.u16()?);
    let mut direction = || {
        let (key, iv, mac) = (reader.array()?, reader.array()?, reader.array()?);
        Some(Direction { key: Zeroizing::new(key), iv: Zeroizing::new(iv), mac: Zeroizing::new(mac) })
    };
    let keys = Keys { cipher: suite.cipher(), client: direction()?, server: direction()? };
    let own_cid = reader.vector(1)?;
    Some(Association {
        peer,
        identity,
        suite,
        max_content,
        keys,
        own_cid: own_cid.try_into().ok().map(u64::from_be_bytes),
        peer_cid: reader.vector(1)?.into(),
        client_random: reader.array()?,
        write_seq: reader.uint(8)?,
        window: Window { next: reader.uint(8)?, seen: reader.uint(8)? },
        last_flight: None,
        last: ago(now, away + Duration::from_secs(reader.uint(8)?)),
        turn: 0,
        rebound: None,
        budget: None,
    })
}

fn read_resumable(reader: &mut Reader<'_>, now: Instant, away: Duration) -> Option<Resumable> {
    Some(Resumable {
        master: Zeroizing::new(reader.array()?),
        suite: CipherSuite::from_code(reader.u16()?)?,
        identity: read_identity(reader)?,
        since: ago(now, away + Duration::from_secs(reader.uint(8)?)),
    })
}

/// That long before; or as long as the clock goes back.
fn ago(now: Instant, passed: Duration) -> Instant {
    now.checked_sub(passed).unwrap_or(now)
}

fn put_identity(to: &mut Vec<u8>, identity: &Identity) {
    let (kind, bytes) = match identity {
        Identity::Psk(bytes) => (0, bytes),
        Identity::PublicKey(bytes) => (1, bytes),
        Identity::Certificate(bytes) => (2, bytes),
    };
    to.put_u8(kind);
    vector(to, 3, bytes);
}

fn read_identity(reader: &mut Reader<'_>) -> Option<Identity> {
    let kind = reader.u8()?;
    let bytes = Bytes::copy_from_slice(reader.vector(3)?);
    match kind {
        0 => Some(Identity::Psk(bytes)),
        1 => Some(Identity::PublicKey(bytes)),
        2 => Some(Identity::Certificate(bytes)),
        _ => None,
    }
}
