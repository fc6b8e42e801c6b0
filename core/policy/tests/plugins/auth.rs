//! `jwt-auth`: who gets in with which token.

use lockgate_model::ErrorCode;
use lockgate_model::policy::Denial;
use lockgate_policy::Policy;
use serde_json::json;

use crate::support::{NOW_MS, auth, load, plugin, token};

async fn denial(policy: &Policy, token: &str) -> Denial {
    policy.authenticate(auth(token)).await.unwrap_err()
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_what_they_may() {
    let policy = load(vec![plugin("jwt-auth", json!({}))]);
    let token = token(json!({ "rooms": ["board"], "canPublish": false, "canRecord": true, "role": "host" }));
    let identity = policy.authenticate(auth(&token)).await.unwrap();
    assert_eq!((identity.subject.as_str(), identity.user_id.0, identity.username.as_str()), ("42", 42, "Ann"));
    assert_eq!(identity.expires_at_ms, Some(NOW_MS + 60_000));
    assert!(identity.grant.allows_room("board") && !identity.grant.allows_room("other"));
    assert_eq!((identity.grant.can_publish, identity.grant.can_subscribe), (Some(false), None));
    assert!(identity.grant.allows_recording() && !identity.grant.is_admin());
    let claims: Vec<_> = identity.claims.iter().map(|one| (one.key.as_str(), one.value.as_str())).collect();
    assert_eq!(claims, [("role", "\"host\"")]);
}

#[tokio::test]
async fn a_bad_token_is_refused_and_says_why() {
    let policy = load(vec![plugin("jwt-auth", json!({}))]);
    let good = token(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut forged = signature.to_owned();
    forged.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });

    assert_eq!(denial(&policy, &format!("{signed}.{forged}")).await.code, ErrorCode::UNAUTHENTICATED);
    // {"alg":"none"} and no signature.
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    assert_eq!(denial(&policy, &unsigned).await.code, ErrorCode::UNAUTHENTICATED);
    assert_eq!(denial(&policy, &token(json!({ "exp": NOW_MS / 1000 - 1 }))).await.code, ErrorCode::TOKEN_EXPIRED);
    let early = denial(&policy, &token(json!({ "nbf": NOW_MS / 1000 + 1 }))).await;
    assert_eq!((early.code, early.message.as_str()), (ErrorCode::UNAUTHENTICATED, "the token is not valid yet"));
    let endless = denial(&policy, &token(json!({ "exp": null }))).await;
    assert_eq!(endless.code, ErrorCode::UNAUTHENTICATED);
    for other in ["", "no token", "a.b.c", &"x".repeat(9000)] {
        assert_eq!(denial(&policy, other).await.code, ErrorCode::UNAUTHENTICATED, "{other:.9}");
    }
    assert!(policy.authenticate(auth(&good)).await.is_ok());
}

#[tokio::test]
async fn a_subject_that_is_no_number_always_gets_the_same_number() {
    let policy = load(vec![plugin("jwt-auth", json!({}))]);
    let token = token(json!({ "sub": "alice", "username": null }));
    let first = policy.authenticate(auth(&token)).await.unwrap();
    assert_eq!(first.username, "alice");
    assert!((1 << 52..1 << 53).contains(&first.user_id.0));
    assert_eq!(policy.authenticate(auth(&token)).await.unwrap(), first);
}

#[tokio::test]
async fn strangers_are_let_in_only_if_the_settings_say_so_and_are_not_each_other() {
    let policy = load(vec![plugin("jwt-auth", json!({ "anonymous": "loopback" }))]);
    let one = policy.authenticate(auth("")).await.unwrap();
    let other = policy.authenticate(auth("")).await.unwrap();
    assert_ne!((&one.subject, one.user_id), (&other.subject, other.user_id));
    assert!(!one.grant.allows_recording());
    let mut elsewhere = auth("");
    elsewhere.peer = "192.0.2.1".parse().unwrap();
    assert_eq!(policy.authenticate(elsewhere).await.unwrap_err().code, ErrorCode::UNAUTHENTICATED);
}

#[tokio::test]
async fn the_first_plugin_that_accepts_says_who_it_is() {
    // `faulty` accepts everybody, as somebody called `x`.
    let policy = load(vec![plugin("jwt-auth", json!({})), plugin("faulty", json!({}))]);
    assert_eq!(policy.authenticate(auth(&token(json!({})))).await.unwrap().subject, "42");
    assert_eq!(policy.authenticate(auth("")).await.unwrap().subject, "x");
}

#[tokio::test]
async fn without_plugins_nobody_is_known() {
    let denial = denial(&load(Vec::new()), &token(json!({}))).await;
    assert_eq!(denial.code, ErrorCode::UNAUTHENTICATED);
}
