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
use crate::row;

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
    let three = Host { policy: three, allows: true };
    // Without plugins nobody is known, and nothing is allowed.
    let none = Host { policy: none, allows: false };
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
        all_at_once_ms: row::median(at_once.into_iter()),
    })
}

/// How long each of them waited for policy.
fn storm(runtime: &Runtime, host: &Host, token: &str, joins: usize, within: Duration) -> Result<Vec<Duration>> {
    let everybody = LocalSet::new();
    let began = tokio::time::Instant::now();
    let tasks: Vec<_> = (0..joins)
        .map(|number| {
            let (host, token) = (host.clone(), token.to_owned());
            let comes_at = began + within.mul_f64(number as f64 / joins as f64);
            everybody.spawn_local(async move {
                tokio::time::sleep_until(comes_at).await;
                host.join(&token).await
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

/// A policy, and what it says to everybody who joins.
#[derive(Clone)]
struct Host {
    policy: Policy,
    allows: bool,
}

impl Host {
    /// What is asked when somebody joins: who they are, whether they enter, what they publish, what they see.
    async fn join(&self, token: &str) -> Result<Duration> {
        let (admission, publishing) = (load::admission()?, load::publishing()?);
        let (tracks, subscription) = (publishing.tracks.len(), load::subscription(CAMERAS)?);
        let started = Instant::now();
        let known = self.policy.authenticate(load::auth(token)).await;
        let enters = self.policy.admit(admission).await;
        let publishes = self.policy.publish(publishing).await;
        let sees = self.policy.subscribe(subscription).await;
        let waited = started.elapsed();
        ensure!((publishes.len(), sees.len()) == (tracks, CAMERAS), "{publishes:?} {sees:?}");
        let tracks = publishes.iter().chain(&sees).map(Result::is_ok);
        let said: Vec<_> = [known.is_ok(), enters.is_ok()].into_iter().chain(tracks).collect();
        ensure!(said.iter().all(|allowed| *allowed == self.allows), "{known:?} {enters:?} {publishes:?} {sees:?}");
        Ok(waited)
    }
}

/// All of them come in this time.
const WITHIN: Duration = Duration::from_secs(1);
/// What a newcomer would see.
const CAMERAS: usize = 16;
