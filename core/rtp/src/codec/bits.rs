//! The bits of a byte string, from the highest of its first byte on.

/// Bits that are read one field after the other.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// All bits of `bytes` from the bit `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// How many were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A field of at most 32 bits. None where the bits end.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let end = self.at.checked_add(count).filter(|end| *end <= 8 * self.bytes.len() && count <= 32)?;
        let value = (self.at..end).fold(0, |value, at| value << 1 | u32::from(get(self.bytes, at)));
        self.at = end;
        Some(value)
    }

    /// A field of one bit.
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// A field of one value below `limit`, as short as can be: `ns(n)` of the AV1 bitstream specification, §4.10.7.
    pub(super) fn below(&mut self, limit: u32) -> Option<u32> {
        let width = (u32::BITS - limit.leading_zeros()) as usize;
        let short = (1_u32 << width) - limit;
        let value = self.take(width.checked_sub(1)?)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.take(1)?)
    }
}

/// The bit at a place that there is.
pub(super) fn get(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// Sets the bit at a place; nothing where there is none.
pub(crate) fn set(bytes: &mut [u8], at: usize, value: bool) {
    if let Some(byte) = bytes.get_mut(at / 8) {
        let bit = 1 << (7 - at % 8);
        *byte = if value { *byte | bit } else { *byte & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_the_highest_bit_on_and_not_beyond_the_end() {
        let mut bits = Bits::new(&[0b1010_0110, 0b1100_0000], 0);
        assert_eq!((bits.take(3), bits.take(7), bits.at()), (Some(0b101), Some(0b001_1011), 10));
        assert_eq!((bits.take(7), bits.take(6), bits.flag()), (None, Some(0), None));
    }

    #[test]
    fn values_below_a_limit_take_no_more_bits_than_they_need() {
        // Of five values three take two bits and two take three.
        for (value, byte, length) in
            [(0, 0b0000_0000, 2), (2, 0b1000_0000, 2), (3, 0b1100_0000, 3), (4, 0b1110_0000, 3)]
        {
            let mut bits = Bits::new(std::slice::from_ref(&byte), 0);
            assert_eq!((bits.below(5), bits.at()), (Some(value), length));
        }
        let mut bits = Bits::new(&[0xff], 0);
        assert_eq!((bits.below(1), bits.at()), (Some(0), 0), "there is but one");
        assert_eq!(bits.below(0), None);
    }
}
