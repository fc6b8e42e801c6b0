use lockgate_model::SubscribeConnections::Shared;
use lockgate_model::policy::{CommandAnswer, CommandEffect, Grant};
use serde_json::json;

use super::{Call, Rules};
use crate::MediaAction;

#[test]
fn a_kick_puts_out_with_a_word_where_policy_agrees() {
    let mut call = Call::new();
    let (admin, guest) = (call.join(1), call.join_with(2, Grant::default(), Shared));
    call.quiet();
    call.say(guest, json!({"type": "kick", "publisherId": 1, "id": 1}));
    let error = call.only(guest, "error");
    assert_eq!((&error["code"], &error["of"], &error["id"]), (&json!("forbidden"), &json!("kick"), &json!(1)));
    call.say(admin, json!({"type": "kick", "publisherId": 2}));
    assert_eq!(call.only(guest, "revoked")["what"], "stay");
    assert_eq!(call.heard(admin), ["user-left"]);
    assert_eq!(call.gone, [guest]);
    call.say(admin, json!({"type": "kick", "publisherId": 2}));
    assert_eq!(call.only(admin, "error")["code"], "not-found");
}

#[test]
fn ones_own_track_is_muted_without_asking_and_anothers_only_with() {
    let mut call = Call::new();
    let (admin, guest) = (call.join(1), call.join_with(2, Grant::default(), Shared));
    call.publish(admin, &["a1"]);
    call.publish(guest, &["a2"]);
    call.quiet();
    call.say(guest, json!({"type": "mute", "trackId": "a2", "id": 5}));
    assert_eq!(call.only(guest, "track-muted")["id"], 5);
    assert!(call.only(admin, "track-muted").get("id").is_none());
    call.say(guest, json!({"type": "mute", "trackId": "a1", "publisherId": 1}));
    assert_eq!(call.only(guest, "error")["code"], "forbidden");
    call.say(admin, json!({"type": "unmute", "trackId": "a2", "publisherId": 2, "id": 6}));
    assert_eq!(call.only(admin, "track-unmuted")["id"], 6);
    let mutes: Vec<_> = call
        .media
        .iter()
        .filter_map(|action| match action {
            MediaAction::Mute { muted, .. } => Some(*muted),
            _ => None,
        })
        .collect();
    assert_eq!(mutes, [true, false]);
    call.say(admin, json!({"type": "mute", "trackId": "a9"}));
    assert_eq!(call.only(admin, "error")["code"], "not-found");
}

#[test]
fn a_track_that_is_gone_when_policy_has_decided_is_not_muted_nor_is_a_later_one_of_its_name() {
    for comes_back in [false, true] {
        let mut call = Call::new();
        let (admin, guest) = (call.join(1), call.join_with(2, Grant::default(), Shared));
        call.publish(guest, &["a2"]);
        call.slow_policy = true;
        call.say(admin, json!({"type": "mute", "trackId": "a2", "publisherId": 2, "id": 6}));
        call.say(guest, json!({"type": "unpublish", "trackId": "a2"}));
        if comes_back {
            call.publish(guest, &["a2"]);
            call.asked.rotate_left(1);
            call.answer_next();
        }
        call.quiet();
        call.answer_next();
        let error = call.only(admin, "error");
        assert_eq!((&error["code"], &error["of"], &error["id"]), (&json!("not-found"), &json!("mute"), &json!(6)));
        assert!(!call.media.iter().any(|action| matches!(action, MediaAction::Mute { .. })));
    }
}

#[test]
fn a_plugins_answer_and_its_notices_reach_those_they_are_for() {
    let mut call = Call::ruled(Rules {
        act: Box::new(|_, name| CommandAnswer {
            decision: Ok(Grant::default()),
            reply: format!("did {name}"),
            effects: vec![CommandEffect::Notify { subject: Some("2".into()), payload: "hello two".into() }],
        }),
        ..Rules::default()
    });
    let (ann, bob, cid) = (call.join(1), call.join(2), call.join(3));
    call.quiet();
    call.say(ann, json!({"type": "policy-command", "name": "wave", "id": 1}));
    let reply = call.only(ann, "policy-reply");
    assert_eq!((&reply["payload"], &reply["id"]), (&json!("did wave"), &json!(1)));
    assert_eq!(call.only(bob, "policy-reply")["payload"], "hello two");
    assert!(call.heard(cid).is_empty());
    for (name, payload) in [("", String::new()), ("x", "x".repeat(16 * 1024 + 1))] {
        call.say(ann, json!({"type": "policy-command", "name": name, "payload": payload}));
        assert_eq!(call.only(ann, "error")["code"], "invalid-message");
    }
}

#[test]
fn chat_reaches_the_room_and_its_sender_and_has_a_limit() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join_with(2, Grant { can_data: Some(false), ..Grant::default() }, Shared));
    call.quiet();
    call.say(ann, json!({"type": "chat", "text": "hi", "id": 1}));
    assert_eq!(call.only(ann, "chat")["id"], 1);
    let heard = call.only(bob, "chat");
    assert_eq!((&heard["text"], &heard["username"]), (&json!("hi"), &json!("user 1")));
    call.say(ann, json!({"type": "chat", "text": "x".repeat(4097)}));
    assert_eq!(call.only(ann, "error")["code"], "invalid-message");
    call.say(bob, json!({"type": "chat", "text": "me too"}));
    assert_eq!(call.only(bob, "error")["code"], "forbidden");
}

#[test]
fn a_peers_message_goes_to_one_user_or_to_all_others_untouched() {
    let mut call = Call::new();
    let (ann, bob, cid) = (call.join(1), call.join(2), call.join(3));
    call.quiet();
    call.say(ann, json!({"type": "ice-candidate", "targetUserId": 2, "candidate": {"x": [1]}}));
    let relayed = call.only(bob, "ice-candidate");
    assert_eq!((&relayed["fromUserId"], &relayed["candidate"]), (&json!(1), &json!({"x": [1]})));
    assert!(call.heard(cid).is_empty());
    call.say(ann, json!({"type": "answer", "answer": "y"}));
    assert_eq!((call.heard(bob), call.heard(cid)), (vec!["answer".into()], vec!["answer".into()]));
    call.say(ann, json!({"type": "offer", "targetUserId": 9}));
    assert_eq!(call.only(ann, "error")["code"], "not-found");
}
