//! Networks by the head of their addresses, as in RFC 4632 and RFC 4291 section 2.3.

use std::net::{IpAddr, Ipv6Addr};

/// A list of networks.
#[derive(Debug)]
pub(crate) struct Networks(Vec<Network>);

/// Addresses that begin alike. IPv4 is the part of IPv6 that stands for it (::ffff:0:0/96).
#[derive(Debug)]
struct Network {
    head: u128,
    mask: u128,
}

impl Networks {
    /// Reads the texts at a place of the settings.
    pub(crate) fn read(place: &str, texts: &[String]) -> Result<Self, String> {
        let network = |(at, text): (usize, &String)| {
            Network::read(text).map_err(|problem| format!("{place}[{at}]: {text:?} {problem}"))
        };
        texts.iter().enumerate().map(network).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = bits(address);
        self.0.iter().any(|network| address & network.mask == network.head)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn read(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| {
            "is no network: write it as in \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.7\"".to_owned()
        })?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|length: &u32| *length <= most && digits.bytes().all(|digit| digit.is_ascii_digit()))
                .ok_or_else(|| format!("has no length of 0 to {most} after the slash"))?,
        };
        let mask = u128::MAX.checked_shl(most - length).unwrap_or(0);
        let head = bits(address);
        match head & mask == head {
            true => Ok(Self { head, mask }),
            // Mostly a slip of the pen; and which of both is meant, only its writer knows.
            false => Err(format!("is an address within a network of /{length}: write the network's first address")),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(network: &str, address: &str) -> bool {
        Networks::read("allow", &[network.into()]).unwrap().contain(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, within, beyond) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::192.0.2.7"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(contain(network, within), "{within} in {network}");
            assert!(!contain(network, beyond), "{beyond} in {network}");
        }
        assert!(contain("::/0", "2001:db8::1") && contain("::/0", "10.0.0.1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_place() {
        for (bad, why) in [
            ("10.0.0.0.0/8", "is no network"),
            ("", "is no network"),
            ("example.org", "is no network"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("10.0.0.0/", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.0.0.1/8", "first address"),
        ] {
            let wrong = Networks::read("rules[0].allow", &["::1".into(), bad.into()]).unwrap_err();
            assert!(wrong.starts_with(&format!("rules[0].allow[1]: {bad:?}")) && wrong.contains(why), "{wrong}");
        }
    }
}
