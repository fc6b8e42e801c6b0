//! A new plugin, held against the one that decides: over the log of a real node, and beside it.

use std::path::PathBuf;

use lockgate_tests::{Node, ROOM, Setup, Token, camera_offer, plugin, said, until};
use serde_json::{Value, json};

/// Alice publishes, and Bob, a guest, sees her in the lowest resolution.
async fn a_call(setup: Setup) -> Node {
    let subscription = "[plugin.settings.roles.guest]\nmax_spatial = 0\n".to_owned();
    let node = Node::start(Setup { subscription, policy: LOG.to_owned(), ..setup }).await;
    let (mut alice, _) = node.enter(&Token::of(42, "Alice"), ROOM).await;
    assert_eq!(alice.ask(camera_offer()).await["tracks"][0]["accepted"], true);
    let (mut bob, _) = node.enter(&Token::of(7, "Bob").claim("role", json!("guest")), ROOM).await;
    bob.hear_type("new-publisher").await;
    node
}

#[tokio::test]
async fn a_new_plugin_is_asked_what_the_log_of_a_node_has() {
    let mut node = a_call(Setup::default()).await;
    assert!(node.terminate().await.success());
    let component = plugin("subscription-policy");
    let replay = |more: &[&str]| {
        let component = component.to_str().expect("paths are text here");
        said(&node.policy_command(&[&["replay", component, "--log", "decisions"][..], more].concat()))
    };
    // With the node's own settings, which --config names.
    let (code, text) = replay(&[]);
    assert!(code == 0 && text.contains(" same, 0 different"), "{code}: {text}");
    assert!(text.contains("left out: 2 (auth: the log has no tokens)"), "{text}");

    let settings = node.folder().join("new.toml");
    std::fs::write(&settings, "[roles.guest]\nmax_spatial = 1\nsees = [\"host\"]\n").expect("the folder is ours");
    let (code, text) = replay(&["--settings", "new.toml"]);
    assert_eq!(code, 1, "{text}");
    for part in [
        "verdict allow → deny forbidden",
        "comes of it  allow → deny forbidden",
        "Bob (subject 7)",
        "of Alice (subject 42)",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let (code, text) = replay(&["--settings", "new.toml", "--json"]);
    let found: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((code, &found["unbroken"], &found["whole"]["changed"]), (1, &json!(true), &found["whole"]["different"]));
    let (code, text) = replay(&["--room", "elsewhere"]);
    assert!(code == 64 && text.contains("no question of this log could be put"), "{code}: {text}");
    let (code, text) = replay(&["--plugin", "subscription-polity"]);
    assert!(code == 64 && text.contains("did you mean --plugin subscription-policy?"), "{code}: {text}");

    let file: PathBuf = node.folder().join("decisions/decisions-000001.jsonl");
    let log = std::fs::read_to_string(&file).expect("there is a log");
    std::fs::write(&file, log.replace("\"maxSpatial\":0", "\"maxSpatial\":2")).expect("the folder is ours");
    let (_, text) = replay(&[]);
    assert!(text.contains("this log is not as it was written"), "{text}");
}

/// Below `[policy]`.
const LOG: &str = "[policy.log]\ndirectory = \"decisions\"\n";

/// A plugin in shadow that denies everything.
const NEXT: &str = "shadow = true\nshadow_of = \"subscription-policy\"\nhooks = [\"subscription\", \"admission\"]";

#[tokio::test]
async fn a_plugin_in_shadow_that_denies_everything_changes_nothing_and_is_told_each_time() {
    let shadows = vec![("faulty", NEXT, "fault = \"deny\"")];
    let mut node = a_call(Setup { shadows, ..Setup::default() }).await;
    let metric = |hook: &str, result: &str| {
        format!("lockgate_policy_shadow_total{{plugin=\"faulty\",hook=\"{hook}\",result=\"{result}\"}}")
    };
    // Alice and Bob came in, and Bob was told of Alice, all of which it denies: for admission nobody else decides in its place.
    until("the plugin in shadow is asked", async || {
        let asked = node.metric(&metric("admission", "different")).await >= 2.0;
        (asked && node.metric(&metric("subscription", "different")).await >= 1.0).then_some(())
    })
    .await;
    for hook in ["admission", "subscription"] {
        for result in ["same", "failed", "dropped"] {
            assert_eq!(node.metric(&metric(hook, result)).await, 0.0, "{hook} {result}");
        }
    }
    assert!(node.terminate().await.success());
    let log = std::fs::read_to_string(node.folder().join("decisions/decisions-000001.jsonl")).expect("there is a log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("lines are JSON")).collect();
    let shadows: Vec<_> = lines.iter().filter(|line| line["kind"] == "shadow").collect();
    let of = |hook: &str| shadows.iter().filter(|line| line["hook"] == hook).count();
    assert!(of("admission") == 2 && of("subscription") >= 1, "{shadows:?}");
    for line in &shadows {
        assert_eq!(line["differs"][0]["shadow"]["deny"]["code"], "x-closed", "{line}");
        assert!(line["differs"][0]["came"]["allow"].is_object(), "{line}");
    }
    let questions = lines.iter().filter(|line| line["kind"] == "question");
    assert!(questions.clone().all(|line| !line["plugins"].to_string().contains("faulty")), "it is not heard");
    let (code, text) = said(&node.policy_command(&["verify-log", "decisions"]));
    assert!(code == 0 && text.contains("the log is whole"), "{code}: {text}");
    let explain = ["explain", "--log", "decisions", "--room", ROOM, "--who", "Bob", "--sees", "Alice", "--at"];
    let then = shadows.iter().filter_map(|line| line["timeMs"].as_u64()).max().unwrap_or_default().to_string();
    let (code, text) = said(&node.policy_command(&[&explain[..], &[&then]].concat()));
    assert!(code == 0 && text.contains("may see"), "{code}: {text}");
}
