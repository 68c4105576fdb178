//! What an endpoint counts: everything that is dropped, repeated or refused, by kind. Not here: names of metrics.

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that came in.
    pub received: u64,
    /// Datagrams that went out.
    pub sent: u64,
    /// Not CoAP version 1, or shorter than a header.
    pub not_coap: u64,
    /// Format errors.
    pub malformed: u64,
    /// Datagrams that were cut off at the buffer.
    pub truncated: u64,
    /// Pings answered.
    pub pings: u64,
    /// Messages that had come before and were answered from memory or dropped.
    pub duplicates: u64,
    /// Message ids that came again with another content: a peer that restarted.
    pub mids_reused: u64,
    /// Message ids forgotten before their time, for want of room.
    pub dedup_evicted: u64,
    /// Acknowledgements and resets that belong to nothing.
    pub unexpected: u64,
    /// Responses that belong to no request.
    pub unmatched: u64,
    /// Messages sent again.
    pub retransmitted: u64,
    /// Confirmable messages that were given up.
    pub timed_out: u64,
    /// Messages of ours dropped for want of room or of message ids.
    pub dropped: u64,
    /// Requests refused with 4.02, or messages reset, for a critical option.
    pub bad_options: u64,
    /// Requests refused with 5.03 for want of room.
    pub overloaded: u64,
    /// Requests refused with 4.29 or dropped because their peer sends too many.
    pub limited: u64,
    /// Requests that the application never answered.
    pub unanswered: u64,
    /// Echo challenges sent.
    pub challenged: u64,
    /// Transfers in blocks that ended before their last block.
    pub transfers_lost: u64,
    /// Notifications older than one that came before.
    pub notifications_late: u64,
    /// Notifications that a newer state replaced before they were sent.
    pub notifications_merged: u64,
}
