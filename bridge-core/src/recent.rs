//! A bounded map that forgets the oldest half. Not an exact LRU: two generations, at the price of one look-up more.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Holds at least the `capacity / 2` entries that were inserted or found last, and never more than `capacity`.
#[derive(Debug)]
pub struct Recent<K, V, S = RandomState> {
    young: HashMap<K, V, S>,
    old: HashMap<K, V, S>,
    half: usize,
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> Recent<K, V, S> {
    /// A map that holds at most so many entries.
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), half: (capacity / 2).max(1) }
    }

    /// The value; found in the old half, it moves to the young one.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// A copy of the value, for which what is in the young half is looked up once.
    pub fn get_cloned<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        match self.young.get(key) {
            Some(value) => Some(value.clone()),
            None => self.get(key).cloned(),
        }
    }

    /// Inserts; true when an older half was forgotten for it.
    pub fn insert(&mut self, key: K, value: V) -> bool {
        let full = self.young.len() >= self.half && !self.young.contains_key(&key);
        let mut forgot = false;
        if full {
            forgot = !self.old.is_empty();
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
        forgot
    }

    /// Forgets one.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_used_last_within_its_bound() {
        let mut recent: Recent<u32, u32> = Recent::new(8);
        for n in 0..100 {
            recent.insert(n, n);
            let found = if n % 2 == 0 { recent.get(&0).copied() } else { recent.get_cloned(&0) };
            assert_eq!(found, Some(0));
            assert!(recent.young.len() + recent.old.len() <= 8);
        }
        assert_eq!(recent.get(&0), Some(&0));
        assert!((96..100).all(|n| recent.get(&n).is_some()));
        assert_eq!((recent.get(&50).copied(), recent.get_cloned(&50)), (None, None));
    }
}
