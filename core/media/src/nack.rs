//! Which packets of an incoming stream are missing, and when to ask for them (RFC 4585 §6.2.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is missing of a stream.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    numbers: BTreeMap<u64, Ask>,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    due: Instant,
    tries: u8,
}

/// What is to be done about what is missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Ask for these, ascending.
    pub(crate) ask: Vec<u16>,
    /// These will not come any more.
    pub(crate) lost: Vec<u64>,
}

impl Missing {
    /// Notes a packet that came, and what lies between it and the highest one before. True when so much is missing that only a key
    /// frame helps; then nothing is asked for.
    pub(crate) fn note(&mut self, now: Instant, number: u64, highest: Option<u64>) -> bool {
        self.numbers.remove(&number);
        let Some(highest) = highest.filter(|highest| number > highest + 1) else { return false };
        let gap = highest + 1..number;
        if gap.end - gap.start > MAX_GAP || self.numbers.len() > MAX_MISSING {
            self.numbers.clear();
            return true;
        }
        // Packets overtake each other by a little: what is only late need not be asked for.
        self.numbers.extend(gap.map(|number| (number, Ask { due: now + REORDER, tries: 0 })));
        false
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.numbers.contains_key(&number)
    }

    /// When something is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.numbers.values().map(|ask| ask.due).min()
    }

    /// Takes what is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        self.numbers.retain(|number, ask| {
            if ask.due > now {
                return true;
            }
            if ask.tries >= MAX_TRIES {
                due.lost.push(*number);
                return false;
            }
            due.ask.push(*number as u16);
            ask.tries += 1;
            ask.due = now + AGAIN;
            true
        });
        due
    }
}

const REORDER: Duration = Duration::from_millis(8);
const AGAIN: Duration = Duration::from_millis(60);
const MAX_TRIES: u8 = 10;
const MAX_GAP: u64 = 250;
const MAX_MISSING: usize = 500;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_until_it_is_filled_or_given_up() {
        let mut now = Instant::now();
        let mut missing = Missing::default();
        assert!(!missing.note(now, 10, None));
        assert!(!missing.note(now, 13, Some(10)));
        assert_eq!(missing.poll(now), Due::default(), "it may only be late");
        now += REORDER;
        assert_eq!(missing.poll(now).ask, [11, 12]);
        missing.note(now, 11, Some(13));
        for _ in 1..MAX_TRIES {
            now += AGAIN;
            assert_eq!(missing.poll(now).ask, [12]);
        }
        now += AGAIN;
        assert_eq!(missing.poll(now), Due { ask: vec![], lost: vec![12] });
        assert_eq!(missing.next_timeout(), None);
    }

    #[test]
    fn a_hole_too_large_to_ask_for_wants_a_key_frame() {
        let now = Instant::now();
        let mut missing = Missing::default();
        missing.note(now, 10, None);
        assert!(missing.note(now, 1000, Some(10)));
        assert_eq!(missing.next_timeout(), None);
    }
}
