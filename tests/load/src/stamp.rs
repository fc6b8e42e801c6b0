//! What is in a payload: who sent it, its number, when. For video behind a VP8 descriptor, so that a forwarder finds key frames.

use lockgate_model::Codec;

/// The mark of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// One encoding of one publisher: random, so that runs and machines do not meet.
    pub(crate) source: u32,
    /// Counts the source's packets, from 0.
    pub(crate) number: u64,
    /// When it was sent, in µs since 1970 of the sender's clock.
    pub(crate) sent_us: u64,
}

/// Where a packet stands in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) first: bool,
    pub(crate) key_frame: bool,
    /// VP8's number of the picture; 15 bits of it are written.
    pub(crate) picture: u16,
}

impl Stamp {
    /// Appends a payload of `size` bytes, or as many as the mark needs.
    pub(crate) fn write(&self, codec: Codec, place: Place, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        if codec == Codec::Vp8 {
            // X and S; I; a picture number of two bytes (RFC 7741 §4.2).
            out.extend_from_slice(&[if place.first { 0x90 } else { 0x80 }, 0x80]);
            out.extend_from_slice(&(place.picture | 0x8000).to_be_bytes());
            if place.first {
                frame_header(place.key_frame, out);
            }
        }
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.sent_us.to_be_bytes());
        // What follows looks like noise to a decoder and is the same in every packet.
        let end = (start + size).max(out.len());
        out.resize(end, 0xa5);
    }

    /// Reads a payload's mark, if it has one.
    pub(crate) fn read(codec: Codec, payload: &[u8]) -> Option<Self> {
        let body = if codec == Codec::Vp8 { behind_descriptor(payload)? } else { payload };
        let mark: &[u8; SIZE] = body.first_chunk()?;
        let word = |at: usize| u32::from_be_bytes([mark[at], mark[at + 1], mark[at + 2], mark[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        (word(0) == MAGIC).then(|| Self { source: word(4), number: long(8), sent_us: long(16) })
    }
}

/// The first bytes of a frame (RFC 6386 §9.1): the tag, and in a key frame start code and size. Both forms are equally long here.
fn frame_header(key_frame: bool, out: &mut Vec<u8>) {
    if key_frame {
        out.extend_from_slice(&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
    } else {
        out.extend_from_slice(&[0x11, 0x02, 0x00, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// The payload without descriptor (which a server may have rewritten) and frame header.
fn behind_descriptor(payload: &[u8]) -> Option<&[u8]> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let present = *payload.get(1)?;
        at = 2;
        if present & 0x80 != 0 {
            at += if *payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(present & 0x40 != 0) + usize::from(present & 0x30 != 0);
    }
    if first & 0x10 != 0 {
        at += FRAME_HEADER;
    }
    payload.get(at..)
}

/// Bytes of the mark itself.
const SIZE: usize = 24;
/// Least payload of a packet: descriptor, frame header, mark.
pub(crate) const LEAST_PAYLOAD: usize = 4 + FRAME_HEADER + SIZE;
const FRAME_HEADER: usize = 10;
const MAGIC: u32 = 0x4c47_6c64;

#[cfg(test)]
mod tests {
    use lockgate_rtp::inspect;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(source: u32, number: u64, sent_us: u64, first: bool, key_frame: bool, size in 0_usize..1200, picture: u16) {
            for codec in [Codec::Vp8, Codec::Opus] {
                let (stamp, mut payload) = (Stamp { source, number, sent_us }, Vec::new());
                stamp.write(codec, Place { first, key_frame, picture }, size, &mut payload);
                prop_assert!(payload.len() == size.max(payload.len()) && payload.len() <= size.max(LEAST_PAYLOAD));
                prop_assert_eq!(Stamp::read(codec, &payload), Some(stamp));
                if codec == Codec::Vp8 {
                    let facts = inspect(codec, &payload);
                    prop_assert_eq!(facts.key_frame, first && key_frame);
                    prop_assert_eq!(facts.picture.and_then(|numbers| numbers.id), Some(picture & 0x7fff));
                }
            }
        }

        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            Stamp::read(Codec::Vp8, &payload);
            Stamp::read(Codec::Opus, &payload);
        }
    }
}
