//! What an endpoint may be told: times of RFC 7252 section 4.8, sizes and limits. Not here: defaults of the bridge.

use std::time::Duration;

use crate::stream::Framing;
use crate::{BadBlock, Block, Options, Szx};

/// The settings of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Times and repetitions.
    pub transmission: Transmission,
    /// What is kept at most.
    pub limits: Limits,
    /// Sizes of blocks and bodies.
    pub blockwise: Blockwise,
    /// Tokens.
    pub tokens: Tokens,
    /// What a peer gets that has not shown that it receives at its address. None: every peer is trusted, as behind DTLS.
    pub unverified: Option<Unverified>,
    /// How many new requests a peer may send; none: any number.
    pub rate: Option<Rate>,
    /// Messages go over streams (RFC 8323), which lose and reorder nothing: they have neither type nor id, none is sent
    /// twice, and what leaves this endpoint is written for a stream like this. They come in by `handle_message`.
    pub stream: Option<Framing>,
    /// Options beside those of this crate that the application understands.
    pub understood: Vec<u16>,
}

impl Config {
    /// What reads block options.
    pub(crate) fn block_reader(&self) -> fn(&Options, u16) -> Result<Option<Block>, BadBlock> {
        if self.stream.is_some() { Block::streamed } else { Block::of }
    }
}

/// Times and repetitions (RFC 7252 section 4.8).
#[derive(Debug, Clone)]
pub struct Transmission {
    /// ACK_TIMEOUT, 2 s.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR, 1.5.
    pub ack_random_factor: f64,
    /// MAX_RETRANSMIT, 4.
    pub max_retransmit: u32,
    /// NSTART: interactions in flight per peer, at least 1.
    pub nstart: usize,
    /// PROBING_RATE in bytes per second, 1: a non-confirmable request without an answer keeps its place that long.
    pub probing_rate: u32,
    /// EXCHANGE_LIFETIME, 247 s: how long the id of a confirmable message stays taken.
    pub exchange_lifetime: Duration,
    /// NON_LIFETIME, 145 s.
    pub non_lifetime: Duration,
    /// DEFAULT_LEISURE, 5 s: over which time answers to a multicast spread.
    pub leisure: Duration,
    /// After how long a request gets an empty acknowledgement and its answer becomes a separate one; half of ACK_TIMEOUT.
    pub ack_delay: Duration,
    /// How long a request of ours waits for its answer from its first transmission; MAX_TRANSMIT_WAIT, 93 s.
    pub response_timeout: Duration,
    /// How long the application may take for an answer before the request is forgotten.
    pub handler_timeout: Duration,
    /// How often a notification is confirmable at least, 24 h (RFC 7641 section 4.5).
    pub confirm_every: Duration,
}

impl Default for Transmission {
    fn default() -> Self {
        Transmission {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor: 1.5,
            max_retransmit: 4,
            nstart: 1,
            probing_rate: 1,
            exchange_lifetime: Duration::from_secs(247),
            non_lifetime: Duration::from_secs(145),
            leisure: Duration::from_secs(5),
            ack_delay: Duration::from_secs(1),
            response_timeout: Duration::from_secs(93),
            handler_timeout: Duration::from_secs(93),
            confirm_every: Duration::from_secs(24 * 3600),
        }
    }
}

