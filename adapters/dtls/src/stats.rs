//! What a server counts: everything that is dropped, repeated or refused, by kind. Not here: names of metrics.

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that came in.
    pub received: u64,
    /// Datagrams that went out.
    pub sent: u64,
    /// Datagrams, or rests of them, that are no DTLS records or handshake messages.
    pub malformed: u64,
    /// HelloVerifyRequests sent.
    pub cookies_sent: u64,
    /// ClientHellos with a cookie that is not ours, not for that address, or too old.
    pub cookies_refused: u64,
    /// ClientHellos in pieces: nothing is kept for addresses without a cookie.
    pub fragmented_hellos: u64,
    /// Handshakes begun.
    pub handshakes: u64,
    /// Handshakes that ended with an association.
    pub completed: u64,
    /// Of these, with the secret of an earlier session.
    pub resumed: u64,
    /// Handshakes not begun for want of room or because too many began in too short a time.
    pub handshakes_refused: u64,
    /// Handshakes not begun because their address has too many.
    pub handshakes_refused_address: u64,
    /// ClientHellos with nothing that this server takes: versions, suites, groups.
    pub no_common_ground: u64,
    /// Handshakes whose Finished does not decrypt: a wrong key or an unknown identity, which look the same.
    pub wrong_keys: u64,
    /// Handshakes that broke off because a message was wrong.
    pub protocol_errors: u64,
    /// Certificates and public keys that were refused.
    pub certificates_refused: u64,
    /// Handshakes that the client broke off with an alert.
    pub aborted: u64,
    /// Handshakes that came to no end in time.
    pub timed_out: u64,
    /// Questions for a key that the application did not answer in time.
    pub lookups_timed_out: u64,
    /// Flights sent again.
    pub retransmitted: u64,
    /// Handshake messages that had come before, or do not belong to any handshake.
    pub stale: u64,
    /// Handshake fragments over a limit or at odds with each other.
    pub fragments_refused: u64,
    /// Protected records from addresses without association.
    pub unknown_address: u64,
    /// Protected records with a Connection ID that is not known.
    pub unknown_cid: u64,
    /// Protected records with the Connection ID of another node.
    pub other_node: u64,
    /// Protected records that are not authentic, or lack the Connection ID that was agreed.
    pub not_authentic: u64,
    /// Records that came before.
    pub replayed: u64,
    /// Records of epochs that do not exist, or of types that have no place there.
    pub unexpected: u64,
    /// Addresses changed by an authenticated record.
    pub rebound: u64,
    /// Address changes refused because there were too many in too short a time.
    pub rebinds_limited: u64,
    /// Associations replaced by a new handshake of the same device.
    pub replaced: u64,
    /// Associations given up to make room.
    pub evicted: u64,
    /// Associations given up because nothing came for too long.
    pub idle: u64,
    /// Associations closed by the device or with [`close`](crate::Server::close).
    pub closed: u64,
}
