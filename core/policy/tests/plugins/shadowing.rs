//! Plugins in shadow: asked beside the others, and never heard.

use std::path::Path;
use std::time::Duration;

use lockgate_model::policy::{CommandQuestion, Grant, Hook};
use lockgate_policy::{JournalConfig, PluginConfig, Policy, ShadowConfig, ShadowResult};
use serde_json::{Value, json};

use crate::support::{
    NOW_MS, admission, auth, camera, config, load, plugin, room, somebody, subscription, token, told,
};

/// Only tried, in the place of another one if there is one.
fn shadow(name: &str, of: Option<&str>, plugin: PluginConfig) -> PluginConfig {
    PluginConfig { name: name.into(), shadow: Some(ShadowConfig { of: of.map(str::to_owned) }), ..plugin }
}

/// What came of so many questions to a plugin in shadow, once they have been put: same, different, failed and dropped ones.
async fn counts(policy: &Policy, name: &str, hook: Hook, questions: u64) -> [u64; ShadowResult::ALL.len()] {
    let look = async {
        loop {
            let stats = policy.stats();
            let found = stats.plugins.iter().find(|plugin| plugin.plugin == name).unwrap();
            let (_, counts) = found.shadow.iter().find(|(known, _)| *known == hook).unwrap();
            if counts.iter().sum::<u64>() >= questions {
                return *counts;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.expect("a plugin in shadow is asked")
}

fn logged(folder: &Path, plugins: Vec<PluginConfig>) -> Policy {
    let (directory, max_age) = (folder.to_owned(), Duration::from_secs(3600));
    let log = JournalConfig { directory, max_size: 64 << 20, max_age, keep: 9, omit: Vec::new() };
    load(plugins).log_to(&log).unwrap()
}

fn lines(folder: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("decisions-000001.jsonl")).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["kind"] == kind).collect()
}

fn rules(roles: Value) -> PluginConfig {
    plugin("subscription-policy", json!({ "roles": roles }))
}

#[tokio::test]
async fn what_a_plugin_in_shadow_says_changes_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let live = rules(json!({ "guest": { "max_spatial": 1 } }));
    let stricter =
        shadow("new", Some("subscription-policy"), rules(json!({ "guest": { "sees": ["host"], "max_spatial": 1 } })));
    let policy = logged(folder.path(), vec![stricter, live]);
    let [host, guest] = ["host", "guest"].map(|role| camera(somebody(role, Some(role), Grant::default())));
    for viewer in ["host", "guest"] {
        let asked = subscription(somebody("v", Some(viewer), Grant::default()), vec![host.clone(), guest.clone()]);
        assert!(policy.subscribe(asked).await.iter().all(Result::is_ok));
    }
    assert_eq!(counts(&policy, "new", Hook::Subscription, 2).await, [1, 1, 0, 0]);
    policy.journal().close();

    let header = &lines(folder.path(), "header")[0];
    assert_eq!((&header["plugins"].as_array().unwrap().len(), &header["shadows"][0]["name"]), (&1, &json!("new")));
    let questions = lines(folder.path(), "question");
    assert!(questions.iter().all(|line| line["plugins"].as_array().unwrap().len() == 1), "{questions:?}");
    let shadows = lines(folder.path(), "shadow");
    let [line] = &shadows[..] else { panic!("{shadows:?}") };
    assert_eq!(
        (&line["plugin"], &line["of"], &line["hook"], &line["room"], &line["who"], &line["askedMs"]),
        (
            &json!("new"),
            &json!("subscription-policy"),
            &json!("subscription"),
            &json!("board"),
            &json!("v"),
            &json!(NOW_MS)
        )
    );
    let [word] = line["differs"].as_array().unwrap() as &[Value] else { panic!("{line}") };
    assert_eq!(word["live"], json!({ "allow": { "maxSpatial": 1 } }));
    assert_eq!(
        (&word["shadow"]["deny"]["code"], &word["wouldCome"]["deny"]["code"]),
        (&json!("forbidden"), &json!("forbidden"))
    );
    assert_eq!(word["changes"][0]["field"], "verdict");
}

