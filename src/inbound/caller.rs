//! Who a client is, behind whatever proxies.
//!
//! Anybody can write `X-Forwarded-For` into a request. Such a header is read only where the connection comes from a proxy
//! that is trusted, and in it only as far as trusted proxies wrote it: from the right, each adds whom it saw.

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Who sent a request. A request of the receiver has it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The client's address, or the nearest hop that is known.
    pub address: IpAddr,
    /// Whether that is a trusted proxy that spoke for itself. Whom a proxy spoke for without saying who it is, is counted
    /// together with all others of that kind.
    pub is_proxy: bool,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// What a chain of hops says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// The first one from the right that is no trusted proxy.
    Client(IpAddr),
    /// Trusted proxies all the way: the first of them asked for itself.
    Proxies(IpAddr),
    /// A hop that hides itself or that cannot be read; the last that is known.
    Hidden(IpAddr),
}

/// Whether the address is in one of the networks.
pub(super) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Who asks, of a connection from `peer`.
pub fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Caller {
    let peer = peer.to_canonical();
    if !is_in(trusted, peer) {
        return Caller { address: peer, is_proxy: false };
    }
    let hops = |name: &str, read: fn(&str) -> Vec<Option<IpAddr>>| -> Vec<Option<IpAddr>> {
        let values = headers.get_all(name).iter();
        // Of a line with strange bytes the other hops count all the same: a client could hide itself with them otherwise.
        values.flat_map(|value| read(&String::from_utf8_lossy(value.as_bytes()))).collect()
    };
    let usual = follow(peer, &hops("x-forwarded-for", usual_hops), trusted);
    let standard = follow(peer, &hops(FORWARDED.as_str(), standard_hops), trusted);
    match (usual, standard) {
        (None, None) => Caller { address: peer, is_proxy: true },
        (Some(told), None) | (None, Some(told)) => told.caller(),
        (Some(usual), Some(standard)) if usual == standard => usual.caller(),
        // A proxy writes one of them and lets the other through as it came: one of the two is the client's own word, and
        // nobody can tell which. Neither is believed.
        (Some(_), Some(_)) => Caller { address: peer, is_proxy: false },
    }
}

impl Told {
    fn caller(self) -> Caller {
        match self {
            Self::Client(address) | Self::Hidden(address) => Caller { address, is_proxy: false },
            Self::Proxies(address) => Caller { address, is_proxy: true },
        }
    }
}

/// Goes from hop to hop, from the right. `None` where there are no hops: the header is not there.
fn follow(peer: IpAddr, hops: &[Option<IpAddr>], trusted: &[IpNet]) -> Option<Told> {
    let mut known = peer;
    for hop in hops.iter().rev() {
        match hop {
            None => return Some(Told::Hidden(known)),
            Some(address) if is_in(trusted, *address) => known = *address,
            Some(address) => return Some(Told::Client(*address)),
        }
    }
    (!hops.is_empty()).then_some(Told::Proxies(known))
}

/// `X-Forwarded-For: 192.0.2.7, 10.0.0.5`.
fn usual_hops(value: &str) -> Vec<Option<IpAddr>> {
    value.split(',').map(|hop| address(hop.trim())).collect()
}

/// `Forwarded: for=192.0.2.7;proto=https, for="[2001:db8::1]:4711"` (RFC 7239).
fn standard_hops(value: &str) -> Vec<Option<IpAddr>> {
    split(value, ',')
        .map(|element| {
            let node = split(element, ';').find_map(|pair| {
                let (name, node) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| node.trim())
            })?;
            address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
        })
        .collect()
}

