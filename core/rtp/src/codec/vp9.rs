//! The VP9 payload descriptor (RFC 9628 §4.2).

use super::picture::PictureNumbers;

/// What the descriptor of a packet says. A frame is one spatial layer of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vp9 {
    pub(super) numbers: PictureNumbers,
    /// `L`: the layer is told.
    pub(super) layered: bool,
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    /// `B`: the packet is its frame's first.
    pub(super) begins: bool,
    /// `E`: the packet is its frame's last.
    pub(super) ends: bool,
    /// `P`: the frame refers to other pictures.
    pub(super) refers_back: bool,
    /// `D`: the frame refers to the spatial layer below it.
    pub(super) refers_below: bool,
    /// `U`: later pictures of higher temporal layers do not refer to pictures of such before this one.
    pub(super) switch_up: bool,
    /// `Z`: no higher spatial layer needs the frame, now or later.
    pub(super) unused_above: bool,
}

impl Vp9 {
    /// A decoder may begin with the packet.
    pub(super) fn is_key(&self) -> bool {
        self.begins && !self.refers_back && self.spatial == 0
    }
}

pub(super) fn read(payload: &[u8]) -> Option<Vp9> {
    let first = *payload.first()?;
    let has = |bit: u8| first & bit != 0;
    let mut read = Vp9 {
        layered: has(LAYERS),
        begins: has(BEGIN),
        ends: has(END),
        refers_back: has(INTER),
        unused_above: has(UNUSED_ABOVE),
        ..Vp9::default()
    };
    let mut at = 1;
    if has(PICTURE_ID) {
        at += read.numbers.read_id(payload, at)?;
    }
    if has(LAYERS) {
        let layers = *payload.get(at)?;
        // Both have room for more than any encoder makes; higher ones count as the fourth.
        (read.temporal, read.switch_up) = ((layers >> 5).min(3), layers & 0x10 != 0);
        (read.spatial, read.refers_below) = ((layers >> 1 & 7).min(3), layers & 1 != 0);
        at += 1;
        if !has(FLEXIBLE) {
            (read.numbers.tl0, read.numbers.tl0_at) = (Some(*payload.get(at)?), at as u8);
        }
    }
    Some(read)
}

const PICTURE_ID: u8 = 0x80;
const INTER: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const END: u8 = 0x04;
const UNUSED_ABOVE: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::super::picture::Renumbered;
    use super::*;

    #[test]
    fn a_key_frame_is_one_that_refers_to_none_and_has_the_lowest_layer() {
        let is_key = |payload: &[u8]| read(payload).unwrap().is_key();
        assert!(is_key(&[0x88, 0x81, 0x02]));
        assert!(!is_key(&[0xc8, 0x81, 0x02]), "refers to another frame");
        assert!(!is_key(&[0x80, 0x81, 0x02]), "not its first packet");
        assert!(!is_key(&[0xa8, 0x81, 0x02, 0x02, 0x00]), "an upper spatial layer");
    }

    #[test]
    fn the_layer_is_behind_a_picture_id_of_either_length() {
        let short = read(&[0xa8, 0x01, 0x50, 0x00]).unwrap();
        assert_eq!((short.temporal, short.switch_up, short.spatial), (2, true, 0));
        let wide = read(&[0xad, 0x81, 0x02, 0x45, 0x63]).unwrap();
        assert_eq!((wide.temporal, wide.spatial, wide.refers_below), (2, 2, true));
        assert!(wide.ends && wide.unused_above && !wide.switch_up);
        assert_eq!((wide.numbers.id, wide.numbers.tl0), (Some(0x102), Some(0x63)));
    }

    #[test]
    fn flexible_pictures_have_no_base_index_and_what_is_cut_off_is_nothing() {
        assert_eq!(read(&[0xb8, 0x81, 0x02, 0x00]).unwrap().numbers.tl0, None);
        assert_eq!(read(&[0xa8, 0x81, 0x02, 0x00]), None);
        assert_eq!(read(&[0x88, 0x81]), None);
    }

    #[test]
    fn picture_numbers_are_rewritten_in_place() {
        let mut payload = [0xa8, 0x81, 0x02, 0x10, 0x63, 0xff];
        read(&payload).unwrap().numbers.rewrite(&mut payload, Renumbered { id: 0x8003, tl0: 7, key: 9 });
        assert_eq!(payload, [0xa8, 0x80, 0x03, 0x10, 7, 0xff]);
    }
}
