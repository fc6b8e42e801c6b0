//! Numbers that wrap on the wire, counted on.

/// Extends 16-bit sequence numbers to 64 bits, each to the nearest continuation of the highest one seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    /// The extended number. The first one is put one cycle up, so that what was reordered before it still has a place below.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let extended = self.peek(sequence);
        self.note(extended);
        extended
    }

    /// Takes note of a number that is extended already.
    pub fn note(&mut self, extended: u64) {
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
    }

    /// The extended number that a sequence number would have.
    pub fn peek(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return (1 << 16) + u64::from(sequence) };
        let ahead = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        highest.saturating_add_signed(ahead)
    }

    /// The highest number seen.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// The middle 32 bits of an NTP time: what `LSR` carries (RFC 3550 §6.4.1).
pub fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_the_wrap_in_both_directions() {
        let mut numbers = Unwrapper::default();
        let first = numbers.extend(65_534);
        assert_eq!(numbers.extend(1), first + 3);
        assert_eq!(numbers.extend(65_535), first + 1);
        assert_eq!(numbers.highest(), Some(first + 3));
        assert_eq!(numbers.peek(0), first + 2);
    }

    #[test]
    fn what_was_overtaken_by_the_first_packet_has_a_number_too() {
        let mut numbers = Unwrapper::default();
        let first = numbers.extend(0);
        assert_eq!(numbers.extend(65_535), first - 1);
    }
}
