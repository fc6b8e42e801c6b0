//! The replay window (RFC 3711 §3.3.2).

use super::SrtpError;

/// Which of the last [`SIZE`] indices came: bit `index % SIZE` of a ring.
///
/// The standard asks for 64 at least. Packets that are sent again under their own number (RFC 4588 is not everybody's) come as late
/// as a round trip: at 1000 packets a second and 300 ms, 300 behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// Whether an index is new and not too old.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        match self.highest.checked_sub(index) {
            None => Ok(()),
            Some(behind) if behind >= SIZE => Err(SrtpError::Late),
            Some(_) if self.seen[word(index)] & bit(index) != 0 => Err(SrtpError::Replay),
            Some(_) => Ok(()),
        }
    }

    /// Notes an index that was checked and whose packet is authentic.
    pub(super) fn note(&mut self, index: u64) {
        let passed = self.highest + 1..index.min(self.highest + SIZE + 1);
        passed.for_each(|skipped| self.seen[word(skipped)] &= !bit(skipped));
        self.highest = self.highest.max(index);
        self.seen[word(index)] |= bit(index);
    }
}

fn word(index: u64) -> usize {
    (index % SIZE / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

const WORDS: usize = 16;
const SIZE: u64 = 64 * WORDS as u64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_the_last_indices(indices in proptest::collection::vec(0_u64..5000, 1..400), near in 0_u64..5000) {
            let (mut window, mut seen) = (Window::default(), HashSet::new());
            for index in indices.into_iter().flat_map(|index| [index, near + index % 7]) {
                let highest = seen.iter().copied().max().unwrap_or(0);
                let expected = match () {
                    () if index + SIZE <= highest => Err(SrtpError::Late),
                    () if seen.contains(&index) => Err(SrtpError::Replay),
                    () => Ok(()),
                };
                prop_assert_eq!(window.check(index), expected, "{}", index);
                if expected.is_ok() {
                    window.note(index);
                    seen.insert(index);
                }
            }
        }
    }
}
