//! Whether a plugin that keeps failing is asked at all.
//!
//! Closed, it lets every question through and counts how they go. Too many failures open it: no question is put until a pause
//! is over, then a single one, the probe, whose answer closes it and whose failure begins a pause of twice the length.
//! What a question that is not put is answered with is not decided here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockgate_model::policy::Hook;

use crate::config::BreakerConfig;
use crate::metrics::place;

/// A plugin's breakers: what fails at one hook may work at another.
#[derive(Debug)]
pub(crate) struct Breakers([Breaker; Hook::ALL.len()]);

/// The breaker of one hook of one plugin.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
    opened: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        since: Instant,
        calls: u32,
        failures: u32,
    },
    Open {
        until: Instant,
        pause: Duration,
    },
    /// A probe is under way. One that has not come back by then never will: the next question is another.
    Probing {
        until: Instant,
        pause: Duration,
    },
}

/// The leave to put one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Ordinary,
    Probe,
}

/// How a question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Failed,
    /// It failed for want of time that others had used up.
    CutShort,
}

/// A change that operators are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is not asked for so long.
    Opened(Duration),
    /// It is asked again.
    Closed,
}

impl Breakers {
    /// Counts in `opened`, by hook, how often a pause has begun.
    pub(crate) fn new(config: BreakerConfig, now: Instant, opened: &[Arc<AtomicU64>; Hook::ALL.len()]) -> Self {
        Self(std::array::from_fn(|hook| Breaker::new(config, now, Arc::clone(&opened[hook]))))
    }

