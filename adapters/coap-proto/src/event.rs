//! What an endpoint hands out: names of things, datagrams and events. Not here: how they come about.

use std::time::Duration;

use bytes::Bytes;

use crate::{Request, Response};

/// A request of a peer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// A request of ours, or the observation or ping that came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub(crate) u64);

/// A peer's observation of a resource of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObservationId(pub(crate) u64);

/// A datagram to send, or a message into a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit<P> {
    /// To whom.
    pub peer: P,
    /// The datagram or message.
    pub payload: Bytes,
}

/// What the application should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<P> {
    /// A whole request, once. Answer it with `respond`.
    Request {
        /// Its name.
        id: RequestId,
        /// Who asks.
        peer: P,
        /// What it asks.
        request: Request,
        /// Whether it asks to observe; answer it with `respond_observing` to allow that.
        observe: bool,
        /// How long ago we issued the Echo value that it carries; `None` without a valid one (RFC 9175 section 2.3).
        echo_age: Option<Duration>,
    },
    /// The answer to a request of ours.
    Response {
        /// Which request.
        handle: Handle,
        /// Who answered.
        peer: P,
        /// The answer with its whole body.
        response: Response,
        /// Whether notifications will follow; if not, the handle is gone.
        observing: bool,
    },
    /// A new state of what we observe.
    Notification {
        /// Which observation.
        handle: Handle,
        /// Who notifies.
        peer: P,
        /// The state with its whole body.
        response: Response,
        /// Whether more will follow; if not, the handle is gone.
        observing: bool,
    },
    /// Max-Age passed without a notification: what we observe may have forgotten us (RFC 7641 section 3.3.1).
    Stale {
        /// Which observation; it stays.
        handle: Handle,
    },
    /// A request of ours has no answer; the handle is gone.
    Failed {
        /// Which request.
        handle: Handle,
        /// Who did not answer.
        peer: P,
        /// Why.
        failure: Failure,
    },
    /// A ping was answered; the handle is gone.
    Pong {
        /// Which ping.
        handle: Handle,
    },
    /// A confirmable notification has reached its observer, or has gone into the stream to it.
    Acknowledged {
        /// Which observation.
        id: ObservationId,
    },
    /// A peer observes no longer.
    ObservationEnded {
        /// Which observation; the id is gone.
        id: ObservationId,
        /// Who observed.
        peer: P,
        /// Why.
        reason: Ended,
    },
}

/// Why a request of ours failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No acknowledgement or no answer in time. Trying again later may help.
    #[error("no answer in time")]
    TimedOut,
    /// The peer sent a reset: it does not understand the message or lost its context.
    #[error("the peer reset the exchange")]
    Reset,
    /// The network says that nobody is there.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The answer has a critical option that is not understood.
    #[error("the answer has an option that is not understood")]
    BadOption,
    /// The blocks of the answer do not fit together.
    #[error("the blocks of the answer do not fit together")]
    BadBlocks,
    /// The answer is longer than `max_body`.
    #[error("the answer is too long")]
    TooLong,
}

/// Why an observation of a resource of ours ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The peer asked for it.
    Cancelled,
    /// The peer sent a reset.
    Reset,
    /// A confirmable notification was not acknowledged.
    TimedOut,
    /// A notification was an error, or its content format had changed.
    Error,
    /// The peer registered anew with the same token; the new observation has another id.
    Replaced,
    /// The network says that nobody is there.
    Unreachable,
}

/// Why something cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There are too many exchanges with this peer or in total. Trying again later helps.
    #[error("too many exchanges are open")]
    Busy,
    /// The id or handle is not known: answered, expired or gone.
    #[error("the exchange is over")]
    Gone,
    /// The code is no method or response, or the body has more than 2^20 blocks. The caller is wrong.
    #[error("no such message can be sent")]
    Invalid,
}
