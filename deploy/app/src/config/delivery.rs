//! `[delivery]`: when a message waits for the hub and when it goes to disk. Not here: how long what is kept.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::choice::choices;
use super::reader::Section;
use super::sheet::{Sheet, grouped, quoted, words};
use super::units::{duration_range, format_duration, format_size, size_range};

/// Sigfox needs an answer in 10 s.
const ACK_WAIT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(9);
const WAITING: RangeInclusive<u64> = 1..=1_000_000;
const RATE: RangeInclusive<u64> = 0..=1_000_000;
const SHUTDOWN_WAIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
const MESSAGES: RangeInclusive<u64> = 1..=1_000_000_000;
const BYTES: RangeInclusive<u64> = 1 << 20..=16 << 40;

choices! {
    /// What must have happened before a source gets its 2xx.
    Durability {
        /// The hub acknowledged the message, or it is on disk.
        Fast = "fast",
        /// It is on disk.
        DiskFirst = "disk-first",
    }
}

/// `[delivery]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What must have happened before a source gets its 2xx.
    pub durability: Durability,
    /// How long a message waits for the hub before it goes to the outbox.
    pub ack_wait: Duration,
    /// Messages that may wait at once.
    pub max_waiting: usize,
    /// The bounds of the outbox.
    pub outbox: OutboxBounds,
    /// Messages per second from the outbox to the hub; none for no limit.
    pub drain_rate: Option<u32>,
    /// How long a shutdown waits for what is under way.
    pub shutdown_wait: Duration,
}

/// How much the outbox may hold; beyond it sources are told to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxBounds {
    /// In messages.
    pub max_messages: u64,
    /// In bytes.
    pub max_bytes: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            durability: Durability::Fast,
            ack_wait: Duration::from_secs(2),
            max_waiting: 20_000,
            outbox: OutboxBounds { max_messages: 10_000_000, max_bytes: 4 << 30 },
            drain_rate: None,
            shutdown_wait: Duration::from_secs(10),
        }
    }
}

impl Delivery {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let delivery = Self {
            durability: section
                .or("durability", default.durability, |field| field.one_of(Durability::CHOICES)),
            ack_wait: section.or("ack_wait", default.ack_wait, |field| field.duration(&ACK_WAIT)),
            max_waiting: section.or("max_waiting", default.max_waiting, |field| field.number(&WAITING)),
            outbox: OutboxBounds::read(section.section("outbox"), default.outbox),
            drain_rate: rate(&section, "drain_rate"),
            shutdown_wait: section
                .or("shutdown_wait", default.shutdown_wait, |field| field.duration(&SHUTDOWN_WAIT)),
        };
        section.finish();
        delivery
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table("delivery", "How messages get to the hub.");
        sheet.explained(
            "durability",
            &quoted(default.durability.as_str()),
            &format!(
                "What must have happened before a source gets its 2xx: {}: acknowledged by the hub or on disk, \
                 or always on disk.",
                words(Durability::CHOICES)
            ),
        );
        sheet.explained(
            "ack_wait",
            &quoted(&format_duration(default.ack_wait)),
            &format!(
                "How long a message waits for the hub before it goes to the outbox on disk: {}.",
                duration_range(&ACK_WAIT)
            ),
        );
        sheet.explained(
            "max_waiting",
            &grouped(default.max_waiting as u64),
            "Messages that may wait at once.",
        );
        sheet.explained(
            "outbox",
            &format!(
                "{{ max_messages = {}, max_bytes = {} }}",
                grouped(default.outbox.max_messages),
                quoted(&format_size(default.outbox.max_bytes))
            ),
            &format!(
                "How much may wait on disk while the hub is away; beyond it sources get 503. Bytes: {}.",
                size_range(&BYTES)
            ),
        );
        sheet.explained(
            "drain_rate",
            &default.drain_rate.unwrap_or(0).to_string(),
            "Messages per second from the outbox to the hub; 0 for no limit.",
        );
        sheet.explained(
            "shutdown_wait",
            &quoted(&format_duration(default.shutdown_wait)),
            &format!("How long a shutdown waits for what is under way: {}.", duration_range(&SHUTDOWN_WAIT)),
        );
    }
}

impl OutboxBounds {
    fn read(section: Section<'_>, default: Self) -> Self {
        let bounds = Self {
            max_messages: section.or("max_messages", default.max_messages, |field| field.number(&MESSAGES)),
            max_bytes: section.or("max_bytes", default.max_bytes, |field| field.size(&BYTES)),
        };
        section.finish();
        bounds
    }
}

/// A number per second; zero and absent are none.
pub(super) fn rate(section: &Section<'_>, key: &'static str) -> Option<u32> {
    section.optional(key, |field| field.number(&RATE)).filter(|rate| *rate != 0)
}
