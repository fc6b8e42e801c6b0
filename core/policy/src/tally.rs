//! How a set does, and whether it does worse than another one.
//!
//! Judging is a pure function over counters. It asks whether the numbers leave a doubt, not whether one is larger: a handful of
//! unlucky questions takes nothing back, and a set that fails at every one of them is found out by a few.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::config::CanaryConfig;

/// The live counters of a set.
#[derive(Debug)]
pub(crate) struct Tally {
    answers: AtomicU64,
    failed: AtomicU64,
    /// Millionths of answers.
    denied: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

/// What came of one question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Whether any plugin failed at it.
    pub(crate) failed: bool,
    /// Of so many decisions …
    pub(crate) decisions: usize,
    /// … so many are denials.
    pub(crate) denials: usize,
    /// How long the plugins took, without the wait for a thread.
    pub(crate) took: Duration,
}

/// Counters at one moment, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) answers: u64,
    failed: u64,
    denied: u64,
    latency: [u64; BUCKETS],
}

/// Why a set is taken back: what it does worse than the one before, by how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Worse {
    /// Shares of questions at which a plugin failed.
    Failures { new: f64, old: f64 },
    /// Shares of what was denied.
    Denials { new: f64, old: f64 },
    /// The share of answers that took longer than so long.
    Latency { slow: f64, than: Duration },
}

impl Tally {
    pub(crate) fn note(&self, outcome: Outcome) {
        let Outcome { failed, decisions, denials, took } = outcome;
        self.answers.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
        let denied = if decisions == 0 { 0.0 } else { denials as f64 / decisions as f64 };
        self.denied.fetch_add((denied * MILLION) as u64, Relaxed);
        self.latency[bucket(took)].fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            answers: self.answers.load(Relaxed),
            failed: self.failed.load(Relaxed),
            denied: self.denied.load(Relaxed),
            latency: std::array::from_fn(|bucket| self.latency[bucket].load(Relaxed)),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self { answers: zero(), failed: zero(), denied: zero(), latency: std::array::from_fn(|_| zero()) }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Tally::default().counts()
    }
}

impl Counts {
    /// What came after that moment.
    pub(crate) fn since(&self, then: &Self) -> Self {
        Self {
            answers: self.answers.saturating_sub(then.answers),
            failed: self.failed.saturating_sub(then.failed),
            denied: self.denied.saturating_sub(then.denied),
            latency: std::array::from_fn(|bucket| self.latency[bucket].saturating_sub(then.latency[bucket])),
        }
    }

    fn failures(&self) -> Share {
        Share { part: self.failed as f64, of: self.answers as f64 }
    }

    fn denials(&self) -> Share {
        Share { part: self.denied as f64 / MILLION, of: self.answers as f64 }
    }

    /// Answers that surely took longer.
    fn slower_than(&self, bound: Duration) -> Share {
        let first = (0..BUCKETS).find(|bucket| lower_bound(*bucket) >= bound).unwrap_or(BUCKETS);
        Share { part: self.latency[first..].iter().sum::<u64>() as f64, of: self.answers as f64 }
    }

    /// All but a hundredth of the answers took no longer.
    fn p99(&self) -> Duration {
        let (mut seen, enough) = (0, self.answers - self.answers / 100);
        let bucket = self.latency.iter().position(|count| {
            seen += count;
            seen >= enough
        });
        lower_bound(bucket.unwrap_or(BUCKETS - 1) + 1)
    }
}

/// Whether the plugins of a set fail more often than those of another one by more than the bound, beyond doubt.
pub(crate) fn fails_more(bounds: &CanaryConfig, new: &Counts, old: &Counts) -> Option<Worse> {
    let (failures, before) = (new.failures(), old.failures());
    let too_many = new.answers >= bounds.min_answers && failures.at_least() > before.value() + bounds.max_failure_rise;
    too_many.then(|| Worse::Failures { new: failures.value(), old: before.value() })
}

