//! What is missing of a track: how much, why, and between which moments.

use std::collections::BTreeMap;

use lockgate_model::carrier::{GapReason, NodeTime};

/// A place where something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) reason: &'static str,
    pub(super) packets: u64,
    /// The last frame before it; none when there was none.
    pub(super) from: Option<NodeTime>,
    /// The first frame behind it; none when there is none.
    pub(super) to: Option<NodeTime>,
}

/// Gathers the gaps of a track.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    last: Option<NodeTime>,
    /// Missed since the last frame.
    missed: BTreeMap<&'static str, u64>,
    /// Since they were last asked for; those with the same reason are one.
    found: BTreeMap<&'static str, Gap>,
}

impl Gaps {
    /// Of a track whose last frame was of this moment.
    pub(super) fn behind(last: Option<NodeTime>) -> Self {
        Self { last, ..Self::default() }
    }

    /// The last frame's moment.
    pub(super) fn last(&self) -> Option<NodeTime> {
        self.last
    }

    /// Packets did not come.
    pub(super) fn missed(&mut self, reason: GapReason, packets: u64) {
        let missed = self.missed.entry(reason.as_str()).or_insert(0);
        *missed = missed.saturating_add(packets);
    }

    /// A frame of this moment came.
    pub(super) fn frame(&mut self, at: NodeTime) {
        let quiet = self.last.is_some_and(|last| at.micros_since(last) > QUIET);
        if quiet && self.missed.is_empty() {
            self.missed.insert("quiet", 0);
        }
        self.found(Some(at));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.found(None);
    }

    /// What was found since this was last asked.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Gap> + use<> {
        std::mem::take(&mut self.found).into_values()
    }

    fn found(&mut self, to: Option<NodeTime>) {
        for (reason, packets) in std::mem::take(&mut self.missed) {
            let found = self.found.entry(reason).or_insert(Gap { reason, packets: 0, from: self.last, to });
            found.packets = found.packets.saturating_add(packets);
            found.to = to;
        }
    }
}

/// Nothing for so long, and nothing lost: muted, silent, or a capture that stood still, µs.
const QUIET: i64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lies_between_the_frames_around_it() {
        let mut gaps = Gaps::default();
        gaps.missed(GapReason::Loss, 1);
        gaps.frame(NodeTime(100));
        gaps.frame(NodeTime(200));
        gaps.missed(GapReason::Overload, 3);
        gaps.missed(GapReason::Overload, 4);
        assert_eq!(gaps.take().count(), 1, "where the second one ends is not known yet");
        gaps.frame(NodeTime(500));
        let gap = Gap { reason: "overload", packets: 7, from: Some(NodeTime(200)), to: Some(NodeTime(500)) };
        assert_eq!(gaps.take().collect::<Vec<_>>(), [gap]);
        gaps.missed(GapReason::Loss, 2);
        gaps.end();
        let gap = Gap { reason: "loss", packets: 2, from: Some(NodeTime(500)), to: None };
        assert_eq!(gaps.take().collect::<Vec<_>>(), [gap]);
    }

    #[test]
    fn gaps_of_one_reason_are_one_until_they_are_asked_for() {
        let mut gaps = Gaps::default();
        for at in 1..4 {
            gaps.frame(NodeTime(at * 100));
            gaps.missed(GapReason::Loss, 1);
        }
        gaps.frame(NodeTime(400));
        let gap = Gap { reason: "loss", packets: 3, from: Some(NodeTime(100)), to: Some(NodeTime(400)) };
        assert_eq!(gaps.take().collect::<Vec<_>>(), [gap]);
    }

    #[test]
    fn a_long_silence_without_a_loss_is_a_gap() {
        let mut gaps = Gaps::default();
        gaps.frame(NodeTime(0));
        gaps.frame(NodeTime(2_000_000));
        assert_eq!(gaps.take().count(), 0);
        gaps.frame(NodeTime(4_000_001));
        let gap = Gap { reason: "quiet", packets: 0, from: Some(NodeTime(2_000_000)), to: Some(NodeTime(4_000_001)) };
        assert_eq!(gaps.take().collect::<Vec<_>>(), [gap]);
    }
}
