//! Who may connect: so many in all, so many of one address, with room for so many bytes of messages that have not come to their
//! end. Not here: connections themselves ([`super::connection`]).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coap_proto::stream::{Framing, LinkConfig};
use edge::Tasks;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::tls::Tls;
use super::{Fate, Incoming, connection};
use crate::api::CoapApi;

/// Connections of a listener at once.
pub(super) const MOST: usize = 10_000;
/// Connections of one address, or one /64.
pub(super) const MOST_OF_ADDRESS: usize = 100;
/// Room for messages that have begun, KiB.
const ROOM: usize = 64 * 1024;
/// Options, path and query of a message whose body is as long as it may be, bytes.
const HEAD: usize = 4096;

/// What connections of a listener share.
pub(super) struct Door {
    pub(super) tls: Option<Tls>,
    pub(super) api: CoapApi,
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// Of messages that have begun; each permit is a KiB.
    pub(super) room: Arc<Semaphore>,
    pub(super) link: LinkConfig,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    total: usize,
    of: HashMap<IpAddr, usize>,
}

/// The place of a connection; given back when it ends.
pub(super) struct Guest {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    pub(super) fn new(
        (tls, framing): (Option<Tls>, Framing),
        api: CoapApi,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        let max_message = u32::try_from(api.body_limit() + HEAD).unwrap_or(u32::MAX);
        let link = LinkConfig { framing, max_message, ..LinkConfig::default() };
        let room = Arc::new(Semaphore::new(ROOM));
        Self { tls, api, incoming, room, link, guests: Mutex::default() }
    }

    /// Takes connections for ever.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, connections: Tasks) {
        let next = AtomicU64::new(1);
        loop {
            match listener.accept().await {
                Ok((stream, from)) => match self.admit(from.ip()) {
                    Ok(guest) => {
                        let id = next.fetch_add(1, Relaxed);
                        connections.spawn(connection::serve(stream, id, guest));
                    }
                    Err(fate) => self.api.fates().count(fate),
                },
                Err(error) => {
                    // Out of file descriptors, mostly: let some connections end before the next try.
                    tracing::warn!(%error, "cannot accept a CoAP connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Guest, Fate> {
        let address = block_of(address);
        let mut guests = self.guests();
        if guests.total >= MOST {
            return Err(Fate::Refused);
        }
        let own = guests.of.entry(address).or_default();
        if *own >= MOST_OF_ADDRESS {
            return Err(Fate::RefusedAddress);
        }
        *own += 1;
        guests.total += 1;
        drop(guests);
        self.api.fates().count(Fate::Opened);
        self.api.fates().open.fetch_add(1, Relaxed);
        Ok(Guest { door: self.clone(), address })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    pub(super) fn door(&self) -> &Door {
        &self.door
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.door.guests();
        guests.total -= 1;
        if let Some(own) = guests.of.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                guests.of.remove(&self.address);
            }
        }
        drop(guests);
        self.door.api.fates().open.fetch_sub(1, Relaxed);
    }
}

/// What one customer has: an address, or a /64.
fn block_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_has_one_block() {
        let block = |address: &str| block_of(address.parse().unwrap()).to_string();
        assert_eq!(block("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(block("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(block("192.0.2.7"), "192.0.2.7");
    }
}
