//! The STUN and TURN servers that clients are told, as `[media]` names them.

use std::path::Path;
use std::time::Duration;

use lockgate_model::Secret;

use super::section::{FromValue, Section};
use super::tree::Value;

/// The servers that clients are told. The node itself uses none: its addresses are announced.
#[derive(Clone, Debug, Default)]
pub struct IceServers {
    /// `stun:` and `stuns:` addresses (RFC 7064).
    pub stun: Vec<String>,
    /// `turn:` and `turns:` addresses (RFC 7065).
    pub turn: Vec<String>,
    /// What the TURN servers know, too (coturn's `static-auth-secret`); there is one where there are TURN servers.
    pub secret: Option<Secret>,
    /// How long credentials are good for.
    pub lifetime: Duration,
}

impl IceServers {
    pub(super) fn read(section: &mut Section<'_>, folder: &Path) -> Self {
        let urls = section.get("ice_servers", Vec::<IceUrl>::new());
        let secret = section.secret("turn_secret", folder);
        let lifetime =
            section.within("turn_lifetime", Duration::from_hours(12), Duration::from_mins(1), Duration::from_hours(24));
        let (turn, stun): (Vec<_>, Vec<_>) = urls.into_iter().partition(|url| url.relays);
        if secret.is_none() && !turn.is_empty() {
            section.contradict("TURN servers want credentials", "set turn_secret to what they know, or take them out");
        }
        if secret.is_some() && turn.is_empty() {
            section.contradict("turn_secret is of no use without a TURN server", "name one in ice_servers");
        }
        let texts = |urls: Vec<IceUrl>| urls.into_iter().map(|url| url.text).collect();
        Self { stun: texts(stun), turn: texts(turn), secret, lifetime }
    }
}

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct IceUrl {
    text: String,
    /// A TURN server.
    relays: bool,
}

impl FromValue for IceUrl {
    const REMEDY: &'static str =
        "write addresses as in \"stun:stun.example.org\" or \"turns:turn.example.org:5349?transport=tcp\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is not a text".into()) };
        let (scheme, rest) = text.split_once(':').ok_or("has no scheme")?;
        let relays = match scheme {
            "stun" | "stuns" => false,
            "turn" | "turns" => true,
            _ => return Err("is neither a STUN nor a TURN server".into()),
        };
        let place = match rest.split_once('?') {
            None => rest,
            Some((place, "transport=udp" | "transport=tcp")) if relays => place,
            Some(_) => return Err("asks for something that is not known".into()),
        };
        is_place(place).then(|| Self { text: text.clone(), relays }).ok_or_else(|| "names no host".into())
    }
}

/// A host, or an address, with or without a port (RFC 3986 §3.2.2 and §3.2.3).
fn is_place(place: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = |port: &str| is_number(port) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(rest) = place.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<std::net::Ipv6Addr>().is_ok() && port_is_right;
    }
    let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.bytes().all(of_a_name) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<IceUrl, String> {
        IceUrl::from_value(&Value::Text(text.into()))
    }

    #[test]
    fn servers_are_known_by_their_scheme() {
        for text in ["stun:stun.example.org", "stuns:a:5349", "stun:[2001:db8::7]:3478", "stun:192.0.2.1:3478"] {
            assert_eq!(read(text), Ok(IceUrl { text: text.into(), relays: false }));
        }
        for text in ["turn:turn.example.org?transport=udp", "turns:a:443?transport=tcp", "turn:[::1]"] {
            assert_eq!(read(text), Ok(IceUrl { text: text.into(), relays: true }));
        }
    }

    #[test]
    fn what_a_browser_would_refuse_is_refused() {
        for text in [
            "example.org",
            "http://example.org",
            "stun://example.org",
            "stun:",
            "stun:a:0",
            "stun:a:65536",
            "stun:a:+5",
            "stun:[::1]:+5",
            "stun:a b",
            "stun:[::1",
            "stun:[::1]x",
            "stun:a?transport=udp",
            "turn:a?transport=sctp",
            "turn:user@a",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
