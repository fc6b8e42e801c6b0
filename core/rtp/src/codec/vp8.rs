//! The VP8 payload descriptor (RFC 7741 §4.2).

use super::picture::PictureNumbers;

/// What the descriptor of a packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vp8 {
    pub(super) numbers: PictureNumbers,
    pub(super) key_frame: bool,
    /// The packet is its frame's first.
    pub(super) begins: bool,
    pub(super) temporal: u8,
    /// `Y`: the frame depends on frames of the lowest temporal layer only.
    pub(super) sync: bool,
}

pub(super) fn read(payload: &[u8]) -> Option<Vp8> {
    let first = *payload.first()?;
    let (mut read, mut at) = (Vp8::default(), 1);
    read.numbers.close_up = true;
    if first & 0x80 != 0 {
        let present = *payload.get(1)?;
        at = 2;
        if present & 0x80 != 0 {
            at += read.numbers.read_id(payload, at)?;
        }
        if present & 0x40 != 0 {
            (read.numbers.tl0, read.numbers.tl0_at) = (Some(*payload.get(at)?), at as u8);
            at += 1;
        }
        // T or K: one byte holds TID, Y and KEYIDX.
        if present & 0x30 != 0 {
            let byte = *payload.get(at)?;
            if present & 0x20 != 0 {
                (read.temporal, read.sync) = (byte >> 6, byte & 0x20 != 0);
            }
            if present & 0x10 != 0 {
                (read.numbers.key, read.numbers.key_at) = (Some(byte & 0x1f), at as u8);
            }
            at += 1;
        }
    }
    // S and partition 0: the frame's first byte follows; its lowest bit is clear in a key frame (RFC 6386 §9.1).
    read.begins = first & 0x10 != 0 && first & 0x07 == 0;
    read.key_frame = read.begins && payload.get(at).is_some_and(|byte| byte & 1 == 0);
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::super::picture::Renumbered;
    use super::*;

    #[test]
    fn all_fields_are_found_and_rewritten_in_place() {
        let mut payload = [0x90, 0xf0, 0x92, 0x34, 0x77, 0xa3, 0x00, 0xff];
        let Vp8 { numbers, key_frame, sync, temporal, .. } = read(&payload).unwrap();
        assert!(key_frame && sync);
        assert_eq!((numbers.id, numbers.tl0, numbers.key, temporal), (Some(0x1234), Some(0x77), Some(3), 2));
        numbers.rewrite(&mut payload, Renumbered { id: 0x7fff, tl0: 5, key: 0x24 });
        assert_eq!(payload, [0x90, 0xf0, 0xff, 0xff, 5, 0xa4, 0x00, 0xff]);
    }

    #[test]
    fn a_short_picture_id_stays_short_and_what_is_absent_absent() {
        let mut payload = [0x80, 0xa0, 0x12, 0x43, 0x01];
        let numbers = read(&payload).unwrap().numbers;
        assert_eq!((numbers.id, numbers.tl0, numbers.key), (Some(0x12), None, None));
        numbers.rewrite(&mut payload, Renumbered { id: 0x1ff, tl0: 9, key: 9 });
        assert_eq!(payload, [0x80, 0xa0, 0x7f, 0x43, 0x01]);
    }

    #[test]
    fn only_the_first_packet_of_a_key_frame_starts_one() {
        let starts = |payload: &[u8]| read(payload).unwrap().key_frame;
        assert!(starts(&[0x10, 0x00]));
        assert!(!starts(&[0x10, 0x01]));
        assert!(!starts(&[0x00, 0x00]));
        assert!(!starts(&[0x11, 0x00]));
        assert_eq!(read(&[0x80, 0x80]), None, "cut off");
    }
}
