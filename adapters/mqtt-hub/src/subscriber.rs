//! The connection that commands and wishes for the state of devices come by: a session that the hub keeps, so that what it
//! wants while the bridge is away waits there. A message is acknowledged when the inbox has taken it. Not here: what a
//! command is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::ports::{Arrival, Desired, Inbox};
use tokio::sync::Notify;

use crate::backoff::{Backoff, GOOD};
use crate::connection::Connection;
use crate::hub::Shared;
use crate::wire::{self, Incoming, Kept, Received, Session};

/// Seconds that the hub keeps the session: a week, longer than any command is of use.
const KEPT: u32 = 7 * 24 * 60 * 60;
/// The inbox has this long for one message. Then it comes again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The packet identifiers of the subscriptions.
const COMMANDS: u16 = 1;
const DESIRED: u16 = 2;

/// Runs until `closing` is notified.
pub(crate) async fn run(shared: Arc<Shared>, inbox: Arc<dyn Inbox>, closing: Arc<Notify>) {
    let mut backoff = Backoff::default();
    let mut closed = std::pin::pin!(closing.notified());
    loop {
        let started = shared.clock.now();
        let Some(reason) = epoch(&shared, &*inbox, closed.as_mut()).await else { return };
        let ended = shared.clock.now();
        if ended.saturating_duration_since(started) >= GOOD {
            backoff.reset();
        }
        let wait = backoff.next(fastrand::f64());
        tracing::warn!(%reason, wait_ms = wait.as_millis() as u64, "no subscription to what the hub wants");
        tokio::select! {
            () = shared.clock.sleep_until(ended + wait) => {}
            () = &mut closed => return,
        }
    }
}

/// One connection, from CONNECT to its end: why it ended; none when it was closed.
async fn epoch(
    shared: &Shared,
    inbox: &dyn Inbox,
    mut closed: Pin<&mut impl Future<Output = ()>>,
) -> Option<String> {
    let client_id = format!("{}-commands", shared.config.client_id);
    let opening =
        Connection::open(&shared.config, shared.tls.as_ref(), &client_id, None, Session::Kept(KEPT));
    let opened = tokio::select! {
        opened = tokio::time::timeout(shared.config.connect_timeout, opening) => opened,
        () = closed.as_mut() => return None,
    };
    let (mut connection, resumed) = match opened {
        Err(_) => return Some("the hub did not answer in time".into()),
        Ok(Err(reason)) => return Some(reason),
        Ok(Ok((connection, granted))) => (connection, granted.session_present),
    };
    // Also in a session that the hub remembers: the filter may have changed.
    let filters = [
        (COMMANDS, shared.dialect.command_filter(), Kept::Never),
        (DESIRED, shared.dialect.desired_filter(), Kept::Once),
    ];
    for (id, filter, kept) in &filters {
        wire::subscribe(&mut connection.output, shared.config.protocol, *id, filter, *kept);
    }
    let mut unanswered = filters.len();
    loop {
        let incoming = match connection.turn(closed.as_mut()).await {
            Ok(Some(incoming)) => incoming,
            Ok(None) => {
                // What was taken is acknowledged before: it need not come again. A connection that breaks now has had its turn.
                wire::disconnect(&mut connection.output);
                let _ = connection.finish().await;
                return None;
            }
            Err(reason) => return Some(reason),
        };
        match incoming {
            Incoming::SubAck(id, code) => {
                if code >= 0x80 {
                    let filter = filters.iter().find(|(known, ..)| *known == id);
                    let filter = filter.map_or("", |(_, filter, _)| filter);
                    let reason =
                        format!("the hub does not allow the subscription to {filter} (code {code:#04x})");
                    return Some(reason);
                }
                unanswered = unanswered.saturating_sub(1);
                if unanswered == 0 {
                    tracing::info!(resumed, "subscribed to what the hub wants");
                }
            }
            Incoming::Publish(received) => {
                let id = received.packet_id;
                match tokio::time::timeout(PATIENCE, hand_over(shared, inbox, received)).await {
                    Ok(true) => {
                        if let Some(id) = id {
                            wire::puback(&mut connection.output, id);
                        }
                    }
                    // MQTT has no other way to say "later" than to hang up.
                    Ok(false) | Err(_) => return Some("a wish could not be kept".into()),
                }
            }
            Incoming::Disconnect(code, reason) => {
                return Some(wire::disconnect_reason(code, reason.as_deref()));
            }
            Incoming::ConnAck(_) | Incoming::PubAck(..) | Incoming::Other => {}
        }
    }
}

/// Whether the message need not come again.
async fn hand_over(shared: &Shared, inbox: &dyn Inbox, received: Received) -> bool {
    let Received { topic, payload, packet_id, duplicate, retained, response_topic, correlation } = received;
    if let Some(device) = shared.dialect.desired(&topic) {
        return inbox.desire(Desired { device, payload, is_copy: retained || duplicate }).await;
    }
    let Some((device, name)) = shared.dialect.command(&topic) else {
        tracing::warn!(topic, "a wish for no device that there can be; it is dropped");
        return true;
    };
    if retained {
        // It would be carried out again at every start of the bridge.
        tracing::warn!(topic, "a retained command; it is dropped");
        return true;
    }
    let reply = response_topic.map(|topic| (topic, correlation));
    inbox
        .take(Arrival {
            device,
            name: name.to_owned(),
            payload,
            reply,
            packet: packet_id.unwrap_or_default(),
            redelivered: duplicate,
        })
        .await
}
