//! Networks, and from where deliveries are taken.

use super::collection::List;
use super::leaf::{Leaf, Wrong, choice, variable_or};
use super::node::{Node, Value};
use super::reading::{Reading, Spot};
use super::section::Decode;
use ipnet::IpNet;
use serde_json::{Value as Json, json};
use std::net::IpAddr;

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr(pub(super) IpNet);

/// `off`, `github-meta`, or networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources(pub(super) super::Sources);

choice! {
    /// From where, in a word.
    SourceWord {
        /// Anywhere.
        Off = "off",
        /// The addresses that GitHub names for its hooks.
        GitHubMeta = "github-meta",
    }
}

impl Leaf for Cidr {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let network: IpNet = text.parse().map_err(|_| {
            Wrong::new("is not a network", "write an address, or a network as in `10.0.0.0/8` or `2001:db8::/32`")
        })?;
        let whole = network.trunc();
        if whole != network {
            // A slip in one of the two numbers; which one, only its writer knows.
            let hint = "the address has bits behind the network's";
            return Err(Wrong::new("is not a network", hint).guess(format!("did you mean `{whole}`?")));
        }
        if let IpNet::V6(six) = network
            && six.addr().to_ipv4_mapped().is_some()
        {
            return Err(Wrong::new("is an IPv4 network in IPv6's clothes", "write it as `10.0.0.0/8`"));
        }
        Ok(Self(network))
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] })
    }
}

impl Decode for Sources {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        if !matches!(node.value, Value::List(_)) {
            return SourceWord::decode(node, spot, reading).map(|word| match word {
                SourceWord::Off => Self(super::Sources::Anywhere),
                SourceWord::GitHubMeta => Self(super::Sources::GitHubMeta),
            });
        }
        let list = List::<Cidr>::decode(node, spot, reading)?;
        if list.0.is_empty() {
            reading.problem(spot, "would refuse everybody", "write `off`, `github-meta`, or at least one network");
            return None;
        }
        Some(Self(super::Sources::Networks(list.0.into_iter().map(|network| network.value.0).collect())))
    }

    fn schema() -> Json {
        variable_or(&json!({ "anyOf": [
            { "enum": ["off", "github-meta"] },
            { "type": "array", "items": <Cidr as Leaf>::schema() },
        ] }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaf::takes;
    use super::*;

    #[test]
    fn networks() {
        takes::<Cidr>(
            &["10.0.0.0/8", "192.0.2.7", "192.0.2.7/32", "::1", "2001:db8::/32", "0.0.0.0/0", "::ffff:192.0.2.7"],
            &["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "example.org", "fe80::1%eth0", "::ffff:10.0.0.0/104"],
        );
        assert_eq!(Cidr::parse("::ffff:192.0.2.7"), Cidr::parse("192.0.2.7"));
        let Err(wrong) = Cidr::parse("10.1.2.3/8") else { panic!("it was taken") };
        assert_eq!(wrong.hint(true), "did you mean `10.0.0.0/8`?");
    }
}
