//! A viewer's numbering of a stream: one unbroken stream for it, whatever encodings it is made of and whatever is left out.
//!
//! Numbers are moved by offsets that change at marked places, so that the way back, which a request for a retransmission takes,
//! is exact; packets that come late find the offset that was in force at their place.

use std::collections::VecDeque;

use lockgate_rtp::Target;

/// Where a numbering holds and by how much it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The encoding, and which life of it.
    pub(crate) origin: Origin,
    /// First number that it holds for.
    first: u64,
    /// Added to sequence numbers.
    sequence: i64,
    /// Added to timestamps.
    pub(crate) timestamp: u32,
    /// Added to what the codec numbers.
    pub(crate) shift: Shift,
    /// The layers that are sent.
    pub(crate) target: Target,
}

/// By how much a codec's numbers move; each as wide as its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// Picture ids.
    pub(crate) picture: u16,
    /// Frame numbers of dependency descriptors.
    pub(crate) frame: u16,
    /// TL0 indices.
    pub(crate) tl0: u8,
    /// VP8 key indices.
    pub(crate) key: u8,
}

/// Numbers count for one life of one encoding only: a publisher that starts an encoding anew starts another count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) encoding: u8,
    pub(crate) life: u32,
}

/// A viewer's numbering.
#[derive(Debug)]
pub(crate) struct Numbers {
    segments: VecDeque<Segment>,
    /// Where the last switch was: nothing below has a place.
    since: u64,
    /// Highest number taken from the current origin.
    highest_in: u64,
    /// Highest number given out.
    highest_out: u64,
    /// Highest number of a packet that was sent.
    sent: u64,
}

impl Numbers {
    /// A numbering whose first packet will be `first`, which must leave room below.
    pub(crate) fn new(first: u16) -> Self {
        Self::after(FIRST + u64::from(first) - 1)
    }

    /// A numbering that goes on behind this number.
    pub(crate) fn after(highest: u64) -> Self {
        Self { segments: VecDeque::new(), since: 0, highest_in: 0, highest_out: highest, sent: highest }
    }

    /// What is in force now.
    pub(crate) fn current(&self) -> Option<&Segment> {
        self.segments.back()
    }

    /// The highest number that was given out.
    pub(crate) fn highest(&self) -> u64 {
        self.highest_out
    }

    /// Goes on with another origin, from its packet `number` on.
    pub(crate) fn switch(&mut self, origin: Origin, number: u64, timestamp: u32, shift: Shift, target: Target) {
        let sequence = (self.highest_out + 1).wrapping_sub(number).cast_signed();
        self.push(Segment { origin, first: number, sequence, timestamp, shift, target });
        self.since = number;
        self.highest_in = number - 1;
    }

    /// Goes on with other layers of the current origin, from its packet `number` on, which is ahead of all.
    pub(crate) fn aim(&mut self, number: u64, target: Target) {
        let Some(last) = self.segments.back_mut().filter(|last| last.target != target) else { return };
        if last.first >= number {
            last.target = target;
        } else {
            let next = Segment { first: number, target, ..*last };
            self.push(next);
        }
    }

    /// The layers that are sent at the place of a packet of the current origin.
    pub(crate) fn target_at(&self, number: u64) -> Option<Target> {
        self.segment_of(number).map(|segment| segment.target)
    }

    /// The number to send a packet of the current origin by. None for one so late that its place is unknown.
    pub(crate) fn map(&mut self, number: u64) -> Option<(u64, Segment)> {
        self.bridge(number);
        let segment = *self.segment_of(number)?;
        let out = number.wrapping_add_signed(segment.sequence);
        self.highest_in = self.highest_in.max(number);
        self.highest_out = self.highest_out.max(out);
        self.sent = self.sent.max(out);
        Some((out, segment))
    }