#[tokio::test]
async fn without_another_plugin_what_came_of_questions_counts() {
    let strict = shadow("new", None, rules(json!({ "guest": { "max_spatial": 0 } })));
    let policy = load(vec![strict, rules(json!({ "guest": { "max_spatial": 1 } }))]);
    for role in ["guest", "host"] {
        let asked = subscription(
            somebody("v", Some(role), Grant::default()),
            vec![camera(somebody("h", None, Grant::default()))],
        );
        let decisions = policy.subscribe(asked).await;
        assert_eq!(decisions[0].as_ref().unwrap().max_spatial, (role == "guest").then_some(1));
    }
    assert_eq!(counts(&policy, "new", Hook::Subscription, 2).await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn the_same_plugin_under_another_name_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let tiers = || {
        plugin("paid-tiers", json!({ "default_tier": "free", "tiers": { "free": { "last_n": 2, "max_spatial": 0 } } }))
    };
    let lobby = || plugin("waiting-room", json!({}));
    let plugins = vec![
        plugin("jwt-auth", json!({})),
        tiers(),
        lobby(),
        shadow("new-auth", Some("jwt-auth"), plugin("jwt-auth", json!({}))),
        shadow("new-tiers", Some("paid-tiers"), tiers()),
        shadow("new-lobby", Some("waiting-room"), lobby()),
    ];
    let policy = logged(folder.path(), plugins);
    policy.authenticate(auth(&token(json!({})))).await.unwrap();
    policy.authenticate(auth("no token")).await.unwrap_err();
    let guest = || somebody("g", Some("guest"), Grant::default());
    policy.admit(admission(guest(), room("board", 1), None)).await.unwrap_err();
    let (who, target) = (somebody("h", Some("host"), Grant::default()), None);
    let (name, payload) = ("lobby-admit".into(), "g".into());
    policy
        .command(CommandQuestion { who, room: room("board", 2), name, target, payload, now_ms: NOW_MS })
        .await
        .decision
        .unwrap();
    // What the other one remembers, this one remembers as well, and by itself.
    policy.admit(admission(guest(), room("board", 1), None)).await.unwrap();
    policy.subscribe(subscription(guest(), vec![camera(somebody("h", None, Grant::default()))])).await;
    assert_eq!(counts(&policy, "new-auth", Hook::Auth, 2).await, [2, 0, 0, 0]);
    // Tiers are about admission as well; the lobby denies after them.
    assert_eq!(counts(&policy, "new-tiers", Hook::Admission, 2).await, [2, 0, 0, 0]);
    assert_eq!(counts(&policy, "new-tiers", Hook::Subscription, 1).await, [1, 0, 0, 0]);
    assert_eq!(counts(&policy, "new-lobby", Hook::Admission, 2).await, [2, 0, 0, 0]);
    assert_eq!(counts(&policy, "new-lobby", Hook::Command, 1).await, [1, 0, 0, 0]);
    policy.journal().close();
    assert_eq!(lines(folder.path(), "shadow"), [] as [Value; 0]);
}

#[tokio::test]
async fn a_plugin_that_accepts_others_than_the_live_one_is_told_without_their_token() {
    let folder = tempfile::tempdir().unwrap();
    let open = shadow("new", Some("jwt-auth"), plugin("jwt-auth", json!({ "anonymous": "anywhere" })));
    let policy = logged(folder.path(), vec![plugin("jwt-auth", json!({})), open]);
    assert!(policy.authenticate(auth("")).await.is_err());
    assert!(policy.authenticate(auth("a bad token")).await.is_err());
    assert_eq!(counts(&policy, "new", Hook::Auth, 2).await, [1, 1, 0, 0]);
    policy.journal().close();
    let text = std::fs::read_to_string(folder.path().join("decisions-000001.jsonl")).unwrap();
    assert!(!text.contains("a bad token"), "{text}");
    let [line] = &lines(folder.path(), "shadow")[..] else { panic!("{text}") };
    assert!(line["differs"][0]["shadow"]["allow"].is_object(), "{line}");
}

#[tokio::test]
async fn a_plugin_in_shadow_that_hangs_keeps_nobody_waiting_and_what_it_cannot_take_is_counted() {
    let mut slow = plugin("faulty", json!({ "fault": "loop" }));
    // It answers one question a second, and is not spared for that.
    (slow.limits.deadline, slow.breaker.failures) = (Duration::from_secs(1), 0);
    let policy = load(vec![rules(json!({})), shadow("new", None, slow)]);
    let asked = || {
        let camera = camera(somebody("h", None, Grant::default()));
        subscription(somebody("v", None, Grant::default()), vec![camera])
    };
    loop {
        assert!(policy.subscribe(asked()).await[0].is_ok());
        let [same, different, _, dropped] = counts(&policy, "new", Hook::Subscription, 0).await;
        assert_eq!((same, different), (0, 0));
        if dropped > 0 {
            break;
        }
    }
    // The last one that is dropped does not wait for the questions that are left.
    drop(policy);
}

#[test]
fn what_a_shadow_is_held_against_must_be_asked_itself() {
    let live = rules(json!({}));
    let other = shadow("other", None, rules(json!({})));
    for of in ["nobody", "other"] {
        let new = shadow("new", Some(of), rules(json!({})));
        let problems = Policy::load(config(vec![live.clone(), other.clone(), new])).unwrap_err();
        assert!(told(&problems).contains(&format!("there is no plugin {of:?}")), "{}", told(&problems));
    }
}
