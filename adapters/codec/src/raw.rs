//! The codec of a device whose payload nobody decodes here. Not here: the bytes themselves, which every message keeps.

use crate::{Input, Outcome};

/// No measurements, no warnings.
pub fn decode(_input: &Input<'_>) -> Outcome {
    Outcome::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_core::time::Timestamp;

    #[test]
    fn nothing_comes_of_it() {
        let input = Input { bytes: b"21.5", port: None, received_at: Timestamp::EPOCH };
        assert_eq!(decode(&input), Outcome::default());
    }
}
