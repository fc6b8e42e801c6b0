//! What a forwarder must know of a packet: whether a key frame starts here, and its layers. Nothing is decoded.

mod av1;
mod bits;
mod descriptor;
mod h264;
mod layers;
mod picture;
mod target;
mod vp8;
mod vp9;

use lockgate_model::Codec;

#[cfg(any(test, feature = "testing"))]
pub(crate) use bits::set as set_bit;

pub use descriptor::{Descriptor, DescriptorError, Descriptors, Indication, MAX_DESCRIPTOR, MaskPlace, References};
pub use layers::{Arrived, DescriptorFacts, LayerFacts, LayerReader, Needs};
pub use picture::{PictureNumbers, Renumbered};
pub use target::{Target, Targets};

/// What one packet says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketFacts {
    /// A key frame starts with this packet: a receiver may begin here.
    pub key_frame: bool,
    /// Its layers.
    pub layer: LayerFacts,
    /// The picture's numbers, which a forwarder of VP8 and VP9 renumbers.
    pub picture: Option<PictureNumbers>,
    /// What is to be changed in its dependency descriptor, if it has one that can be read.
    pub descriptor: Option<DescriptorFacts>,
}

/// Reads what a payload says by itself; of one that is malformed or of sound, nothing.
pub fn inspect(codec: Codec, payload: &[u8]) -> PacketFacts {
    let arrived = Arrived { codec, payload, descriptor: None, marker: false, late: false };
    LayerReader::default().read(arrived).0
}

#[cfg(test)]
mod tests {
    use lockgate_model::testing::damaged;
    use proptest::prelude::*;

    use super::*;

    /// Beginnings of pictures: VP8 with all its numbers; VP9 with layers, references and sizes; a fragment, an aggregate and parameters
    /// of H.264; AV1 with a sequence header.
    fn beginnings() -> Vec<Vec<u8>> {
        vec![
            vec![0x90, 0xe0, 0x80, 5, 9, 0x20, 0x00, 0xaa, 0x9d, 0x01, 0x2a, 0x40, 1, 0xf0, 0],
            vec![0x90, 0xf0, 5, 9, 0x60, 0x01, 0xaa],
            vec![0xaa, 0x80, 5, 0x20, 7, 0x18, 1, 64, 0, 240, 2, 0x10, 0x54, 3, 1, 0x82, 0x49],
            vec![0xe8, 0x80, 5, 0x29, 3, 2, 0x49, 0x83],
            vec![0x7c, 0x85, 0xb8, 0x40],
            vec![0x78, 0, 5, 0x67, 0x42, 0xc0, 0x1f, 0x8c, 0, 4, 0x68, 0xce, 0x3c, 0x80, 0, 2, 0x65, 0xb8],
            vec![0x18, 0x0a, 0x0a, 0x0b, 0, 0, 0, 0x24, 0xcf, 0x7f, 0x0d, 0xbf, 0xff, 0x30, 0x08, 0x32, 2, 0x10, 0],
        ]
    }

    proptest! {
        /// One reader for all packets of a stream, as it is in a call.
        #[test]
        fn damaged_payloads_never_panic(
            payloads in proptest::collection::vec((damaged(beginnings()), any::<bool>(), any::<bool>()), 1..12),
        ) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
                let mut reader = LayerReader::default();
                for (payload, marker, late) in &payloads {
                    let arrived = Arrived { codec, payload, descriptor: None, marker: *marker, late: *late };
                    if let Some(numbers) = reader.read(arrived).0.picture {
                        numbers.rewrite(&mut payload.clone(), Renumbered { id: u16::MAX, tl0: 255, key: 31 });
                    }
                }
            }
        }

        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
                let facts = inspect(codec, &payload);
                if let Some(numbers) = facts.picture {
                    let mut copy = payload.clone();
                    numbers.rewrite(&mut copy, Renumbered { id: 1, tl0: 2, key: 3 });
                    let again = inspect(codec, &copy);
                    prop_assert_eq!((again.key_frame, again.layer), (facts.key_frame, facts.layer));
                }
            }
        }
    }
}
