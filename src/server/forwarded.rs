//! On whose behalf a request is made: `X-Forwarded-For` and `Forwarded` (RFC 7239), as far as they can be believed.
//!
//! Owns the reading of both headers. Each proxy adds whom it was asked by at the end, so they are read from there, and
//! only as long as those who wrote are proxies of ours; what stands before is anybody's invention. Pure: the rules are in
//! [`TrustProxy`], the headers are given.

use std::net::{IpAddr, SocketAddr};

use crate::config::{TrustProxy, first_of};

/// Bytes of one header line, as many as the head of a request may have; a longer one says nothing.
const MOST_BYTES: usize = crate::config::limits::MAX_HTTP_HEADER_BYTES;

/// The part of an IPv6 address that names a network, of which every customer has at least one to itself.
const IPV6_NETWORK_BITS: u8 = 64;

/// Who made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The nearest address that is no proxy of ours, or that of the last proxy of ours when that named nobody.
    pub(crate) address: IpAddr,
    /// Whether a proxy of ours says that it was asked over TLS.
    pub(crate) is_secure: bool,
}

/// The client behind a connection from `peer`. `values` gives all values of the header with that lower-case name.
///
/// A proxy that writes one of the two headers passes the other on as the client sent it. So when both are there and
/// name different clients, one of them is forged, and neither is believed.
pub(crate) fn client<'h, V>(trust: &TrustProxy, peer: IpAddr, values: impl Fn(&'static str) -> V) -> Client
where
    V: DoubleEndedIterator<Item = &'h [u8]>,
{
    let peer = peer.to_canonical();
    if !trust.trusts(peer, 0) {
        return Client { address: peer, is_secure: false };
    }
    let listed = values("x-forwarded-for").rev().flat_map(hops_of_list);
    let by_list = values("x-forwarded-for").next().map(|_| follow(trust, peer, listed));
    let named = values("forwarded").rev().flat_map(|line| elements(line).into_iter().rev());
    let by_elements = values("forwarded").next().map(|_| follow(trust, peer, named.map(|element| element.node)));
    let address = match (by_list, by_elements) {
        (Some(address), None) | (None, Some(address)) => address,
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) | (None, None) => peer,
    };
    // The first that is named is the one that the client spoke to.
    let scheme = values("x-forwarded-proto").next().and_then(|line| line.split(|byte| *byte == b',').next());
    let is_secure = match scheme {
        Some(scheme) => scheme.trim_ascii().eq_ignore_ascii_case(b"https"),
        None => {
            values("forwarded").next().and_then(|line| elements(line).first().copied()).is_some_and(|e| e.is_secure)
        }
    };
    Client { address, is_secure }
}

/// What connections are counted by: an IPv4 address, or an IPv6 network, within which a client may choose its address.
pub(crate) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => first_of(address.into(), IPV6_NETWORK_BITS),
        address => address,
    }
}

/// Goes from proxy to proxy while they are ours. `hops` are those that each names, the nearest first; `None` is one that
/// has no address, and ends the way.
fn follow(trust: &TrustProxy, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut client = peer;
    for (index, hop) in hops.take(usize::from(TrustProxy::MOST_HOPS)).enumerate() {
        match hop {
            Some(hop) if trust.trusts(client, index) => client = hop,
            _ => break,
        }
    }
    client
}

/// The addresses of one line of `X-Forwarded-For`, the last first. Empty elements do not count (RFC 9110, 5.6.1).
fn hops_of_list(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    let line = if line.len() <= MOST_BYTES { line } else { b"?" };
    line.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()).map(node)
}

/// One element of `Forwarded`: what one proxy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<IpAddr>,
    is_secure: bool,
}

/// The elements of one line of `Forwarded`. A line that breaks the grammar is one element that says nothing: where a quote
/// stands open, nobody knows whose words are inside.
fn elements(line: &[u8]) -> Vec<Element> {
    let parsed = if line.len() <= MOST_BYTES { parse_elements(line) } else { None };
    parsed.unwrap_or_else(|| vec![Element::default()])
}