/// The parts between separators that stand in no quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let escapes = quoted && c == '\\' && !escaped;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = escapes;
        c == separator && !quoted
    })
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PROXY: &str = "10.0.0.5";

    fn who(peer: &str, headers: &[(&'static str, &str)]) -> (String, bool) {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8:1::/48"].iter().map(|text| text.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let caller = caller(peer.parse().unwrap(), &map, &trusted);
        (caller.address.to_string(), caller.is_proxy)
    }

    fn client(address: &str) -> (String, bool) {
        (address.to_owned(), false)
    }

    fn proxy(address: &str) -> (String, bool) {
        (address.to_owned(), true)
    }

    #[test]
    fn whoever_is_no_trusted_proxy_cannot_say_who_it_is() {
        for name in ["x-forwarded-for", "forwarded"] {
            for value in ["140.82.115.1", "for=140.82.115.1", "10.0.0.9"] {
                assert_eq!(who("192.0.2.7", &[(name, value)]), client("192.0.2.7"));
            }
        }
        assert_eq!(who("::ffff:192.0.2.7", &[("x-forwarded-for", "140.82.115.1")]), client("192.0.2.7"));
    }

    #[test]
    fn of_a_chain_the_last_hop_that_is_not_trusted_counts() {
        let xff = |value: &str| who(PROXY, &[("x-forwarded-for", value)]);
        assert_eq!(xff("192.0.2.7"), client("192.0.2.7"));
        assert_eq!(xff("140.82.115.1, 192.0.2.7"), client("192.0.2.7"), "the client wrote the first itself");
        assert_eq!(xff("140.82.115.1,192.0.2.7 ,10.1.1.1, 2001:db8:1::9"), client("192.0.2.7"));
        assert_eq!(xff("10.1.1.1, 10.2.2.2"), proxy("10.1.1.1"));
        assert_eq!(xff("192.0.2.7:4711"), client("192.0.2.7"));
        assert_eq!(xff("[2001:db8::1]:4711"), client("2001:db8::1"));
        assert_eq!(xff("2001:db8::1"), client("2001:db8::1"));
        assert_eq!(xff("::ffff:192.0.2.7"), client("192.0.2.7"));
        assert_eq!(xff("192.0.2.7, ::ffff:10.1.1.1"), client("192.0.2.7"), "a trusted one in IPv6's clothes");
        // Several lines are one list.
        let lines =
            [("x-forwarded-for", "140.82.115.1"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(who("::ffff:10.0.0.5", &lines), client("192.0.2.7"));
        assert_eq!(who(PROXY, &[]), proxy(PROXY));
    }

    #[test]
    fn what_cannot_be_read_ends_the_chain_there() {
        for hidden in ["unknown", "", "_x", "999.1.1.1", "192.0.2.7 evil", "é", "140.82.115.1, unknown"] {
            assert_eq!(who(PROXY, &[("x-forwarded-for", hidden)]), client(PROXY), "{hidden}");
            let chain = format!("{hidden}, 10.1.1.1");
            assert_eq!(who(PROXY, &[("x-forwarded-for", &chain)]), client("10.1.1.1"), "{chain}");
        }
    }

    #[test]
    fn the_standard_header_is_read_too() {
        let forwarded = |value: &str| who(PROXY, &[("forwarded", value)]);
        assert_eq!(forwarded("for=192.0.2.7;proto=https;by=10.0.0.5"), client("192.0.2.7"));
        assert_eq!(forwarded("proto=https; For=\"192.0.2.7:4711\""), client("192.0.2.7"));
        assert_eq!(forwarded("for=140.82.115.1, for=\"[2001:db8::1]:4711\", for=10.1.1.1"), client("2001:db8::1"));
        assert_eq!(forwarded("for=192.0.2.7;host=\"a,for=140.82.115.1\""), client("192.0.2.7"));
        assert_eq!(forwarded("for=192.0.2.7;host=\"a\\\",for=140.82.115.1\""), client("192.0.2.7"));
        for hidden in ["for=unknown", "for=_secret", "proto=https", "for=", "by=192.0.2.7"] {
            assert_eq!(forwarded(hidden), client(PROXY), "{hidden}");
        }
    }

    #[test]
    fn two_headers_that_disagree_are_both_not_believed() {
        let both = |usual: &str, standard: &str| who(PROXY, &[("x-forwarded-for", usual), ("forwarded", standard)]);
        assert_eq!(both("192.0.2.7", "for=192.0.2.7"), client("192.0.2.7"));
        assert_eq!(both("192.0.2.7", "for=140.82.115.1"), client(PROXY));
        assert_eq!(both("140.82.115.1", "for=192.0.2.7"), client(PROXY));
        assert_eq!(both("192.0.2.7", "for=unknown"), client(PROXY));
    }
}
