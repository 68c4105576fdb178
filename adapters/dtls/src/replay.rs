//! Which records came before: RFC 6347 section 4.1.2.6, a window of 64 behind the newest. Not here: authentication, which
//! comes between [`Window::is_new`] and [`Window::accept`].

/// The newest sequence number and, as bits, which of the 64 up to it have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// One more than the newest; 0 before the first.
    pub(crate) next: u64,
    pub(crate) seen: u64,
}

impl Window {
    pub(crate) fn is_new(&self, seq: u64) -> bool {
        match self.next.checked_sub(seq + 1) {
            None => true,
            Some(behind) => behind < 64 && self.seen >> behind & 1 == 0,
        }
    }

    /// Notes an authenticated record; true when it is the newest.
    pub(crate) fn accept(&mut self, seq: u64) -> bool {
        match self.next.checked_sub(seq + 1) {
            None => {
                let ahead = seq + 1 - self.next;
                self.seen = if ahead < 64 { self.seen << ahead | 1 } else { 1 };
                self.next = seq + 1;
                true
            }
            Some(behind) => {
                self.seen |= 1 << behind.min(63);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_is_a_set_with_a_limited_past(sequence in proptest::collection::vec(0u64..200, 0..300)) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            for seq in sequence {
                let newest = seen.last().copied();
                let late = newest.is_some_and(|newest| seq + 64 <= newest);
                prop_assert_eq!(window.is_new(seq), !late && !seen.contains(&seq));
                if window.is_new(seq) {
                    prop_assert_eq!(window.accept(seq), newest.is_none_or(|newest| seq > newest));
                    seen.insert(seq);
                }
            }
        }
    }
}
