//! `room-admission` and `subscription-policy`, alone and together.

use lockgate_model::policy::{CommandQuestion, Grant};
use lockgate_model::{ErrorCode, Source};
use serde_json::json;

use crate::support::{
    NOW_MS, admission, auth, camera, load, plugin, publishing, recording, room, somebody, subscription, token, track,
};

fn guest() -> lockgate_model::policy::Participant {
    somebody("guest", None, Grant::default())
}

#[tokio::test]
async fn a_full_room_and_a_wrong_password_keep_people_out() {
    let digest = "00".repeat(32);
    let settings = json!({ "door": { "capacity": 2 }, "rooms": { "vault": { "password_sha256": digest } } });
    let policy = load(vec![plugin("room-admission", settings)]);
    let code = |question| {
        let policy = policy.clone();
        async move { policy.admit(question).await.map(drop).map_err(|denial| denial.code) }
    };
    assert_eq!(code(admission(guest(), room("board", 1), None)).await, Ok(()));
    assert_eq!(code(admission(guest(), room("board", 2), None)).await, Err(ErrorCode::ROOM_FULL));
    assert_eq!(code(admission(guest(), room("vault", 0), None)).await, Err(ErrorCode::FORBIDDEN));
    assert_eq!(code(admission(guest(), room("vault", 0), Some("guess"))).await, Err(ErrorCode::FORBIDDEN));
}

#[tokio::test]
async fn the_role_goes_into_the_grant_under_the_plugins_name() {
    let policy = load(vec![plugin("room-admission", json!({}))]);
    let grant =
        policy.admit(admission(somebody("h", Some("host"), Grant::default()), room("r", 0), None)).await.unwrap();
    let attributes: Vec<_> = grant.attributes.iter().map(|one| (one.key.as_str(), one.value.as_str())).collect();
    assert_eq!(attributes, [("room-admission.role", "host")]);
}

#[tokio::test]
async fn the_default_plugins_let_a_plain_token_join_publish_and_subscribe_but_not_record() {
    let policy = load(vec![
        plugin("jwt-auth", json!({})),
        plugin("room-admission", json!({})),
        plugin("subscription-policy", json!({})),
    ]);
    let mut allowed = Vec::new();
    for claims in [json!({}), json!({ "canRecord": true })] {
        let identity = policy.authenticate(auth(&token(claims))).await.unwrap();
        let grant = identity.grant.clone();
        let who = lockgate_model::policy::Participant { identity, ..somebody("", None, grant) };
        let joins = policy.admit(admission(who.clone(), room("board", 0), None)).await;
        let tracks = vec![track("camera", Source::Camera), track("microphone", Source::Microphone)];
        let publishes = policy.publish(publishing(who.clone(), tracks)).await;
        let subscribes = policy.subscribe(subscription(who.clone(), vec![camera(guest())])).await;
        let records = policy.record(recording(Some(who), vec![camera(guest())])).await;
        allowed.push((
            joins.is_ok(),
            publishes.iter().map(Result::is_ok).collect::<Vec<_>>(),
            subscribes.iter().map(Result::is_ok).collect::<Vec<_>>(),
            records.iter().map(Result::is_ok).collect::<Vec<_>>(),
        ));
    }
    let all_but_recording = (true, vec![true, true], vec![true], vec![false]);
    assert_eq!(allowed, [all_but_recording, (true, vec![true, true], vec![true], vec![true])]);
}

#[tokio::test]
async fn the_operators_own_recording_needs_nobodys_leave() {
    let policy = load(vec![plugin("room-admission", json!({}))]);
    assert!(policy.record(recording(None, vec![camera(guest())])).await[0].is_ok());
}

#[tokio::test]
async fn a_role_caps_the_layer_and_hides_others() {
    let viewer = json!({ "max_spatial": 0, "max_bitrate": 300_000, "sees": ["host"] });
    let policy = load(vec![plugin("subscription-policy", json!({ "roles": { "viewer": viewer } }))]);
    let who = somebody("v", Some("viewer"), Grant::default());
    let host = camera(somebody("h", Some("host"), Grant::default()));
    let decisions = policy.subscribe(subscription(who, vec![camera(guest()), host])).await;
    assert_eq!(decisions[0].as_ref().unwrap_err().code, ErrorCode::FORBIDDEN);
    let grant = decisions[1].as_ref().unwrap();
    assert_eq!((grant.max_spatial, grant.max_bitrate.map(|bitrate| bitrate.0)), (Some(0), Some(300_000)));
}

#[tokio::test]
async fn a_chain_allows_what_all_its_plugins_allow() {
    let mut stricter = plugin("subscription-policy", json!({ "default": { "max_spatial": 0, "priority": 9 } }));
    stricter.name = "stricter".into();
    let policy = load(vec![plugin("subscription-policy", json!({ "default": { "max_spatial": 1 } })), stricter]);
    let decisions = policy.subscribe(subscription(guest(), vec![camera(guest())])).await;
    let grant = decisions[0].as_ref().unwrap();
    assert_eq!((grant.max_spatial, grant.priority), (Some(0), Some(9)));
}

#[tokio::test]
async fn more_tracks_than_one_question_holds_get_a_decision_each() {
    let policy = load(vec![plugin("subscription-policy", json!({}))]);
    let many = vec![camera(guest()); 600];
    let decisions = policy.subscribe(subscription(guest(), many)).await;
    assert_eq!(decisions.iter().filter(|decision| decision.is_ok()).count(), 600);
    assert_eq!(policy.stats().plugins[0].hooks[0].calls, 3);
    assert!(policy.subscribe(subscription(guest(), Vec::new())).await.is_empty());
}

#[tokio::test]
async fn what_no_plugin_decides_follows_the_default() {
    let decided = |default_allow| async move {
        let config = lockgate_policy::PolicyConfig { default_allow, ..crate::support::config(Vec::new()) };
        let policy = lockgate_policy::Policy::load(config).unwrap();
        policy.admit(admission(guest(), room("r", 0), None)).await.is_ok()
    };
    assert!(decided(true).await);
    assert!(!decided(false).await);
}

#[tokio::test]
async fn acts_that_no_plugin_knows_are_for_admins() {
    let policy = load(vec![plugin("room-admission", json!({}))]);
    let act = |admin| CommandQuestion {
        who: somebody("m", None, Grant { admin, ..Grant::default() }),
        room: room("r", 2),
        name: "mute".into(),
        target: Some(guest()),
        payload: "camera".into(),
        now_ms: NOW_MS,
    };
    assert!(policy.command(act(Some(true))).await.decision.is_ok());
    assert_eq!(policy.command(act(None)).await.decision.unwrap_err().code, ErrorCode::FORBIDDEN);

    let policy = load(vec![plugin("faulty", json!({}))]);
    let answer = policy.command(act(None)).await;
    assert!(answer.decision.is_ok());
    assert_eq!(answer.reply, "camera");
}
