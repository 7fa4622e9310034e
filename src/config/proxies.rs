//! Which proxies are believed about their clients: `TRUST_PROXY`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

/// Who may say, in `X-Forwarded-For` or `Forwarded`, on whose behalf a request is made. The two forms mean what Express
/// means by them in its setting `trust proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustProxy {
    /// Nobody: the client is whoever opened the connection.
    #[default]
    Nobody,
    /// So many proxies stand before the server, whatever their addresses: the client is the one that the farthest of
    /// them names. Right only if the server cannot be reached past them.
    Hops(NonZeroU8),
    /// The proxies at these addresses: the client is the nearest that is none of them.
    Networks(Vec<Network>),
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl TrustProxy {
    /// The most hops that can be configured, and that are followed in a header: no chain of proxies is longer.
    pub const MOST_HOPS: u8 = 32;

    /// The most networks: each is compared with each hop of each request. More than any CDN publishes for one family.
    const MOST_NETWORKS: usize = 64;

    /// Reads a number of hops, or a list of addresses and networks separated by commas; `None` when it is neither. A
    /// network of all addresses is refused: it would believe whatever anybody says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let hops = text.parse().ok().filter(|hops: &NonZeroU8| hops.get() <= Self::MOST_HOPS)?;
            return Some(Self::Hops(hops));
        }
        let networks: Vec<_> = text.split(',').map(|item| Network::parse(item.trim())).collect::<Option<_>>()?;
        (networks.len() <= Self::MOST_NETWORKS).then_some(Self::Networks(networks))
    }

    /// Whether what comes from `address` may speak for somebody else, when it is `hop` steps away: 0 is the peer of the
    /// TCP connection. IPv4 addresses in IPv6 form must have been converted.
    #[must_use]
    pub fn trusts(&self, address: IpAddr, hop: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Hops(hops) => hop < usize::from(hops.get()),
            Self::Networks(networks) => networks.iter().any(|network| network.contains(address)),
        }
    }
}

impl std::fmt::Display for TrustProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Hops(hops) => write!(f, "{hops}"),
            Self::Networks(networks) => {
                let texts: Vec<_> =
                    networks.iter().map(|network| format!("{}/{}", network.address, network.prefix)).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(prefix.parse::<u8>().ok()?))
            }
            Some(_) => return None,
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        let prefix = prefix.map_or(u8::try_from(bits).ok(), Some)?;
        (prefix > 0 && u32::from(prefix) <= bits).then(|| Self { address: first_of(address, prefix), prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && first_of(address, self.prefix) == self.address
    }
}

/// The address with all but its first `prefix` bits cleared.
#[must_use]
pub fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let rest = Ipv4Addr::BITS.saturating_sub(prefix);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)))
        }
        IpAddr::V6(address) => {
            let rest = Ipv6Addr::BITS.saturating_sub(prefix);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_addresses_and_networks_are_read() {
        for (text, shown) in [
            ("1", "1"),
            ("32", "32"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("127.0.0.1/8", "127.0.0.0/8"),
            ("10.0.0.0/8, 192.168.1.7 ,::1", "10.0.0.0/8,192.168.1.7/32,::1/128"),
            ("2001:db8:ffff::/36", "2001:db8:f000::/36"),
        ] {
            assert_eq!(TrustProxy::parse(text).map(|trust| trust.to_string()).as_deref(), Some(shown), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let many = vec!["10.0.0.1"; 65].join(",");
        for text in [
            "0",
            "33",
            "-1",
            "+1",
            "1.5",
            "true",
            "loopback",
            "localhost",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1/",
            "10.0.0.1/+8",
            "10.0.0.1,",
            ",",
            "10.0.0.1:80",
            "[::1]",
            "fe80::1%eth0",
            "010.0.0.1",
            &many,
        ] {
            assert_eq!(TrustProxy::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_is_the_addresses_that_share_its_bits() {
        for (networks, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.2/31", "10.1.2.3", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/1", "1.2.3.4", false),
            ("128.0.0.0/1", "8000::1", false),
            ("10.0.0.0/8,::1", "::1", true),
        ] {
            let trust = TrustProxy::parse(networks).unwrap();
            assert_eq!(trust.trusts(address.parse().unwrap(), 7), expected, "{networks} {address}");
        }
    }

    #[test]
    fn hops_are_counted_whatever_their_addresses() {
        let trust = TrustProxy::parse("2").unwrap();
        let address = Ipv4Addr::UNSPECIFIED.into();
        assert_eq!([0, 1, 2, 3].map(|hop| trust.trusts(address, hop)), [true, true, false, false]);
        assert!(!TrustProxy::default().trusts(address, 0));
    }
}
