//! A client's descriptions: its offers and answers written, the server's read.
//!
//! Reading is the transport crate's; what a lite server never needs of a peer (credentials, candidates) is taken from the text here.

mod write;

use std::net::SocketAddr;

use lockgate_transport::dtls::Fingerprint;
use lockgate_transport::ice::Credentials;
use lockgate_transport::sdp::{Description, SdpError, Section, Setup, read_answer, read_offer};

pub(crate) use write::{Own, SendLine, publish_offer, subscribe_answer, watch_offer};

/// Why a server's description cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NegotiateError {
    /// It cannot be read, or lacks what it must have.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// No address of the server's is in it.
    #[error(
        "the server's description has no candidate with an address to be reached by UDP, or by TCP if that is asked for"
    )]
    NoCandidate,
    /// Its lines are not those of the offer.
    #[error("the answer's m-lines are not those of the offer")]
    OtherLines,
    /// The server does not want what is published, or sends nothing.
    #[error("the server rejected every m-line")]
    AllRejected,
    /// No socket could be made for the connection.
    #[error("no socket: {0}")]
    Socket(String),
}

/// By what a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    /// At addresses where it listens (RFC 6544 §4.1).
    Tcp,
}

/// What a connection needs to know of the server.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) credentials: Credentials,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// Whether we are the DTLS client.
    pub(crate) we_start: bool,
    /// Whether we nominate.
    pub(crate) we_control: bool,
}

/// A description that was read.
pub(crate) struct Read {
    pub(crate) remote: Remote,
    pub(crate) sections: Vec<Section>,
}

/// Reads a server's answer to our offer.
pub(crate) fn read_servers_answer(text: &str, by: Transport) -> Result<Read, NegotiateError> {
    let description = read_answer(text)?;
    let we_start = description.setup == Setup::Passive;
    // Whoever offers controls (RFC 8445 §6.1.1).
    finish(text, by, description, we_start, true)
}

/// Reads a server's offer, to which we answer `a=setup:active`.
pub(crate) fn read_servers_offer(text: &str, by: Transport) -> Result<Read, NegotiateError> {
    let description = read_offer(text)?;
    let lite = lines(text).any(|line| line == "a=ice-lite");
    finish(text, by, description, true, lite)
}

fn finish(
    text: &str,
    by: Transport,
    description: Description,
    we_start: bool,
    we_control: bool,
) -> Result<Read, NegotiateError> {
    let value = |key: &str| lines(text).find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    let missing = |what| NegotiateError::Sdp(SdpError::Missing { what });
    let ufrag = value("a=ice-ufrag:").ok_or_else(|| missing("a=ice-ufrag"))?;
    let password = value("a=ice-pwd:").ok_or_else(|| missing("a=ice-pwd"))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in lines(text).filter_map(|line| candidate(line, by)) {
        // One socket serves one family, that of the server's best candidate; a connection serves that candidate alone.
        let first = addresses.first();
        let fits = first.is_none_or(|first| by == Transport::Udp && first.is_ipv4() == address.is_ipv4());
        if fits && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(NegotiateError::NoCandidate);
    }
    let credentials = Credentials { ufrag, password };
    let remote = Remote { credentials, addresses, fingerprints: description.fingerprints, we_start, we_control };
    Ok(Read { remote, sections: description.sections })
}

/// The address of a candidate (RFC 8839 §5.1, RFC 6544 §4.5). A name instead of an address is left out: a server has no reason to hide.
fn candidate(line: &str, by: Transport) -> Option<SocketAddr> {
    let mut words = line.strip_prefix("a=candidate:")?.split_ascii_whitespace().skip(1);
    let component = words.next()?;
    let transport = words.next()?;
    let (ip, port) = (words.nth(1)?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = match by {
        Transport::Udp => transport.eq_ignore_ascii_case("udp"),
        Transport::Tcp => transport.eq_ignore_ascii_case("tcp") && line.contains(" tcptype passive"),
    };
    (component == "1" && fits).then_some(SocketAddr::new(ip, port))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_candidates_that_can_be_reached() {
        let read = |line: &str| candidate(line, Transport::Udp);
        assert_eq!(read("a=candidate:1 1 udp 2130706431 10.0.0.7 40000 typ host"), "10.0.0.7:40000".parse().ok());
        assert_eq!(read("a=candidate:1 1 UDP 2130706431 ::1 40000 typ host"), "[::1]:40000".parse().ok());
        assert_eq!(read("a=candidate:1 1 tcp 2130706431 10.0.0.7 9 typ host tcptype passive"), None);
        assert_eq!(read("a=candidate:1 2 udp 2130706431 10.0.0.7 40001 typ host"), None);
        assert_eq!(read("a=candidate:1 1 udp 2130706431 a1b2.local 40000 typ host"), None);
        let read = |line: &str| candidate(line, Transport::Tcp);
        let passive = "a=candidate:1 1 tcp 2130706431 10.0.0.7 40000 typ host tcptype passive";
        assert_eq!(read(passive), "10.0.0.7:40000".parse().ok());
        assert_eq!(read(&passive.replace("passive", "active")), None);
        assert_eq!(read(&passive.replace("tcp ", "udp ")), None);
    }
}
