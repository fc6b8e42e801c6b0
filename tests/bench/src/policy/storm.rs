//! A thousand people who join within a second, and what policy adds to each join.
//!
//! They come evenly through the second, as a meeting's participants do when it begins, whether or not those before them are in:
//! who must wait for a thread waits, and that counts. The same is measured without plugins, so that the way to a thread and back, and
//! what the clients of this program cost, can be taken away.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lockgate_policy::kit::Times;
use lockgate_policy::{Isolation, Policy};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::{auth, load, median};

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Storm {
    pub(super) joins: usize,
    pub(super) within_ms: u128,
    /// What the questions of one join took together, with three plugins.
    pub(super) with: Times,
    /// The same with none.
    pub(super) without: Times,
    /// The difference of the 99th percentiles.
    pub(super) added_p99_ms: f64,
    /// If all come at once: until the last one is in.
    pub(super) all_at_once_ms: f64,
}

pub(super) fn measure(runtime: &Runtime, plugins: &Path, turns: u32, joins: usize) -> Result<Storm> {
    let (three, none) = (load::chain(plugins, Isolation::Fresh)?, load::nobody()?);
    let token = auth::hs256()?;
    // The pool's memory is touched for the first time.
    storm(runtime, &three, &token, joins / 10, Duration::ZERO)?;
    let with = median(turns, || storm(runtime, &three, &token, joins, WITHIN).map(Times::of))?;
    let without = median(turns, || storm(runtime, &none, &token, joins, WITHIN).map(Times::of))?;
    let mut at_once = Vec::new();
    for _ in 0..turns {
        let started = Instant::now();
        storm(runtime, &three, &token, joins, Duration::ZERO)?;
        at_once.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Storm {
        joins,
        within_ms: WITHIN.as_millis(),
        added_p99_ms: (with.p99_us - without.p99_us) / 1e3,
        with,
        without,
        all_at_once_ms: super::middle(at_once),
    })
}

/// How long each of them waited for policy.
fn storm(runtime: &Runtime, policy: &Policy, token: &str, joins: usize, within: Duration) -> Result<Vec<Duration>> {
    let everybody = LocalSet::new();
    let began = tokio::time::Instant::now();
    let tasks: Vec<_> = (0..joins)
        .map(|number| {
            let (policy, token) = (policy.clone(), token.to_owned());
            let comes_at = began + within.mul_f64(number as f64 / joins as f64);
            everybody.spawn_local(async move {
                tokio::time::sleep_until(comes_at).await;
                join(&policy, &token).await
            })
        })
        .collect();
    runtime.block_on(everybody.run_until(async {
        let mut waited = Vec::with_capacity(joins);
        for task in tasks {
            waited.push(task.await??);
        }
        Ok(waited)
    }))
}

/// What is asked when somebody joins: who they are, whether they enter, what they publish, what they see.
async fn join(policy: &Policy, token: &str) -> Result<Duration> {
    let (admission, publishing, subscription) = (load::admission()?, load::publishing()?, load::subscription(CAMERAS)?);
    let started = Instant::now();
    let known = policy.authenticate(load::auth(token)).await;
    let enters = policy.admit(admission).await;
    let publishes = policy.publish(publishing).await;
    let sees = policy.subscribe(subscription).await;
    let waited = started.elapsed();
    // Without plugins nobody is known, and nothing is allowed.
    let allowed = [known.is_ok(), enters.is_ok(), publishes.iter().all(Result::is_ok), sees.iter().all(Result::is_ok)];
    ensure!(allowed == [allowed[0]; 4], "{allowed:?}");
    Ok(waited)
}

/// All of them come in this time.
const WITHIN: Duration = Duration::from_secs(1);
/// What a newcomer would see.
const CAMERAS: usize = 16;
