//! What a plugin that fails costs: the one question, in bounded time, and nothing else.

use std::time::Duration;

use lockgate_model::ErrorCode;
use lockgate_model::policy::{CommandQuestion, Grant, Hook};
use lockgate_policy::{BreakerConfig, Failure, OnFailure, PluginConfig, Policy, PolicyConfig};
use serde_json::json;

use crate::support::{
    NOW_MS, admission, auth, camera, config, load, plugin, publishing, recording, room, somebody, subscription, track,
};

/// A plugin that fails in the room `trouble` and allows everything elsewhere.
fn faulty(fault: &str) -> PluginConfig {
    plugin("faulty", json!({ "fault": fault, "only": "trouble" }))
}

async fn enters(policy: &Policy, name: &str) -> Result<(), ErrorCode> {
    let who = somebody("guest", None, Grant::default());
    policy.admit(admission(who, room(name, 0), None)).await.map(drop).map_err(|denial| denial.code)
}

#[tokio::test]
async fn each_fault_denies_in_bounded_time_and_the_next_question_is_answered() {
    let faults = [
        ("trap", Failure::Trap),
        ("loop", Failure::Timeout),
        ("memory", Failure::Memory),
        ("stack", Failure::Trap),
        ("deep", Failure::Stack),
        ("log", Failure::HostCalls),
        ("kv", Failure::HostCalls),
        ("text", Failure::BadAnswer),
        ("long", Failure::BadAnswer),
    ];
    for (fault, failure) in faults {
        let policy = load(vec![faulty(fault)]);
        assert_eq!(enters(&policy, "trouble").await, Err(ErrorCode::POLICY_UNAVAILABLE), "{fault}");
        assert_eq!(enters(&policy, "calm").await, Ok(()), "{fault}");
        let stats = &policy.stats().plugins[0];
        assert_eq!(stats.failures, [(failure, 1)], "{fault}");
        let hook = &stats.hooks[0];
        assert_eq!((hook.hook, hook.calls, hook.allowed, hook.failed), (Hook::Admission, 2, 1, 1), "{fault}");
    }
}

