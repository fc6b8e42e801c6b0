//! `lockgate-bench policy`: what a decision costs, with a fresh instance for each question and with one for all.
//!
//! Everything is measured in turns; the figures are medians of the turns' own. It judges nothing by itself.

mod auth;
mod load;
mod report;
mod storm;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockgate_policy::kit::{Fixture, Stopwatch, Times, Trial};
use lockgate_policy::{Isolation, Policy};
use tokio::runtime::Runtime;

use self::report::{Guest, Report};
use crate::cli::PolicyOptions;
use crate::machine::{self, Machine};
use crate::{progress, row};

/// Runs it.
pub(crate) fn run(options: &PolicyOptions) -> Result<()> {
    let (turns, rounds) = options.turns();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("no runtime")?;
    let machine = Machine::here(false);
    progress("one decision: fresh instance, same instance, asked from another thread");
    let guests = GUESTS.iter().map(|(language, plugin)| guest(language, &options.plugins, plugin, turns, rounds));
    let guests = guests.collect::<Result<Vec<_>>>()?;
    let [fresh, reuse] = [Isolation::Fresh, Isolation::Reuse].map(|isolation| load::chain(&options.plugins, isolation));
    let (fresh, reuse) = (fresh?, reuse?);
    let asked_fresh = median(turns, || asked(&runtime, &fresh, rounds))?;
    let asked_reuse = median(turns, || asked(&runtime, &reuse, rounds))?;
    progress("tokens, by algorithm");
    let auth = auth::measure(&runtime, &options.plugins, turns, rounds)?;
    progress("a join storm");
    let storm = storm::measure(&runtime, &options.plugins, turns, options.joins())?;
    Report::new(machine, guests, [asked_fresh, asked_reuse], auth, storm)?.finish(&options.output()?)
}

/// A decision about one track, as a guest of a language makes it.
fn guest(language: &str, plugins: &Path, plugin: &str, turns: u32, rounds: usize) -> Result<Guest> {
    let file = plugins.join(plugin).with_extension("wasm");
    let case = Fixture::read(CASE).context("the case is right")?.case;
    let open =
        || Stopwatch::new(&file, &case).with_context(|| format!("{}: see `cargo xtask plugins`", file.display()));
    let watch = open()?;
    let answered = Trial::open(&file)?.put(&case);
    ensure!(answered.answer.counts(), "{} does not answer: {:?}", file.display(), answered.answer);
    // The first ones touch memory for the first time.
    watch.fresh(rounds / 10);
    let (mut fresh_cpu, mut warm_cpu) = (Vec::new(), Vec::new());
    let fresh = median(turns, || timed(&mut fresh_cpu, rounds, || Some(watch.fresh(rounds))))?;
    let warm = median(turns, || timed(&mut warm_cpu, rounds, || watch.warm(rounds)))?;
    Ok(Guest {
        language: language.into(),
        plugin: plugin.into(),
        cost: answered.cost,
        fresh,
        warm,
        fresh_decisions_per_second: per_second(fresh_cpu),
        warm_decisions_per_second: per_second(warm_cpu),
    })
}

/// Percentiles of one turn, and the thread's own time for each decision.
fn timed(cpu: &mut Vec<f64>, rounds: usize, take: impl FnOnce() -> Option<Vec<Duration>>) -> Result<Times> {
    let before = machine::used_by_this_thread()?;
    let taken = take().context("the plugin failed")?;
    cpu.push((machine::used_by_this_thread()? - before).as_secs_f64() / rounds as f64);
    Ok(Times::of(taken))
}

/// The same decision by the whole host: to a policy thread and back.
fn asked(runtime: &Runtime, policy: &Policy, rounds: usize) -> Result<Times> {
    let question = load::subscription(1)?;
    let mut taken = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let question = question.clone();
        let started = Instant::now();
        let decisions = runtime.block_on(policy.subscribe(question));
        taken.push(started.elapsed());
        ensure!(decisions.iter().all(Result::is_ok), "denied: {decisions:?}");
    }
    Ok(Times::of(taken))
}

/// The medians of some turns.
fn median(turns: u32, mut turn: impl FnMut() -> Result<Times>) -> Result<Times> {
    let all = (0..turns).map(|_| turn()).collect::<Result<Vec<_>>>()?;
    let of = |read: fn(&Times) -> f64| row::median(all.iter().map(read));
    Ok(Times { p50_us: of(|times| times.p50_us), p99_us: of(|times| times.p99_us) })
}

fn per_second(seconds: Vec<f64>) -> f64 {
    row::median(seconds.into_iter()).recip()
}

/// The guests whose decisions are measured, by language; the first one is held against the budgets.
const GUESTS: [(&str, &str); 1] = [("rust", "subscription-policy")];

/// A viewer with a role and two other claims, one camera of a host, and rules for two roles.
const CASE: &str = r#"
hook = "subscription"

[settings.roles.viewer]
sees = ["host"]
max_spatial = 1

[settings.roles.host]

[question]
who.identity = { subject = "viewer-1", username = "A viewer", claims = { role = "viewer", locale = "de", plan = "free" } }
room = { name = "board", participants = 30, publications = 2 }
publishers = [{ identity = { subject = "host-1", username = "The host", claims = { role = "host", locale = "de" } }, publisher-id = 1 }]
publications = [{ publisher = 0, track = { id = "camera", codec = "vp8", top-layer = { spatial = 2, temporal = 2 }, bitrate = 2_500_000 } }]

[expect]
verdicts = [{ allow = { max-spatial = 1 } }]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_middle_turn() {
        assert_eq!(per_second(vec![0.5, 0.25, 0.125]), 4.0);
    }

    #[test]
    fn the_case_is_one() {
        assert!(Fixture::read(CASE).is_ok());
    }
}
