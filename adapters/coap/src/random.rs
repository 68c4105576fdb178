//! Numbers that nobody can guess, from one seed: SHA-256 over the seed and a counter. Not here: where the seed is from.

use sha2::{Digest, Sha256};

/// Numbers of a seed, for message ids, tokens and Echo values.
pub(crate) fn numbers(seed: [u8; 32]) -> impl FnMut() -> u64 + Send + 'static {
    let mut count = 0u64;
    move || {
        count += 1;
        let digest = Sha256::new().chain_update(seed).chain_update(count.to_be_bytes()).finalize();
        digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
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
    }
}
