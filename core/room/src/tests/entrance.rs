use lockgate_model::SubscribeConnections::{PerPublisher, Shared};
use lockgate_model::policy::{CommandAnswer, CommandEffect, Denial, Grant};
use lockgate_model::{ErrorCode, MediaKind, PublisherId};
use serde_json::json;

use super::{Call, Rules, all, identity, no};
use crate::{Connection, Input, LeaveReason, MediaAction, RoomConfig};

#[test]
fn a_newcomer_learns_who_is_there_and_the_others_learn_of_the_newcomer() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.publish(ann, &["v1", "a1"]);
    call.quiet();
    let bob = call.join(2);
    let messages = call.messages(bob);
    let types: Vec<_> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["room-joined", "publishers-list", "new-publisher"]);
    assert_eq!(messages[0]["id"], "join");
    assert_eq!(messages[0]["publisherId"], 2);
    assert_eq!(messages[0]["participants"][0]["tracks"].as_array().unwrap().len(), 2);
    assert_eq!(messages[1]["publishers"][0]["username"], "user 1");
    assert_eq!(messages[2]["tracks"][0]["codec"], "opus");
    let joined = call.only(ann, "user-joined");
    assert_eq!((&joined["publisherId"], &joined["userId"]), (&json!(2), &json!(2)));
}

#[test]
fn who_is_denied_learns_why_and_nobody_else_learns_anything() {
    let mut call = Call::ruled(Rules {
        admit: Box::new(|who| if who.identity.subject == "2" { no("not today") } else { Ok(Grant::default()) }),
        ..Rules::default()
    });
    let ann = call.join(1);
    call.quiet();
    let bob = call.join(2);
    let error = call.only(bob, "error");
    assert_eq!(
        (&error["code"], &error["of"], &error["id"]),
        (&json!("forbidden"), &json!("join-room"), &json!("join"))
    );
    assert_eq!((call.gone.clone(), call.room.contains(bob)), (vec![bob], false));
    assert!(call.heard(ann).is_empty());
}

#[test]
fn what_was_sent_ahead_of_a_denial_is_refused_with_it() {
    let mut call = Call::ruled(Rules { admit: Box::new(|_| no("not today")), ..Rules::default() });
    call.slow_policy = true;
    let ann = call.join(1);
    call.say(ann, json!({"type": "chat", "id": 7, "text": "hello"}));
    assert!(call.heard(ann).is_empty());
    call.answer_next();
    let messages = call.messages(ann);
    assert_eq!((&messages[1]["of"], &messages[1]["id"]), (&json!("chat"), &json!(7)));
    assert_eq!(messages[1]["code"], "forbidden");
}

#[test]
fn a_token_for_another_room_and_a_full_room_are_refused_without_asking() {
    let mut call = Call::with(RoomConfig { max_participants: 1, ..RoomConfig::default() }, Rules::default());
    call.slow_policy = true;
    let elsewhere = Grant { rooms: Some(["lab".to_owned()].into()), ..Grant::default() };
    let ann = call.join_with(1, elsewhere, Shared);
    assert_eq!(call.only(ann, "error")["code"], "forbidden");
    call.join(2);
    let cid = call.join(3);
    assert_eq!(call.only(cid, "error")["code"], "room-full");
    assert_eq!(call.asked.len(), 1);
}

#[test]
fn who_waits_in_the_lobby_is_nobody_yet_and_may_ask_again() {
    let mut call = Call::ruled(Rules {
        admit: Box::new(|_| Err(Denial::new(ErrorCode::WAITING, "the host comes soon"))),
        ..Rules::default()
    });
    let ann = call.join(1);
    assert_eq!(call.only(ann, "room-waiting")["message"], "the host comes soon");
    call.say(ann, json!({"type": "chat", "text": "anybody?"}));
    assert_eq!(call.only(ann, "error")["code"], "waiting");
    call.rules.admit = Box::new(|_| Ok(Grant::default()));
    call.say(ann, json!({"type": "join-room", "id": 9}));
    assert_eq!(call.only(ann, "room-joined")["id"], 9);
}