fn parse_elements(mut rest: &[u8]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut element = None::<Element>;
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => {
                elements.extend(element);
                return Some(elements);
            }
            Some((b',', after)) => {
                elements.extend(element.take());
                rest = after;
            }
            Some((b';', after)) => rest = after,
            Some(_) => {
                let (name, value, after) = parse_pair(rest)?;
                let element = element.get_or_insert_default();
                if name.eq_ignore_ascii_case(b"for") {
                    element.node = node(&value);
                } else if name.eq_ignore_ascii_case(b"proto") {
                    element.is_secure = value.eq_ignore_ascii_case(b"https");
                }
                rest = after.trim_ascii_start();
                if !matches!(rest.first(), None | Some(b',' | b';')) {
                    return None;
                }
            }
        }
    }
}

/// `name=value`, the value a token or in quotes, and what follows.
fn parse_pair(text: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"()<>@,;\\\"/?={}".contains(byte);
    let (name, rest) = text.split_at(text.iter().position(|byte| *byte == b'=')?);
    let value = rest.get(1..)?;
    if name.is_empty() || !name.iter().all(is_token) {
        return None;
    }
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(|byte| !is_token(byte)).unwrap_or(value.len());
        let (value, after) = value.split_at(end);
        return (!value.is_empty()).then(|| (name, value.to_vec(), after));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((name, value, quoted.get(at + 1..)?)),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}

