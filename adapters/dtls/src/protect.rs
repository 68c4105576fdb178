//! Protection of records: AES-128-CCM, AES-128-CCM-8, AES-128-GCM (RFC 5246 section 6.2.3.3, RFC 6655), AES-128-CBC with
//! encrypt-then-MAC (RFC 7366), all with or without Connection ID (RFC 9146 section 5). The primitives are RustCrypto's.
//! Not here: sequence numbers and replay windows.

use aes::Aes128;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes128Gcm, KeyInit};
use bytes::BufMut;
use cbc::cipher::array::Array;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use ccm::Ccm;
use ccm::consts::{U8, U12, U16};
use hmac::Mac;
use zeroize::{Zeroize, Zeroizing};

use crate::prf::{Master, hmac, prf};
use crate::record::{self, Record, TLS12_CID, VERSION};
use crate::suite::Cipher;

type Aes128Ccm = Ccm<Aes128, U16, U12>;
type Aes128Ccm8 = Ccm<Aes128, U8, U12>;

const BLOCK: usize = 16;
const MAC: usize = 32;

/// The most that protection adds to a content, header and inner type included, the Connection ID not.
pub(crate) fn overhead(cipher: Cipher) -> usize {
    let around = match cipher {
        Cipher::Ccm8 => 8 + 8,
        Cipher::Ccm | Cipher::Gcm => 8 + 16,
        Cipher::CbcThenMac => BLOCK + BLOCK + MAC,
    };
    13 + 1 + around
}

/// The keys of one direction: 52 bytes, and ciphers are made of them for each record, as expanded keys are ten times as long.
#[derive(Clone, Default)]
pub(crate) struct Direction {
    pub(crate) key: Zeroizing<[u8; 16]>,
    pub(crate) iv: Zeroizing<[u8; 4]>,
    pub(crate) mac: Zeroizing<[u8; MAC]>,
}

/// Both directions.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) cipher: Cipher,
    pub(crate) client: Direction,
    pub(crate) server: Direction,
}

impl Keys {
    /// Key expansion (RFC 5246 section 6.3).
    pub(crate) fn derive(cipher: Cipher, master: &Master, client: &[u8; 32], server: &[u8; 32]) -> Keys {
        let mac = if cipher == Cipher::CbcThenMac { MAC } else { 0 };
        let iv = if cipher == Cipher::CbcThenMac { 0 } else { 4 };
        let mut block = Zeroizing::new([0; 2 * (MAC + 16 + 4)]);
        let length = 2 * (mac + 16 + iv);
        prf(&**master, "key expansion", &[server, client], &mut block[..length]);
        let mut keys = Keys { cipher, client: Direction::default(), server: Direction::default() };
        let mut rest = &block[..length];
        for part in [
            &mut keys.client.mac[..mac],
            &mut keys.server.mac[..mac],
            &mut keys.client.key[..],
            &mut keys.server.key[..],
            &mut keys.client.iv[..iv],
            &mut keys.server.iv[..iv],
        ] {
            let (taken, after) = rest.split_at(part.len());
            part.copy_from_slice(taken);
            rest = after;
        }
        keys
    }
}

/// What stands outside of a protected record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) kind: u8,
    pub(crate) epoch: u16,
    pub(crate) seq: u64,
    /// Empty for the classic form.
    pub(crate) cid: &'a [u8],
}