/// Whether enough is known of a set to let it answer for all, and its failures do not speak against it, be it with doubt.
pub(crate) fn is_proven(bounds: &CanaryConfig, new: &Counts, old: &Counts) -> bool {
    new.answers >= bounds.min_answers && new.failures().value() <= old.failures().value() + bounds.max_failure_rise
}

/// Whether a set does worse than another one beside it by more than the bounds, beyond doubt.
pub(crate) fn is_worse(bounds: &CanaryConfig, new: &Counts, old: &Counts) -> Option<Worse> {
    if new.answers < bounds.min_answers {
        return None;
    }
    let denies_more = || {
        let (denials, before) = (new.denials(), old.denials());
        let too_many =
            old.answers >= bounds.min_answers && denials.at_least() > before.at_most() + bounds.max_denial_rise;
        too_many.then(|| Worse::Denials { new: denials.value(), old: before.value() })
    };
    let is_slower = || {
        if old.answers < bounds.min_answers.max(LEAST_FOR_P99) {
            return None;
        }
        let than = old.p99().mul_f64(bounds.max_latency_ratio).max(QUICK);
        let slow = new.slower_than(than);
        (slow.at_least() > 0.01).then(|| Worse::Latency { slow: slow.value(), than })
    };
    fails_more(bounds, new, old).or_else(denies_more).or_else(is_slower)
}

/// So many of so many.
#[derive(Clone, Copy)]
struct Share {
    part: f64,
    of: f64,
}

impl Share {
    fn value(self) -> f64 {
        if self.of > 0.0 { self.part / self.of } else { 0.0 }
    }

    /// Where the true share lies: the score interval (E. B. Wilson, 1927), which holds for few samples and for shares near 0 and 1. For a
    /// mean of values between 0 and 1 it is wider than need be.
    fn interval(self) -> (f64, f64) {
        if self.of <= 0.0 {
            return (0.0, 1.0);
        }
        let (share, squared) = (self.value(), DOUBT * DOUBT);
        let middle = share + squared / (2.0 * self.of);
        let half = DOUBT * (share * (1.0 - share) / self.of + squared / (4.0 * self.of * self.of)).max(0.0).sqrt();
        let whole = 1.0 + squared / self.of;
        ((middle - half) / whole, (middle + half) / whole)
    }

    fn at_least(self) -> f64 {
        self.interval().0
    }

    fn at_most(self) -> f64 {
        self.interval().1
    }
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| share * 100.0;
        match self {
            Self::Failures { new, old } => {
                write!(f, "plugins failed at {:.1} % of the questions, before at {:.1} %", percent(*new), percent(*old))
            }
            Self::Denials { new, old } => {
                write!(f, "{:.1} % was denied, by the plugins before {:.1} %", percent(*new), percent(*old))
            }
            Self::Latency { slow, than } => {
                write!(f, "{:.1} % of the answers took longer than {than:.1?}, where 1 % may", percent(*slow))
            }
        }
    }
}

/// Four for each doubling, from 1 µs.
fn bucket(took: Duration) -> usize {
    let microseconds = took.as_secs_f64() * MILLION;
    ((microseconds.max(1.0).log2() * STEPS) as usize).min(BUCKETS - 1)
}

fn lower_bound(bucket: usize) -> Duration {
    Duration::from_secs_f64((bucket as f64 / STEPS).exp2() / MILLION)
}

const MILLION: f64 = 1e6;
const STEPS: f64 = 4.0;
/// Up to 16 s: no chain has more than 10.
const BUCKETS: usize = 97;
/// In standard deviations: one in 700 looks that find something worse is wrong, and a hold has some sixty looks at the same numbers.
const DOUBT: f64 = 3.0;
/// What is below the noise of a machine that does other things, too.
const QUICK: Duration = Duration::from_millis(5);
/// Answers of which the slowest hundredth is one.
const LEAST_FOR_P99: u64 = 100;

#[cfg(test)]
mod tests;
