//! A block of IP addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3). Not here: who may be in it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `185.110.96.0/22`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u32,
}

/// Why a text is not a block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// No address before the slash.
    #[error("must be a block of IP addresses such as \"185.110.96.0/22\" or \"2001:db8::/32\"")]
    NotAnAddress,
    /// Not a number, or longer than the address.
    #[error("must have a prefix length of 0 to {0} after the slash")]
    Prefix(u32),
    /// The address is not the first one of the block.
    #[error("has bits set beyond its prefix length; the block is written {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// Whether the address is in the block. An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(_), address @ IpAddr::V4(_)) => masked(address, self.prefix) == self.network,
            (IpAddr::V6(_), address @ IpAddr::V6(_)) => masked(address, self.prefix) == self.network,
            (IpAddr::V6(_), IpAddr::V4(address)) => {
                masked(address.to_ipv6_mapped().into(), self.prefix) == self.network
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| CidrError::NotAnAddress)?;
        let longest = bits(network);
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or(CidrError::Prefix(longest))?
            }
            Some(_) => return Err(CidrError::Prefix(longest)),
        };
        let block = Self { network: masked(network, prefix), prefix };
        if block.network == network { Ok(block) } else { Err(CidrError::HostBits(block)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits beyond the prefix cleared.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(block: &str, address: &str) -> bool {
        block.parse::<Cidr>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (block, address, is_in) in [
            ("185.110.96.0/22", "185.110.96.0", true),
            ("185.110.96.0/22", "185.110.99.255", true),
            ("185.110.96.0/22", "185.110.100.0", false),
            ("185.110.96.0/22", "185.110.95.255", false),
            ("185.110.96.0/22", "::ffff:185.110.97.1", true),
            ("185.110.96.0/22", "2001:db8::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ] {
            assert_eq!(contains(block, address), is_in, "{address} in {block}");
        }
    }

    #[test]
    fn what_is_not_a_block_says_why() {
        for (text, error) in [
            ("", CidrError::NotAnAddress),
            ("sigfox.com", CidrError::NotAnAddress),
            ("10.0.0/8", CidrError::NotAnAddress),
            ("10.0.0.0/33", CidrError::Prefix(32)),
            ("10.0.0.0/+8", CidrError::Prefix(32)),
            ("10.0.0.0/", CidrError::Prefix(32)),
            ("::/129", CidrError::Prefix(128)),
            ("185.110.97.0/22", CidrError::HostBits("185.110.96.0/22".parse().unwrap())),
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
    }
}
