use lockgate_model::PublisherId;
use lockgate_model::SubscribeConnections::Shared;
use lockgate_model::policy::{CommandAnswer, CommandEffect, Grant};
use serde_json::json;

use super::{Call, Rules, all, no};
use crate::MediaAction;

/// Everybody sees user 1 only.
fn classroom() -> Rules {
    Rules {
        subscribe: Box::new(|who, of| {
            let teacher = of.publisher.identity.subject == "1" || who.identity.subject == "1";
            if teacher { Ok(Grant::default()) } else { no("students see the teacher") }
        }),
        ..Rules::default()
    }
}

#[test]
fn what_policy_hides_is_not_announced() {
    let mut call = Call::ruled(classroom());
    let (teacher, ann) = (call.join(1), call.join(2));
    call.publish(ann, &["v2"]);
    call.publish(teacher, &["v1"]);
    call.quiet();
    let bob = call.join(3);
    let joined = &call.messages(bob)[..];
    assert_eq!(joined[0]["participants"].as_array().unwrap().len(), 1);
    assert_eq!(joined[1]["publishers"][0]["publisherId"], 1);
    assert_eq!(joined.len(), 3);
    call.publish(bob, &["v3"]);
    assert_eq!(call.only(teacher, "new-publisher")["publisherId"], 3);
    assert!(!call.heard(ann).contains(&"new-publisher".into()));
    call.say(ann, json!({"type": "chat", "text": "psst"}));
    assert_eq!((call.heard(bob).len(), call.heard(teacher)), (1, vec!["chat".to_owned()]));
    call.say(ann, json!({"type": "offer", "targetUserId": 3, "offer": "x", "id": 1}));
    assert_eq!(call.only(ann, "error")["code"], "not-found");
}

#[test]
fn a_hidden_member_is_seen_by_nobody() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.quiet();
    let ghost = call.join_with(2, Grant { hidden: true, ..all() }, Shared);
    call.publish(ghost, &["v2"]);
    call.say(ghost, json!({"type": "chat", "text": "boo"}));
    call.subscribe(ann, ghost);
    assert_eq!(call.heard(ann), ["error"]);
    let bob = call.join(3);
    assert_eq!(call.only(bob, "room-joined")["participants"].as_array().unwrap().len(), 1);
    call.say(ghost, json!({"type": "leave-room"}));
    assert_eq!(call.heard(ann), ["user-joined"]);
}

#[test]
fn a_track_published_while_somebody_enters_is_announced_to_them_too() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.publish(ann, &["v1"]);
    call.slow_policy = true;
    call.quiet();
    let bob = call.join(2);
    call.answer_next();
    call.publish(ann, &["v1", "v2"]);
    while !call.asked.is_empty() {
        call.answer_next();
    }
    let news: Vec<_> = call.messages(bob).into_iter().filter(|message| message["type"] == "new-publisher").collect();
    assert_eq!(news.last().unwrap()["tracks"].as_array().unwrap().len(), 2);
}

#[test]
fn asking_again_takes_away_what_is_denied_now_and_leaves_the_rest_alone() {
    let mut call = Call::ruled(Rules {
        act: Box::new(|_, _| CommandAnswer {
            decision: Ok(Grant::default()),
            reply: String::new(),
            effects: vec![CommandEffect::ReAsk { subject: Some("2".into()) }],
        }),
        ..Rules::default()
    });
    let (ann, bob, cid) = (call.join(1), call.join(2), call.join(3));
    call.publish(ann, &["v1"]);
    call.publish(cid, &["v3"]);
    call.subscribe(bob, ann);
    call.subscribe(bob, cid);
    call.quiet();
    call.rules.subscribe = Box::new(|_, of| match of.track.id.as_str() {
        "v1" => no("not any more"),
        _ => Ok(Grant { max_spatial: Some(0), ..Grant::default() }),
    });
    call.say(ann, json!({"type": "policy-command", "name": "x"}));
    assert_eq!(call.heard(bob), ["revoked", "publisher-left"]);
    let limited =
        |action: &MediaAction| matches!(action, MediaAction::SetLimits { limits, .. } if limits.max_layer.spatial == 0);
    assert!(call.media.iter().any(limited));
    assert!(call.media.iter().any(|action| matches!(action, MediaAction::Unsubscribe { .. })));
    call.rules.subscribe = Box::new(|_, _| Ok(Grant::default()));
    call.quiet();
    call.say(ann, json!({"type": "policy-command", "name": "x"}));
    assert_eq!(call.only(bob, "new-publisher")["publisherId"], PublisherId(1).0);
}

#[test]
fn an_answer_about_a_track_says_nothing_of_a_later_one_of_its_name() {
    let (mut call, ann, bob, _) = Call::watched(&["v1"]);
    call.slow_policy = true;
    call.publish(ann, &["v1", "v2"]);
    call.answer_next();
    let (ticket, question) = call.asked.pop_front().unwrap();
    let answer = call.rules.answer(&question);
    call.say(ann, json!({"type": "unpublish", "trackId": "v2"}));
    call.publish(ann, &["v1", "v2"]);
    call.answer_next();
    call.quiet();
    call.input(crate::Input::Answer { ticket, answer });
    assert!(call.told.is_empty() && call.media.is_empty(), "{:?} {:?}", call.told, call.media);
    call.answer_next();
    assert_eq!(call.heard(bob), ["new-publisher", "subscribe-offer"]);
}