/// Writes a protected record. `random_iv` is used with CBC only and must not be guessable.
pub(crate) fn seal(
    to: &mut Vec<u8>,
    cipher: Cipher,
    keys: &Direction,
    head: Head<'_>,
    content: &[u8],
    random_iv: [u8; BLOCK],
) {
    let mut inner = Zeroizing::new(Vec::with_capacity(content.len() + 1 + BLOCK));
    inner.extend_from_slice(content);
    let mut kind = head.kind;
    if !head.cid.is_empty() {
        inner.push(head.kind);
        kind = TLS12_CID;
    }
    let numbers = (head.epoch, head.seq);
    let explicit = record::epoch_seq(head.epoch, head.seq).to_be_bytes();
    let mut body;
    if cipher == Cipher::CbcThenMac {
        let padding = BLOCK - 1 - inner.len() % BLOCK;
        inner.extend(std::iter::repeat_n(padding as u8, padding + 1));
        let (blocks, _) = Array::slice_as_chunks_mut(&mut inner);
        cbc::Encryptor::<Aes128>::new((&*keys.key).into(), &random_iv.into()).encrypt_blocks(blocks);
        body = Vec::with_capacity(BLOCK + inner.len() + MAC);
        body.put_slice(&random_iv);
        body.put_slice(&inner);
        let mac = hmac(&*keys.mac).chain_update(associated(kind, VERSION, numbers, head.cid, body.len()));
        let mac = mac.chain_update(&body).finalize().into_bytes();
        body.put_slice(&mac);
    } else {
        let data = associated(kind, VERSION, numbers, head.cid, inner.len());
        let nonce = nonce(keys, explicit);
        body = Vec::with_capacity(8 + inner.len() + 16);
        body.put_slice(&explicit);
        match cipher {
            Cipher::Ccm8 => encrypt::<Aes128Ccm8>(&keys.key, nonce, &data, &mut inner, &mut body),
            Cipher::Ccm => encrypt::<Aes128Ccm>(&keys.key, nonce, &data, &mut inner, &mut body),
            Cipher::Gcm | Cipher::CbcThenMac => {
                encrypt::<Aes128Gcm>(&keys.key, nonce, &data, &mut inner, &mut body);
            }
        }
    }
    record::write(to, kind, numbers, head.cid, &body);
}

/// The type and content of a protected record; `None` when it is not authentic.
pub(crate) fn open(cipher: Cipher, keys: &Direction, record: &Record<'_>) -> Option<(u8, Vec<u8>)> {
    let mut content = match cipher {
        Cipher::CbcThenMac => open_cbc(keys, record)?,
        Cipher::Ccm8 => decrypt::<Aes128Ccm8>(keys, record)?,
        Cipher::Ccm => decrypt::<Aes128Ccm>(keys, record)?,
        Cipher::Gcm => decrypt::<Aes128Gcm>(keys, record)?,
    };
    if record.kind != TLS12_CID {
        return Some((record.kind, content));
    }
    // The content ends before the type, which ends before the zeros of padding.
    let end = content.iter().rposition(|byte| *byte != 0)?;
    let kind = content[end];
    content.truncate(end);
    Some((kind, content))
}

/// The additional data: RFC 5246 section 6.2.3.3, or with a Connection ID RFC 9146 section 5.3.
fn associated(kind: u8, version: u16, (epoch, seq): (u16, u64), cid: &[u8], length: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(23 + cid.len());
    let epoch_seq = record::epoch_seq(epoch, seq);
    if kind == TLS12_CID {
        data.put_u64(u64::MAX);
        data.put_u8(TLS12_CID);
        data.put_u8(cid.len() as u8);
        data.put_u8(TLS12_CID);
        data.put_u16(version);
        data.put_u64(epoch_seq);
        data.put_slice(cid);
    } else {
        data.put_u64(epoch_seq);
        data.put_u8(kind);
        data.put_u16(version);
    }
    data.put_u16(length as u16);
    data
}

fn nonce(keys: &Direction, explicit: [u8; 8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&*keys.iv);
    nonce[4..].copy_from_slice(&explicit);
    nonce
}

fn encrypt<A: AeadInOut + KeyInit>(
    key: &[u8; 16],
    nonce: [u8; 12],
    data: &[u8],
    inner: &mut [u8],
    body: &mut Vec<u8>,
) {
    // Both lengths are those of the suite, and a record is far below the limits of CCM and GCM.
    let (Ok(aead), Ok(nonce)) = (A::new_from_slice(key), <&Nonce<A>>::try_from(&nonce[..])) else {
        unreachable!("AES-128 has 16 bytes of key, and CCM and GCM 12 bytes of nonce")
    };
    let Ok(tag) = aead.encrypt_inout_detached(nonce, data, (&mut *inner).into()) else {
        unreachable!("a record is short enough for CCM and GCM")
    };
    body.put_slice(inner);
    body.put_slice(&tag);
}

