//! Which packets of an incoming stream are asked for again, and when (RFC 4585 §6.2.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is missing of a stream.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// When each is asked for next, and how often it was.
    numbers: BTreeMap<u64, (Instant, u8)>,
}

impl Missing {
    /// Notes the gap in front of a packet. True when it is too long to be asked for: only a key frame helps then.
    pub(crate) fn note_gap(&mut self, now: Instant, gap: std::ops::Range<u64>) -> bool {
        if gap.end - gap.start > MAX_GAP || self.numbers.len() as u64 > 2 * MAX_GAP {
            self.numbers.clear();
            return true;
        }
        self.numbers.extend(gap.map(|number| (number, (now + REORDER, 0))));
        false
    }

    /// Notes that one came after all. True if it had been asked for.
    pub(crate) fn came(&mut self, number: u64) -> bool {
        !self.numbers.is_empty() && self.numbers.remove(&number).is_some_and(|(_, tries)| tries > 0)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.numbers.values().map(|(due, _)| *due).min()
    }

    /// The numbers to ask for now. True when one was asked for often enough and is given up.
    pub(crate) fn poll(&mut self, now: Instant, ask: &mut Vec<u16>) -> bool {
        ask.clear();
        let mut given_up = false;
        self.numbers.retain(|number, (due, tries)| {
            if *due > now {
                return true;
            }
            if *tries >= MAX_TRIES {
                given_up = true;
                return false;
            }
            ask.push(*number as u16);
            (*due, *tries) = (now + AGAIN, *tries + 1);
            true
        });
        given_up
    }
}

const REORDER: Duration = Duration::from_millis(10);
const AGAIN: Duration = Duration::from_millis(50);
const MAX_TRIES: u8 = 10;
const MAX_GAP: u64 = 450;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_until_it_is_filled_or_given_up() {
        let (mut now, mut missing, mut ask) = (Instant::now(), Missing::default(), Vec::new());
        assert!(!missing.note_gap(now, 11..13));
        missing.poll(now, &mut ask);
        assert!(ask.is_empty(), "they may only be late");
        now += REORDER;
        missing.poll(now, &mut ask);
        assert_eq!(ask, [11, 12]);
        assert!(missing.came(11) && !missing.came(11));
        for _ in 1..MAX_TRIES {
            now += AGAIN;
            assert!(!missing.poll(now, &mut ask));
        }
        assert!(missing.poll(now + AGAIN, &mut ask), "given up");
        assert_eq!((ask.len(), missing.next_timeout()), (0, None));
        assert!(missing.note_gap(now, 0..1000));
    }
}
