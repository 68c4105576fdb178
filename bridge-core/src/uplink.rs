//! What an adapter produces: one thing that a source said, before the bridge has resolved who it was. Not here: how a
//! source says it (the connectors).

use crate::id::IdempotencyKey;
use crate::message::{Content, Kind};
use crate::time::Timestamp;
use crate::verdict::Reason;

/// One thing that a source said.
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    /// Who said it; none for events of the integration as a whole (Particle's `coreid` "api", a Sigfox outage).
    pub device: Option<ExternalDevice>,
    /// What it is about.
    pub kind: Kind,
    /// The source's own idempotency key (`reference/webhooks.md`, per source).
    pub key: IdempotencyKey,
    /// When it happened, as far as the source knows.
    pub time: Option<Timestamp>,
    /// Set where an older report must never win over a newer one.
    pub state: Option<StateMark>,
    /// The rest.
    pub content: Content,
}

impl Uplink {
    /// An uplink with nothing in it yet.
    pub fn new(device: Option<ExternalDevice>, kind: Kind, key: IdempotencyKey) -> Self {
        Self { device, kind, key, time: None, state: None, content: Content::default() }
    }
}

impl Uplink {
    /// Makes it that part of itself.
    pub(crate) fn put(&mut self, part: crate::parts::Part) {
        (self.kind, self.time, self.content) = (part.kind, part.time, part.content);
    }
}

/// A device as its source calls it. Plain text here: the pipeline parses it, and answers bad ids with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalDevice {
    /// Unique within the scope: Sigfox id, coreid, `device_id`, DevEUI.
    pub id: String,
    /// What the id is unique in (a TTN application); none when the source does not say.
    pub scope: Option<String>,
    /// What people call it.
    pub name: Option<String>,
}

impl ExternalDevice {
    /// A device by its id alone.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), scope: None, name: None }
    }
}

/// Orders reports of one state (online, a command's progress) that arrive in any order: of two with the same subject,
/// the one with the higher rank is the truth, and the other is handed on marked as superseded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateMark {
    /// `connection`, or the id of the command; unique per device.
    pub subject: String,
    /// Higher is newer.
    pub rank: u64,
}

/// What a connector made of one request: uplinks, and what could not become one. Both are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// In the order of the request.
    pub uplinks: Vec<Uplink>,
    /// Become dead letters; the source still gets a 2xx.
    pub problems: Vec<Problem>,
}

impl Decoded {
    /// One uplink.
    pub fn one(uplink: Uplink) -> Self {
        Self { uplinks: vec![uplink], problems: Vec::new() }
    }

    /// Adds an uplink. Most requests hold one: the room for it is not the room for four.
    pub fn push(&mut self, uplink: Uplink) {
        if self.uplinks.capacity() == 0 {
            self.uplinks.reserve_exact(1);
        }
        self.uplinks.push(uplink);
    }

    /// One problem.
    pub fn problem(reason: Reason, detail: impl Into<String>) -> Self {
        Self { uplinks: Vec::new(), problems: vec![Problem { reason, detail: detail.into() }] }
    }
}

/// Why a request, or a part of one, was understood but cannot become a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// For counting.
    pub reason: Reason,
    /// For people; holds no payload and no secret.
    pub detail: String,
}