#[tokio::test]
async fn every_hook_fails_closed() {
    let policy = load(vec![plugin("faulty", json!({ "fault": "trap" }))]);
    let guest = || somebody("guest", None, Grant::default());
    let unavailable = Some(ErrorCode::POLICY_UNAVAILABLE);
    let act = CommandQuestion {
        who: guest(),
        room: room("board", 1),
        name: "mute".into(),
        target: None,
        payload: String::new(),
        now_ms: NOW_MS,
    };
    assert_eq!(enters(&policy, "r").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    assert_eq!(policy.command(act).await.decision.err().map(|denial| denial.code), unavailable);
    assert_eq!(policy.authenticate(auth("t")).await.err().map(|denial| denial.code), unavailable);
    let tracks = vec![track("a", lockgate_model::Source::Camera), track("b", lockgate_model::Source::Screen)];
    let batches = [
        policy.publish(publishing(guest(), tracks)).await,
        policy.subscribe(subscription(guest(), vec![camera(guest()); 2])).await,
        policy.record(recording(None, vec![camera(guest()); 2])).await,
    ];
    for decisions in batches {
        let codes: Vec<_> = decisions.into_iter().map(|decision| decision.err().map(|denial| denial.code)).collect();
        assert_eq!(codes, [unavailable.clone(), unavailable.clone()]);
    }
    let stats = &policy.stats().plugins[0];
    assert_eq!(
        stats.hooks.iter().map(|hook| (hook.hook, hook.failed)).collect::<Vec<_>>(),
        Hook::ALL.map(|hook| (hook, 1))
    );
    assert_eq!(stats.failures, [(Failure::Trap, 6)]);
}

#[tokio::test]
async fn a_wrong_number_of_verdicts_is_no_answer() {
    for fault in ["count", "more"] {
        let policy = load(vec![plugin("faulty", json!({ "fault": fault }))]);
        let guest = || somebody("guest", None, Grant::default());
        let batches = [
            policy.publish(publishing(guest(), vec![track("a", lockgate_model::Source::Camera); 3])).await,
            policy.subscribe(subscription(guest(), vec![camera(guest()); 3])).await,
            policy.record(recording(None, vec![camera(guest()); 3])).await,
        ];
        for decisions in batches {
            let codes: Vec<_> = decisions.iter().map(|decision| &decision.as_ref().unwrap_err().code).collect();
            assert_eq!(codes, [&ErrorCode::POLICY_UNAVAILABLE; 3], "{fault}");
        }
        assert_eq!(policy.stats().plugins[0].failures, [(Failure::BadAnswer, 3)], "{fault}");
    }
}

#[tokio::test]
async fn an_instance_that_fails_while_it_is_made_costs_no_more() {
    let faults =
        [("trap", Failure::Trap), ("loop", Failure::Timeout), ("memory", Failure::Memory), ("log", Failure::HostCalls)];
    for (fault, failure) in faults {
        let policy = load(vec![plugin("faulty", json!({ "fault": fault, "start": true }))]);
        assert_eq!(enters(&policy, "r").await, Err(ErrorCode::POLICY_UNAVAILABLE), "{fault}");
        assert_eq!(policy.stats().plugins[0].failures, [(failure, 1)], "{fault}");
    }
}

#[tokio::test]
async fn a_flood_of_calls_that_ends_in_time_is_cut_to_its_quota_and_the_question_is_answered() {
    for (fault, calls) in [("log", 200), ("kv", 200)] {
        let mut plugin = plugin("faulty", json!({ "fault": fault, "calls": calls }));
        plugin.limits.kv_bytes = 64 << 10;
        let policy = load(vec![plugin]);
        assert_eq!(enters(&policy, "r").await, Ok(()), "{fault}");
        let stats = &policy.stats().plugins[0];
        assert_eq!((stats.failures.len(), stats.log_dropped > 0), (0, fault == "log"), "{stats:?}");
    }
}

#[tokio::test]
async fn a_plugin_that_floods_the_log_does_not_use_up_the_calls_of_the_next_question() {
    let mut plugin = plugin("faulty", json!({ "fault": "log", "calls": 90 }));
    plugin.limits.host_calls = 100;
    let policy = load(vec![plugin]);
    for _ in 0..3 {
        assert_eq!(enters(&policy, "r").await, Ok(()));
    }
    let mut plugin = super::support::plugin("faulty", json!({ "fault": "log", "calls": 100 }));
    plugin.limits.host_calls = 100;
    assert!(enters(&load(vec![plugin]), "r").await.is_err());
}

#[tokio::test]
async fn a_failure_is_an_abstention_if_the_operator_wants_it_so() {
    let open = PluginConfig { on_failure: OnFailure::Open.into(), ..faulty("trap") };
    let policy = load(vec![open.clone(), plugin("room-admission", json!({}))]);
    assert_eq!(enters(&policy, "trouble").await, Ok(()));
    let policy = load(vec![open]);
    assert_eq!(enters(&policy, "trouble").await, Err(ErrorCode::FORBIDDEN), "nobody is left to allow it");
}

#[tokio::test]
async fn a_failure_means_at_each_hook_what_the_operator_says_of_it() {
    let mut plugin = plugin("faulty", json!({ "fault": "trap" }));
    plugin.on_failure.hooks.insert(Hook::Publishing, OnFailure::Open);
    let config = PolicyConfig { default_allow: true, ..config(vec![plugin]) };
    let policy = Policy::load(config).unwrap();
    let guest = || somebody("guest", None, Grant::default());
    assert_eq!(enters(&policy, "r").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    let tracks = vec![track("a", lockgate_model::Source::Camera)];
    assert!(policy.publish(publishing(guest(), tracks)).await[0].is_ok());
}

#[tokio::test]
async fn the_last_verdict_about_a_viewer_and_a_track_stands_in_for_the_next() {
    let settings = json!({ "fault": "trap", "every": 2, "at": ["subscription"], "reask_after_ms": 5000 });
    let mut plugin = plugin("faulty", settings);
    plugin.on_failure.hooks.insert(Hook::Subscription, OnFailure::LastKnown);
    let policy = load(vec![plugin]);
    let ask = async |viewer: &str| {
        let viewer = somebody(viewer, None, Grant::default());
        let question = subscription(viewer, vec![camera(somebody("host", None, Grant::default()))]);
        let [decision] = policy.subscribe(question).await.try_into().unwrap();
        decision.map(|grant| grant.reask_after_ms).map_err(|denial| denial.code)
    };
    assert_eq!(ask("v").await, Ok(Some(5000)), "the plugin's own answer");
    assert_eq!(ask("v").await, Ok(Some(1000)), "what stands in");
    assert_eq!(ask("v").await, Ok(Some(5000)));
    assert_eq!(ask("other").await, Err(ErrorCode::POLICY_UNAVAILABLE), "nothing is known of them");
    let stats = &policy.stats().plugins[0];
    assert_eq!((stats.last_known, stats.hooks[0].allowed, stats.hooks[0].failed), (1, 2, 2));
}

#[tokio::test]
async fn a_plugin_that_fails_too_often_is_not_asked_and_the_answer_comes_at_once() {
    let mut plugin = faulty("loop");
    plugin.breaker = BreakerConfig { failures: 2, pause: Duration::from_secs(3600), ..plugin.breaker };
    let policy = load(vec![plugin]);
    for _ in 0..2 {
        assert_eq!(enters(&policy, "trouble").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    }
    assert_eq!(enters(&policy, "calm").await, Err(ErrorCode::POLICY_UNAVAILABLE), "nor is anybody else");
    let guest = somebody("guest", None, Grant::default());
    let tracks = vec![track("a", lockgate_model::Source::Camera)];
    assert!(policy.publish(publishing(guest, tracks)).await[0].is_ok(), "at other hooks it is");
    let stats = &policy.stats().plugins[0];
    assert_eq!(stats.failures, [(Failure::Timeout, 2), (Failure::Paused, 1)]);
    let [admission, publishing] = &stats.hooks[..] else { panic!("{stats:?}") };
    assert_eq!((admission.calls, admission.failed, admission.paused, admission.pauses), (2, 3, true, 1));
    assert_eq!((publishing.calls, publishing.paused, publishing.pauses), (1, false, 0));
}

#[tokio::test]
async fn a_plugin_that_answers_again_is_asked_again() {
    let mut plugin = faulty("trap");
    plugin.breaker = BreakerConfig { failures: 2, pause: Duration::ZERO, ..plugin.breaker };
    let policy = load(vec![plugin]);
    for _ in 0..3 {
        assert!(enters(&policy, "trouble").await.is_err());
    }
    assert!(policy.stats().plugins[0].hooks[0].paused, "the first probe failed");
    assert_eq!(enters(&policy, "calm").await, Ok(()));
    let hook = &policy.stats().plugins[0].hooks[0];
    assert_eq!((hook.calls, hook.failed, hook.paused, hook.pauses), (4, 3, false, 2));
}

#[tokio::test]
async fn a_failure_denies_whatever_the_others_say() {
    let policy = load(vec![plugin("room-admission", json!({})), faulty("trap")]);
    assert_eq!(enters(&policy, "trouble").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    assert_eq!(enters(&policy, "calm").await, Ok(()));
}

#[tokio::test]
async fn what_a_plugin_remembers_outlives_its_instance_and_its_counters_are_shown() {
    let policy = load(vec![plugin("faulty", json!({ "fault": "trap", "every": 2 }))]);
    let mut entered = Vec::new();
    for _ in 0..4 {
        entered.push(enters(&policy, "r").await.is_ok());
    }
    assert_eq!(entered, [true, false, true, false]);
    assert_eq!(policy.stats().plugins[0].own, [("questions".to_owned(), 4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_denies_at_once_and_recovers() {
    let mut looping = faulty("loop");
    looping.limits.deadline = Duration::from_millis(200);
    let config = PolicyConfig { threads: 1, queue: 1, ..config(vec![looping]) };
    let policy = Policy::load(config).unwrap();
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let policy = policy.clone();
            tokio::spawn(async move { enters(&policy, "trouble").await })
        })
        .collect();
    let mut overloaded = 0;
    for answer in asked {
        let code = answer.await.unwrap().unwrap_err();
        assert!([ErrorCode::POLICY_UNAVAILABLE, ErrorCode::OVERLOADED].contains(&code), "{code}");
        overloaded += u64::from(code == ErrorCode::OVERLOADED);
    }
    assert!(overloaded > 0 && policy.stats().overloaded >= overloaded);
    assert_eq!(enters(&policy, "calm").await, Ok(()));
}

#[tokio::test]
async fn the_chain_has_less_time_than_its_plugins_together() {
    let names = ["first", "second", "third"];
    let looping = |name: &str| {
        let mut plugin = PluginConfig { name: name.into(), on_failure: OnFailure::Open.into(), ..faulty("loop") };
        plugin.limits.deadline = Duration::from_secs(4);
        plugin
    };
    let config = PolicyConfig { chain_budget: Duration::from_secs(2), ..config(names.map(looping).into()) };
    let policy = Policy::load(config).unwrap();
    assert!(enters(&policy, "trouble").await.is_err());
    // Whoever asks may be told a little before the thread has given up on the last one.
    let given_up = async {
        while policy.stats().plugins[2].failures.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_up).await.expect("the last one is given up on");
    let failures = policy.stats().plugins.iter().map(|plugin| plugin.failures.clone()).collect::<Vec<_>>();
    assert_eq!(failures[0], [(Failure::Timeout, 1)]);
    assert_eq!([&failures[1], &failures[2]], [&[(Failure::Budget, 1)]; 2], "they were not asked any more");
}
