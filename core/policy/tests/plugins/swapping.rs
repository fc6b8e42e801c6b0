//! Real plugins that take the place of others while questions are asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lockgate_model::ErrorCode;
use lockgate_model::policy::{Grant, Hook};
use lockgate_policy::journal::SwapOutcome;
use lockgate_policy::{CanaryConfig, Failure, Isolation, OnFailure, PluginConfig, Policy, PolicyConfig};
use serde_json::{Value, json};

use crate::support::{admission, camera, component, config, load, plugin, room, somebody, subscription, told};

fn swap(policy: &Policy, plugins: Vec<PluginConfig>) -> SwapOutcome {
    let candidate = policy.prepare(&config(plugins)).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    policy.swap(candidate, "a test", Instant::now()).outcome
}

async fn enters(policy: &Policy, name: &str) -> Result<(), ErrorCode> {
    let who = somebody("guest", None, Grant::default());
    policy.admit(admission(who, room(name, 0), None)).await.map(drop).map_err(|denial| denial.code)
}

/// Another file that does the same: a component may have sections that nobody reads (the component model's binary format, "custom").
fn another(name: &str, folder: &tempfile::TempDir, mark: u8) -> PathBuf {
    let mut bytes = std::fs::read(component(name)).unwrap();
    bytes.extend([0, 2, 1, mark]);
    let file = folder.path().join(format!("{name}-{mark}.wasm"));
    std::fs::write(&file, bytes).unwrap();
    file
}

#[tokio::test]
async fn memory_and_counters_are_those_of_a_name_and_go_on() {
    // It counts questions in its memory, and fails at every third.
    let settings = |more| json!({ "fault": "trap", "every": 3, "calls": more });
    let policy = load(vec![plugin("faulty", settings(1))]);
    assert_eq!([enters(&policy, "a").await, enters(&policy, "a").await], [Ok(()), Ok(())]);
    assert_eq!(swap(&policy, vec![plugin("faulty", settings(2))]), SwapOutcome::Swapped);
    assert_eq!(enters(&policy, "a").await, Err(ErrorCode::POLICY_UNAVAILABLE), "the third of both");
    let stats = &policy.stats().plugins[0];
    assert_eq!((stats.hooks[0].calls, stats.hooks[0].allowed, stats.hooks[0].failed), (3, 2, 1));
    let mut small = plugin("faulty", settings(3));
    small.limits.kv_keys = 0;
    swap(&policy, vec![small]);
    swap(&policy, Vec::new());
    assert_eq!(policy.stats().plugins.len(), 1, "it may be wanted back");
    policy.tend(Instant::now() + Duration::from_secs(3600));
    assert!(policy.stats().plugins.is_empty());
}

