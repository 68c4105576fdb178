//! What the mux knows of one lane: a device, or an integration's own events. Order is kept within a lane and nowhere
//! else. Not here: where its messages go ([`super::strategy`]).

use std::collections::VecDeque;

use crate::ports::{LinkId, Token};

/// A lane exists while something of it is in memory or in the outbox.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The link that carries it now. Kept while `on_link` is above zero: two links would break the order.
    pub(super) link: Option<LinkId>,
    /// Messages queued for, or in flight on, that link.
    pub(super) on_link: u32,
    /// Submitted, neither acknowledged nor stored, in order.
    pub(super) fresh: Tokens,
    /// Entries in the outbox, or on their way into it.
    pub(super) stored: u64,
    /// Those of `stored` that are in memory too.
    pub(super) resident: u64,
}

impl Lane {
    /// Entries that are in the outbox only.
    pub(super) fn spilled(&self) -> u64 {
        self.stored - self.resident
    }

    /// Nothing left of it.
    pub(super) fn is_idle(&self) -> bool {
        self.on_link == 0 && self.stored == 0 && self.fresh.is_empty()
    }
}

/// Tokens in order. Most lanes have one at a time, and one needs no memory but the lane's.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    first: Option<Token>,
    /// Empty without a first one.
    more: VecDeque<Token>,
}

impl Tokens {
    pub(super) fn push(&mut self, token: Token) {
        match self.first {
            None => self.first = Some(token),
            Some(_) => self.more.push_back(token),
        }
    }

    pub(super) fn remove(&mut self, token: Token) {
        if self.first == Some(token) {
            self.first = self.more.pop_front();
        } else {
            self.more.retain(|other| *other != token);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl IntoIterator for Tokens {
    type Item = Token;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<Token>, std::collections::vec_deque::IntoIter<Token>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_order() {
        let mut tokens = Tokens::default();
        (0..4).map(Token).for_each(|token| tokens.push(token));
        [2, 0, 7].map(Token).into_iter().for_each(|token| tokens.remove(token));
        tokens.push(Token(4));
        let rest = std::mem::take(&mut tokens);
        assert_eq!(rest.into_iter().collect::<Vec<_>>(), [1, 3, 4].map(Token));
        assert!(tokens.is_empty());
        tokens.push(Token(5));
        tokens.remove(Token(5));
        assert!(tokens.is_empty());
    }
}