/// Ann comes in, everybody else waits, and each `policy-command` has these effects; the reply is its name.
fn lobby(effects: &[CommandEffect]) -> Rules {
    let effects = effects.to_vec();
    Rules {
        admit: Box::new(|who| match who.identity.subject.as_str() {
            "1" => Ok(Grant::default()),
            _ => Err(Denial::new(ErrorCode::WAITING, "wait")),
        }),
        act: Box::new(move |_, name| CommandAnswer {
            decision: Ok(Grant::default()),
            reply: name.to_owned(),
            effects: effects.clone(),
        }),
        ..Rules::default()
    }
}

fn admit_bob() -> CommandEffect {
    CommandEffect::Admit { subject: Some("2".into()) }
}

fn ask_bob_again() -> CommandEffect {
    CommandEffect::ReAsk { subject: Some("2".into()) }
}

#[test]
fn a_plugin_lets_somebody_in_from_the_lobby() {
    let mut call = Call::ruled(lobby(&[admit_bob()]));
    let (ann, bob, cid) = (call.join(1), call.join(2), call.join(3));
    call.quiet();
    call.say(ann, json!({"type": "policy-command", "name": "let-in", "payload": "2", "id": 1}));
    assert_eq!(call.only(ann, "policy-reply")["payload"], "let-in");
    assert_eq!(call.only(bob, "room-joined")["publisherId"], 2);
    assert!(call.heard(cid).is_empty());
}

#[test]
fn whoever_a_plugin_lets_in_is_in_whatever_is_answered_to_a_question_from_the_lobby() {
    for (published, told) in [(&[][..], vec!["room-joined", "publishers-list"]), (&["v1"][..], Vec::new())] {
        let mut call = Call::ruled(lobby(&[admit_bob()]));
        let (ann, bob) = (call.join(1), call.join(2));
        call.publish(ann, published);
        call.rules.admit = Box::new(|_| no("not today"));
        call.slow_policy = true;
        call.say(bob, json!({"type": "join-room", "id": 9}));
        call.say(ann, json!({"type": "policy-command", "name": "let-in"}));
        call.asked.rotate_left(1);
        call.answer_next();
        call.quiet();
        call.answer_next();
        assert_eq!(call.heard(bob), told);
        while !call.asked.is_empty() {
            call.answer_next();
        }
        assert!(call.gone.is_empty() && call.room.participants() == 2);
    }
}

#[test]
fn all_plugins_are_asked_about_whom_one_let_in_as_soon_as_they_are_inside() {
    let mut call = Call::ruled(lobby(&[admit_bob(), ask_bob_again()]));
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.rules.admit = Box::new(|_| Ok(Grant { can_publish: Some(false), ..Grant::default() }));
    call.slow_policy = true;
    call.say(ann, json!({"type": "policy-command", "name": "let-in"}));
    while !call.asked.is_empty() {
        call.answer_next();
    }
    call.wait(1);
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert_eq!(call.only(bob, "grants-changed")["grants"]["canPublish"], false);
}

#[test]
fn commands_wait_for_the_answer_and_then_take_effect_in_order() {
    let mut call = Call::new();
    call.slow_policy = true;
    let ann = call.join(1);
    call.say(ann, json!({"type": "chat", "text": "one"}));
    call.publish(ann, &["v1"]);
    call.say(ann, json!({"type": "chat", "text": "two"}));
    assert!(call.heard(ann).is_empty());
    call.answer_next();
    assert_eq!(call.heard(ann), ["room-joined", "publishers-list", "chat"]);
    call.answer_next();
    assert_eq!(call.heard(ann), ["publish-answer", "chat"]);
}

