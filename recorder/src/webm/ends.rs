//! When each track ends: its last block and how long such a block usually lasts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The ends of a file's tracks by their numbers in it, in milliseconds of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends(BTreeMap<u64, End>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    last: u64,
    step: u64,
}

impl Ends {
    /// A block of this track at this time.
    pub(super) fn note(&mut self, track: u64, at: u64) {
        let end = self.0.entry(track).or_insert(End { last: at, step: 0 });
        if at > end.last {
            end.step = (at - end.last).min(LONGEST_STEP);
            end.last = at;
        }
    }

    /// The time of a track's last block.
    pub(super) fn last(&self, track: u64) -> Option<u64> {
        self.0.get(&track).map(|end| end.last)
    }

    /// When the last of them ends.
    pub(super) fn duration_ms(&self) -> u64 {
        self.0.values().map(|end| end.last.saturating_add(end.step)).max().unwrap_or(0)
    }
}

/// Longer than this is a pause, not the length of a block.
const LONGEST_STEP: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_claims_the_end_of_all_times_has_a_length_still() {
        let mut ends = Ends::default();
        ends.note(1, u64::MAX - 1);
        ends.note(1, u64::MAX);
        assert_eq!(ends.duration_ms(), u64::MAX);
    }
}
