//! The replay window (RFC 3711 §3.3.2).

/// Which of the last 128 indices came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` came.
    seen: u128,
}

impl Window {
    /// Whether an index is new and not too old.
    pub(super) fn accepts(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < SIZE && self.seen & (1 << behind) == 0,
        }
    }

    /// Notes an index whose packet is authentic.
    pub(super) fn note(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.seen = if ahead < SIZE { self.seen << ahead } else { 0 };
            self.highest = index;
        }
        if let Some(bit) = self.highest.checked_sub(index).filter(|behind| *behind < SIZE) {
            self.seen |= 1 << bit;
        }
    }
}

const SIZE: u64 = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_the_last_indices(indices in proptest::collection::vec(0_u64..600, 1..200)) {
            let (mut window, mut seen) = (Window::default(), HashSet::new());
            for index in indices {
                let highest = seen.iter().copied().max().unwrap_or(0);
                let expected = !seen.contains(&index) && (index > highest || highest - index < SIZE);
                prop_assert_eq!(window.accepts(index), expected, "{}", index);
                if expected {
                    window.note(index);
                    seen.insert(index);
                }
            }
        }
    }
}
