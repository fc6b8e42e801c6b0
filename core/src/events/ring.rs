//! The last events, in their order, each with a number of its own. Knows no reader and waits for nobody.

use std::collections::VecDeque;
use std::sync::Arc;

use lockgate_model::RoomName;

/// An event that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// One more than that of the one before.
    pub(crate) id: u64,
    /// Its kind.
    pub(crate) name: &'static str,
    /// When, in ms since 1970.
    pub(crate) time_ms: u64,
    /// In which room; none: it concerns the whole node.
    pub(crate) room: Option<RoomName>,
    /// The event as JSON.
    pub(crate) text: String,
}

/// The last events.
#[derive(Debug)]
pub(super) struct Ring {
    kept: VecDeque<Arc<Kept>>,
    /// Of all that is kept.
    bytes: usize,
    /// The number before the first one of this run.
    origin: u64,
    last: u64,
    most: usize,
    most_bytes: usize,
}

/// What comes after some event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// What is missing before these.
    pub(crate) gap: Option<Gap>,
    /// They, without any between them missing.
    pub(crate) events: Vec<Arc<Kept>>,
    /// After which to go on.
    pub(crate) last: u64,
}

/// Events that are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// How many; none: nobody knows, as the node was another one then.
    pub(crate) lost: Option<u64>,
    /// After which to go on.
    pub(crate) last: u64,
}

impl Ring {
    /// Its first event has the number after `origin`. At most so many events are kept, and so many bytes of them.
    pub(super) fn new(origin: u64, most: usize, most_bytes: usize) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, origin, last: origin, most, most_bytes }
    }

    /// The number of the last event.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Takes one more; `text` makes its JSON from its number.
    pub(super) fn push(
        &mut self,
        name: &'static str,
        time_ms: u64,
        room: Option<RoomName>,
        text: impl FnOnce(u64) -> String,
    ) {
        self.last += 1;
        let event = Kept { id: self.last, name, time_ms, room, text: text(self.last) };
        self.bytes += event.text.len();
        self.kept.push_back(Arc::new(event));
        while self.kept.len() > self.most || (self.bytes > self.most_bytes && self.kept.len() > 1) {
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes -= oldest.text.len();
            }
        }
    }

    /// What comes after an event, at most so many.
    pub(super) fn after(&self, id: u64, most: usize) -> Batch {
        let before_oldest = self.kept.front().map_or(self.last, |oldest| oldest.id - 1);
        let gap = match id {
            // Of another run of the node, whose last events nobody has; or of a clock that was set back since.
            id if id < self.origin || id > self.last => Some(Gap { lost: None, last: before_oldest }),
            id if id < before_oldest => Some(Gap { lost: Some(before_oldest - id), last: before_oldest }),
            _ => None,
        };
        let from = gap.map_or(id, |gap| gap.last);
        // The numbers of what is kept have no holes.
        let skipped = usize::try_from(from - before_oldest).unwrap_or(usize::MAX);
        let events: Vec<_> = self.kept.iter().skip(skipped).take(most).cloned().collect();
        let last = events.last().map_or(from, |event| event.id);
        Batch { gap, events, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(events: u64) -> Ring {
        let mut ring = Ring::new(1000, 4, 1 << 20);
        (0..events).for_each(|_| ring.push("one", 0, None, |id| id.to_string()));
        ring
    }

    fn ids(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn a_reader_that_goes_on_where_it_was_misses_nothing() {
        let mut ring = ring(3);
        let batch = ring.after(1000, 2);
        assert_eq!((batch.gap, ids(&batch), batch.last), (None, vec![1001, 1002], 1002));
        ring.push("one", 0, None, |id| id.to_string());
        assert_eq!(ids(&ring.after(batch.last, 9)), [1003, 1004]);
        let none = ring.after(1004, 9);
        assert_eq!((none.gap, ids(&none), none.last), (None, vec![], 1004));
    }

    #[test]
    fn what_is_not_kept_any_more_is_a_gap_and_never_silence() {
        let ring = ring(10);
        let late = ring.after(1002, 9);
        assert_eq!(late.gap, Some(Gap { lost: Some(4), last: 1006 }));
        assert_eq!(ids(&late), [1007, 1008, 1009, 1010]);
        assert_eq!(ring.after(1006, 9).gap, None);
        for unknown in [0, 999, 1011, u64::MAX] {
            let batch = ring.after(unknown, 9);
            assert_eq!((batch.gap, batch.last), (Some(Gap { lost: None, last: 1006 }), 1010), "{unknown}");
        }
        assert_eq!(Ring::new(7, 4, 9).after(3, 9).gap, Some(Gap { lost: None, last: 7 }));
    }

    #[test]
    fn a_ring_is_bounded_in_bytes_too_and_keeps_the_last_one_whatever_its_size() {
        let mut ring = Ring::new(0, 100, 10);
        (0..5).for_each(|_| ring.push("one", 0, None, |_| "x".repeat(4)));
        assert_eq!((ring.kept.len(), ring.bytes), (2, 8));
        ring.push("large", 0, None, |_| "x".repeat(50));
        assert_eq!((ring.kept.len(), ring.bytes, ring.last()), (1, 50, 6));
    }
}
