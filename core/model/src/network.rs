//! Who counts as one, of all who come from addresses.

use std::net::{IpAddr, Ipv6Addr};

/// The address, or the network of 2⁶⁴ addresses that whoever has one of IPv6 has. An address of IPv4 is the same however it is written.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_one_address_of_ipv6_is_known_in_all_of_them() {
        let of = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!((of("2001:db8::1"), of("2001:db8::ffff:0:0:1")), ("2001:db8::".into(), "2001:db8::".into()));
        assert_eq!((of("2001:db8:0:1::1"), of("::ffff:192.0.2.1")), ("2001:db8:0:1::".into(), "192.0.2.1".into()));
    }
}
