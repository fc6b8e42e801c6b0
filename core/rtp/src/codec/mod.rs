//! What a forwarder must know of a payload: whether a key frame starts here, and its layer. Nothing is decoded.

mod av1;
mod h264;
mod vp8;
mod vp9;

use lockgate_model::Codec;

pub use vp8::Vp8Fields;

/// What one packet's payload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketFacts {
    /// A key frame starts with this packet: a receiver may begin here.
    pub key_frame: bool,
    /// The temporal layer; 0 where the format does not tell.
    pub temporal: u8,
    /// The temporal layer may be raised to this one from here on.
    pub switch_up: bool,
    /// The picture's numbers, which a VP8 forwarder renumbers.
    pub vp8: Option<Vp8Fields>,
}

/// Reads what the payload says; of one that is malformed or of sound, nothing.
pub fn inspect(codec: Codec, payload: &[u8]) -> PacketFacts {
    match codec {
        Codec::Opus => PacketFacts::default(),
        Codec::Vp8 => vp8::inspect(payload),
        Codec::Vp9 => vp9::inspect(payload),
        Codec::H264 => PacketFacts { key_frame: h264::starts_key_frame(payload), ..PacketFacts::default() },
        Codec::Av1 => PacketFacts { key_frame: av1::starts_key_frame(payload), ..PacketFacts::default() },
    }
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
                if let Some(fields) = facts.vp8 {
                    let mut copy = payload.clone();
                    fields.rewrite(&mut copy, 1, 2);
                    prop_assert_eq!(inspect(codec, &copy).key_frame, facts.key_frame);
                }
            }
        }
    }
}