fn decrypt<A: AeadInOut + KeyInit>(keys: &Direction, record: &Record<'_>) -> Option<Vec<u8>> {
    let (explicit, sealed) = record.body.split_at_checked(8)?;
    let tag_length = size_of::<Tag<A>>();
    let (sealed, tag) = sealed.split_at_checked(sealed.len().checked_sub(tag_length)?)?;
    let data = associated(record.kind, record.version, (record.epoch, record.seq), record.cid, sealed.len());
    let aead = A::new_from_slice(&*keys.key).ok()?;
    let nonce = nonce(keys, explicit.try_into().ok()?);
    let mut content = sealed.to_vec();
    let opened = aead.decrypt_inout_detached(
        <&Nonce<A>>::try_from(&nonce[..]).ok()?,
        &data,
        (&mut content[..]).into(),
        <&Tag<A>>::try_from(tag).ok()?,
    );
    if opened.is_err() {
        content.zeroize();
        return None;
    }
    Some(content)
}

/// The MAC is over the ciphertext and checked first, in constant time: nothing that padding says is seen without it.
fn open_cbc(keys: &Direction, record: &Record<'_>) -> Option<Vec<u8>> {
    let (sealed, mac) = record.body.split_at_checked(record.body.len().checked_sub(MAC)?)?;
    let data = associated(record.kind, record.version, (record.epoch, record.seq), record.cid, sealed.len());
    hmac(&*keys.mac).chain_update(data).chain_update(sealed).verify_slice(mac).ok()?;
    let (iv, sealed) = sealed.split_at_checked(BLOCK)?;
    if sealed.is_empty() || sealed.len() % BLOCK != 0 {
        return None;
    }
    let mut content = sealed.to_vec();
    let (blocks, _) = Array::slice_as_chunks_mut(&mut content);
    cbc::Decryptor::<Aes128>::new((&*keys.key).into(), iv.try_into().ok()?).decrypt_blocks(blocks);
    let padding = *content.last()?;
    let length = content.len().checked_sub(usize::from(padding) + 1)?;
    if content[length..].iter().any(|byte| *byte != padding) {
        return None;
    }
    content.truncate(length);
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cipher_opens_what_it_sealed_and_nothing_else() {
        let (client, server) = ([1; 32], [2; 32]);
        for cipher in [Cipher::Ccm8, Cipher::Ccm, Cipher::Gcm, Cipher::CbcThenMac] {
            let keys = Keys::derive(cipher, &Zeroizing::new([7; 48]), &client, &server);
            for (cid, content) in
                [(&[][..], &b"temperature=21"[..]), (&[5, 6], &b""[..]), (&[5, 6], &[0; 40])]
            {
                let head = Head { kind: 23, epoch: 1, seq: 77, cid };
                let mut bytes = Vec::new();
                seal(&mut bytes, cipher, &keys.client, head, content, [3; 16]);
                let (record, rest) = Record::split(&bytes, 2).unwrap();
                assert!(rest.is_empty());
                assert_eq!(record.kind == TLS12_CID, !cid.is_empty());
                assert_eq!(open(cipher, &keys.client, &record), Some((23, content.to_vec())), "{cipher:?}");
                assert_eq!(open(cipher, &keys.server, &record), None);
                // The last two bytes of the header are the length; without them every bit counts.
                for at in (0..bytes.len()).filter(|at| ![11 + cid.len(), 12 + cid.len()].contains(at)) {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1;
                    let opened = Record::split(&changed, 2)
                        .and_then(|(record, _)| open(cipher, &keys.client, &record));
                    assert_eq!(opened, None, "{cipher:?} takes a change at {at}");
                }
            }
        }
    }
}
