//! Instances that are kept from one question to the next.

use lockgate_model::ErrorCode;
use lockgate_model::policy::Grant;
use lockgate_policy::{Failure, Isolation, PluginConfig, Policy, PolicyConfig};
use serde_json::{Value, json};

use crate::support::{admission, config, plugin, room, somebody};

/// One policy thread and one for operators, and so two instances.
fn kept(settings: Value, questions: u32) -> Policy {
    let mut plugin = PluginConfig { isolation: Isolation::Reuse, ..plugin("faulty", settings) };
    plugin.limits.instance_questions = questions;
    Policy::load(PolicyConfig { threads: 1, ..config(vec![plugin]) }).unwrap()
}

async fn enters(policy: &Policy, name: &str) -> Result<(), ErrorCode> {
    let who = somebody("guest", None, Grant::default());
    policy.admit(admission(who, room(name, 0), None)).await.map(drop).map_err(|denial| denial.code)
}

/// How many instances were made, and how many there are, once the thread has nothing more to do.
async fn instances(policy: &Policy) -> (u64, u64) {
    // What the thread does after an answer, it does before the next question; the next question makes nothing by itself.
    assert_eq!(enters(policy, "calm").await, Ok(()));
    let stats = &policy.stats().plugins[0];
    (stats.instances, stats.kept)
}

#[tokio::test]
async fn one_instance_answers_many_questions_and_is_ready_before_the_first() {
    let policy = kept(json!({}), 1000);
    let stats = &policy.stats().plugins[0];
    assert_eq!((stats.instances, stats.kept), (4, 2), "two that checked the settings, two that are ready");
    for _ in 0..20 {
        assert_eq!(enters(&policy, "r").await, Ok(()));
    }
    assert_eq!(instances(&policy).await, (4, 2));
}

#[tokio::test]
async fn an_instance_that_has_failed_is_replaced_and_never_asked_again() {
    for (fault, failure) in
        [("trap", Failure::Trap), ("loop", Failure::Timeout), ("memory", Failure::Memory), ("long", Failure::BadAnswer)]
    {
        let policy = kept(json!({ "fault": fault, "only": "trouble" }), 1000);
        assert_eq!(enters(&policy, "calm").await, Ok(()), "{fault}");
        for made in [5, 6] {
            assert_eq!(enters(&policy, "trouble").await, Err(ErrorCode::POLICY_UNAVAILABLE), "{fault}");
            assert_eq!(instances(&policy).await, (made, 2), "{fault}");
        }
        assert_eq!(policy.stats().plugins[0].failures, [(failure, 2)], "{fault}");
    }
}

#[tokio::test]
async fn an_instance_is_replaced_after_so_many_questions() {
    let policy = kept(json!({}), 3);
    for _ in 0..9 {
        assert_eq!(enters(&policy, "r").await, Ok(()));
    }
    let (made, kept) = instances(&policy).await;
    assert_eq!((made, kept), (4 + 3, 2));
}

#[tokio::test]
async fn each_question_to_a_kept_instance_has_its_own_calls() {
    let mut plugin = PluginConfig { isolation: Isolation::Reuse, ..plugin("faulty", json!({})) };
    // The plugin reads its settings and counts: a few calls for each question.
    plugin.limits.host_calls = 10;
    let policy = Policy::load(config(vec![plugin])).unwrap();
    for _ in 0..20 {
        assert_eq!(enters(&policy, "r").await, Ok(()));
    }
}

#[tokio::test]
async fn instances_that_cannot_be_made_ready_cost_a_question_no_more_than_its_own() {
    // From the third instance on, making one fails: those that would be ready already do.
    let policy = kept(json!({ "fault": "trap", "start": true }), 1000);
    let stats = &policy.stats().plugins[0];
    assert_eq!((stats.instances, stats.kept), (3, 0), "tried once");
    assert_eq!(enters(&policy, "r").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    assert_eq!(enters(&policy, "r").await, Err(ErrorCode::POLICY_UNAVAILABLE));
    assert_eq!(policy.stats().plugins[0].instances, 5, "once for each question");
}
