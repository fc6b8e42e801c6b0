//! What became of the packets of one publisher's track at one viewer, by the numbers in their payloads.
//!
//! Each source (an encoding) is counted from the first packet that came of it. When a simulcast viewer changes to another
//! encoding the span of the former one ends, so that what was rightly not forwarded is not missed.

use crate::report::Delivery;

/// The counts of one incoming track.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    spans: Vec<Span>,
    /// Which span is open.
    current: usize,
    closed: u64,
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
}

/// The packets of one source.
#[derive(Clone, Debug)]
struct Span {
    source: u32,
    first: u64,
    highest: u64,
    seen: Seen,
    /// The last number that must come, once that is known.
    until: Option<u64>,
}

/// Which of the last numbers came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    words: [u64; WORDS],
}

impl Default for Seen {
    fn default() -> Self {
        Self { words: [0; WORDS] }
    }
}

impl Seen {
    /// Notes a number, given the highest before. False if it came before, or is too old to tell.
    pub(crate) fn note(&mut self, number: u64, highest: Option<u64>) -> bool {
        match highest {
            Some(highest) if number + BITS <= highest => return false,
            Some(highest) if number > highest => {
                (highest + 1..number.min(highest + BITS)).for_each(|gone| self.set(gone, false));
            }
            Some(_) if self.has(number) => return false,
            _ => {}
        }
        self.set(number, true);
        true
    }

    fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = ((number / 64) as usize % WORDS, number % 64);
        self.words[word] = self.words[word] & !(1 << bit) | u64::from(value) << bit;
    }

    /// Whether a number of the last ones came.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.words[(number / 64) as usize % WORDS] >> (number % 64) & 1 == 1
    }
}

impl Tally {
    /// Notes a packet. True if it is the first copy.
    pub(crate) fn note(&mut self, source: u32, number: u64) -> bool {
        let known = self.spans.iter().position(|span| span.source == source);
        let at = known.unwrap_or_else(|| {
            self.spans.push(Span::new(source, number));
            self.spans.len() - 1
        });
        let mut before = known.map(|at| self.spans[at].highest);
        let late = before.is_some_and(|highest| number <= highest);
        if at != self.current && !late {
            self.closed += self.spans[self.current].length();
            self.spans[at] = Span::new(source, number);
            self.current = at;
            before = None;
        }
        let span = &mut self.spans[at];
        if !span.seen.note(number, before) {
            self.duplicates += 1;
            return false;
        }
        // Packets in front of the first one were never expected; they widen the span, so that none counts as more than came.
        span.first = span.first.min(number);
        span.highest = span.highest.max(number);
        self.delivered += 1;
        self.reordered += u64::from(late);
        true
    }

    /// Says of the current source which number was the last one sent.
    pub(crate) fn end(&mut self, last: impl Fn(u32) -> Option<u64>) {
        if let Some(span) = self.spans.get_mut(self.current) {
            span.until = span.until.or_else(|| last(span.source));
        }
    }

    /// How many should have come.
    pub(crate) fn expected(&self) -> u64 {
        self.closed + self.spans.get(self.current).map_or(0, Span::length)
    }

    /// Adds the counts to a report's.
    pub(crate) fn add_to(&self, delivery: &mut Delivery) {
        delivery.expected += self.expected();
        delivery.delivered += self.delivered;
        delivery.duplicates += self.duplicates;
        delivery.reordered += self.reordered;
    }
}

impl Span {
    fn new(source: u32, first: u64) -> Self {
        Self { source, first, highest: first, seen: Seen::default(), until: None }
    }

    fn length(&self) -> u64 {
        self.highest.max(self.until.unwrap_or(0)) + 1 - self.first
    }
}

const WORDS: usize = 32;
const BITS: u64 = 64 * WORDS as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: &Tally) -> (u64, u64, u64, u64) {
        (tally.expected(), tally.delivered, tally.duplicates, tally.reordered)
    }

    #[test]
    fn gaps_copies_and_late_packets_are_told_apart() {
        let mut tally = Tally::default();
        for number in [5, 6, 9, 7, 9] {
            tally.note(1, number);
        }
        assert_eq!(counts(&tally), (5, 4, 1, 1));
    }

    #[test]
    fn what_was_sent_last_and_did_not_come_is_missed() {
        let mut tally = Tally::default();
        tally.note(1, 5);
        tally.end(|source| Some(u64::from(source) + 9));
        assert_eq!(counts(&tally), (6, 1, 0, 0));
        tally.note(1, 12);
        assert_eq!(tally.expected(), 8, "more came than had been sent by then");
    }

    #[test]
    fn a_change_of_encoding_loses_nothing() {
        let mut tally = Tally::default();
        (10..20).for_each(|number| assert!(tally.note(1, number)));
        (700..710).for_each(|number| assert!(tally.note(2, number)));
        assert!(tally.note(1, 50));
        assert!(!tally.note(1, 50));
        assert_eq!(counts(&tally), (21, 21, 1, 0));
    }
}
