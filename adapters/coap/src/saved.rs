//! Associations between the end of a bridge and its next start: their keys under a key of their own, and that under
//! `[secrets] keys`. Not here: what an association is (`dtls`), and the file.
//!
//! What is saved is: the length of the head (4 bytes), the head, what `dtls` saved. The head is sealed: a key (32 bytes), which
//! authorities of devices' certificates there were (32), then for each association its name (8) and when the key was made that it
//! was proven with (8, milliseconds since 1970). An older form does not say the authorities.

use std::collections::HashMap;
use std::time::Instant;

use bridge_core::Timestamp;
use bridge_core::seal::{SealError, SealKeys, SealNonce, Sealed};
use dtls::{Identity, RestoreError, Restored, Server, SessionId};
use zeroize::Zeroizing;

use crate::keys::Authorities;

/// What the head is sealed for: another text for another form of it.
const OWNER: &str = "DTLS associations and authorities";
const OLDER: &str = "DTLS associations";
const KEY: usize = 32;
const AUTHORITIES: usize = 32;
const ENTRY: usize = 16;

/// Why nothing is restored. It is not the devices' fault, and only costs them a handshake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("what was saved is cut off")]
    CutOff,
    #[error(transparent)]
    Sealed(#[from] SealError),
    #[error(transparent)]
    Associations(#[from] RestoreError),
}

/// Ends a server; none when nothing can be sealed.
pub(crate) fn save(
    server: Server,
    now: Instant,
    (created, authorities): (impl ExactSizeIterator<Item = (SessionId, Timestamp)>, Authorities),
    keys: &SealKeys,
    random: &mut impl FnMut(&mut [u8]),
) -> Option<Vec<u8>> {
    let (mut key, mut nonce) = (Zeroizing::new([0; KEY]), SealNonce::default());
    random(&mut *key);
    random(&mut nonce);
    let mut head = Zeroizing::new(Vec::with_capacity(KEY + AUTHORITIES + ENTRY * created.len()));
    head.extend(*key);
    head.extend(authorities.0);
    for (session, created) in created {
        head.extend(session.as_u64().to_be_bytes());
        head.extend(created.as_millis().to_be_bytes());
    }
    let sealed = keys.seal(&head, OWNER, nonce).ok()?;
    let length = u32::try_from(sealed.as_bytes().len()).ok()?;
    Some([&length.to_be_bytes(), sealed.as_bytes(), &server.shutdown(now, &key)].concat())
}

/// Gives a new server what another one left; its associations, the one that was silent longest first, and when the keys were
/// made that they were proven with. Those with certificates are closed when the authorities are other ones now: who signed theirs
/// may not be believed any more.
///
/// # Errors
/// The server is as it was.
pub(crate) fn restore(
    server: &mut Server,
    now: Instant,
    (saved, authorities): (&[u8], Authorities),
    keys: &SealKeys,
) -> Result<Vec<(SessionId, Timestamp)>, Unusable> {
    let (length, rest) = saved.split_first_chunk::<4>().ok_or(Unusable::CutOff)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Unusable::CutOff)?;
    let (sealed, associations) = rest.split_at_checked(length).ok_or(Unusable::CutOff)?;
    let sealed = Sealed::from_bytes(sealed.to_vec());
    let (head, is_older) = match keys.open(&sealed, OWNER) {
        Err(SealError::Damaged) => (keys.open(&sealed, OLDER)?, true),
        opened => (opened?, false),
    };
    let head = Zeroizing::new(head);
    let (key, rest) = head.split_first_chunk::<KEY>().ok_or(Unusable::CutOff)?;
    let (before, entries) = match is_older {
        true => (None, rest),
        false => rest
            .split_first_chunk::<AUTHORITIES>()
            .map(|(of, rest)| (Some(of), rest))
            .ok_or(Unusable::CutOff)?,
    };
    let are_same = before == Some(&authorities.0);
    let created: HashMap<u64, Timestamp> = entries.as_chunks::<ENTRY>().0.iter().filter_map(entry).collect();
    let restored = server.restore(now, key, associations)?;
    let mut proven = Vec::new();
    for Restored { session, identity, .. } in restored {
        match created.get(&session.as_u64()) {
            _ if matches!(identity, Identity::Certificate(_)) && !are_same => server.close(session),
            Some(created) => proven.push((session, *created)),
            None => {}
        }
    }
    Ok(proven)
}

fn entry(entry: &[u8; ENTRY]) -> Option<(u64, Timestamp)> {
    let (name, created) = entry.split_first_chunk::<8>()?;
    let created = i64::from_be_bytes(created.try_into().ok()?);
    Some((u64::from_be_bytes(*name), Timestamp::from_millis(created)?))
}

/// The same in the older form, as a bridge would have left it that did not say the authorities.
#[cfg(test)]
pub(crate) fn older(saved: &[u8], keys: &SealKeys) -> Vec<u8> {
    let (length, rest) = saved.split_first_chunk::<4>().unwrap();
    let (sealed, associations) = rest.split_at(u32::from_be_bytes(*length) as usize);
    let mut head = keys.open(&Sealed::from_bytes(sealed.to_vec()), OWNER).unwrap();
    head.drain(KEY..KEY + AUTHORITIES);
    let sealed = keys.seal(&head, OLDER, [3; 12]).unwrap();
    let length = u32::try_from(sealed.as_bytes().len()).unwrap();
    [&length.to_be_bytes(), sealed.as_bytes(), associations].concat()
}
