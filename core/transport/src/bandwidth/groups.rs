//! Packets that left together are one measurement: how much further apart two such groups arrive than they left is what a
//! queue on the way added between them.
//!
//! As draft-ietf-rmcat-gcc-02 §5.2 and libwebrtc's `InterArrivalDelta` have it.

use super::Micros;

/// The group that fills up, and the one before it.
#[derive(Default)]
pub(super) struct Groups {
    current: Option<Group>,
    previous: Option<Group>,
    reordered: u8,
}

/// How far two groups are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Apart {
    pub(super) sent: Micros,
    pub(super) arrived: Micros,
    /// When the later one arrived, on the receiver's clock.
    pub(super) at: Micros,
}

#[derive(Clone, Copy)]
struct Group {
    first_sent: Micros,
    last_sent: Micros,
    first_arrival: Micros,
    last_arrival: Micros,
}

impl Groups {
    /// Takes a packet that came; when it begins a new group, the two before it are measured.
    pub(super) fn add(&mut self, sent: Micros, arrival: Micros) -> Option<Apart> {
        let Some(group) = &mut self.current else {
            self.current = Some(Group::of(sent, arrival));
            return None;
        };
        // A packet that was reordered over groups says nothing of a queue.
        if sent < group.first_sent {
            return None;
        }
        if group.takes(sent, arrival) {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return None;
        }
        let done = *group;
        self.current = Some(Group::of(sent, arrival));
        let previous = self.previous.replace(done)?;
        self.measure(previous, done)
    }

    fn measure(&mut self, previous: Group, done: Group) -> Option<Apart> {
        let sent = done.last_sent - previous.last_sent;
        let arrived = done.last_arrival - previous.last_arrival;
        if arrived - sent >= CLOCK_JUMP {
            *self = Self::default();
            return None;
        }
        if arrived < 0 {
            self.reordered += 1;
            if self.reordered >= MAX_REORDERED {
                *self = Self::default();
            }
            return None;
        }
        self.reordered = 0;
        Some(Apart { sent, arrived, at: done.last_arrival })
    }
}

impl Group {
    fn of(sent: Micros, arrival: Micros) -> Self {
        Self { first_sent: sent, last_sent: sent, first_arrival: arrival, last_arrival: arrival }
    }

    fn takes(&self, sent: Micros, arrival: Micros) -> bool {
        self.is_burst_with(sent, arrival) || sent - self.first_sent <= BURST
    }

    /// What was held back somewhere and let go at once, as wireless links do, arrives closer together than it left.
    fn is_burst_with(&self, sent: Micros, arrival: Micros) -> bool {
        let (left, came) = (sent - self.last_sent, arrival - self.last_arrival);
        left == 0 || came < left && came <= BURST && arrival - self.first_arrival < MAX_BURST
    }
}

/// What leaves within 5 ms is one group (draft-ietf-rmcat-gcc-02 §5.2, `kSendTimeGroupLength` and `kBurstDeltaThreshold`).
const BURST: Micros = 5_000;
/// `kMaxBurstDuration`.
const MAX_BURST: Micros = 100_000;
/// `kArrivalTimeOffsetThreshold`: no queue is that long, the receiver's clock was set.
const CLOCK_JUMP: Micros = 3_000_000;
/// `kReorderedResetThreshold`.
const MAX_REORDERED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_measured_from_end_to_end() {
        let mut groups = Groups::default();
        let packets = [(0, 100), (4, 107), (20, 120), (24, 130), (40, 140)];
        let apart: Vec<_> =
            packets.iter().filter_map(|(sent, arrival)| groups.add(sent * 1000, arrival * 1000)).collect();
        assert_eq!(apart, [Apart { sent: 20_000, arrived: 23_000, at: 130_000 }]);
    }

    #[test]
    fn what_was_held_back_is_one_group() {
        let mut groups = Groups::default();
        let packets = [(0, 100), (20, 160), (40, 160), (60, 161), (80, 180), (100, 200)];
        let apart: Vec<_> =
            packets.iter().filter_map(|(sent, arrival)| groups.add(sent * 1000, arrival * 1000)).collect();
        let (first, second) = ((60_000, 61_000, 161_000), (20_000, 19_000, 180_000));
        assert_eq!(apart, [first, second].map(|(sent, arrived, at)| Apart { sent, arrived, at }));
    }

    #[test]
    fn a_clock_that_jumps_is_no_queue() {
        let mut groups = Groups::default();
        let packets = [(0, 100), (20, 120), (40, 9140), (60, 9160), (80, 9180), (100, 9200), (120, 9220)];
        let apart: Vec<_> =
            packets.iter().filter_map(|(sent, arrival)| groups.add(sent * 1000, arrival * 1000)).collect();
        assert!(apart.iter().all(|apart| apart.arrived == 20_000), "{apart:?}");
    }
}
