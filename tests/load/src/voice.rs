//! How loud a made-up publisher says it is: people who speak one after the other.

use std::time::Duration;

/// A publisher's turns: all that have the same `of` and `turn` speak one after the other, by the clock of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Whose turn is its, from 0.
    pub place: u32,
    /// How many there are.
    pub of: u32,
    /// How long each one speaks.
    pub turn: Duration,
}

impl Voice {
    /// How loud the frame at a moment is that has this number, in dB below the loudest (RFC 6464): syllables, or a quiet room.
    pub(crate) fn level(&self, now_us: u64, frame: u32) -> u8 {
        let turn = u64::try_from(self.turn.as_micros()).unwrap_or(u64::MAX).max(1);
        let speaks = now_us / turn % u64::from(self.of.max(1)) == u64::from(self.place);
        match (speaks, frame % 10) {
            (true, 0..8) => 26 + (frame % 4) as u8,
            (true, _) => 56,
            (false, _) => 70 + (frame % 5) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_speaks_at_a_time_and_then_the_next() {
        let voices = [0, 1, 2].map(|place| Voice { place, of: 3, turn: Duration::from_secs(2) });
        let speakers = |seconds: u64| -> Vec<_> {
            let loud = voices.iter().filter(|voice| voice.level(seconds * 1_000_000, 0) < 40);
            loud.map(|voice| voice.place).collect()
        };
        assert_eq!([0, 1, 2, 4, 6].map(speakers), [vec![0], vec![0], vec![1], vec![2], vec![0]]);
    }
}