#[tokio::test]
async fn a_canary_may_remember_as_much_as_it_is_configured_to() {
    // It counts in its memory, and fails when it cannot.
    let counting = |kv_keys| {
        let mut plugin = plugin("faulty", json!({ "fault": "none", "every": 2, "calls": kv_keys }));
        plugin.limits.kv_keys = kv_keys;
        plugin
    };
    let policy = load(vec![counting(0)]);
    assert_eq!(enters(&policy, "a").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    let canary = CanaryConfig { share: 1.0, ..CanaryConfig::default() };
    let candidate = PolicyConfig { canary, ..config(vec![counting(1)]) };
    let candidate = policy.prepare(&candidate).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    assert_eq!(policy.swap(candidate, "a test", Instant::now()).outcome, SwapOutcome::Canary);
    assert_eq!(enters(&policy, "a").await, Ok(()));
}

#[tokio::test]
async fn what_did_not_change_is_not_touched() {
    let kept = |name: &str, settings| PluginConfig {
        name: name.into(),
        isolation: Isolation::Reuse,
        ..plugin("faulty", settings)
    };
    let one = |plugins| PolicyConfig { threads: 1, ..config(plugins) };
    let policy = Policy::load(one(vec![kept("a", json!({})), kept("b", json!({}))])).unwrap();
    let instances = || policy.stats().plugins.iter().map(|plugin| (plugin.instances, plugin.kept)).collect::<Vec<_>>();
    assert_eq!(instances(), [(4, 2), (4, 2)]);
    let candidate = policy.prepare(&one(vec![kept("a", json!({})), kept("b", json!({ "calls": 1 }))])).unwrap();
    assert_eq!(instances(), [(4, 2), (6, 2)], "ready before it is asked; its own check is not counted");
    policy.swap(candidate, "a test", Instant::now());
    assert_eq!(instances(), [(4, 2), (6, 4)], "with those to go back to");
    policy.tend(Instant::now() + Duration::from_secs(3600));
    assert_eq!(instances(), [(4, 2), (6, 2)]);
    assert_eq!(enters(&policy, "a").await, Ok(()));
}

#[tokio::test]
async fn a_plugin_that_comes_back_keeps_instances_again() {
    let chain = |settings| {
        let plugin = PluginConfig { isolation: Isolation::Reuse, ..plugin("faulty", settings) };
        PolicyConfig { threads: 1, ..config(vec![plugin]) }
    };
    let policy = Policy::load(chain(json!({}))).unwrap();
    let other = policy.prepare(&chain(json!({ "calls": 1 }))).unwrap();
    policy.swap(other, "a test", Instant::now());
    // It has the first plugin in it, which nobody wants any more before it is asked again.
    let back = policy.prepare(&chain(json!({}))).unwrap();
    policy.tend(Instant::now() + Duration::from_secs(3600));
    policy.swap(back, "a test", Instant::now());
    policy.tend(Instant::now() + Duration::from_secs(3600));
    assert_eq!(policy.stats().plugins[0].kept, 0);
    // What the thread does after an answer, it does before the next question.
    for _ in 0..2 {
        assert_eq!(enters(&policy, "a").await, Ok(()));
    }
    assert_eq!(policy.stats().plugins[0].kept, 2);
}

#[tokio::test]
async fn a_candidate_that_is_refused_leaves_everything_as_it_was() {
    let policy = load(vec![plugin("faulty", json!({}))]);
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.wasm");
    std::fs::write(&broken, &std::fs::read(component("faulty")).unwrap()[..1000]).unwrap();
    let pinned = PluginConfig { sha256: Some("00".repeat(32)), ..plugin("faulty", json!({})) };
    for (bad, why) in [
        (PluginConfig { file: broken, ..plugin("faulty", json!({})) }, "not a usable WebAssembly component"),
        (plugin("faulty", json!({ "nonsense": 1 })), "settings: "),
        (pinned, "the file's SHA-256 is"),
        (PluginConfig { grants: [].into(), ..plugin("faulty", json!({})) }, "which is not granted"),
    ] {
        let problems = policy.prepare(&config(vec![bad])).err().expect("it is refused");
        assert!(told(&problems).contains(why), "{}", told(&problems));
        assert_eq!((enters(&policy, "a").await, policy.stats().epoch), (Ok(()), 1));
    }
}

#[tokio::test]
async fn last_answers_stand_for_the_same_file_with_the_same_settings_only() {
    let faulty = |calls| {
        let settings = json!({ "fault": "trap", "every": 2, "at": ["subscription"], "calls": calls });
        let mut plugin = plugin("faulty", settings);
        plugin.on_failure.hooks.insert(Hook::Subscription, OnFailure::LastKnown);
        plugin
    };
    for (other, expected) in [(1, Ok(())), (2, Err(ErrorCode::POLICY_UNAVAILABLE))] {
        let policy = load(vec![faulty(1)]);
        let ask = async || {
            let viewer = somebody("v", None, Grant::default());
            let question = subscription(viewer, vec![camera(somebody("host", None, Grant::default()))]);
            let [decision] = policy.subscribe(question).await.try_into().unwrap();
            decision.map(drop).map_err(|denial| denial.code)
        };
        assert_eq!(ask().await, Ok(()));
        let mut plugin = faulty(other);
        plugin.limits.log_lines = 7;
        swap(&policy, vec![plugin]);
        assert_eq!(ask().await, expected);
    }
}

#[tokio::test]
async fn a_plugin_that_fails_is_replaced_by_the_one_before_and_works_again() {
    let policy = load(vec![plugin("faulty", json!({}))]);
    swap(&policy, vec![plugin("faulty", json!({ "fault": "trap" }))]);
    for _ in 0..30 {
        assert_eq!(enters(&policy, "a").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    }
    let back = policy.tend(Instant::now()).expect("it is noticed");
    assert_eq!((back.outcome, back.to.epoch), (SwapOutcome::RolledBack, 1), "{}", back.why);
    assert!(back.why.contains("plugins failed at 100.0 %"), "{}", back.why);
    assert_eq!(enters(&policy, "a").await, Ok(()));
}

/// A chain on one thread, of a plugin that has so much time for a question and is never paused.
fn narrow(deadline_ms: u64, budget_ms: u64, settings: Value) -> PolicyConfig {
    let mut plugin = plugin("faulty", settings);
    plugin.limits.deadline = Duration::from_millis(deadline_ms);
    plugin.breaker.failures = 0;
    PolicyConfig { threads: 1, chain_budget: Duration::from_millis(budget_ms), ..config(vec![plugin]) }
}

#[tokio::test]
async fn what_waited_for_its_turn_does_not_speak_against_those_who_answer() {
    let policy = Policy::load(narrow(1000, 1100, json!({}))).unwrap();
    let candidate = policy.prepare(&narrow(1000, 1100, json!({ "fault": "loop", "only": "trouble" }))).unwrap();
    policy.swap(candidate, "a test", Instant::now());
    // The first has the thread until the others have a tenth of their time left: too little to put them.
    let rooms = ["trouble"].into_iter().chain(["calm"; 30]);
    let asked: Vec<_> = rooms
        .map(|room| {
            let policy = policy.clone();
            tokio::spawn(async move { enters(&policy, room).await })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), Err(ErrorCode::POLICY_UNAVAILABLE));
    }
    // As soon as the thread is free; on a busy machine that may be after this question's time as well.
    let began = Instant::now();
    while enters(&policy, "calm").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "with time enough: {:?}", policy.stats());
    }
    let stats = policy.stats();
    let [plugin] = &stats.plugins[..] else { panic!("{stats:?}") };
    assert_eq!((plugin.hooks[0].calls, plugin.failures.as_slice()), (2, &[(Failure::Timeout, 1)][..]));
    assert!(stats.overloaded >= 30, "they were late: {stats:?}");
    assert!(policy.tend(Instant::now()).is_none(), "one failure is not enough");
}