#[test]
fn too_much_sent_ahead_is_refused_not_kept() {
    let mut call = Call::new();
    call.slow_policy = true;
    let ann = call.join(1);
    for _ in 0..65 {
        call.say(ann, json!({"type": "chat", "text": "x"}));
    }
    assert_eq!(call.only(ann, "error")["code"], "rate-limited");
    let bob = call.join(2);
    for _ in 0..3 {
        call.say(bob, json!({"type": "policy-command", "name": "x", "payload": "x".repeat(100_000)}));
    }
    assert_eq!(call.only(bob, "error")["code"], "rate-limited");
    let cid = call.join(3);
    for _ in 0..3 {
        // A text in any place counts.
        call.say(cid, json!({"type": "join-room", "password": "x".repeat(100_000)}));
    }
    assert_eq!(call.only(cid, "error")["code"], "rate-limited");
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let mut call = Call::new();
    call.slow_policy = true;
    let ann = call.join(1);
    call.input(Input::Leave { member: ann, reason: LeaveReason::Closed });
    call.answer_next();
    assert!(call.room.is_empty());
    assert!(call.heard(ann).is_empty());
}

#[test]
fn leaving_ends_publications_and_connections_and_tells_the_others() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join_with(2, all(), PerPublisher));
    call.publish(ann, &["v1"]);
    call.subscribe(bob, ann);
    call.quiet();
    call.say(ann, json!({"type": "leave-room", "id": 5}));
    assert_eq!(call.only(ann, "room-left")["id"], 5);
    assert_eq!(call.heard(bob), ["publisher-left", "user-left"]);
    assert!(call.media.iter().any(|action| matches!(action, MediaAction::ClosePublish { member } if *member == ann)));
    let connection = Connection { member: bob, publisher: Some(ann) };
    assert!(
        call.media
            .iter()
            .any(|action| matches!(action, MediaAction::CloseConnection { connection: of } if *of == connection))
    );
}

#[test]
fn what_somebody_asks_for_after_leaving_comes_back_unanswered() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.slow_policy = true;
    call.publish(ann, &["v1"]);
    for (id, kind) in ["leave-room", "join-room", "publish-offer"].into_iter().enumerate() {
        call.say(ann, json!({"type": kind, "id": id, "offer": ""}));
    }
    call.answer_next();
    let missed: Vec<_> = call.missed.iter().map(|request| (request.id.clone(), request.command.name())).collect();
    let number = |id: u64| serde_json::from_value(id.into()).ok();
    assert_eq!(missed, [(number(1), "join-room"), (number(2), "publish-offer")]);
    assert_eq!((call.gone, call.room.is_empty()), (vec![ann], true));
}

#[test]
fn an_expired_token_ends_the_stay_with_a_word() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.quiet();
    call.input(Input::Leave { member: ann, reason: LeaveReason::Expired });
    assert_eq!(call.only(ann, "revoked")["what"], "stay");
}

#[test]
fn a_second_place_replaces_the_first_only_where_configured() {
    for (replace, places) in [(true, 1), (false, 2)] {
        let config = RoomConfig { replace_duplicates: replace, ..RoomConfig::default() };
        let mut call = Call::with(config, Rules::default());
        let first = call.join_as(1, 9, all(), Shared);
        call.join_as(2, 9, all(), Shared);
        assert_eq!((call.room.participants(), call.room.contains(first)), (places, !replace));
        assert_eq!(call.heard(first).contains(&"revoked".into()), replace);
    }
}

#[test]
fn a_member_whose_socket_came_back_hears_the_state_again() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.quiet();
    call.input(Input::Resumed { member: ann });
    assert_eq!(call.heard(ann), ["room-joined", "publishers-list"]);
    call.say(ann, json!({"type": "join-room", "id": 2}));
    assert_eq!(call.only(ann, "room-joined")["id"], 2);
}

