//! The VP8 payload descriptor (RFC 7741 §4.2).

use super::PacketFacts;

/// A picture's numbers, and where in the payload they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8Fields {
    /// `PictureID`, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Whether it has 15 bits.
    pub wide: bool,
    /// `TL0PICIDX`.
    pub tl0: Option<u8>,
    picture_at: u8,
    tl0_at: u8,
}

impl Vp8Fields {
    /// Writes other numbers where these stand in a copy of the payload; those that are absent stay so.
    pub fn rewrite(&self, payload: &mut [u8], picture_id: u16, tl0: u8) {
        let at = usize::from(self.picture_at);
        if self.picture_id.is_some() {
            if self.wide {
                if let Some(bytes) = payload.get_mut(at..at + 2) {
                    bytes.copy_from_slice(&(picture_id & 0x7fff | 0x8000).to_be_bytes());
                }
            } else if let Some(byte) = payload.get_mut(at) {
                *byte = (picture_id & 0x7f) as u8;
            }
        }
        if self.tl0.is_some()
            && let Some(byte) = payload.get_mut(usize::from(self.tl0_at))
        {
            *byte = tl0;
        }
    }
}

pub(super) fn inspect(payload: &[u8]) -> PacketFacts {
    read(payload).unwrap_or_default()
}

fn read(payload: &[u8]) -> Option<PacketFacts> {
    let first = *payload.first()?;
    let (mut fields, mut at) = (Vp8Fields::default(), 1);
    let (mut temporal, mut switch_up) = (0, false);
    if first & 0x80 != 0 {
        let present = *payload.get(1)?;
        at = 2;
        if present & 0x80 != 0 {
            let high = *payload.get(at)?;
            fields.picture_at = at as u8;
            fields.wide = high & 0x80 != 0;
            if fields.wide {
                fields.picture_id = Some(u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]));
                at += 2;
            } else {
                fields.picture_id = Some(u16::from(high));
                at += 1;
            }
        }
        if present & 0x40 != 0 {
            fields.tl0 = Some(*payload.get(at)?);
            fields.tl0_at = at as u8;
            at += 1;
        }
        // T or K: one byte holds TID, Y and KEYIDX.
        if present & 0x30 != 0 {
            let byte = *payload.get(at)?;
            if present & 0x20 != 0 {
                (temporal, switch_up) = (byte >> 6, byte & 0x20 != 0);
            }
            at += 1;
        }
    }
    // S and partition 0: the frame's first byte follows; its lowest bit is clear in a key frame (RFC 6386 §9.1).
    let starts = first & 0x10 != 0 && first & 0x07 == 0;
    let key_frame = starts && payload.get(at).is_some_and(|byte| byte & 1 == 0);
    Some(PacketFacts { key_frame, temporal, switch_up: switch_up || key_frame, vp8: Some(fields) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_found_and_rewritten_in_place() {
        let mut payload = [0x90, 0xf0, 0x92, 0x34, 0x77, 0xa0, 0x00, 0xff];
        let facts = inspect(&payload);
        let fields = facts.vp8.unwrap();
        assert!(facts.key_frame && facts.switch_up);
        assert_eq!((fields.picture_id, fields.tl0, facts.temporal), (Some(0x1234), Some(0x77), 2));
        fields.rewrite(&mut payload, 0x7fff, 5);
        assert_eq!(payload, [0x90, 0xf0, 0xff, 0xff, 5, 0xa0, 0x00, 0xff]);
    }

    #[test]
    fn a_short_picture_id_stays_short() {
        let mut payload = [0x80, 0x80, 0x12, 0x01];
        let fields = inspect(&payload).vp8.unwrap();
        assert_eq!(fields.picture_id, Some(0x12));
        fields.rewrite(&mut payload, 0x1ff, 0);
        assert_eq!(payload, [0x80, 0x80, 0x7f, 0x01]);
    }

    #[test]
    fn only_the_first_packet_of_a_key_frame_starts_one() {
        assert!(inspect(&[0x10, 0x00]).key_frame);
        assert!(!inspect(&[0x10, 0x01]).key_frame);
        assert!(!inspect(&[0x00, 0x00]).key_frame);
        assert!(!inspect(&[0x11, 0x00]).key_frame);
    }
}