    /// Leaves a packet of the current origin out. `new_picture`: it is the first of a picture that is left out.
    /// Of a late packet the number is given away already: the viewer sees a gap there.
    pub(crate) fn skip(&mut self, number: u64, new_picture: bool) {
        self.bridge(number);
        let Some(last) = self.segments.back().copied().filter(|_| self.is_ahead(number)) else { return };
        // What is missing between the two keeps its place.
        self.highest_out = (number - 1).wrapping_add_signed(last.sequence).max(self.highest_out);
        self.highest_in = number;
        let picture = last.shift.picture.wrapping_sub(u16::from(new_picture));
        let shift = Shift { picture, ..last.shift };
        let next = Segment { first: number + 1, sequence: last.sequence - 1, shift, ..last };
        match self.segments.back_mut() {
            // Nothing was sent by the last one: it need not be kept.
            Some(unused) if unused.first == number => {
                *unused = next;
                self.since = if self.since == number { number + 1 } else { self.since };
            }
            _ => self.push(next),
        }
    }

    /// Whether a packet of the current origin is newer than all that were sent or left out.
    pub(crate) fn is_ahead(&self, number: u64) -> bool {
        number > self.highest_in
    }

    /// The publisher's number behind one of ours.
    pub(crate) fn unmap(&self, sequence: u16) -> Option<(u64, u64, Segment)> {
        let behind = i64::from((self.highest_out as u16).wrapping_sub(sequence) as i16);
        let out = self.highest_out.checked_add_signed(-behind).filter(|out| *out <= self.highest_out)?;
        let mut end = None;
        for segment in self.segments.iter().rev() {
            let number = out.wrapping_add_signed(-segment.sequence);
            let below_next = end.is_none_or(|(next, origin): (u64, Origin)| origin != segment.origin || number < next);
            if number >= segment.first && number < 1 << 63 {
                return below_next.then_some((number, out, *segment));
            }
            end = Some((segment.first, segment.origin));
        }
        None
    }

    /// What came before the last switch has no place behind it, also where the origin is the same as before: its numbers are given.
    fn segment_of(&self, number: u64) -> Option<&Segment> {
        let behind = number >= self.since;
        self.segments.iter().rev().find(|segment| segment.first <= number).filter(|_| behind)
    }

    /// Where a publisher's numbers leap, ours do so no further than a viewer can follow.
    fn bridge(&mut self, number: u64) {
        let Some(last) = self.segments.back().copied().filter(|_| self.is_ahead(number)) else { return };
        let furthest = (self.sent + MAX_GAP).max(self.highest_out + 1);
        if number.wrapping_add_signed(last.sequence) > furthest {
            self.push(Segment { first: number, sequence: furthest.wrapping_sub(number).cast_signed(), ..last });
            self.since = number;
        }
    }

    fn push(&mut self, segment: Segment) {
        if self.segments.len() >= MAX_SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }
}

