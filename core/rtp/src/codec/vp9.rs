//! The VP9 payload descriptor (RFC 9628 §4.2).

use super::PacketFacts;

pub(super) fn inspect(payload: &[u8]) -> PacketFacts {
    read(payload).unwrap_or_default()
}

fn read(payload: &[u8]) -> Option<PacketFacts> {
    let first = *payload.first()?;
    let has = |bit: u8| first & bit != 0;
    let mut at = 1;
    if has(PICTURE_ID) {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let layers = if has(LAYERS) { *payload.get(at)? } else { 0 };
    let (temporal, switch_up, spatial) = (layers >> 5, layers & 0x10 != 0, layers >> 1 & 7);
    let key_frame = has(BEGIN) && !has(INTER) && spatial == 0;
    Some(PacketFacts { key_frame, temporal, switch_up: switch_up || key_frame, vp8: None })
}

const PICTURE_ID: u8 = 0x80;
const INTER: u8 = 0x40;
const LAYERS: u8 = 0x20;
const BEGIN: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_is_one_that_refers_to_none_and_has_the_lowest_layer() {
        assert!(inspect(&[0x88, 0x81, 0x02]).key_frame);
        assert!(!inspect(&[0xc8, 0x81, 0x02]).key_frame, "refers to another frame");
        assert!(!inspect(&[0x80, 0x81, 0x02]).key_frame, "not its first packet");
        assert!(!inspect(&[0xa8, 0x81, 0x02, 0x02]).key_frame, "an upper spatial layer");
    }

    #[test]
    fn the_temporal_layer_is_behind_a_picture_id_of_either_length() {
        assert_eq!(inspect(&[0xa8, 0x01, 0x50]).temporal, 2);
        let facts = inspect(&[0xa8, 0x81, 0x02, 0x50]);
        assert_eq!((facts.temporal, facts.switch_up), (2, true));
    }
}
