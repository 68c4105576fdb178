//! Stateless cookies: RFC 6347 section 4.2.1. A cookie is a MAC over the address and all of the ClientHello but the cookie,
//! under a secret that changes; nothing is kept for an address before it sends one back. Not here: the messages.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::hello::ClientHello;
use crate::prf::hmac;

/// Short enough for the answer to be no longer than the shortest ClientHello.
pub(crate) const COOKIE: usize = 16;
/// A cookie is valid for one to two such periods.
const PERIOD: Duration = Duration::from_secs(60);

pub(crate) struct Cookies {
    current: Zeroizing<[u8; 32]>,
    previous: Zeroizing<[u8; 32]>,
    since: Instant,
}

impl Cookies {
    pub(crate) fn new(now: Instant, random: &mut dyn FnMut(&mut [u8])) -> Cookies {
        let mut cookies =
            Cookies { current: Zeroizing::default(), previous: Zeroizing::default(), since: now };
        random(&mut *cookies.current);
        random(&mut *cookies.previous);
        cookies
    }

    /// Changes the secret when it is time.
    pub(crate) fn turn(&mut self, now: Instant, random: &mut dyn FnMut(&mut [u8])) {
        let age = now.saturating_duration_since(self.since);
        if age < PERIOD {
            return;
        }
        if age < 2 * PERIOD {
            self.previous = self.current.clone();
        } else {
            random(&mut *self.previous);
        }
        random(&mut *self.current);
        self.since = now;
    }

    /// The cookie for that hello from that address.
    pub(crate) fn make(&self, peer: SocketAddr, hello: &ClientHello<'_>) -> [u8; COOKIE] {
        let mut cookie = [0; COOKIE];
        cookie.copy_from_slice(&mac(&self.current, peer, hello).finalize().into_bytes()[..COOKIE]);
        cookie
    }

    /// Whether the hello has a cookie of ours; compared in constant time.
    pub(crate) fn is_valid(&self, peer: SocketAddr, hello: &ClientHello<'_>) -> bool {
        let valid = |secret| mac(secret, peer, hello).verify_truncated_left(hello.cookie).is_ok();
        hello.cookie.len() == COOKIE && (valid(&self.current) || valid(&self.previous))
    }
}

fn mac(secret: &[u8; 32], peer: SocketAddr, hello: &ClientHello<'_>) -> Hmac<Sha256> {
    let mut mac = hmac(secret);
    match peer.ip() {
        IpAddr::V4(ip) => mac.update(&ip.octets()),
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&peer.port().to_be_bytes());
    // The lengths of both parts follow from what is in them.
    hello.around_cookie.iter().for_each(|part| mac.update(part));
    mac
}
