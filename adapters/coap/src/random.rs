//! Numbers that nobody can guess, from one seed: SHA-256 over the seed and a counter. Not here: where the seed is from.

use sha2::{Digest, Sha256};

/// Numbers of a seed, for message ids, tokens and Echo values.
pub(crate) fn numbers(seed: [u8; 32]) -> impl FnMut() -> u64 + Send + 'static {
    let mut digests = digests(seed);
    move || digests().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Bytes of a seed, for keys and nonces.
pub(crate) fn bytes(seed: [u8; 32]) -> impl FnMut(&mut [u8]) + Send + 'static {
    let mut digests = digests(seed);
    move |into| {
        for part in into.chunks_mut(32) {
            part.copy_from_slice(&digests()[..part.len()]);
        }
    }
}

/// A seed of a seed, another one for each purpose.
pub(crate) fn derive(seed: [u8; 32], purpose: u8) -> [u8; 32] {
    Sha256::new().chain_update(seed).chain_update([purpose]).finalize().into()
}

fn digests(seed: [u8; 32]) -> impl FnMut() -> [u8; 32] + Send + 'static {
    let mut count = 0u64;
    move || {
        count += 1;
        Sha256::new().chain_update(seed).chain_update(count.to_be_bytes()).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_numbers_of_its_own() {
        let take = |seed| std::iter::repeat_with(numbers([seed; 32])).take(100).collect::<Vec<_>>();
        assert_eq!(take(1), take(1));
        assert!(take(1).iter().all(|number| !take(2).contains(number)));
        let mut these = [[0; 40]; 2];
        let mut random = bytes(derive([1; 32], b'x'));
        these.iter_mut().for_each(|these| random(these));
        assert!(these[0] != these[1] && these.iter().all(|these| these[32..] != [0; 8]));
        assert_ne!(derive([1; 32], 1), derive([1; 32], 2));
    }
}
