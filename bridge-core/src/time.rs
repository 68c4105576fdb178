//! Wall-clock time as the bridge writes it. Not here: reading a clock ([`crate::ports::Clock`]).

use std::fmt;
use std::time::Duration;

use jiff::fmt::Write;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last millisecond that can be written: 9999-12-30T22:00:00Z.
    pub const LATEST: Self = Self(*Self::RANGE_MS.end());
    /// The years 1970 to 9999, as far as jiff goes: outside it a time is not a device's time.
    const RANGE_MS: std::ops::RangeInclusive<i64> = 0..=253_402_207_200_000;

    /// From milliseconds since the epoch; none outside 1970 to 9999.
    pub fn from_millis(ms: i64) -> Option<Self> {
        Self::RANGE_MS.contains(&ms).then_some(Self(ms))
    }

    /// From seconds since the epoch; none outside 1970 to 9999.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(1000).and_then(Self::from_millis)
    }

    /// Parses RFC 3339 with 0 to 9 fraction digits and any offset. None when it is not, or outside 1970 to 9999.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Self::from_millis(parsed.as_millisecond())
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// As RFC 3339 in ASCII. Without the formatter between, for what is written with every message.
    pub fn digits(self) -> [u8; LENGTH] {
        let mut text = *EPOCH;
        // RANGE_MS lies inside jiff's range, and its years have four digits: this cannot fail.
        if let Ok(time) = jiff::Timestamp::from_millisecond(self.0) {
            let _ = PRINTER.print_timestamp(&time, Room(&mut text));
        }
        text
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// This much earlier; stops at the epoch.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)).max(0))
    }

    /// This much later; stops at the end of the year 9999.
    pub fn plus(self, duration: Duration) -> Self {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ms).min(*Self::RANGE_MS.end()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ASCII alone: the default is never taken.
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

/// As many letters as [`Timestamp::digits`] gives.
const LENGTH: usize = EPOCH.len();
const EPOCH: &[u8; 24] = b"1970-01-01T00:00:00.000Z";
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// What is still to be filled.
struct Room<'a>(&'a mut [u8]);

impl Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> Result<(), jiff::Error> {
        let room = std::mem::take(&mut self.0);
        let Some((taken, left)) = room.split_at_mut_checked(text.len()) else {
            return Err(jiff::Error::from_args(format_args!("a time of more than {LENGTH} letters")));
        };
        taken.copy_from_slice(text.as_bytes());
        self.0 = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_are_written_as_they_are() {
        for time in [Timestamp::EPOCH, Timestamp::LATEST] {
            assert_eq!(Timestamp::parse_rfc3339(&time.to_string()), Some(time));
        }
        assert_eq!(Timestamp::from_millis(Timestamp::LATEST.as_millis() + 1), None);
    }

    #[test]
    fn reads_what_the_clouds_write() {
        for (text, want) in [
            ("2024-11-26T12:39:20.993583474Z", Some("2024-11-26T12:39:20.993Z")),
            ("2023-08-15T13:22:27.969901+00:00", Some("2023-08-15T13:22:27.969Z")),
            ("2024-05-13T10:55:40.306Z", Some("2024-05-13T10:55:40.306Z")),
            ("2024-05-13T12:55:40+02:00", Some("2024-05-13T10:55:40.000Z")),
            ("2020-02-12T15:15...", None),
            ("0001-01-01T00:00:00Z", None),
            ("2020-0327T08:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).map(|t| t.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let t = Timestamp::from_seconds(10).unwrap();
        assert_eq!(t.minus(Duration::from_secs(99)).as_millis(), 0);
        assert_eq!(t.since(t.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(Timestamp::from_seconds(i64::MAX), None);
    }
}