/// Numbers given out begin one cycle up, so that there is something below; their SRTP index is counted from 0.
pub(crate) const FIRST: u64 = 1 << 16;
/// What is further ahead than half of all numbers is taken for what is behind (RFC 3711 §3.3.1), and everything after it as well: the
/// viewer would be lost for good. Nobody asks for so many packets again.
const MAX_GAP: u64 = 1 << 14;
/// A part of each of 60 pictures a second left out: two seconds back, longer than any packet is kept.
const MAX_SEGMENTS: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const A: Origin = Origin { encoding: 0, life: 0 };
    const B: Origin = Origin { encoding: 1, life: 0 };

    #[test]
    fn a_switch_goes_on_where_the_last_encoding_ended() {
        let mut numbers = Numbers::new(100);
        numbers.switch(A, 70_000, 0, Shift::default(), Target::ALL);
        assert_eq!(numbers.map(70_000).unwrap().0, 65_636);
        assert_eq!(numbers.map(70_001).unwrap().0, 65_637);
        numbers.switch(B, 500_000, 0, Shift::default(), Target::ALL);
        assert_eq!(numbers.map(500_000).unwrap().0, 65_638);
        assert_eq!(numbers.map(499_999), None, "before the switch");
        assert_eq!(
            numbers.unmap(65_637_u64 as u16).map(|(number, _, segment)| (number, segment.origin)),
            Some((70_001, A))
        );
        assert_eq!(
            numbers.unmap(65_638_u64 as u16).map(|(number, _, segment)| (number, segment.origin)),
            Some((500_000, B))
        );
    }

    #[test]
    fn what_is_missing_keeps_its_place_before_something_left_out() {
        let mut numbers = Numbers::new(0);
        numbers.switch(A, 100_000, 0, Shift::default(), Target::ALL);
        let first = numbers.map(100_000).unwrap().0;
        numbers.skip(100_002, true);
        assert_eq!(numbers.map(100_003).unwrap().0, first + 2);
        assert_eq!(numbers.map(100_001).unwrap().0, first + 1, "it came late");
    }

    #[test]
    fn what_came_before_a_switch_within_one_encoding_has_no_place_behind_it() {
        let mut numbers = Numbers::new(0);
        numbers.switch(A, 100_000, 0, Shift::default(), Target::ALL);
        assert!(numbers.map(100_000).is_some());
        numbers.switch(A, 100_200, 0, Shift::default(), Target::ALL);
        assert!(numbers.map(100_200).is_some());
        assert_eq!(numbers.map(100_150), None);
        numbers.skip(100_201, false);
        assert_eq!(numbers.map(100_199), None);
    }

    proptest! {
        /// However far the publisher's leap, and whatever is left out.
        #[test]
        fn a_viewer_can_follow_all_leaps(packets in proptest::collection::vec((1_u64..32_767, 0_u64..2, any::<bool>()), 1..100)) {
            let (mut numbers, mut number) = (Numbers::new(7), 1 << 17);
            numbers.switch(A, number, 0, Shift::default(), Target::ALL);
            let mut last = numbers.map(number).unwrap().0;
            for (leap, is_leap, sent) in packets {
                number += 1 + leap * is_leap;
                if sent {
                    let (out, segment) = numbers.map(number).unwrap();
                    prop_assert!((1..1 << 15).contains(&(out - last)), "{last} to {out}");
                    prop_assert_eq!(numbers.unmap(out as u16), Some((number, out, segment)));
                    last = out;
                } else {
                    numbers.skip(number, false);
                }
            }
        }

        /// Reordered, partly left out, paused and gone on with: every number is given once, and the way back is exact.
        #[test]
        fn numbers_are_unique_and_lead_back(
            packets in proptest::collection::vec((0_u8..12, 0_u64..4), 1..200),
        ) {
            let mut numbers = Numbers::new(7);
            numbers.switch(A, 1 << 17, 0, Shift::default(), Target::ALL);
            let mut given = HashMap::new();
            let mut order: Vec<(u64, u8)> = packets.iter().enumerate().map(|(at, (what, _))| ((1 << 17) + at as u64, *what)).collect();
            order.sort_by_key(|(number, _)| number + packets[(*number - (1 << 17)) as usize].1);
            let mut highest = 1 << 17;
            for (number, what) in order {
                if what == 0 && number > highest {
                    numbers.switch(A, number, 0, Shift::default(), Target::ALL);
                }
                highest = highest.max(number);
                if numbers.is_ahead(number) {
                    numbers.aim(number, Target::new(0, what / 3));
                }
                if what > 7 {
                    numbers.skip(number, false);
                } else if let Some((out, segment)) = numbers.map(number) {
                    prop_assert_eq!(given.insert(out, number), None, "given twice");
                    let back = numbers.unmap(out as u16).map(|(number, again, segment)| (number, again, segment.target));
                    prop_assert_eq!(back, Some((number, out, segment.target)), "and as it was sent");
                }
            }
        }
    }
}