/// An address, alone or with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
/// `unknown` and names that hide an address (`_hidden`) are none.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match in_brackets {
        Some(text) => IpAddr::V6(text.parse().ok()?),
        None => text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "x-forwarded-for";
    const F: &str = "forwarded";

    type Headers<'a> = &'a [(&'static str, &'a str)];

    fn ask(trust: &str, peer: &str, headers: Headers<'_>) -> Client {
        let trust = if trust.is_empty() { TrustProxy::Nobody } else { TrustProxy::parse(trust).unwrap() };
        client(&trust, peer.parse().unwrap(), |name| {
            let values: Vec<_> =
                headers.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.as_bytes()).collect();
            values.into_iter()
        })
    }

    #[test]
    fn h6_the_client_is_the_nearest_that_is_no_proxy_of_ours() {
        let long = format!("9.9.9.9,{}", "10.0.0.1,".repeat(120_000));
        let open = format!("for=\"{}", "x".repeat(1_000_000));
        let chain = format!("8.8.8.8,{}", ["10.0.0.9"; 40].join(","));
        let cases: &[(&str, &str, Headers<'_>, &str)] = &[
            // Who is not trusted is not listened to.
            ("", "7.7.7.7", &[(X, "1.1.1.1"), (F, "for=1.1.1.1")], "7.7.7.7"),
            ("10.0.0.0/8", "7.7.7.7", &[(X, "1.1.1.1")], "7.7.7.7"),
            ("10.0.0.0/8", "7.7.7.7", &[(X, "10.0.0.1")], "7.7.7.7"),
            // By address.
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, "1.1.1.1")], "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, "1.1.1.1, 2.2.2.2")], "2.2.2.2"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, "1.1.1.1"), (X, "2.2.2.2,10.0.0.2")], "2.2.2.2"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, "1.1.1.1,10.0.0.3"), (X, "10.0.0.2")], "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, "10.0.0.3,10.0.0.2")], "10.0.0.3"),
            ("10.0.0.0/8,::1", "::1", &[(X, "1.1.1.1,10.0.0.2")], "1.1.1.1"),
            // By hops, as Express counts them.
            ("1", "10.0.0.1", &[(X, "1.1.1.1, 2.2.2.2")], "2.2.2.2"),
            ("2", "10.0.0.1", &[(X, "1.1.1.1, 2.2.2.2")], "1.1.1.1"),
            ("3", "10.0.0.1", &[(X, "1.1.1.1, 2.2.2.2")], "1.1.1.1"),
            ("1", "10.0.0.1", &[], "10.0.0.1"),
            // IPv6, ports, IPv4 in IPv6.
            ("10.0.0.0/8", "::ffff:10.0.0.1", &[(X, "::ffff:1.1.1.1")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(X, "1.1.1.1:4711")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(X, "2001:db8::1")], "2001:db8::1"),
            ("1", "10.0.0.1", &[(X, "[2001:db8::1]")], "2001:db8::1"),
            ("1", "10.0.0.1", &[(X, "[2001:db8::1]:4711")], "2001:db8::1"),
            // What is no address ends the way at the proxy that wrote it.
            ("1", "10.0.0.1", &[(X, "unknown")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "1.1.1.1, _hidden")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "1.1.1.1, 256.1.1.1")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "010.1.1.1")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "1.1.1.1:99999")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "[1.1.1.1]")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "é")], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, "1.1.1.1, x, 10.0.0.2")], "10.0.0.2"),
            ("1", "10.0.0.1", &[(X, "")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "1.1.1.1,, ,")], "1.1.1.1"),
            // Bounds.
            ("10.0.0.0/8", "10.0.0.1", &[(X, &long)], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &[(X, &chain)], "10.0.0.9"),
            ("1", "10.0.0.1", &[(F, &open)], "10.0.0.1"),
            // RFC 7239.
            ("1", "10.0.0.1", &[(F, "for=1.1.1.1")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(F, "for=1.1.1.1;proto=http;by=203.0.113.43")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(F, "For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17"),
            ("1", "10.0.0.1", &[(F, "for=1.1.1.1, FOR=2.2.2.2")], "2.2.2.2"),
            ("2", "10.0.0.1", &[(F, "for=1.1.1.1, for=2.2.2.2")], "1.1.1.1"),
            ("2", "10.0.0.1", &[(F, "for=1.1.1.1"), (F, "for=2.2.2.2")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(F, "for=\"1.1.1.1:80\" ; by=_x ,")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(F, "host=\"a,b;c\\\"d\";for=1.1.1.1")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(F, "for=_SEVKISEK")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "for=unknown")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "proto=https")], "10.0.0.1"),
            ("2", "10.0.0.1", &[(F, "for=1.1.1.1, proto=https")], "10.0.0.1"),
            // A quote that a client leaves open must not swallow what the proxy adds, nor bring something of its own.
            ("1", "10.0.0.1", &[(F, "for=6.6.6.6;x=\", for=1.1.1.1")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "for=6.6.6.6;x=\", for=\"[2001:db8::1]\"")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "for=6.6.6.6;x=\""), (F, "for=1.1.1.1")], "1.1.1.1"),
            ("1", "10.0.0.1", &[(F, "for")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "=1.1.1.1")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "for=")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(F, "for=1.1.1.1 for=2.2.2.2")], "10.0.0.1"),
            // The header that the proxy does not write is the client's.
            ("1", "10.0.0.1", &[(X, "1.1.1.1"), (F, "for=6.6.6.6")], "10.0.0.1"),
            ("1", "10.0.0.1", &[(X, "1.1.1.1"), (F, "for=1.1.1.1")], "1.1.1.1"),
        ];
        for (trust, peer, headers, expected) in cases {
            let shown: Vec<_> =
                headers.iter().map(|(name, value)| (name, value.chars().take(60).collect::<String>())).collect();
            assert_eq!(ask(trust, peer, headers).address.to_string(), *expected, "{trust} {peer} {shown:?}");
        }
    }

    #[test]
    fn whether_the_client_speaks_tls_is_for_a_proxy_of_ours_to_say() {
        const P: &str = "x-forwarded-proto";
        let cases: &[(&str, Headers<'_>, bool)] = &[
            ("", &[(P, "https")], false),
            ("1", &[], false),
            ("1", &[(P, "https")], true),
            ("1", &[(P, "HTTPS")], true),
            ("1", &[(P, "https, http")], true),
            ("1", &[(P, "http")], false),
            ("1", &[(P, "http"), (F, "proto=https")], false),
            ("1", &[(F, "for=1.1.1.1;proto=https, for=2.2.2.2;proto=http")], true),
            ("1", &[(F, "for=1.1.1.1;proto=http")], false),
            ("1", &[(F, "for=1.1.1.1;proto=\"https")], false),
        ];
        for (trust, headers, expected) in cases {
            assert_eq!(ask(trust, "10.0.0.1", headers).is_secure, *expected, "{headers:?}");
        }
    }

    #[test]
    fn r1_an_ipv6_network_counts_as_one() {
        for (address, counted) in [
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(counted_as(address.parse().unwrap()).to_string(), counted);
        }
    }
}
