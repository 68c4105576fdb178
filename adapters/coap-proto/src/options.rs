//! The options of one message: a list sorted by number, values as they came. Which options exist is in `registry`.

use bytes::Bytes;

/// Options in the order of their numbers; equal numbers keep the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(Vec<(u16, Bytes)>);

impl Options {
    /// No options.
    pub const fn new() -> Self {
        Options(Vec::new())
    }

    /// Adds an option behind those of the same number.
    pub fn push(&mut self, number: u16, value: impl Into<Bytes>) {
        let at = self.0.partition_point(|(other, _)| *other <= number);
        self.0.insert(at, (number, value.into()));
    }

    /// Adds an option whose value is an unsigned number in as few bytes as possible (RFC 7252 section 3.2).
    pub fn push_uint(&mut self, number: u16, value: u32) {
        let bytes = value.to_be_bytes();
        let skip = value.leading_zeros() as usize / 8;
        self.push(number, Bytes::copy_from_slice(&bytes[skip..]));
    }

    /// Puts one option in the place of all of that number.
    pub fn set(&mut self, number: u16, value: impl Into<Bytes>) {
        self.remove(number);
        self.push(number, value);
    }

    /// Puts one number in the place of all options of that number.
    pub fn set_uint(&mut self, number: u16, value: u32) {
        self.remove(number);
        self.push_uint(number, value);
    }

    /// Takes all options of that number away.
    pub fn remove(&mut self, number: u16) {
        self.0.retain(|(other, _)| *other != number);
    }

    /// Keeps the options for which the closure says true.
    pub fn retain(&mut self, mut keep: impl FnMut(u16, &Bytes) -> bool) {
        self.0.retain(|(number, value)| keep(*number, value));
    }

    /// The first option of that number.
    pub fn get(&self, number: u16) -> Option<&Bytes> {
        self.all(number).next()
    }

    /// Every option of that number.
    pub fn all(&self, number: u16) -> impl Iterator<Item = &Bytes> {
        let at = self.0.partition_point(|(other, _)| *other < number);
        self.0[at..].iter().take_while(move |(other, _)| *other == number).map(|(_, value)| value)
    }

    /// The first option of that number as a number. Leading zeros count for nothing; a value over 32 bits is none.
    pub fn uint(&self, number: u16) -> Option<u32> {
        uint(self.get(number)?)
    }

    /// Whether there is an option of that number.
    pub fn has(&self, number: u16) -> bool {
        self.get(number).is_some()
    }

    /// All options, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Bytes)> {
        self.0.iter().map(|(number, value)| (*number, value))
    }

    /// How many options there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no option.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an option whose number is not smaller than all there are: the decoder's way.
    pub(crate) fn append(&mut self, number: u16, value: Bytes) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last <= number));
        self.0.push((number, value));
    }
}

impl<V: Into<Bytes>> FromIterator<(u16, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (u16, V)>>(items: I) -> Self {
        let mut options = Options::new();
        for (number, value) in items {
            options.push(number, value);
        }
        options
    }
}

/// An unsigned number of an option (RFC 7252 section 3.2).
pub(crate) fn uint(value: &[u8]) -> Option<u32> {
    let zeros = value.iter().take_while(|byte| **byte == 0).count();
    let digits = &value[zeros..];
    (digits.len() <= 4).then(|| digits.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_number_and_then_by_time() {
        let options: Options = [(11, "b"), (3, "h"), (11, "a"), (60, "")].into_iter().collect();
        let found: Vec<_> = options.iter().map(|(number, value)| (number, value.as_ref())).collect();
        assert_eq!(found, [(3, &b"h"[..]), (11, b"b"), (11, b"a"), (60, b"")]);
    }

    #[test]
    fn numbers_take_as_few_bytes_as_possible() {
        let mut options = Options::new();
        for (value, length) in [(0, 0), (1, 1), (255, 1), (256, 2), (65_536, 3), (u32::MAX, 4)] {
            options.set_uint(60, value);
            assert_eq!((options.get(60).map(Bytes::len), options.uint(60)), (Some(length), Some(value)));
        }
        assert_eq!(uint(&[0, 0, 0, 0, 0, 7]), Some(7));
        assert_eq!(uint(&[1, 0, 0, 0, 0]), None);
    }
}
