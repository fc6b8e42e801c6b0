//! How long a decision takes. Prints figures; they are judged by people, not by the test.

use std::time::{Duration, Instant};

use lockgate_model::policy::Grant;
use lockgate_policy::{Isolation, JournalConfig, PluginConfig, Policy};
use serde_json::json;

use crate::support::{auth, camera, load, plugin, somebody, subscription, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures: cargo test -p lockgate-policy --profile ci -- --ignored --nocapture"]
async fn figures_of_a_decision_with_a_fresh_instance() {
    let viewer = json!({ "roles": { "viewer": { "max_spatial": 1, "sees": ["host"] } } });
    let started = Instant::now();
    let before = resident();
    let policy = load(vec![
        plugin("jwt-auth", json!({})),
        plugin("room-admission", json!({})),
        plugin("subscription-policy", viewer),
    ]);
    println!("loading three plugins: {:?}; resident memory {before} before, {} after", started.elapsed(), resident());
    let who = somebody("v", Some("viewer"), Grant::default());
    for tracks in [1, 50] {
        let host = somebody("h", Some("host"), Grant::default());
        let question = subscription(who.clone(), vec![camera(host); tracks]);
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            let question = question.clone();
            let started = Instant::now();
            assert!(policy.subscribe(question).await[0].is_ok());
            taken.push(started.elapsed());
        }
        print(&format!("subscription decide, {tracks} tracks, asked to answered"), taken);
    }
    let token = token(json!({}));
    let mut taken = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        assert!(policy.authenticate(auth(&token)).await.is_ok());
        taken.push(started.elapsed());
    }
    print("auth, HS256, asked to answered", taken);
    guests_own(&policy);
    let kept = PluginConfig { isolation: Isolation::Reuse, ..plugin("subscription-policy", json!({})) };
    let policy = load(vec![kept]);
    let host = somebody("h", Some("host"), Grant::default());
    let question = subscription(who, vec![camera(host)]);
    let mut taken = Vec::new();
    for _ in 0..ROUNDS {
        let question = question.clone();
        let started = Instant::now();
        assert!(policy.subscribe(question).await[0].is_ok());
        taken.push(started.elapsed());
    }
    print("subscription decide, 1 track, instances kept, asked to answered", taken);
    guests_own(&policy);
    println!("resident memory {} after all that", resident());
}

/// Without the way to the policy thread and back.
fn guests_own(policy: &Policy) {
    for plugin in policy.stats().plugins {
        for hook in plugin.hooks {
            let mean = hook.latency_sum / u32::try_from(hook.calls).unwrap();
            let (plugin, hook_name, calls) = (&plugin.plugin, hook.hook.as_str(), hook.calls);
            println!("{plugin} {hook_name}: {calls} calls, mean {mean:?} in the guest's thread");
        }
    }
}

/// The same question with a decision log and without, in turns: what the machine does besides hits both alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures: cargo test -p lockgate-policy --profile ci -- --ignored --nocapture"]
async fn figures_of_a_decision_that_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let plain = load(vec![plugin("subscription-policy", json!({}))]);
    let log = JournalConfig {
        directory: folder.path().to_owned(),
        max_size: 64 << 20,
        max_age: Duration::from_secs(3600),
        keep: 2,
        omit: Vec::new(),
    };
    let logged = load(vec![plugin("subscription-policy", json!({}))]).log_to(&log).unwrap();
    let who = somebody("v", Some("viewer"), Grant::default());
    for tracks in [1, 50] {
        let host = somebody("h", Some("host"), Grant::default());
        let question = subscription(who.clone(), vec![camera(host); tracks]);
        let mut taken = [Vec::new(), Vec::new()];
        for round in 0..2 * ROUNDS {
            let policy = [&plain, &logged][round % 2];
            let question = question.clone();
            let started = Instant::now();
            assert!(policy.subscribe(question).await[0].is_ok());
            taken[round % 2].push(started.elapsed());
        }
        let median = |taken: &mut Vec<Duration>| {
            taken.sort_unstable();
            taken[taken.len() / 2].as_secs_f64()
        };
        let [without, with] = &mut taken;
        println!("{tracks} tracks, logged: {:.3} times the median without a log", median(with) / median(without));
        print(&format!("{tracks} tracks, no log"), std::mem::take(without));
        print(&format!("{tracks} tracks, logged"), std::mem::take(with));
    }
    logged.journal().close();
    let stats = logged.journal().stats().unwrap();
    println!("{} lines, {} lost", stats.lines, stats.lost);
}

/// `VmRSS` as the system writes it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap_or("unknown").trim().to_owned()
}

fn print(what: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.9), at(0.99), at(1.0));
}

const ROUNDS: usize = 5000;