/// What is kept at most; a count unless its name says bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Received message ids with their answers, in total; the oldest makes room.
    pub dedup_entries: usize,
    /// The same per peer.
    pub dedup_entries_per_peer: usize,
    /// Bytes of the answers kept for repetition.
    pub dedup_bytes: usize,
    /// Peers to which messages with ids of ours went lately.
    pub peers: usize,
    /// Messages of ours per peer that wait for their turn.
    pub queue_per_peer: usize,
    /// Requests that wait for the application; more get 5.03.
    pub pending: usize,
    /// The same per peer.
    pub pending_per_peer: usize,
    /// Requests of ours without an answer, observations included.
    pub requests: usize,
    /// The same per peer.
    pub requests_per_peer: usize,
    /// Bodies that arrive in blocks.
    pub uploads: usize,
    /// The same per peer; the oldest makes room.
    pub uploads_per_peer: usize,
    /// Bytes of all bodies that arrive in blocks; more get 5.03.
    pub upload_bytes: usize,
    /// Bodies that leave in blocks; the oldest makes room.
    pub snapshots: usize,
    /// The same per peer.
    pub snapshots_per_peer: usize,
    /// Bytes of all bodies that leave in blocks.
    pub snapshot_bytes: usize,
    /// Observers of ours.
    pub observers: usize,
    /// The same per peer.
    pub observers_per_peer: usize,
    /// Addresses that are remembered as verified.
    pub verified: usize,
    /// Peers whose rate is remembered; a peer that was pushed out begins anew.
    pub rates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            dedup_entries: 200_000,
            dedup_entries_per_peer: 1_000,
            dedup_bytes: 64 << 20,
            peers: 100_000,
            queue_per_peer: 32,
            pending: 20_000,
            pending_per_peer: 64,
            requests: 100_000,
            requests_per_peer: 64,
            uploads: 10_000,
            uploads_per_peer: 4,
            upload_bytes: 64 << 20,
            snapshots: 10_000,
            snapshots_per_peer: 8,
            snapshot_bytes: 64 << 20,
            observers: 100_000,
            observers_per_peer: 64,
            verified: 100_000,
            rates: 100_000,
        }
    }
}

/// Sizes of blocks and bodies (RFC 7959).
#[derive(Debug, Clone)]
pub struct Blockwise {
    /// The largest block that leaves, and that is asked for. Over streams the largest is several at once, where the peer takes that.
    pub size: Szx,
    /// The longest body that is taken, in bytes; more gets 4.13.
    pub max_body: usize,
    /// Whether bodies that leave in blocks carry a random Request-Tag, so that late blocks of an older body are not taken
    /// for theirs (RFC 9175 section 3.4). Servers that do not know it ignore it.
    pub request_tags: bool,
    /// How long a transfer may rest before it is forgotten.
    pub lifetime: Duration,
    /// How long a transfer must rest before a new one may take its place when there are too many.
    pub evict_after: Duration,
}

impl Default for Blockwise {
    fn default() -> Self {
        Blockwise {
            size: Szx::MAX,
            max_body: 1 << 20,
            request_tags: true,
            lifetime: Duration::from_secs(247),
            evict_after: Duration::from_secs(10),
        }
    }
}

/// Tokens (RFC 7252 section 5.3.1, RFC 8974).
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The length of ours in bytes, all random: 4 to 8.
    pub length: usize,
    /// The longest that is taken: 8, or up to 65,804 with extended tokens.
    pub max: usize,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens { length: 4, max: 8 }
    }
}

/// What a peer gets that has not shown that it receives at its address (RFC 7252 section 11.3, RFC 9175 section 2.4).
#[derive(Debug, Clone)]
pub struct Unverified {
    /// How many times the bytes of its request an answer may have; 3.
    pub factor: usize,
    /// What takes the place of an answer that is longer.
    pub instead: Instead,
    /// How long an Echo value is good.
    pub echo_lifetime: Duration,
}

impl Default for Unverified {
    fn default() -> Self {
        Unverified { factor: 3, instead: Instead::Echo, echo_lifetime: Duration::from_secs(247) }
    }
}

/// A rate of new requests per peer. Over it, they get 4.29 with Max-Age (RFC 8516); and when as many more as `burst` follow
/// before there is room again, nothing.
#[derive(Debug, Clone)]
pub struct Rate {
    /// Requests per second in the long run.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}

/// What takes the place of an answer that is too long for an unverified peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// 4.01 with an Echo option; the peer repeats the request with it.
    Echo,
    /// Blocks as small as needed, 16 bytes at least: for clients that do not know Echo.
    SmallBlocks,
}
