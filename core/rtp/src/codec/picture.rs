//! The numbers of a picture in a payload descriptor, which a forwarder that joins streams must renumber.
//!
//! VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2) write picture id and TL0 index alike; only VP8 has a key index.

/// A picture's numbers, and where in the payload they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureNumbers {
    /// Picture id, 7 or 15 bits.
    pub id: Option<u16>,
    /// Whether it has 15 bits.
    pub wide: bool,
    /// `TL0PICIDX`.
    pub tl0: Option<u8>,
    /// `KEYIDX` of VP8, 5 bits.
    pub key: Option<u8>,
    /// Whether ids go on without a gap where pictures are left out. Those of VP9 must not: pictures name each other by the difference.
    pub close_up: bool,
    pub(super) id_at: u8,
    pub(super) tl0_at: u8,
    pub(super) key_at: u8,
}

/// Other numbers for a picture, of which only the bits that it has count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renumbered {
    /// Picture id.
    pub id: u16,
    /// TL0 index.
    pub tl0: u8,
    /// Key index.
    pub key: u8,
}

impl PictureNumbers {
    /// Reads a picture id where one stands. How many bytes it has comes back.
    pub(super) fn read_id(&mut self, payload: &[u8], at: usize) -> Option<usize> {
        let high = *payload.get(at)?;
        (self.id_at, self.wide) = (at as u8, high & 0x80 != 0);
        if self.wide {
            self.id = Some(u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]));
            return Some(2);
        }
        self.id = Some(u16::from(high));
        Some(1)
    }

    /// Writes other numbers where these stand in a copy of the payload; those that are absent stay so.
    pub fn rewrite(&self, payload: &mut [u8], numbers: Renumbered) {
        let at = usize::from(self.id_at);
        match (self.id, self.wide) {
            (Some(_), true) => {
                if let Some(bytes) = payload.get_mut(at..at + 2) {
                    bytes.copy_from_slice(&(numbers.id & 0x7fff | 0x8000).to_be_bytes());
                }
            }
            (Some(_), false) => put(payload, at, 0x7f, numbers.id as u8),
            (None, _) => {}
        }
        if self.tl0.is_some() {
            put(payload, self.tl0_at.into(), 0xff, numbers.tl0);
        }
        if self.key.is_some() {
            put(payload, self.key_at.into(), 0x1f, numbers.key);
        }
    }
}

/// Writes the bits of a byte that a mask names; the others stay.
fn put(payload: &mut [u8], at: usize, mask: u8, value: u8) {
    if let Some(byte) = payload.get_mut(at) {
        *byte = *byte & !mask | value & mask;
    }
}
