//! The decision log of a real node, and the commands that read it.

use std::path::PathBuf;

use lockgate_tests::{Node, ROOM, Setup, Token, camera_offer, said};
use serde_json::{Value, json};

/// Somebody whom the policy lets see nobody.
const BLIND: &str = "fault = \"deny\"\nonly = [\"no-subscription@subscription\"]";

/// Alice publishes; Bob sees her, Eve does not; then Bob is put out, and the node stops.
async fn a_call() -> (Node, Vec<String>) {
    let policy = "[policy.log]\ndirectory = \"decisions\"\n".to_owned();
    let setup = Setup { faulty: Some(BLIND.into()), faulty_hooks: &["subscription"], policy, ..Setup::default() };
    let mut node = Node::start(setup).await;
    let tokens =
        [Token::of(42, "Alice"), Token::of(7, "Bob"), Token::of(0, "Eve").claim("sub", json!("no-subscription"))];
    let (mut alice, joined) = node.enter(&tokens[0], ROOM).await;
    assert_eq!(alice.ask(camera_offer()).await["tracks"][0]["accepted"], true);
    let (mut bob, bobs) = node.enter(&tokens[1], ROOM).await;
    bob.hear_type("new-publisher").await;
    let (mut eve, _) = node.enter(&tokens[2], ROOM).await;
    let subscribe = json!({ "type": "subscribe-request", "roomName": ROOM, "publisherId": joined["publisherId"] });
    assert_eq!(eve.ask(subscribe).await["code"], "x-closed");
    node.revoke(&bobs["publisherId"], &json!({ "reason": "see you tomorrow" })).await;
    bob.hear_type("revoked").await;
    assert!(node.metric("lockgate_policy_log_lines_total").await > 5.0);
    assert!(node.terminate().await.success());
    (node, tokens.iter().map(Token::text).collect())
}

#[tokio::test]
async fn a_call_can_be_explained_afterwards_and_tampering_is_found() {
    let (node, tokens) = a_call().await;
    let file: PathBuf = node.folder().join("decisions/decisions-000001.jsonl");
    let log = std::fs::read_to_string(&file).expect("there is a log");
    for secret in tokens.iter().map(String::as_str).chain(["a secret of the tests"]) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let (code, text) = said(&node.policy_command(&["verify-log", "decisions"]));
    assert!(code == 0 && text.contains("the log is whole") && !text.contains("note:"), "{code}: {text}");

    let explain = |more: &[&str]| {
        let arguments = [&["explain", "--log", "decisions", "--room", ROOM][..], more].concat();
        said(&node.policy_command(&arguments))
    };
    let (code, text) = explain(&["--who", "eve", "--sees", "Alice"]);
    assert_eq!(code, 1, "{text}");
    for part in ["Eve (subject no-subscription) cannot see Alice (subject 42)", "x-closed", "says the plugin faulty"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let (code, text) = explain(&["--who", "Bob", "--sees", "Alice", "--json"]);
    let why: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((code, &why["tracks"][0]["because"], &why["whole"]), (1, &json!("viewer-out"), &json!(true)), "{why}");
    assert!(why["remarks"][0].as_str().is_some_and(|remark| remark.contains("see you tomorrow")), "{why}");
    let (code, text) = explain(&["--who", "Bbo", "--sees", "Alice"]);
    assert!(code == 64 && text.contains("there is Bob"), "{code}: {text}");

    // Just before Bob was put out.
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("lines are JSON")).collect();
    let revoked = lines.iter().find(|line| line["kind"] == "revocation").expect("it is logged");
    assert_eq!((&revoked["operator"], &revoked["reason"]), (&json!("99"), &json!("see you tomorrow")));
    let before = (revoked["timeMs"].as_u64().expect("it has a time") - 1).to_string();
    let (code, text) = explain(&["--who", "Bob", "--sees", "Alice", "--at", &before]);
    assert!(code == 0 && text.contains("Bob (subject 7) may see Alice (subject 42)"), "{code}: {text}");
    let (code, text) = explain(&["--at", &before]);
    assert!(code == 0 && text.contains("Bob (subject 7)\n  may see Alice (subject 42): camera"), "{code}: {text}");

    let line = lines.iter().position(|line| line["kind"] == "revocation").expect("it is logged");
    std::fs::write(&file, log.replace("see you tomorrow", "see you never")).expect("the folder is ours");
    let (code, text) = said(&node.policy_command(&["verify-log", "decisions"]));
    assert!(code == 1 && text.contains(&format!("decisions-000001.jsonl:{}: was changed", line + 1)), "{code}: {text}");
    let (code, text) = explain(&["--who", "Eve", "--sees", "Alice"]);
    assert!(code == 1 && text.contains("this log is not as it was written"), "{code}: {text}");
}
