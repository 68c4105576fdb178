//! `[dedup]`, `[dead_letters]`, `[archive]`, `[trace]`: how long or how much is remembered.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Section;
use super::sheet::{Sheet, grouped, quoted};
use super::units::{duration_range, format_duration};

/// The Things Stack retries for up to 72 minutes.
const WINDOW: RangeInclusive<Duration> = Duration::from_mins(75)..=Duration::from_hours(30 * 24);
const IDS: RangeInclusive<u64> = 1000..=100_000_000;
const LETTERS: RangeInclusive<u64> = 1..=100_000_000;
const ARCHIVE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(90 * 24);
const UPLINKS: RangeInclusive<u64> = 1..=100_000_000;
const TRACES: RangeInclusive<u64> = 1..=1_000_000;

/// `[dedup]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// How long an accepted uplink is remembered.
    pub window: Duration,
    /// How many are remembered in memory; beyond it the store is asked.
    pub max_in_memory: usize,
}

/// `[dead_letters]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetters {
    /// How many are kept; the oldest go first.
    pub keep: u64,
}

/// `[archive]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive {
    /// How long delivered payloads are kept; zero for not at all.
    pub keep: Duration,
    /// How many at most; the oldest go first.
    pub max_messages: u64,
}

/// `[trace]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// How many are kept in memory.
    pub keep: usize,
}

impl Default for Dedup {
    fn default() -> Self {
        Self { window: Duration::from_mins(75), max_in_memory: 450_000 }
    }
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { keep: 100_000 }
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self { keep: Duration::ZERO, max_messages: 100_000 }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self { keep: 10_000 }
    }
}

impl Dedup {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let dedup = Self {
            window: section.or("window", default.window, |field| field.duration(&WINDOW)),
            max_in_memory: section.or("max_in_memory", default.max_in_memory, |field| field.number(&IDS)),
        };
        section.finish();
        dedup
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table("dedup", "One uplink becomes one message, however often its cloud sends it.");
        sheet.explained(
            "window",
            &quoted(&format_duration(default.window)),
            &format!(
                "How long an accepted uplink is remembered: {}. Some clouds retry for 72 minutes.",
                duration_range(&WINDOW)
            ),
        );
        sheet.explained(
            "max_in_memory",
            &grouped(default.max_in_memory as u64),
            "How many are remembered in memory; for older ones the store is asked.",
        );
    }
}

impl DeadLetters {
    pub(super) fn read(section: Section<'_>) -> Self {
        let letters = Self { keep: section.or("keep", Self::default().keep, |field| field.number(&LETTERS)) };
        section.finish();
        letters
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.table("dead_letters", "What cannot be delivered is kept with its reason and can be replayed.");
        sheet.explained("keep", &grouped(Self::default().keep), "How many are kept; the oldest go first.");
    }
}

impl Archive {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let archive = Self {
            keep: section.or("keep", default.keep, |field| field.duration(&ARCHIVE)),
            max_messages: section.or("max_messages", default.max_messages, |field| field.number(&UPLINKS)),
        };
        section.finish();
        archive
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table(
            "archive",
            "Payloads that were delivered can be kept as they came, so that a corrected codec can be run over them again: \
             device-bridge codec replay.",
        );
        sheet.explained(
            "keep",
            &quoted(&format_duration(default.keep)),
            &format!("How long: {}; none are kept at \"0s\".", duration_range(&ARCHIVE)),
        );
        sheet.explained(
            "max_messages",
            &grouped(default.max_messages),
            "How many at most; the oldest go first. They share the file of the outbox, about 1 KiB each.",
        );
    }
}

impl Trace {
    pub(super) fn read(section: Section<'_>) -> Self {
        let trace = Self { keep: section.or("keep", Self::default().keep, |field| field.number(&TRACES)) };
        section.finish();
        trace
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.table("trace", "Every message and every refused request leaves a record of its steps.");
        sheet.explained("keep", &grouped(Self::default().keep as u64), "How many are kept in memory.");
    }
}