#[tokio::test]
async fn a_plugin_that_hangs_is_replaced_also_when_more_is_asked_than_there_is_time_for() {
    let policy = Policy::load(narrow(50, 250, json!({}))).unwrap();
    let candidate = policy.prepare(&narrow(50, 250, json!({ "fault": "loop" }))).unwrap();
    policy.swap(candidate, "a test", Instant::now());
    // Many more than can be put, whether or not those before have their answers: each waits for most of its time.
    let (mut often, began) = (tokio::time::interval(Duration::from_millis(5)), Instant::now());
    let back = loop {
        often.tick().await;
        let asker = policy.clone();
        tokio::spawn(async move { enters(&asker, "a").await });
        if let Some(back) = policy.tend(Instant::now()) {
            break back;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "nobody noticed: {:?}", policy.stats());
    };
    assert_eq!((back.outcome, back.to.epoch), (SwapOutcome::RolledBack, 1), "{}", back.why);
    assert!(back.why.contains("plugins failed at 100.0 %"), "{}", back.why);
}

/// Some ask without end while all plugins are replaced, by other files, others that keep instances, with a canary and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_while_everybody_asks_cost_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let files = [another("faulty", &folder, 1), another("faulty", &folder, 2)];
    let chain = |number: usize| {
        let isolation = if number.is_multiple_of(3) { Isolation::Reuse } else { Isolation::Fresh };
        let file = files[number % 2].clone();
        let first = PluginConfig { file, isolation, ..plugin("faulty", json!({})) };
        let second = PluginConfig { name: "second".into(), ..plugin("faulty", json!({ "calls": number % 5 })) };
        let share = if number.is_multiple_of(4) { 0.5 } else { 0.0 };
        let canary = CanaryConfig { share, ..CanaryConfig::default() };
        PolicyConfig { canary, ..config(vec![first, second]) }
    };
    let policy = Policy::load(chain(1)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..8)
        .map(|asker| {
            let (policy, over) = (policy.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut asked = 0;
                while !over.load(Relaxed) {
                    assert_eq!(enters(&policy, &format!("room-{asker}-{}", asked % 7)).await, Ok(()));
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for number in 2..102 {
        let (policy, wanted) = (policy.clone(), chain(number));
        let swapped = tokio::task::spawn_blocking(move || {
            let candidate = policy.prepare(&wanted).unwrap_or_else(|problems| panic!("{}", told(&problems)));
            let outcome = policy.swap(candidate, "a test", Instant::now()).outcome;
            policy.tend(Instant::now() + Duration::from_secs(60));
            outcome
        });
        let outcome = swapped.await.unwrap();
        assert!(outcome.is_change(), "{number}: {outcome:?}");
    }
    over.store(true, Relaxed);
    let mut answers = 0;
    for asker in askers {
        answers += asker.await.unwrap();
    }
    let stats = policy.stats();
    println!("{answers} questions were answered while the plugins were replaced 100 times");
    assert!(answers >= 100 && stats.overloaded == 0 && stats.plugins.iter().all(|plugin| plugin.failures.is_empty()));
    // The last is number 101.
    assert_eq!(stats.epoch, 101);
}
