//! Today's host with a guest of each version of the contract that was released.

use std::fs;
use std::path::PathBuf;

use lockgate_model::policy::{
    Attribute, CommandEffect, CommandQuestion, Denial, Grant, Hook, Participant, RecordQuestion, Why,
};
use lockgate_model::{Bitrate, ErrorCode, MediaKind, Source};
use lockgate_policy::kit;
use serde_json::json;

use crate::support::{
    NOW_MS, admission, auth, camera, component, load, plugin, publishing, recording, room, somebody, subscription,
    track,
};

const ALL: [&str; 6] = ["clock", "config", "jwt", "kv", "log", "metrics"];

#[test]
fn every_released_version_has_a_guest_that_this_host_loads() {
    let released = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wit/released");
    let versions: Vec<_> =
        fs::read_dir(released).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!versions.is_empty());
    for version in versions {
        let found = kit::inspect(&component(&format!("contract-{}", version.replace('.', "-")))).unwrap();
        assert_eq!(found.problems, Vec::new(), "{version}");
        assert_eq!(found.contracts.into_iter().collect::<Vec<_>>(), [format!("lockgate:policy@{version}")]);
        assert_eq!((found.hooks, found.imports.len()), (Hook::ALL.to_vec(), ALL.len()), "{version}");
    }
}

/// What the guest of 0.1.0 allows; each field has another value.
fn allowed(asked: &str) -> Grant {
    let attribute = |value: &str| Attribute { key: "contract-0-1-0.asked".into(), value: value.into() };
    Grant {
        max_spatial: Some(1),
        max_temporal: Some(2),
        max_bitrate: Some(Bitrate(5_000_000_000)),
        kinds: Some([MediaKind::Audio, MediaKind::Data].into()),
        sources: Some([Source::Camera, Source::ScreenAudio].into()),
        rooms: Some(["board".to_owned()].into()),
        can_publish: Some(true),
        can_subscribe: Some(false),
        can_record: Some(true),
        can_data: None,
        admin: Some(false),
        priority: Some(200),
        hidden: true,
        expires_at_ms: Some(4_000_000_000_000),
        reask_after_ms: Some(60_000),
        attributes: (!asked.is_empty()).then(|| attribute(asked)).into_iter().collect(),
    }
}

fn denied() -> Denial {
    Denial { retry_after_ms: Some(5_000_000_000), ..Denial::new(ErrorCode::from_plugin("code"), "message") }
}

/// What the guest says it was asked, and the rest of the grant.
fn parted(mut grant: Grant) -> (String, Grant) {
    let asked = grant.attributes.pop().unwrap();
    assert_eq!(asked.key, "contract-0-1-0.asked");
    (asked.value, grant)
}

fn ann() -> Participant {
    somebody("ann", Some("host"), Grant { priority: Some(9), ..Grant::default() })
}

#[tokio::test]
async fn a_guest_of_0_1_0_says_who_somebody_is() {
    let policy = load(vec![plugin("contract-0-1-0", json!({}))]);
    let known = policy.authenticate(auth("sesame")).await.unwrap();
    assert_eq!(
        (known.subject.as_str(), known.username.as_str(), known.expires_at_ms),
        ("subject", "username", Some(7))
    );
    assert_eq!(known.grant, allowed(""));
    assert_eq!(
        known.claims[0].value,
        format!(
            "Question {{ token: \"emases\", accepted: None, door: \"ws\", peer: \"127.0.0.1\", now-ms: {NOW_MS}, extra: [] }}"
        )
    );
    assert_eq!(policy.authenticate(auth("deny")).await.unwrap_err(), denied());
    assert_eq!(policy.authenticate(auth("")).await.unwrap_err().code, ErrorCode::UNAUTHENTICATED);
}

#[tokio::test]
async fn a_guest_of_0_1_0_decides_about_people_and_tracks() {
    let policy = load(vec![plugin("contract-0-1-0", json!({}))]);
    let (asked, grant) = parted(policy.admit(admission(ann(), room("board", 3), Some("open"))).await.unwrap());
    assert_eq!(grant, allowed(""));
    for part in [
        "subject: \"ann\"",
        "key: \"role\", value: \"\\\"host\\\"\"",
        "priority: Some(9)",
        "name: \"board\"",
        "participants: 3",
        "password: Some(\"nepo\")",
        "key: \"why\", value: \"request\"",
    ] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    assert_eq!(policy.admit(admission(ann(), room("board", 3), Some("deny"))).await.unwrap_err(), denied());

    let cameras = || [ann(), ann(), ann()].map(camera).to_vec();
    let tracks = ["a", "b", "c"].map(|id| track(id, Source::Camera)).to_vec();
    let by_operator = RecordQuestion { why: Why::Auto, ..recording(None, cameras()) };
    for (answers, parts) in [
        (policy.publish(publishing(ann(), tracks)).await, ["id: \"b\"", "codec: Some(\"vp8\")", "why: \"request\""]),
        (policy.subscribe(subscription(ann(), cameras())).await, ["publisher: 0", "spatial: 2", "why: \"announce\""]),
        (policy.record(by_operator).await, ["who: None", "source: \"camera\"", "why: \"auto\""]),
    ] {
        let [allow, deny, abstain] = <[_; 3]>::try_from(answers).unwrap();
        let (asked, grant) = parted(allow.unwrap());
        assert_eq!(grant, allowed(""));
        assert_eq!(deny.unwrap_err(), denied());
        assert_eq!(abstain.unwrap_err().code, ErrorCode::FORBIDDEN, "nobody decides, and the configuration denies");
        for part in parts {
            assert!(asked.contains(part), "{part} is not in {asked}");
        }
    }
}

#[tokio::test]
async fn a_guest_of_0_1_0_handles_commands_and_reaches_its_imports() {
    let policy = load(vec![plugin("contract-0-1-0", json!({ "colour": "red" }))]);
    let act = |name: &str| CommandQuestion {
        who: ann(),
        room: room("board", 3),
        name: name.into(),
        target: Some(somebody("eve", None, Grant::default())),
        payload: "no token".into(),
        now_ms: NOW_MS,
    };
    let answer = policy.command(act("dance")).await;
    for part in ["name: \"dance\"", "target: Some(", "subject: \"eve\"", "payload: \"no token\""] {
        assert!(answer.reply.contains(part), "{part} is not in {}", answer.reply);
    }
    let (ann, bob, eve) = (Some("ann".into()), Some("bob".into()), Some("eve".into()));
    assert_eq!(
        answer.effects,
        [
            CommandEffect::ReAsk { subject: ann },
            CommandEffect::Admit { subject: bob },
            CommandEffect::Revoke { subject: eve, reason: "why".into() },
            CommandEffect::Notify { subject: None, payload: "what".into() },
        ]
    );
    let heard = policy.command(act("imports")).await.reply;
    for part in [
        &format!("now {NOW_MS}"),
        "settings Some(\"red\") None {\"colour\":\"red\"}",
        "kept None Ok(())",
        "too long Err(",
        "kept Some([1, 255]) ()",
        "verified Err(",
    ] {
        assert!(heard.contains(part), "{part} is not in {heard}");
    }
    assert_eq!(policy.command(act("deny")).await.decision.unwrap_err(), denied());
}
