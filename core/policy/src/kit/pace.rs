//! How long a plugin takes for one question, and what that costs.
//!
//! Times are those of a node's engine, without the wait for a thread, and differ from machine to machine and from day to day. The cost
//! is counted on another engine and never differs: it is what to compare two versions of a plugin by.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::kit::answer::Answer;
use crate::kit::case::Case;
use crate::kit::specimen::Bench;
use crate::kit::trial::{Answered, Trial, asking, witness};
use crate::load_error::LoadProblem;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Pace {
    /// How often the question was put.
    pub rounds: usize,
    /// With a fresh instance for each question, as nodes do it.
    pub fresh: Times,
    /// With one instance for all questions; none if it failed.
    pub warm: Option<Times>,
    /// What the plugin computes for the question in a fresh instance: about one for each WebAssembly instruction.
    pub cost: u64,
    /// Memory that it has then, in bytes.
    pub memory: usize,
}

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// Half of all were quicker.
    pub p50_us: f64,
    /// 99 of a hundred were quicker.
    pub p99_us: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum NoPace {
    /// No node would load it.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Load(#[from] LoadProblem),
    /// There is no answer that counts.
    #[error("it does not answer this question: {0}")]
    NoAnswer(String),
}

/// Puts a case to a plugin so many times (at least once), and as often again to one instance.
///
/// # Errors
/// If the plugin cannot be loaded, or fails.
pub fn pace(file: &Path, case: &Case, rounds: usize) -> Result<Pace, NoPace> {
    let Answered { answer, cost, memory, .. } = Trial::open(file)?.put(case);
    if !answer.counts() {
        return Err(NoPace::NoAnswer(serde_json::json!(answer).to_string()));
    }
    let watch = Stopwatch::new(file, case)?;
    let (fresh, warm) = (watch.fresh(rounds.max(1)), watch.warm(rounds.max(1)));
    Ok(Pace { rounds: fresh.len(), fresh: Times::of(fresh), warm: warm.map(Times::of), cost, memory })
}

/// One plugin and one question, on an engine as a node has it.
pub struct Stopwatch {
    bench: Bench,
    trial: Trial,
    case: Case,
}

impl Stopwatch {
    /// Compiles the plugin. That it answers the question at all is for the caller to know.
    ///
    /// # Errors
    /// If no node would load it.
    pub fn new(file: &Path, case: &Case) -> Result<Self, LoadProblem> {
        let bench = Bench::timing()?;
        Ok(Self { trial: Trial::on(&bench, file)?, bench, case: case.clone() })
    }

    /// How long each of so many decisions takes in an instance of its own, which is made and thrown away in that time.
    pub fn fresh(&self, rounds: usize) -> Vec<Duration> {
        let _running = self.bench.run();
        let ask = asking(&self.case.question);
        let once = |_| self.trial.specimen().run(witness(&self.case), &ask).took;
        (0..rounds + WARM_UP).map(once).skip(WARM_UP).collect()
    }

    /// How long each of so many decisions takes in one instance; none if it fails one of them.
    pub fn warm(&self, rounds: usize) -> Option<Vec<Duration>> {
        let _running = self.bench.run();
        let ask = asking(&self.case.question);
        let mut instance = self.trial.specimen().warm(witness(&self.case)).ok()?;
        let again = |_| {
            let (result, took) = instance.again(&ask);
            result.ok().filter(Answer::counts).map(|_| took)
        };
        (0..rounds + WARM_UP).map(again).skip(WARM_UP).collect()
    }
}

impl Times {
    /// The percentiles of so many times; zero of none.
    pub fn of(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        let at = |percent: usize| {
            let place = (taken.len() * percent).div_ceil(100).saturating_sub(1);
            taken.get(place).map_or(0.0, |taken| taken.as_secs_f64() * 1e6)
        };
        Self { p50_us: at(50), p99_us: at(99) }
    }
}

/// Questions before those that count: the first ones touch memory for the first time.
const WARM_UP: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_so_many_did_not_exceed() {
        let us = |count: u64| (1..=count).rev().map(Duration::from_micros).collect::<Vec<_>>();
        assert_eq!(Times::of(us(100)), Times { p50_us: 50.0, p99_us: 99.0 });
        assert_eq!(Times::of(us(1)), Times { p50_us: 1.0, p99_us: 1.0 });
        assert_eq!(Times::of(us(1000)), Times { p50_us: 500.0, p99_us: 990.0 });
        assert_eq!(Times::of(Vec::new()), Times { p50_us: 0.0, p99_us: 0.0 });
    }
}
