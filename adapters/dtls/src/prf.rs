//! The pseudorandom function of TLS 1.2 with SHA-256 (RFC 5246 section 5) and what is derived with it. Not here: use of keys.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The secret of a session.
pub(crate) type Master = Zeroizing<[u8; 48]>;

/// HMAC with SHA-256 under a key of any length.
pub(crate) fn hmac(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(hmac) => hmac,
        Err(_) => unreachable!("HMAC takes keys of every length"),
    }
}

/// PRF(secret, label, seed), as many bytes as `out` has.
pub(crate) fn prf(secret: &[u8], label: &str, seed: &[&[u8]], out: &mut [u8]) {
    let keyed = hmac(secret);
    let feed = |mut mac: Hmac<Sha256>| {
        mac.update(label.as_bytes());
        seed.iter().for_each(|part| mac.update(part));
        mac
    };
    let mut a = feed(keyed.clone()).finalize().into_bytes();
    for chunk in out.chunks_mut(32) {
        let mut mac = keyed.clone();
        mac.update(&a);
        chunk.copy_from_slice(&feed(mac).finalize().into_bytes()[..chunk.len()]);
        let mut mac = keyed.clone();
        mac.update(&a);
        a = mac.finalize().into_bytes();
    }
}

/// The premaster secret of plain PSK (RFC 4279 section 2): as many zeros as the key has bytes, and the key.
pub(crate) fn psk_premaster(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = (key.len() as u16).to_be_bytes();
    let mut premaster = Zeroizing::new(Vec::with_capacity(4 + 2 * key.len()));
    premaster.extend_from_slice(&length);
    premaster.extend(std::iter::repeat_n(0, key.len()));
    premaster.extend_from_slice(&length);
    premaster.extend_from_slice(key);
    premaster
}

/// The master secret, from the randoms (RFC 5246 section 8.1).
pub(crate) fn master(premaster: &[u8], client_random: &[u8], server_random: &[u8]) -> Master {
    let mut master = Zeroizing::new([0; 48]);
    prf(premaster, "master secret", &[client_random, server_random], &mut *master);
    master
}

/// The extended master secret, from the digest of the handshake so far (RFC 7627 section 4).
pub(crate) fn extended_master(premaster: &[u8], session_hash: &[u8]) -> Master {
    let mut master = Zeroizing::new([0; 48]);
    prf(premaster, "extended master secret", &[session_hash], &mut *master);
    master
}

/// What a Finished message says (RFC 5246 section 7.4.9).
pub(crate) fn verify_data(master: &Master, server: bool, handshake_hash: &[u8]) -> [u8; 12] {
    let mut data = [0; 12];
    let label = if server { "server finished" } else { "client finished" };
    prf(&**master, label, &[handshake_hash], &mut data);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector for P_SHA256 that the TLS working group's list has.
    #[test]
    fn the_prf_gives_the_known_answer() {
        let secret =
            [0x9b, 0xbe, 0x43, 0x6b, 0xa9, 0x40, 0xf0, 0x17, 0xb1, 0x76, 0x52, 0x84, 0x9a, 0x71, 0xdb, 0x35];
        let seed =
            [0xa0, 0xba, 0x9f, 0x93, 0x6c, 0xda, 0x31, 0x18, 0x27, 0xa6, 0xf7, 0x96, 0xff, 0xd5, 0x19, 0x8c];
        let mut out = [0; 100];
        prf(&secret, "test label", &[&seed], &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9\
             c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789ba\
             a48082d122ee42c5a72e5a5110fff70187347b66"
        );
    }
}
