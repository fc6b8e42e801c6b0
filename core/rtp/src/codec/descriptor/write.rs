//! Writing a descriptor again, as a viewer is to see it: another frame number, and only the decode targets that it gets.

use crate::codec::bits::{get, set};

/// Where in a descriptor the mask of active decode targets stands, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskPlace {
    /// Its first bit; 0: the descriptor has its mandatory fields only.
    pub at: u16,
    /// Behind the last bit of the descriptor; what follows only fills the byte.
    pub end: u16,
    /// How many bits it has.
    pub count: u8,
    /// Whether it is there.
    pub present: bool,
}

impl MaskPlace {
    /// How long a descriptor of `length` bytes becomes, with a mask or not.
    pub fn length(&self, length: usize, masked: bool) -> usize {
        match masked && !self.present {
            false => length,
            true => (self.rest().1 + usize::from(self.count)).div_ceil(8).max(length),
        }
    }

    /// Writes a descriptor with another frame number and, if one is told, another mask. How long it became comes back.
    ///
    /// A mask that is there is written over, so the length stays. One that is not takes up the bits that fill the last byte and up to
    /// four more bytes, or five where the descriptor had the mandatory fields only: the format has no other place to say it.
    /// None: it would be too long for an extension.
    pub fn rewrite(
        &self,
        bytes: &[u8],
        number: u16,
        mask: Option<u32>,
        out: &mut [u8; MAX_DESCRIPTOR],
    ) -> Option<usize> {
        let whole = bytes.len();
        out.get_mut(..whole)?.copy_from_slice(bytes);
        out.get_mut(1..3).filter(|_| whole >= 3)?.copy_from_slice(&number.to_be_bytes());
        let Some(mask) = mask else { return Some(whole) };
        let (at, count) = (usize::from(self.at), usize::from(self.count));
        let told = (0..count).map(|bit| mask >> (count - 1 - bit) & 1 == 1);
        if self.present {
            told.enumerate().for_each(|(bit, value)| set(out, at + bit, value));
            return Some(whole);
        }
        let (length, (at, end)) = (self.length(whole, true), self.rest());
        if length > MAX_DESCRIPTOR {
            return None;
        }
        out[whole..length].fill(0);
        if self.at == 0 {
            out[3] = 0;
        }
        set(out, ACTIVE_FLAG, true);
        for (place, value) in (at..).zip(told) {
            set(out, place, value);
        }
        for place in at..end {
            set(out, place + count, get(bytes, place));
        }
        Some(length)
    }

    /// The bits that a mask that is not there goes before.
    fn rest(&self) -> (usize, usize) {
        if self.at == 0 { (FLAGS_END, FLAGS_END) } else { (self.at.into(), self.end.into()) }
    }
}

/// An extension element has no more bytes (RFC 8285 §4.3).
pub const MAX_DESCRIPTOR: usize = 255;
/// Structure, active targets, indications, differences, chains: whether each of them follows.
const FLAGS_END: usize = 29;
const ACTIVE_FLAG: usize = 25;
