//! What clouds announce with their webhooks about the way down. Not here: reading it (connectors), and whether it is believed
//! (the caller's).

use bridge_core::pipeline::Integration;
use bridge_core::ports::BoxFuture;
use http::HeaderMap;

use super::Source;
use crate::connector::{Announcement, WayDown};

/// Takes what clouds announce. Asked only of requests that have proved their secret.
pub trait Announcements: Send + Sync {
    /// Takes an announcement, or what is wrong with one. Whatever goes wrong costs the uplink nothing.
    fn take<'a>(
        &'a self,
        integration: &'a Integration,
        announcement: Result<Announcement, &'static str>,
    ) -> BoxFuture<'a, ()>;
}

/// What a request announces; none for most.
pub(super) fn read(source: &Source, headers: &HeaderMap) -> Option<Result<Announcement, &'static str>> {
    let Some(WayDown::Api(way)) = source.connector.downlink() else { return None };
    (way.announced.as_ref()?.read)(headers)
}
