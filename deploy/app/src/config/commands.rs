//! `[commands]`: how long commands live and are kept, and where they may be sent. Not here: the ways down
//! (`[integrations.NAME.downlink]`).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Field, Section};
use super::sheet::{Sheet, grouped, quoted};
use super::units::{duration_range, format_duration};

/// `[commands]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commands {
    /// Whether the hub may send commands.
    pub from_hub: bool,
    /// How long a command lives that does not say so.
    pub time_to_live: Duration,
    /// Open commands of one device.
    pub max_per_device: usize,
    /// Open commands.
    pub max_open: usize,
    /// How long those that are over are kept.
    pub keep: Duration,
    /// How long a cloud may take for an answer.
    pub call_timeout: Duration,
    /// Whether calls may go to addresses that are not public.
    pub allow_private_addresses: bool,
}

const LIFE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
const KEEP: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(365 * 24);
const CALL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(25);
const PER_DEVICE: RangeInclusive<u64> = 1..=10_000;
const OPEN: RangeInclusive<u64> = 1..=10_000_000;

impl Default for Commands {
    fn default() -> Self {
        Self {
            from_hub: true,
            time_to_live: Duration::from_hours(24),
            max_per_device: 100,
            max_open: 100_000,
            keep: Duration::from_hours(7 * 24),
            call_timeout: Duration::from_secs(10),
            allow_private_addresses: false,
        }
    }
}

impl Commands {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let commands = Self {
            from_hub: section.or("from_hub", default.from_hub, Field::flag),
            time_to_live: section.or("time_to_live", default.time_to_live, |field| field.duration(&LIFE)),
            max_per_device: section
                .or("max_per_device", default.max_per_device, |field| field.number(&PER_DEVICE)),
            max_open: section.or("max_open", default.max_open, |field| field.number(&OPEN)),
            keep: section.or("keep", default.keep, |field| field.duration(&KEEP)),
            call_timeout: section.or("call_timeout", default.call_timeout, |field| field.duration(&CALL)),
            allow_private_addresses: section.or(
                "allow_private_addresses",
                default.allow_private_addresses,
                Field::flag,
            ),
        };
        section.finish();
        commands
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table("commands", "What the hub or an operator wants of devices.");
        sheet.explained(
            "from_hub",
            &default.from_hub.to_string(),
            "Whether the hub's command topics are subscribed to.",
        );
        sheet.explained(
            "time_to_live",
            &quoted(&format_duration(default.time_to_live)),
            &format!("How long a command is of use that does not say so: {}.", duration_range(&LIFE)),
        );
        sheet.explained(
            "max_per_device",
            &grouped(default.max_per_device as u64),
            "Commands of one device that may wait.",
        );
        sheet.explained("max_open", &grouped(default.max_open as u64), "Commands that may wait in all.");
        sheet.explained(
            "keep",
            &quoted(&format_duration(default.keep)),
            &format!("How long commands are kept that are over: {}.", duration_range(&KEEP)),
        );
        sheet.explained(
            "call_timeout",
            &quoted(&format_duration(default.call_timeout)),
            &format!("How long a cloud may take for its answer: {}.", duration_range(&CALL)),
        );
        sheet.explained(
            "allow_private_addresses",
            &default.allow_private_addresses.to_string(),
            "Whether a cloud's API may have an address in a private network, or be on this machine.",
        );
    }
}
