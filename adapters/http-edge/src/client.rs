//! Who sent a request. Not here: which proxies are trusted.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;

/// The peer, or whom a trusted proxy names as the last one that it did not trust itself. None when the peer is unknown,
/// or a trusted proxy names nobody that can be read.
pub fn address(
    parts: &Parts,
    peer: Option<SocketAddr>,
    is_trusted_proxy: &dyn Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let peer = peer?;
    if !is_trusted_proxy(peer.ip()) {
        return Some(peer.ip().to_canonical());
    }
    let hops = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).map(str::trim).collect();
    // Read from the right: what stands further left was written by the sender itself.
    for hop in hops.iter().rev() {
        let address: IpAddr = hop.parse().ok()?;
        if !is_trusted_proxy(address) {
            return Some(address.to_canonical());
        }
    }
    Some(peer.ip().to_canonical())
}
