//! The addresses that clients are told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lockgate_worker::Announced;

use crate::config::Media;

/// What the configuration names, else loopback and the address of every interface.
///
/// # Errors
/// When the system does not tell its interfaces.
pub(crate) fn announced(media: &Media) -> io::Result<Vec<Announced>> {
    if !media.announce.is_empty() {
        return Ok(media.announce.iter().map(|named| Announced { ip: named.ip, port: named.port }).collect());
    }
    let own = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip());
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut found: Vec<IpAddr> = Vec::new();
    for ip in loopback.into_iter().chain(own) {
        if is_reachable(ip, &media.bind) && !found.contains(&ip) && found.len() < MAX_ANNOUNCED {
            found.push(ip);
        }
    }
    Ok(found.into_iter().map(|ip| Announced { ip, port: None }).collect())
}

/// Whether packets to this address arrive at what is bound to. A link-local IPv6 address means nothing without its zone.
fn is_reachable(ip: IpAddr, bind: &[IpAddr]) -> bool {
    let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let is_bound = |bound: &IpAddr| *bound == ip || (bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4());
    !is_link_local && !ip.is_unspecified() && bind.iter().any(is_bound)
}

/// Every one of them becomes a line of every session description.
const MAX_ANNOUNCED: usize = 16;

#[cfg(test)]
mod tests {
    use lockgate_model::Bitrate;
    use lockgate_worker::Sending;

    use super::*;
    use crate::config::{Announce, IceServers};

    fn media(bind: &[&str], announce: Vec<Announce>) -> Media {
        Media {
            workers: 1,
            room_spread: 64,
            port: 0,
            tcp: true,
            bind: bind.iter().map(|ip| ip.parse().unwrap()).collect(),
            announce,
            sending: Sending::Gso,
            ice: IceServers::default(),
            data_rate: Bitrate(10_000_000),
            data_buffer: 1 << 20,
        }
    }

    #[test]
    fn loopback_comes_first_and_only_what_is_bound_to_is_told() {
        let ips: Vec<_> = announced(&media(&["0.0.0.0"], Vec::new())).unwrap().iter().map(|told| told.ip).collect();
        assert_eq!(ips[0], IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(ips.iter().all(IpAddr::is_ipv4), "{ips:?}");
        let ips = announced(&media(&["::1"], Vec::new())).unwrap();
        assert_eq!(ips.iter().map(|told| told.ip).collect::<Vec<_>>(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }

    #[test]
    fn what_the_operator_names_is_told_as_it_is() {
        let named = Announce { ip: "203.0.113.7".parse().unwrap(), port: Some(7) };
        let told = announced(&media(&["0.0.0.0"], vec![named])).unwrap();
        assert_eq!((told[0].ip, told[0].port, told.len()), (named.ip, Some(7), 1));
    }
}
