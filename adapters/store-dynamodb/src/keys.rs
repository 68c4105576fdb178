//! Keys of items: shards, and texts that sort as what they stand for. Not here: which item has which (see the crate's page).

use bridge_core::{DeviceId, Timestamp};

/// How many partitions share what belongs together. Part of the layout: another number needs a new table.
pub(crate) const SHARDS: u64 = 8;
/// The sort key of an item that is alone in its partition.
pub(crate) const ALONE: &str = "-";

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// Alone in its partition.
    pub(crate) fn alone(pk: impl Into<String>) -> Self {
        Self::new(pk, ALONE)
    }

    /// One of many in the shards of `kind`, by its name.
    pub(crate) fn named(kind: &str, name: &str) -> Self {
        Self::new(sharded(kind, name), name)
    }

    /// One of many in the shards of `kind`, by its number.
    pub(crate) fn numbered(kind: &str, number: u64) -> Self {
        Self::new(format!("{kind}#{}", number % SHARDS), digits(number))
    }
}

/// The partition of `kind` that a name belongs to.
pub(crate) fn sharded(kind: &str, name: &str) -> String {
    format!("{kind}#{}", shard(name))
}

/// The partition of `kind` that a device belongs to.
pub(crate) fn of_device(kind: &str, device: &DeviceId) -> String {
    sharded(kind, device.as_str())
}

/// All partitions of `kind`.
pub(crate) fn shards(kind: &str) -> impl Iterator<Item = String> {
    (0..SHARDS).map(move |shard| format!("{kind}#{shard}"))
}

/// FNV-1a, mixed: the same on every machine and in every version.
pub(crate) fn shard(name: &str) -> u64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    // The finish of MurmurHash3: FNV alone leaves similar names in few shards.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    (hash ^ (hash >> 33)) % SHARDS
}

/// A number as a text that sorts like it.
pub(crate) fn digits(number: u64) -> String {
    format!("{number:020}")
}

/// A time as a text that sorts like it.
pub(crate) fn moment(at: Timestamp) -> String {
    // No time is before 1970.
    digits(u64::try_from(at.as_millis()).unwrap_or(0))
}

/// The time that [`moment`] wrote at the beginning of a text.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    Timestamp::from_millis(text.get(..20)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sort_as_times_do() {
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let texts = [0, 1, 10, 1_700_000_000_000].map(|ms| moment(at(ms)));
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(parse_moment(&format!("{}#x", texts[2])), Some(at(10)));
    }

    #[test]
    fn no_shard_takes_more_than_its_share() {
        let mut counts = [0_u32; 8];
        for n in 0..16_000 {
            let name = format!("eui-70b3d57ed{n:07x}");
            counts[usize::try_from(shard(&name)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
        assert_eq!(shard("d1"), 5, "part of the layout: it never changes");
    }
}
