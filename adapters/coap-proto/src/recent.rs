//! A map that keeps what was written last: over its limit the oldest makes room. Not here: lifetimes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    values: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new() -> Self {
        Recent { values: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Writes a value; it is the newest now.
    pub(crate) fn insert(&mut self, key: K, value: V, limit: usize) {
        if let Some((age, _)) = self.values.insert(key.clone(), (self.next, value)) {
            self.order.remove(&age);
        }
        self.order.insert(self.next, key);
        self.next += 1;
        while self.values.len() > limit {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.values.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((age, _)) = self.values.remove(key) {
            self.order.remove(&age);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}
