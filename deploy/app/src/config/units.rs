//! Durations and sizes with compulsory units: `"10s"`, `"64KiB"`. Reading and writing. Not here: bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Units of time in milliseconds, the largest first.
const TIME: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Units of size in bytes, the largest first.
const SIZE: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Why a text is not a number with its unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number alone.
    #[error("has no unit; write one of {0} after the number, in quotes")]
    NoUnit(&'static str),
    /// Another unit.
    #[error("has an unknown unit; write one of {0} after a whole number")]
    UnknownUnit(&'static str),
    /// No whole number before the unit.
    #[error("must be a whole number and one of the units {0}")]
    NotANumber(&'static str),
    /// More than 64 bits can hold.
    #[error("is too large")]
    TooLarge,
}

/// The units of time, for messages.
pub(super) const TIME_UNITS: &str = "ms, s, m, h, d";
/// The units of size, for messages.
pub(super) const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB";

/// Reads `"500ms"`, `"10s"`, `"75m"`, `"2h"`, `"7d"`.
///
/// # Errors
/// When the text is anything else.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, TIME, TIME_UNITS).map(Duration::from_millis)
}

/// Reads `"512B"`, `"64KiB"`, `"1MiB"`: bytes.
///
/// # Errors
/// When the text is anything else.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, SIZE, SIZE_UNITS)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that holds it exactly; parts of a millisecond
/// are cut.
pub fn format_duration(duration: Duration) -> String {
    format(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), TIME)
}

/// Writes a number of bytes as [`parse_size`] reads it, in the largest unit that holds it exactly.
pub fn format_size(bytes: u64) -> String {
    format(bytes, SIZE)
}

/// `"100ms" to "9s"`.
pub(super) fn duration_range(range: &RangeInclusive<Duration>) -> String {
    format!("\"{}\" to \"{}\"", format_duration(*range.start()), format_duration(*range.end()))
}

/// `"4KiB" to "64MiB"`.
pub(super) fn size_range(range: &RangeInclusive<u64>) -> String {
    format!("\"{}\" to \"{}\"", format_size(*range.start()), format_size(*range.end()))
}

fn parse(text: &str, units: &[(&str, u64)], names: &'static str) -> Result<u64, UnitError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NotANumber(names));
    }
    let unit = match unit.trim_start() {
        "" => return Err(UnitError::NoUnit(names)),
        unit => units.iter().find(|(name, _)| *name == unit).ok_or(UnitError::UnknownUnit(names))?,
    };
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(unit.1).ok_or(UnitError::TooLarge)
}

fn format(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, size)| amount != 0 && amount.is_multiple_of(*size));
    // Zero is written in the smallest unit but one: "0s" and "0KiB" read better than "0ms" and "0B".
    let (name, size) = fits.or(units.iter().rev().nth(1)).copied().unwrap_or(("", 1));
    format!("{}{name}", amount / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_compulsory_and_known() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("75m", 4_500_000), ("2h", 7_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        }
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("4GiB", 4 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(parse_duration("10"), Err(UnitError::NoUnit(TIME_UNITS)));
        assert_eq!(parse_duration("1.5s"), Err(UnitError::UnknownUnit(TIME_UNITS)));
        assert_eq!(parse_duration("-1s"), Err(UnitError::NotANumber(TIME_UNITS)));
        assert_eq!(parse_size("64KB"), Err(UnitError::UnknownUnit(SIZE_UNITS)));
        assert_eq!(parse_size("99999999999999999999B"), Err(UnitError::TooLarge));
        assert_eq!(parse_size("18446744073709551615TiB"), Err(UnitError::TooLarge));
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(number: u64) {
            prop_assert_eq!(parse_size(&format_size(number)), Ok(number));
            let duration = Duration::from_millis(number);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
