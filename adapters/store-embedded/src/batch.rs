//! Message ids and their times as bytes, many in one row. Not here: SQL.

use bridge_core::{MessageId, Timestamp};

/// Bytes of one id and its time.
pub(crate) const ENTRY: usize = 24;

/// Ids of one row at most: larger pieces of memory would be as rare as they are many in size.
const MOST: usize = 512;

/// One row.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The time of the oldest, milliseconds.
    pub(crate) first: i64,
    /// The time of the newest.
    pub(crate) last: i64,
    /// How many they are.
    pub(crate) count: usize,
    /// Each of them.
    pub(crate) bytes: Vec<u8>,
}

/// Rows of these ids.
pub(crate) fn batches(ids: &[(MessageId, Timestamp)]) -> Vec<Batch> {
    let batch = |ids: &[(MessageId, Timestamp)]| {
        let times = || ids.iter().map(|(_, at)| at.as_millis());
        let (first, last) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
        Batch { first, last, count: ids.len(), bytes: encode(ids) }
    };
    ids.chunks(MOST).map(batch).collect()
}

/// Writes them.
pub(crate) fn encode(ids: &[(MessageId, Timestamp)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * ENTRY);
    for (id, at) in ids {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&at.as_millis().to_be_bytes());
    }
    bytes
}

/// Reads them.
pub(crate) fn decode(bytes: &[u8]) -> impl Iterator<Item = (MessageId, Timestamp)> {
    let (entries, _) = bytes.as_chunks::<ENTRY>();
    entries.iter().filter_map(|entry| {
        let (id, at) = entry.split_first_chunk::<16>()?;
        let at = i64::from_be_bytes(*at.first_chunk()?);
        Some((MessageId::from_bytes(*id), Timestamp::from_millis(at).unwrap_or(Timestamp::EPOCH)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let ids: Vec<_> = (0..3_u8)
            .map(|n| (MessageId::from_bytes([n; 16]), Timestamp::from_seconds(n.into()).unwrap()))
            .collect();
        let bytes = encode(&ids);
        assert_eq!(bytes.len(), 3 * ENTRY);
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn rows_are_bounded_and_hold_all() {
        let ids: Vec<_> = (0..2 * MOST + 1)
            .map(|n| (MessageId::from_bytes([7; 16]), Timestamp::from_millis((n % 10) as i64).unwrap()))
            .collect();
        let batches = batches(&ids);
        assert_eq!(batches.iter().map(|batch| batch.count).collect::<Vec<_>>(), [MOST, MOST, 1]);
        assert_eq!((batches[0].first, batches[0].last), (0, 9));
        assert!(batches.iter().flat_map(|batch| decode(&batch.bytes)).eq(ids));
    }
}
