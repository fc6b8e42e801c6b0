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
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