    pub(crate) fn of(&self, hook: Hook) -> &Breaker {
        &self.0[place(&Hook::ALL, hook)]
    }
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig, now: Instant, opened: Arc<AtomicU64>) -> Self {
        Self { config, state: Mutex::new(State::Closed { since: now, calls: 0, failures: 0 }), opened }
    }

    /// Whether a question may be put now. Each pass comes back with [`Self::leave`].
    pub(crate) fn enter(&self, now: Instant) -> Option<Pass> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => Some(Pass::Ordinary),
            State::Open { until, .. } | State::Probing { until, .. } if now < until => None,
            State::Open { pause, .. } | State::Probing { pause, .. } => {
                *state = State::Probing { until: now + pause, pause };
                Some(Pass::Probe)
            }
        }
    }

    /// Tells how a question went.
    pub(crate) fn leave(&self, pass: Pass, outcome: Outcome, now: Instant) -> Option<Turn> {
        let mut state = self.lock();
        let (next, turn) = match (*state, pass) {
            (State::Closed { since, calls, failures }, Pass::Ordinary) => self.counted(
                if now < since + self.config.window { (since, calls, failures) } else { (now, 0, 0) },
                outcome,
                now,
            ),
            (State::Probing { pause, .. }, Pass::Probe) => self.probed(pause, outcome, now),
            // Put before it opened, or given up as lost: what came of it is no news.
            (State::Open { .. } | State::Probing { .. }, _) | (State::Closed { .. }, Pass::Probe) => return None,
        };
        *state = next;
        drop(state);
        self.opened.fetch_add(u64::from(matches!(turn, Some(Turn::Opened(_)))), Relaxed);
        turn
    }

    /// Whether questions are not put, a probe aside.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(*self.lock(), State::Closed { .. })
    }

    /// How often a pause has begun.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// One more in the window. A plugin that answers most people goes on: somebody who knows how to make it fail must not be able to
    /// close a door to others.
    fn counted(
        &self,
        (since, calls, failures): (Instant, u32, u32),
        outcome: Outcome,
        now: Instant,
    ) -> (State, Option<Turn>) {
        if outcome == Outcome::CutShort {
            return (State::Closed { since, calls, failures }, None);
        }
        let (calls, failures) = (calls.saturating_add(1), failures + u32::from(outcome == Outcome::Failed));
        let most = self.config.failures;
        if outcome == Outcome::Failed && most > 0 && failures >= most && failures >= calls.div_ceil(2) {
            return self.paused(self.config.pause, now);
        }
        (State::Closed { since, calls, failures }, None)
    }

    fn probed(&self, pause: Duration, outcome: Outcome, now: Instant) -> (State, Option<Turn>) {
        match outcome {
            Outcome::Answered => (State::Closed { since: now, calls: 0, failures: 0 }, Some(Turn::Closed)),
            Outcome::Failed => self.paused(pause.saturating_mul(2).min(self.config.max_pause), now),
            // It says nothing: the next question is the probe.
            Outcome::CutShort => (State::Open { until: now, pause }, None),
        }
    }

    fn paused(&self, pause: Duration, now: Instant) -> (State, Option<Turn>) {
        (State::Open { until: now + pause, pause }, Some(Turn::Opened(pause)))
    }

    /// Its states are copied in and out whole, so a panic in between leaves the last one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        window: Duration::from_secs(10),
        pause: Duration::from_secs(1),
        max_pause: Duration::from_secs(3),
    };

    struct Asked {
        breaker: Breaker,
        now: Instant,
    }

    impl Asked {
        fn new(config: BreakerConfig) -> Self {
            let now = Instant::now();
            Self { breaker: Breaker::new(config, now, Arc::default()), now }
        }

        fn after(&mut self, seconds: f64) -> &mut Self {
            self.now += Duration::from_secs_f64(seconds);
            self
        }

        /// Only asks whether a question may be put.
        fn enter(&self) -> Option<Pass> {
            self.breaker.enter(self.now)
        }

        /// Puts one question; none: it was not put.
        fn put(&self, outcome: Outcome) -> Option<Option<Turn>> {
            let pass = self.breaker.enter(self.now)?;
            Some(self.breaker.leave(pass, outcome, self.now))
        }

        fn fails(&self, times: usize) -> Vec<Option<Option<Turn>>> {
            (0..times).map(|_| self.put(Outcome::Failed)).collect()
        }
    }

    fn opened(seconds: u64) -> Option<Option<Turn>> {
        Some(Some(Turn::Opened(Duration::from_secs(seconds))))
    }

    #[test]
    fn too_many_failures_in_the_window_open_it_and_no_question_is_put() {
        let asked = Asked::new(CONFIG);
        assert_eq!(asked.fails(4), [Some(None), Some(None), opened(1), None]);
        assert!(asked.breaker.is_open());
        assert_eq!(asked.breaker.opened(), 1);
    }

    #[test]
    fn failures_of_an_earlier_window_count_for_nothing() {
        let mut asked = Asked::new(CONFIG);
        asked.fails(2);
        asked.after(10.0).fails(2);
        assert!(!asked.breaker.is_open());
        assert_eq!(asked.fails(1), [opened(1)]);
    }

    #[test]
    fn a_plugin_that_answers_most_people_goes_on() {
        let asked = Asked::new(CONFIG);
        for _ in 0..50 {
            asked.put(Outcome::Answered);
            asked.put(Outcome::Answered);
            asked.put(Outcome::Failed);
        }
        assert!(!asked.breaker.is_open());
        assert_eq!(asked.fails(50).last(), Some(&opened(1)), "as many as the others together");
    }

    #[test]
    fn one_question_at_a_time_tells_whether_it_works_again() {
        let mut asked = Asked::new(CONFIG);
        asked.fails(3);
        assert_eq!(asked.after(0.9).put(Outcome::Answered), None);
        let probe = asked.after(0.2).enter();
        assert_eq!(probe, Some(Pass::Probe));
        assert_eq!(asked.put(Outcome::Answered), None, "while the probe is under way");
        assert_eq!(asked.breaker.leave(Pass::Probe, Outcome::Answered, asked.now), Some(Turn::Closed));
        assert_eq!(asked.put(Outcome::Answered), Some(None));
        assert_eq!(asked.fails(2), [Some(None), Some(None)], "it starts anew");
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_the_longest() {
        let mut asked = Asked::new(CONFIG);
        asked.fails(3);
        for (wait, pause) in [(1.0, 2), (2.0, 3), (3.0, 3)] {
            assert_eq!(asked.after(wait - 0.1).put(Outcome::Failed), None);
            assert_eq!(asked.after(0.1).put(Outcome::Failed), opened(pause));
        }
        assert_eq!(asked.breaker.opened(), 4);
    }

    #[test]
    fn a_probe_that_never_comes_back_is_followed_by_another() {
        let mut asked = Asked::new(CONFIG);
        asked.fails(3);
        assert_eq!(asked.after(1.0).enter(), Some(Pass::Probe));
        assert_eq!(asked.after(1.0).put(Outcome::Answered), Some(Some(Turn::Closed)));
        assert_eq!(asked.breaker.leave(Pass::Probe, Outcome::Failed, asked.now), None, "too late to tell anything");
        assert!(!asked.breaker.is_open());
    }

    #[test]
    fn a_question_from_before_it_opened_neither_closes_it_nor_opens_it_twice() {
        let asked = Asked::new(CONFIG);
        let earlier = [(); 2].map(|()| asked.enter().unwrap());
        asked.fails(3);
        for (pass, outcome) in earlier.into_iter().zip([Outcome::Answered, Outcome::Failed]) {
            assert_eq!(asked.breaker.leave(pass, outcome, asked.now), None);
        }
        assert!(asked.breaker.is_open());
        assert_eq!(asked.breaker.opened(), 1);
    }

    #[test]
    fn time_that_others_used_up_is_nobodys_failure() {
        let mut asked = Asked::new(CONFIG);
        for _ in 0..9 {
            asked.put(Outcome::CutShort);
        }
        asked.fails(3);
        assert_eq!(asked.after(1.0).put(Outcome::CutShort), Some(None));
        assert_eq!(asked.put(Outcome::Answered), Some(Some(Turn::Closed)), "and the next one is the probe");
    }

    #[test]
    fn none_opens_if_the_operator_wants_none() {
        let asked = Asked::new(BreakerConfig { failures: 0, ..CONFIG });
        assert!(asked.fails(99).iter().all(|turn| *turn == Some(None)));
    }
}
