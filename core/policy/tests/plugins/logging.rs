//! What the decision log says of questions that real plugins answer.

use std::path::Path;
use std::time::Duration;

use lockgate_model::ErrorCode;
use lockgate_model::policy::{Door, Grant, Participant};
use lockgate_policy::JournalConfig;
use lockgate_policy::journal::{Hash, Line, Reader, Verifier};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{admission, auth, camera, component, config, load, plugin, room, somebody, subscription, token};

fn log(directory: &Path) -> JournalConfig {
    let (directory, max_age) = (directory.to_owned(), Duration::from_secs(3600));
    JournalConfig { directory, max_size: 64 << 20, max_age, keep: 9, omit: Vec::new() }
}

/// The questions in a log, which is whole.
fn questions(directory: &Path) -> Vec<Value> {
    let mut verifier = Verifier::default();
    let mut lines = Vec::new();
    for file in Reader::files(&[directory.to_owned()]).unwrap() {
        verifier.file(&file.display().to_string());
        let text = std::fs::read_to_string(&file).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        let mut reader = Reader::open(&file).unwrap();
        while let Some(line) = reader.next_line().unwrap() {
            verifier.line(&line);
        }
    }
    assert_eq!(verifier.finish(true).findings, []);
    lines.into_iter().filter(|line| line["kind"] == "question").collect()
}

/// A plugin's file, hashed as `sha256sum` does.
fn digest(name: &str) -> String {
    let bytes = std::fs::read(component(name)).unwrap();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn each_plugin_is_in_the_log_with_its_digest_its_verdict_and_its_failure() {
    let folder = tempfile::tempdir().unwrap();
    let open = lockgate_policy::PluginConfig {
        on_failure: lockgate_policy::OnFailure::Open.into(),
        ..plugin("faulty", json!({ "fault": "trap" }))
    };
    let roles = json!({ "roles": { "viewer": { "sees": ["host"], "max_spatial": 1 } } });
    let policy = load(vec![open, plugin("subscription-policy", roles)]).log_to(&log(folder.path())).unwrap();
    let [host, guest] = ["host", "guest"].map(|role| camera(somebody(role, Some(role), Grant::default())));
    let viewer = somebody("v", Some("viewer"), Grant::default());
    let decisions = policy.subscribe(subscription(viewer, vec![host, guest])).await;
    assert!(decisions[0].is_ok() && decisions[1].is_err());
    policy.journal().close();

    let all = questions(folder.path());
    let [line] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        (&line["hook"], &line["why"], &line["room"]["name"]),
        (&json!("subscription"), &json!("announce"), &json!("board"))
    );
    assert_eq!((&line["who"]["subject"], &line["who"]["claims"][0]["value"]), (&json!("v"), &json!("\"viewer\"")));
    assert_eq!((&line["publishers"][1]["subject"], &line["tracks"][1]["publisher"]), (&json!("guest"), &json!(1)));
    let [faulty, rules] = line["plugins"].as_array().unwrap() as &[Value] else { panic!("{line}") };
    assert_eq!((&faulty["failed"], &faulty["said"]), (&json!("trap"), &json!(["abstain", "abstain"])));
    assert_eq!(
        (&faulty["sha256"], &rules["sha256"]),
        (&json!(digest("faulty")), &json!(digest("subscription-policy")))
    );
    assert_eq!(rules["said"][0]["allow"]["maxSpatial"], 1);
    assert_eq!(rules["said"][1]["deny"]["code"], "forbidden");
    assert_eq!((&line["decisions"], &line["epoch"]), (&rules["said"], &json!(1)));
    assert!(faulty["us"].is_u64() && line["us"].as_u64().unwrap() >= rules["us"].as_u64().unwrap(), "{line}");
}

