//! The RTP header as a view: fields copied out, the rest as offsets into the packet (RFC 3550 §5.1).

use std::ops::Range;

use crate::extension::{Extensions, Profile};

/// What an RTP header says, and where the parts of its packet lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit; its meaning is the payload format's.
    pub marker: bool,
    /// Payload type, 0…127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in the codec's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Bytes up to the payload: fixed header, contributing sources, extension block.
    pub len: usize,
    padded: bool,
    extension: Option<(Profile, u16, u16)>,
}

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than the header says it has.
    #[error("shorter than its header")]
    Short,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// Padding that is longer than the payload, or zero long.
    #[error("impossible padding")]
    Padding,
}

impl Header {
    /// Reads the header. The payload may still be encrypted: padding is not looked at.
    pub fn parse(packet: &[u8]) -> Result<Self, HeaderError> {
        let fixed: &[u8; FIXED] = packet.first_chunk().ok_or(HeaderError::Short)?;
        if fixed[0] >> 6 != 2 {
            return Err(HeaderError::Version);
        }
        let mut len = FIXED + 4 * usize::from(fixed[0] & 0x0f);
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let head: &[u8; 4] = packet.get(len..).and_then(<[u8]>::first_chunk).ok_or(HeaderError::Short)?;
            let words = u16::from_be_bytes([head[2], head[3]]);
            let profile = Profile::from_u16(u16::from_be_bytes([head[0], head[1]]));
            extension = Some((profile, (len + 4) as u16, words));
            len += 4 + 4 * usize::from(words);
        }
        if packet.len() < len {
            return Err(HeaderError::Short);
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            len,
            padded: fixed[0] & 0x20 != 0,
            extension,
        })
    }

    /// Where the payload lies once the packet is decrypted, padding taken off.
    pub fn payload(&self, packet: &[u8]) -> Result<Range<usize>, HeaderError> {
        let padding = match (self.padded, packet.last()) {
            (false, _) => 0,
            (true, Some(&count)) if count > 0 => usize::from(count),
            _ => return Err(HeaderError::Padding),
        };
        match packet.len().checked_sub(padding) {
            Some(end) if end >= self.len => Ok(self.len..end),
            _ => Err(HeaderError::Padding),
        }
    }

    /// The extension elements, none if there is no block of a profile that has elements.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        match self.extension {
            Some((profile, start, words)) => {
                let start = usize::from(start);
                let block = packet.get(start..start + 4 * usize::from(words)).unwrap_or_default();
                Extensions::new(profile, block)
            }
            None => Extensions::new(Profile::Unknown, &[]),
        }
    }
}

const FIXED: usize = 12;

#[cfg(test)]
mod tests {
    use lockgate_model::testing::damaged;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_with_sources_extension_and_padding_is_read() {
        let packet = [
            0xb1, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 7, // fixed, one source, extension, padding
            1, 2, 3, 4, // the source
            0xbe, 0xde, 0, 1, 0x10, b'x', 0, 0, // mid "x"
            0xaa, 0xbb, 0, 2, // payload and padding
        ];
        let header = Header::parse(&packet).unwrap();
        assert!(header.marker);
        assert_eq!((header.payload_type, header.sequence, header.timestamp, header.ssrc), (96, 0x1234, 9, 7));
        assert_eq!(header.payload(&packet).unwrap(), 24..26);
        let elements: Vec<_> = header.extensions(&packet).collect();
        assert_eq!(elements, [crate::Element { id: 1, value: b"x" }]);
    }

    #[test]
    fn padding_longer_than_the_payload_is_refused() {
        let mut packet = vec![0xa0; 13];
        packet[12] = 2;
        assert_eq!(Header::parse(&packet).unwrap().payload(&packet), Err(HeaderError::Padding));
        packet[12] = 0;
        assert_eq!(Header::parse(&packet).unwrap().payload(&packet), Err(HeaderError::Padding));
    }

    proptest! {
        #[test]
        fn damaged_packets_are_read_within_their_bounds(packet in damaged(vec![
            vec![0xb1, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, b'x', 0, 0, 0xaa, 0xbb, 0, 2],
            vec![0x90, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 0x10, 0, 0, 2, 1, 1, 0x85, 0, 2, 2, 9, 9, 1, 2, 3],
            vec![0x80, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3],
        ])) {
            if let Ok(header) = Header::parse(&packet) {
                prop_assert!(header.len <= packet.len());
                for element in header.extensions(&packet) {
                    crate::audio_level(element.value);
                    crate::LayersAllocation::read(element.value);
                }
                if let Ok(range) = header.payload(&packet) {
                    prop_assert!(header.len <= range.start && range.end <= packet.len());
                }
            }
        }

        #[test]
        fn what_parses_agrees_with_the_library_and_nothing_panics(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(header) = Header::parse(&packet) {
                header.extensions(&packet).for_each(drop);
                if let Ok(range) = header.payload(&packet) {
                    prop_assert!(range.end <= packet.len());
                }
                use rtc_shared::marshal::Unmarshal;
                if let Ok(theirs) = rtc_rtp::header::Header::unmarshal(&mut &packet[..]) {
                    prop_assert_eq!(theirs.sequence_number, header.sequence);
                    prop_assert_eq!(theirs.ssrc, header.ssrc);
                    prop_assert_eq!(theirs.payload_type, header.payload_type);
                }
            }
        }
    }
}