#[test]
fn who_was_muted_while_the_socket_was_lost_hears_it_when_it_is_back() {
    let mut call = Call::new();
    let (admin, guest) = (call.join(1), call.join(2));
    call.publish(guest, &["a2", "v2"]);
    call.say(admin, json!({"type": "mute", "trackId": "a2", "publisherId": guest}));
    call.quiet();
    call.input(Input::Resumed { member: guest });
    let told = call.messages(guest);
    let told = told.iter().filter(|message| message["trackId"].is_string());
    let told: Vec<_> = told.map(|message| (&message["type"], &message["trackId"])).collect();
    assert_eq!(told, [(&json!("track-muted"), &json!("a2")), (&json!("track-unmuted"), &json!("v2"))]);
}

#[test]
fn a_renewed_token_narrows_or_widens_within_what_admission_allows() {
    let mut call = Call::ruled(Rules {
        admit: Box::new(|_| Ok(Grant { can_data: Some(false), ..Grant::default() })),
        ..Rules::default()
    });
    let ann = call.join_with(1, Grant { can_record: Some(false), ..Grant::default() }, Shared);
    call.quiet();
    call.input(Input::Renewed { member: ann, identity: identity(1, all()) });
    call.say(ann, json!({"type": "start-recording"}));
    assert_eq!(call.recorder.len(), 1);
    call.say(ann, json!({"type": "chat", "text": "x"}));
    assert_eq!(call.only(ann, "error")["code"], "forbidden");
}

#[test]
fn a_renewed_token_ends_what_it_does_not_allow_any_more() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["a1", "v1"]);
    call.publish(bob, &["a2", "v2"]);
    call.subscribe(ann, bob);
    call.subscribe(bob, ann);
    call.quiet();
    let mut renew = |grant: Grant| call.input(Input::Renewed { member: ann, identity: identity(1, grant) });
    renew(Grant { expires_at_ms: Some(7), ..all() });
    renew(Grant { kinds: Some([MediaKind::Audio].into()), ..all() });
    assert!(call.asked.is_empty() && call.room.contains(ann));
    let ended = |action: &MediaAction| match action {
        MediaAction::Unpublish { member, track } => Some((*member, None, track.to_string())),
        MediaAction::Unsubscribe { connection, publisher, track } => {
            Some((connection.member, Some(*publisher), track.to_string()))
        }
        _ => None,
    };
    let ended: Vec<_> = call.media.iter().filter_map(ended).collect();
    assert_eq!(ended, [(ann, None, "v1".into()), (bob, Some(ann), "v1".into()), (ann, Some(bob), "v2".into())]);
    let told = call.messages(ann);
    let revoked: Vec<_> = told.iter().filter(|event| event["type"] == "revoked").collect();
    assert_eq!(revoked.len(), 2, "{told:#?}");
    assert_eq!((&revoked[0]["what"], &revoked[0]["trackId"]), (&json!("publication"), &json!("v1")));
    assert_eq!((&revoked[1]["what"], &revoked[1]["trackId"]), (&json!("subscription"), &json!("v2")));
    assert_eq!(call.only(bob, "new-publisher")["tracks"][0]["trackId"], "a1");

    let elsewhere = Grant { rooms: Some(["lab".to_owned()].into()), ..all() };
    call.input(Input::Renewed { member: ann, identity: identity(1, elsewhere) });
    assert_eq!((call.only(ann, "revoked")["what"].clone(), call.room.contains(ann)), (json!("stay"), false));
}

#[test]
fn a_track_that_a_renewed_token_forbids_while_policy_is_asked_is_not_published() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.slow_policy = true;
    call.publish(ann, &["v1"]);
    call.input(Input::Renewed { member: ann, identity: identity(1, Grant { can_publish: Some(false), ..all() }) });
    call.answer_next();
    assert_eq!(call.only(ann, "publish-answer")["tracks"][0]["accepted"], false);
}

#[test]
fn a_command_of_somebody_who_is_not_in_changes_nothing() {
    let mut call = Call::new();
    call.say(PublisherId(77), json!({"type": "chat", "text": "x"}));
    assert!(call.told.is_empty() && call.room.is_empty());
}