#[tokio::test]
async fn who_is_accepted_is_in_the_log_with_claims_and_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let rooms = json!({ "rooms": { "vault": { "password_sha256": "00".repeat(32) } } });
    let policy = load(vec![plugin("jwt-auth", json!({})), plugin("room-admission", rooms)]);
    let policy = policy.log_to(&log(folder.path())).unwrap();
    let good = token(json!({ "role": "teacher" }));
    assert!(policy.authenticate(auth(&good)).await.is_ok());
    assert!(policy.authenticate(auth("no token at all")).await.is_err());
    let question = admission(somebody("v", None, Grant::default()), room("vault", 0), Some("open sesame"));
    assert!(policy.admit(question).await.is_err());
    policy.journal().close();

    let text = std::fs::read_to_string(folder.path().join("decisions-000001.jsonl")).unwrap();
    for secret in [&good[..], "no token at all", "open sesame", good.rsplit('.').next().unwrap()] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    let all = questions(folder.path());
    let [accepted, refused, password] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&accepted["identity"]["username"], &accepted["token"]), (&json!("Ann"), &json!(true)));
    assert!(accepted["identity"]["claims"].to_string().contains("teacher"), "{accepted}");
    assert_eq!(
        (&refused["identity"], &refused["decisions"][0]["deny"]["code"]),
        (&Value::Null, &json!("unauthenticated"))
    );
    assert_eq!((&password["password"], &password["decisions"][0]["deny"]["code"]), (&json!(true), &json!("forbidden")));
}

#[tokio::test]
async fn what_a_plugin_repeats_of_a_secret_is_in_no_line_from_the_door_to_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let policy = load(vec![plugin("faulty", json!({ "fault": "repeat" }))]).log_to(&log(folder.path())).unwrap();
    let (token, password) = ("a token that nobody reads", "pass\"word\\");
    let identity = policy.authenticate(auth(token)).await.unwrap();
    assert!(identity.username.contains("withheld"), "{identity:?}");
    let who = Participant { identity, publisher_id: None, door: Door::Ws, peer: "127.0.0.1".parse().unwrap() };
    let refused = policy.admit(admission(who.clone(), room("board", 0), Some(password))).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::FORBIDDEN);
    let grant = policy.admit(admission(who, room("board", 0), None)).await.unwrap();
    policy.journal().note(Line::Entered { room: "board".into(), participant: 1, grant });
    policy.journal().close();

    let text = std::fs::read_to_string(folder.path().join("decisions-000001.jsonl")).unwrap();
    for secret in [token, password, r#"pass\"word"#, r#"pass\\\"word"#] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    let all = questions(folder.path());
    let [door, knocked, entered] = &all[..] else { panic!("{all:?}") };
    for known in [&door["identity"], &knocked["who"], &entered["who"]] {
        assert_eq!(known["username"], "[withheld: it holds a secret]");
    }
    // What the plugin wanted is to be seen, without the words.
    assert_eq!(knocked["plugins"][0]["said"][0]["allow"]["attributes"][0]["value"], "[withheld: it holds a secret]");
    assert_eq!(knocked["decisions"][0]["deny"]["code"], "forbidden");
}

#[tokio::test]
async fn a_question_for_more_tracks_than_one_call_takes_is_one_line_that_says_which_were_asked_about_when() {
    let folder = tempfile::tempdir().unwrap();
    let policy = load(vec![plugin("subscription-policy", json!({}))]).log_to(&log(folder.path())).unwrap();
    let host = camera(somebody("h", None, Grant::default()));
    let who = somebody("v", None, Grant::default());
    assert_eq!(policy.subscribe(subscription(who, vec![host; 300])).await.len(), 300);
    policy.journal().close();
    let all = questions(folder.path());
    let parts: Vec<_> = all[0]["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (&part["from"], part["said"].as_array().unwrap().len()))
        .collect();
    assert_eq!(parts, [(&Value::Null, 256), (&json!(256), 44)]);
    assert_eq!(
        (all.len(), all[0]["decisions"].as_array().unwrap().len(), all[0]["publishers"].as_array().unwrap().len()),
        (1, 300, 1)
    );
}

#[test]
fn the_same_plugins_with_the_same_configuration_have_the_same_hash() {
    let hash = |room: &str, threads: usize, deny: bool| {
        let folder = tempfile::tempdir().unwrap();
        let plugins =
            vec![plugin("room-admission", json!({ "rooms": { room: { "password_sha256": "00".repeat(32) } } }))];
        let config = lockgate_policy::PolicyConfig { threads, default_allow: !deny, ..config(plugins) };
        lockgate_policy::Policy::load(config).unwrap().log_to(&log(folder.path())).unwrap().journal().close();
        let text = std::fs::read_to_string(folder.path().join("decisions-000001.jsonl")).unwrap();
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(header["plugins"][0]["sha256"], json!(digest("room-admission")));
        let hash = header["config"].as_str().unwrap().to_owned();
        assert!(Hash::parse(hash.as_bytes()).is_some());
        hash
    };
    assert_eq!(hash("a", 1, true), hash("b", 2, true), "values of settings may be passwords");
    assert_ne!(hash("a", 1, true), hash("a", 1, false));
}
