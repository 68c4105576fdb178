//! Packet identifiers of publishes that wait for their answer. Not here: anything else.

use bridge_core::ports::Token;

/// Hands out identifiers and finds what they stand for. Grows with what is in flight, up to 65,535.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// The identifier of slot `n` is `n + 1`.
    slots: Vec<Slot>,
    free: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Free,
    /// None: a publish of the bridge's own.
    Taken(Option<Token>),
}

impl InFlight {
    /// An identifier for this publish; none when all are taken.
    pub(crate) fn insert(&mut self, token: Option<Token>) -> Option<u16> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = u16::try_from(self.slots.len() + 1).ok()?;
                self.slots.push(Slot::Free);
                id
            }
        };
        self.slots[usize::from(id) - 1] = Slot::Taken(token);
        Some(id)
    }

    /// Ends a publish: whose it was (none inside: the bridge's own). None when the identifier is not in flight.
    pub(crate) fn remove(&mut self, id: u16) -> Option<Option<Token>> {
        let slot = self.slots.get_mut(usize::from(id).checked_sub(1)?)?;
        let Slot::Taken(token) = std::mem::replace(slot, Slot::Free) else { return None };
        self.free.push(id);
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identifier_stands_for_one_publish_at_a_time() {
        let mut in_flight = InFlight::default();
        let ids: Vec<u16> = (0..65_535).map(|n| in_flight.insert(Some(Token(n))).unwrap()).collect();
        assert_eq!((ids[0], ids[65_534]), (1, 65_535));
        assert_eq!(in_flight.insert(None), None, "0 is no identifier");
        assert_eq!(in_flight.remove(7), Some(Some(Token(6))));
        assert_eq!(in_flight.remove(7), None);
        assert_eq!(in_flight.remove(0), None);
        assert_eq!(in_flight.insert(None), Some(7));
        assert_eq!(in_flight.remove(7), Some(None));
    }
}
