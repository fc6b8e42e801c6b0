//! How many of a track's encodings its publisher is asked to send: what nobody wants is not encoded, what somebody wants is at once.
//!
//! Encodings are switched off from the largest one down, so that whoever must go down a step finds the smaller one there. A
//! publisher that does not listen goes on sending, which does no harm.

use std::time::{Duration, Instant};

/// What a publisher was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steering {
    /// So many encodings, the smallest ones. None: it is not known what it sends.
    active: Option<u8>,
    /// Since when fewer are wanted.
    spare: Option<Instant>,
    /// When more were asked for last, and how many it had been before, those not counted that were asked for just then.
    resumed: Option<(Instant, u8)>,
}

impl Steering {
    /// A publisher begins with all encodings that it has.
    pub(crate) fn all() -> Self {
        Self { active: Some(u8::MAX), spare: None, resumed: None }
    }

    /// A publisher of whose other tracks something was off: it may send all of this one, or nothing.
    pub(crate) fn unknown() -> Self {
        Self { active: None, ..Self::all() }
    }

    /// So many encodings are wanted, of so many that there are. True: the publisher is to be told how many to send from now on.
    pub(crate) fn want(&mut self, now: Instant, wanted: u8, count: u8) -> bool {
        let wanted = wanted.min(count);
        // Of what is not known the worse is believed: that it is off when it is wanted, and on when it is not.
        let unknown = if wanted > 0 { 0 } else { count };
        let active = self.active.map_or(unknown, |active| active.min(count));
        if wanted >= active {
            self.spare = None;
        }
        let over = wanted < active && now.duration_since(*self.spare.get_or_insert(now)) >= SPARE;
        if wanted > active {
            let recent = self.resumed.filter(|(at, _)| now.duration_since(*at) < RESUME_WITHIN);
            self.resumed = Some((now, recent.map_or(active, |(_, had)| had.min(active))));
        } else if !over {
            return false;
        }
        (self.active, self.spare) = (Some(wanted), None);
        true
    }

    /// Whether less may be asked for as time passes.
    pub(crate) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// Whether the publisher was asked for an encoding.
    pub(crate) fn is_active(&self, encoding: u8) -> bool {
        self.active.is_some_and(|active| encoding < active)
    }

    /// Whether an encoding does not come because nobody wanted it: it can be had.
    pub(crate) fn rests(&self, now: Instant, encoding: u8) -> bool {
        let is_resumed = |(at, had): (Instant, u8)| encoding >= had && now.duration_since(at) < RESUME_WITHIN;
        !self.is_active(encoding) || self.resumed.is_some_and(is_resumed)
    }
}

/// How long an encoding is sent for nobody: as long as somebody looks elsewhere for a moment, or a link recovers.
const SPARE: Duration = Duration::from_secs(8);
/// An encoding that was asked for again and has not come for so long is not to be had: its publisher's own link may not carry it.
const RESUME_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_ends_after_a_while_and_what_somebody_wants_begins_at_once() {
        let (now, mut steering) = (Instant::now(), Steering::all());
        let second = Duration::from_secs(1);
        assert!(!steering.want(now, 3, 3));
        assert!((1..9).all(|passed| !steering.want(now + passed * second, 1, 3)), "it is sent on for a while");
        assert!(steering.want(now + 9 * second, 1, 3));
        assert_eq!([0, 1, 2].map(|one| steering.is_active(one)), [true, false, false]);
        assert!(steering.rests(now + 9 * second, 2) && !steering.rests(now + 9 * second, 0));
        assert!(!steering.want(now + 10 * second, 1, 3), "told once");
        assert!(steering.want(now + 11 * second, 2, 3));
        assert!(steering.rests(now + 12 * second, 1), "it was asked for a second ago");
        assert!(!steering.rests(now + 15 * second, 1) && steering.rests(now + 15 * second, 2));
    }

    #[test]
    fn who_looks_away_for_a_moment_switches_nothing_off() {
        let (now, mut steering) = (Instant::now(), Steering::all());
        for turn in 0..10 {
            assert!(!steering.want(now + turn * SPARE, 0, 3));
            assert!(!steering.want(now + turn * SPARE + SPARE - Duration::from_millis(1), 3, 3));
        }
    }

    #[test]
    fn what_was_asked_for_just_now_is_still_to_come_when_more_is_asked_for() {
        let (now, mut steering) = (Instant::now(), Steering::all());
        assert!(!steering.want(now, 0, 3) && steering.want(now + SPARE, 0, 3));
        let (first, second) = (now + 2 * SPARE, now + 2 * SPARE + RESUME_WITHIN / 2);
        assert!(steering.want(first, 1, 3) && steering.want(second, 3, 3));
        assert!((0..3).all(|encoding| steering.rests(second, encoding)), "all of them can be had");
        let later = second + RESUME_WITHIN;
        assert!((0..3).all(|encoding| !steering.rests(later, encoding)), "if they come");
        assert!(!steering.want(later, 2, 3) && steering.want(later + SPARE, 2, 3));
        assert!(steering.want(later + 2 * SPARE, 3, 3));
        assert!(!steering.rests(later + 2 * SPARE, 0), "that one has been there for long");
    }

    #[test]
    fn where_it_is_not_known_what_comes_all_that_is_wanted_is_asked_for_and_what_nobody_wants_ends() {
        let (now, mut steering) = (Instant::now(), Steering::unknown());
        assert!(!steering.want(now, 0, 1) && steering.rests(now, 0));
        assert!(steering.want(now, 1, 1));
        let mut unwatched = Steering::unknown();
        assert!(!unwatched.want(now, 0, 1) && unwatched.has_spare(), "somebody may come");
        assert!(unwatched.want(now + SPARE, 0, 1));
        assert!(!unwatched.want(now + 2 * SPARE, 0, 1), "told once");
    }
}
