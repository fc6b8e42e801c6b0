//! Which of the datagrams that wait are of what was withdrawn.

use std::collections::BTreeSet;

use lockgate_media::Kind;

/// Whether a datagram is an RTP packet of one of these sources (RFC 3550 §5.1); without any said, whether it is media or of data channels.
pub(crate) fn is_of(datagram: &[u8], sources: Option<&BTreeSet<u32>>) -> bool {
    match (Kind::of(datagram), sources) {
        (Some(Kind::Rtp), Some(sources)) => source_of(datagram).is_some_and(|source| sources.contains(&source)),
        (Some(Kind::Rtp), None) => true,
        (Some(Kind::Dtls), None) => is_data(datagram),
        _ => false,
    }
}

fn source_of(datagram: &[u8]) -> Option<u32> {
    datagram.get(8..12)?.try_into().ok().map(u32::from_be_bytes)
}

/// Whether a DTLS record is of data channels, as far as it shows.
pub(crate) fn is_data(record: &[u8]) -> bool {
    record.first().is_some_and(|first| *first == DATA || *first >= DTLS_1_3)
}

/// The first byte of DTLS records with application data (RFC 6347 §4.1), which is what data channels send.
const DATA: u8 = 23;
/// Those of DTLS 1.3 do not show what is in them (RFC 9147 §4); after the handshake it is mostly data.
const DTLS_1_3: u8 = 32;
