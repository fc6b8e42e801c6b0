//! Which packets of an incoming stream are missing, and when to ask for them (RFC 4585 §6.2.1).
//!
//! Of one stream, by numbers that its owner has extended. Who is asked, and what a loss means, is the owner's business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is missing of a stream.
#[derive(Debug, Default)]
pub struct Missing {
    numbers: BTreeMap<u64, Ask>,
    /// Nothing is due earlier. It is asked for with every packet: what came meanwhile may leave it too early.
    next: Option<Instant>,
    /// What was given up at once, to be told.
    lost: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    due: Instant,
    tries: u8,
}

/// What is to be done about what is missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Ask for these, ascending.
    pub ask: Vec<u16>,
    /// From these to those will not come any more.
    pub lost: Vec<(u64, u64)>,
}

impl Missing {
    /// Notes a packet that came, and what lies between it and the highest one before. True when so much is missing that only a key
    /// frame helps; then nothing is asked for.
    pub fn note(&mut self, now: Instant, number: u64, highest: Option<u64>) -> bool {
        self.numbers.remove(&number);
        let Some(highest) = highest.filter(|highest| number > highest + 1) else { return false };
        let gap = highest + 1..number;
        if gap.end - gap.start > MAX_GAP || self.numbers.len() > MAX_MISSING {
            self.give_up(gap.start, gap.end - 1);
            self.next = Some(now);
            return true;
        }
        // Packets overtake each other by a little: what is only late need not be asked for.
        let due = now + REORDER;
        self.numbers.extend(gap.map(|number| (number, Ask { due, tries: 0 })));
        self.next = self.next.into_iter().chain([due]).min();
        false
    }

    /// Whether a packet is missing and not given up.
    pub fn has(&self, number: u64) -> bool {
        self.numbers.contains_key(&number)
    }

    /// Whether a missing packet has been asked for.
    pub fn was_asked_for(&self, number: u64) -> bool {
        self.numbers.get(&number).is_some_and(|ask| ask.tries > 0)
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next.filter(|_| !self.numbers.is_empty() || !self.lost.is_empty())
    }

    /// Takes what is due.
    pub fn poll(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        if self.next_timeout().is_none_or(|next| next > now) {
            return due;
        }
        due.lost = std::mem::take(&mut self.lost);
        self.numbers.retain(|number, ask| {
            if ask.due > now {
                return true;
            }
            if ask.tries >= MAX_TRIES {
                extend(&mut due.lost, *number, *number);
                return false;
            }
            due.ask.push(*number as u16);
            ask.tries += 1;
            ask.due = now + AGAIN;
            true
        });
        self.next = self.numbers.values().map(|ask| ask.due).min();
        due
    }

    /// All that is missing, and these: a key frame makes up for them. What nobody asks about in time is not told.
    fn give_up(&mut self, first: u64, last: u64) {
        let missing = std::mem::take(&mut self.numbers);
        let all = missing.into_keys().map(|number| (number, number)).chain([(first, last)]);
        for (first, last) in all {
            if self.lost.len() < MAX_MISSING {
                extend(&mut self.lost, first, last);
            }
        }
    }
}

/// Adds ascending numbers to what was lost.
fn extend(lost: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    match lost.last_mut() {
        Some((_, end)) if *end + 1 == first => *end = last,
        _ => lost.push((first, last)),
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
        assert!(!missing.was_asked_for(11));
        assert_eq!(missing.poll(now).ask, [11, 12]);
        assert!(missing.was_asked_for(11) && !missing.was_asked_for(13));
        missing.note(now, 11, Some(13));
        for _ in 1..MAX_TRIES {
            now += AGAIN;
            assert_eq!(missing.poll(now).ask, [12]);
        }
        now += AGAIN;
        assert_eq!(missing.poll(now), Due { ask: vec![], lost: vec![(12, 12)] });
        assert_eq!(missing.next_timeout(), None);
    }

    #[test]
    fn a_hole_too_large_to_ask_for_wants_a_key_frame_and_all_that_is_missing_is_lost() {
        let now = Instant::now();
        let mut missing = Missing::default();
        missing.note(now, 10, None);
        missing.note(now, 13, Some(10));
        assert!(missing.note(now, 1000, Some(13)));
        assert_eq!(missing.next_timeout(), Some(now), "to be told at once");
        assert_eq!(missing.poll(now), Due { ask: vec![], lost: vec![(11, 12), (14, 999)] });
        assert_eq!((missing.next_timeout(), missing.poll(now + AGAIN)), (None, Due::default()));
    }

    #[test]
    fn nothing_is_due_before_it_is_said_to_be() {
        let start = Instant::now();
        let mut missing = Missing::default();
        missing.note(start, 10, None);
        missing.note(start, 12, Some(10));
        let later = start + REORDER / 2;
        missing.note(later, 14, Some(12));
        assert_eq!(missing.next_timeout(), Some(start + REORDER));
        missing.note(later, 11, Some(14));
        assert_eq!(missing.poll(start + REORDER), Due::default(), "what was due has come");
        assert_eq!(missing.next_timeout(), Some(later + REORDER));
        assert_eq!(missing.poll(later + REORDER).ask, [13]);
        missing.note(later, 13, Some(14));
        assert_eq!(missing.next_timeout(), None);
    }
}
