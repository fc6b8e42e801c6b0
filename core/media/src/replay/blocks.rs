//! A queue that never moves what is in it: whatever it grows to, adding and removing cost what is added and removed.

use std::collections::VecDeque;

/// A queue of values in blocks of `EACH`. All blocks but the last are full, so a position alone says where its value lies.
#[derive(Debug)]
pub(super) struct Blocks<T, const EACH: usize> {
    blocks: VecDeque<Vec<T>>,
    /// So many values of the first block were dropped; less than `EACH`.
    dropped: usize,
    len: usize,
    /// An empty block for reuse: as long as as much goes as comes, nothing is allocated.
    spare: Option<Vec<T>>,
}

// Derived, it would ask the same of the values.
impl<T, const EACH: usize> Default for Blocks<T, EACH> {
    fn default() -> Self {
        Self { blocks: VecDeque::new(), dropped: 0, len: 0, spare: None }
    }
}

impl<T: Copy, const EACH: usize> Blocks<T, EACH> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn front(&self) -> Option<T> {
        self.from(0).first().copied()
    }

    /// What begins at this position, counted from the front, as far as it lies in one piece; empty only where nothing is left.
    pub(super) fn from(&self, position: usize) -> &[T] {
        let place = self.dropped + position;
        self.blocks.get(place / EACH).and_then(|block| block.get(place % EACH..)).unwrap_or_default()
    }

    /// Adds values behind the others.
    pub(super) fn extend(&mut self, mut values: &[T]) {
        self.len += values.len();
        while !values.is_empty() {
            if self.blocks.back().is_none_or(|last| last.len() == EACH) {
                self.blocks.push_back(self.spare.take().unwrap_or_else(|| Vec::with_capacity(EACH)));
            }
            let Some(last) = self.blocks.back_mut() else { return };
            let (now, later) = values.split_at(values.len().min(EACH - last.len()));
            last.extend_from_slice(now);
            values = later;
        }
    }

    /// Drops so many values off the front, at most all, and gives back the memory of blocks that are done with, but for one.
    pub(super) fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len -= count;
        self.dropped += count;
        while self.dropped >= EACH {
            self.dropped -= EACH;
            self.retire();
        }
        if self.len == 0 {
            self.dropped = 0;
            self.retire();
        }
    }

    fn retire(&mut self) {
        if let Some(mut block) = self.blocks.pop_front() {
            block.clear();
            self.spare = Some(block);
        }
    }

    /// For how many values it has memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.blocks.iter().chain(&self.spare).map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0_usize..12, 0_usize..12), 0..40)) {
            let (mut blocks, mut plain) = (Blocks::<u8, 4>::default(), Vec::new());
            let mut next = 0_u8;
            for (more, less) in steps {
                let values: Vec<_> = (0..more).map(|_| { next = next.wrapping_add(1); next }).collect();
                blocks.extend(&values);
                plain.extend(values);
                blocks.drop_front(less);
                plain.drain(..less.min(plain.len()));
                prop_assert_eq!((blocks.len(), blocks.front()), (plain.len(), plain.first().copied()));
                for position in 0..=plain.len() {
                    let (piece, rest) = (blocks.from(position), &plain[position..]);
                    prop_assert!(rest.starts_with(piece) && piece.is_empty() == rest.is_empty(), "{piece:?} {rest:?}");
                }
                // One that is begun, one that is not done with, and a spare one.
                prop_assert!(blocks.capacity() < plain.len() + 3 * 4, "{blocks:?}");
                prop_assert!(!plain.is_empty() || blocks.capacity() <= 4, "{blocks:?}");
            }
        }
    }

    #[test]
    fn as_long_as_as_much_goes_as_comes_nothing_is_allocated() {
        let mut blocks = Blocks::<u8, 4>::default();
        blocks.extend(&[0; 9]);
        for round in 0..20 {
            blocks.extend(&[0]);
            blocks.drop_front(1);
            // Three or four are in use.
            assert!(round < 4 || blocks.capacity() == 4 * 4, "{blocks:?}");
        }
    }
}
