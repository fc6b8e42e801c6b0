//! An RTP packet, taken apart. Reads only what recording needs and never trusts a length.

use bytes::Bytes;
use lockgate_model::carrier::NodeTime;

/// One packet of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Its sequence number, extended by the node.
    pub(crate) seq: u64,
    /// When it reached the node.
    pub(crate) arrival: NodeTime,
    /// The encoding.
    pub(crate) ssrc: u32,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// The marker bit: for video, the last packet of a picture.
    pub(crate) marker: bool,
    /// Payload type.
    pub(crate) payload_type: u8,
    /// What it carries, without padding; empty when it only pads.
    pub(crate) payload: Bytes,
}

impl Packet {
    /// Reads RFC 3550 §5.1; none if the bytes are no RTP packet or not the one that `seq` names.
    pub(crate) fn parse(seq: u64, arrival: NodeTime, bytes: &Bytes) -> Option<Self> {
        let head = bytes.first_chunk::<12>()?;
        if head[0] >> 6 != 2 || u16::from_be_bytes([head[2], head[3]]) != seq as u16 {
            return None;
        }
        let mut start = 12 + 4 * usize::from(head[0] & 0x0F);
        if head[0] & 0x10 != 0 {
            let extension = bytes.get(start..start + 4)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        }
        let padding = if head[0] & 0x20 != 0 { usize::from(*bytes.last()?) } else { 0 };
        let end = bytes.len().checked_sub(padding).filter(|end| *end >= start)?;
        Some(Self {
            seq,
            arrival,
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7F,
            payload: bytes.slice(start..end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::testing::cases;
    use proptest::prelude::*;

    #[test]
    fn extensions_and_padding_are_not_payload() {
        let bytes = [
            &[0xB1, 0xE0, 1, 2, 0, 0, 0, 5, 0, 0, 0, 6, 9, 9, 9, 9, 0xBE, 0xDE, 0, 1, 1, 2, 3, 4][..],
            b"media",
            &[0, 0, 3],
        ];
        let bytes = Bytes::from(bytes.concat());
        let packet = Packet::parse(0x1_0102, NodeTime(7), &bytes).unwrap();
        assert_eq!((packet.timestamp, packet.ssrc, packet.payload_type, packet.marker), (5, 6, 96, true));
        assert_eq!(packet.payload, &b"media"[..]);
        assert_eq!(Packet::parse(0x0103, NodeTime(7), &bytes), None, "another packet than the frame says");
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60), seq in any::<u64>()) {
            if let [first, _, high, low, ..] = &mut bytes[..] {
                *first = *first & 0x3F | 0x80;
                [*high, *low] = (seq as u16).to_be_bytes();
            }
            let bytes = Bytes::from(bytes);
            if let Some(packet) = Packet::parse(seq, NodeTime(0), &bytes) {
                prop_assert!(packet.payload.len() + 12 <= bytes.len());
            }
        }
    }
}
