//! The message ids that are in the log and not yet sorted into the table. Not here: SQL.

use std::collections::BTreeMap;
use std::ops::Bound;

use bridge_core::{MessageId, Timestamp};

/// So many ids gather before they are sorted in. More would share more pages, and take more memory: some 40 bytes each.
const GATHER: usize = 32 * 1024;
/// One step sorts in twice as many as have come, and at least this part of what there is to sort in.
const STEPS: usize = 32;

/// Ids by their order, so that the next ones to sort in are neighbours. What a transaction does counts when it is
/// committed.
#[derive(Debug, Default)]
pub(crate) struct Young {
    fresh: BTreeMap<MessageId, Timestamp>,
    sorting: BTreeMap<MessageId, Timestamp>,
    /// Rows of the log up to this number are those of `sorting`.
    boundary: i64,
    /// What the transaction has done so far.
    staged: Staged,
}

/// See [`Young::staged`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Staged {
    /// Up to this id they are in the table as soon as it is committed.
    up_to: Option<MessageId>,
    /// `sorting` was filled: the rows of the log that it stands for are of this transaction, too.
    begun: bool,
}

/// What is to be sorted in now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// In their order.
    pub(crate) ids: Vec<(MessageId, Timestamp)>,
    /// With them, all rows of the log up to this number are in the table.
    pub(crate) emptied: Option<i64>,
}

impl Young {
    /// Takes an id; a newer time of one that is there counts.
    pub(crate) fn insert(&mut self, id: MessageId, at: Timestamp) {
        let known = self.fresh.entry(id).or_insert(at);
        *known = at.max(*known);
    }

    /// Whether it was remembered at or after `since`.
    pub(crate) fn has(&self, id: MessageId, since: Timestamp) -> bool {
        [&self.fresh, &self.sorting].iter().any(|ids| ids.get(&id).is_some_and(|at| *at >= since))
    }

    /// All of these times and newer ones; an id may occur twice.
    pub(crate) fn since(&self, since: Timestamp) -> Vec<(MessageId, Timestamp)> {
        let all = self.fresh.iter().chain(&self.sorting);
        all.filter(|(_, at)| **at >= since).map(|(id, at)| (*id, *at)).collect()
    }

    /// Forgets older times; how many went.
    pub(crate) fn forget(&mut self, before: Timestamp) -> usize {
        let count = self.fresh.len() + self.sorting.len();
        self.fresh.retain(|_, at| *at >= before);
        self.sorting.retain(|_, at| *at >= before);
        count - self.fresh.len() - self.sorting.len()
    }

    /// The next step, after so many ids were appended to the log, up to this row.
    pub(crate) fn step(&mut self, appended: usize, last_row: i64) -> Option<Step> {
        if self.sorting.is_empty() && self.fresh.len() >= GATHER {
            self.sorting = std::mem::take(&mut self.fresh);
            self.boundary = last_row;
            self.staged.begun = true;
        }
        let after = self.staged.up_to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.sorting.range((after, Bound::Unbounded)).map(|(id, at)| (*id, *at));
        let most = (2 * appended).max(self.sorting.len().max(GATHER) / STEPS);
        let ids: Vec<_> = rest.by_ref().take(most).collect();
        let emptied = rest.next().is_none().then_some(self.boundary);
        self.staged.up_to = Some(ids.last()?.0);
        Some(Step { ids, emptied })
    }

    /// How far the transaction has come.
    pub(crate) fn staged(&self) -> Staged {
        self.staged
    }

    /// Takes back what came after this.
    pub(crate) fn unstage(&mut self, to: Staged) {
        if self.staged.begun && !to.begun {
            self.take_back();
        }
        self.staged = to;
    }

    /// The transaction has ended.
    pub(crate) fn settle(&mut self, committed: bool) {
        let staged = std::mem::take(&mut self.staged);
        if !committed && staged.begun {
            self.take_back();
        }
        let Some(last) = staged.up_to.filter(|_| committed) else { return };
        let mut rest = self.sorting.split_off(&last);
        rest.remove(&last);
        self.sorting = rest;
    }

    /// The rows of the log that `sorting` was to stand for are not all there, and others will have their numbers.
    fn take_back(&mut self) {
        for (id, at) in std::mem::take(&mut self.sorting) {
            self.insert(id, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> MessageId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        MessageId::from_bytes(bytes)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn young(count: usize) -> Young {
        let mut young = Young::default();
        (0..count).rev().for_each(|number| young.insert(id(number), at(1)));
        young
    }

    #[test]
    fn a_few_stay_where_they_are() {
        let mut young = young(GATHER - 1);
        assert_eq!(young.step(9, 9), None);
        young.settle(true);
        assert!(young.has(id(5), at(1)) && !young.has(id(5), at(2)) && !young.has(id(GATHER), at(0)));
    }

    #[test]
    fn many_are_sorted_in_step_by_step_and_known_all_the_time() {
        let mut young = young(GATHER);
        let mut sorted = Vec::new();
        let mut steps = 0;
        loop {
            let step = young.step(1, 77).unwrap();
            young.insert(id(GATHER + steps), at(2));
            assert!(step.ids.len() <= GATHER / STEPS && step.ids.is_sorted());
            assert!(step.ids.iter().all(|(id, _)| young.has(*id, at(1))), "until it is committed");
            if steps == 3 {
                young.settle(false);
                steps += 1;
                continue;
            }
            young.settle(true);
            assert!(!step.ids.iter().any(|(id, _)| young.has(*id, at(0))));
            sorted.extend(step.ids);
            steps += 1;
            if step.emptied.is_some() {
                assert_eq!(step.emptied, Some(77));
                break;
            }
        }
        assert!(sorted.into_iter().eq((0..GATHER).map(|number| (id(number), at(1)))));
        assert_eq!((young.step(1, 99), steps), (None, STEPS + 1));
        assert!(young.has(id(GATHER), at(2)), "what came meanwhile waits for the next time");
    }

    #[test]
    fn steps_of_one_transaction_follow_each_other_and_can_be_taken_back() {
        let mut young = young(GATHER);
        let first = young.step(1, 1).unwrap();
        let between = young.staged();
        let second = young.step(1, 1).unwrap();
        assert!(first.ids.last() < second.ids.first());
        young.unstage(between);
        assert_eq!(young.step(1, 1).unwrap(), second);
        young.settle(true);
        assert!(!young.has(second.ids[0].0, at(0)));
        assert_eq!(young.forget(at(2)), GATHER - first.ids.len() - second.ids.len());
    }

    #[test]
    fn a_round_whose_first_transaction_fails_has_not_begun() {
        // The rows of a batch that was undone are given to other ids: they must not be emptied as sorted in.
        for is_undone_alone in [false, true] {
            let mut young = young(GATHER);
            let before = young.staged();
            assert!(young.step(10, 100).is_some());
            if is_undone_alone {
                young.unstage(before);
            }
            young.settle(is_undone_alone);
            assert!((0..GATHER).all(|number| young.has(id(number), at(1))));
            (0..20).for_each(|number| young.insert(id(GATHER + number), at(1)));
            let mut sorted = 0;
            let emptied = loop {
                let step = young.step(20, 110).unwrap();
                sorted += step.ids.len();
                young.settle(true);
                if let Some(emptied) = step.emptied {
                    break emptied;
                }
            };
            assert_eq!((emptied, sorted), (110, GATHER + 20), "all of them, up to the row of the last");
        }
    }
}
