//! Who is in, asked about again.

use lockgate_model::SubscribeConnections::Shared;
use lockgate_model::policy::{CommandAnswer, CommandEffect, Denial, Grant};
use lockgate_model::{ErrorCode, PublisherId};
use serde_json::json;

use super::{admitting, again, ends, is_untouched, subscribing, unavailable, until};
use crate::tests::{Call, Rules, all, identity, no, track};
use crate::{Input, MediaAction, Question};

#[test]
fn a_stay_ends_with_the_token_whether_or_not_a_session_says_so() {
    let mut call = Call::new();
    let ann = call.join(1);
    let identity = lockgate_model::policy::Identity { expires_at_ms: Some(1_005_000), ..identity(1, all()) };
    call.input(Input::Renewed { member: ann, identity });
    call.wait(4999);
    assert!(call.gone.is_empty());
    call.wait(1);
    let revoked = call.only(ann, "revoked");
    assert_eq!((&revoked["what"], &revoked["reason"]), (&json!("stay"), &json!("the token has expired")));
    assert!(call.gone == [ann] && call.room.is_empty());
}

#[test]
fn a_renewed_token_extends_the_stay_and_interrupts_nothing() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.subscribe(bob, ann);
    call.quiet();
    for _ in 0..5 {
        let expires_at_ms = Some(call.now_ms + 10_000);
        let identity = lockgate_model::policy::Identity { expires_at_ms, ..identity(1, all()) };
        call.input(Input::Renewed { member: ann, identity });
        call.wait(9000);
    }
    assert!(is_untouched(&call));
    call.wait(1000);
    assert_eq!(call.gone, [ann]);
}

#[test]
fn admission_is_asked_again_with_what_was_said_at_the_door_and_without_counting_the_asker() {
    let (mut call, admit, _, bob) = admitting(Grant::default());
    call.quiet();
    *admit.borrow_mut() = Ok(again(10_000));
    call.say(bob, json!({"type": "leave-room"}));
    let cid = PublisherId(3);
    let participant = lockgate_model::policy::Participant {
        identity: identity(2, all()),
        publisher_id: Some(cid),
        door: lockgate_model::policy::Door::Ws,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    let password = Some(lockgate_model::Secret::new("sesame"));
    let metadata = Some("here I am".to_owned());
    let join = crate::Join { member: cid, participant, id: None, password, metadata, connections: Shared };
    call.input(Input::Join(join));
    call.slow_policy = true;
    call.wait(10_000);
    let Some((_, question)) = call.asked.pop_front() else { panic!("nothing is asked") };
    let Question::Admission(asked) = *question else { panic!("{question:?}") };
    assert_eq!(asked.why, lockgate_model::policy::Why::Recheck);
    assert_eq!(asked.password.as_ref().map(lockgate_model::Secret::expose), Some("sesame"));
    assert_eq!((asked.metadata.as_deref(), asked.room.participants), (Some("here I am"), 1));
}

#[test]
fn who_is_not_in_yet_when_a_stay_is_to_be_asked_about_again_is_asked_about_once_inside() {
    let (mut call, _, ann, bob) = admitting(again(250));
    call.say(bob, json!({"type": "leave-room"}));
    call.slow_policy = true;
    let cid = call.join_as(3, 2, all(), Shared);
    let is_about_cid = |question: &Question| match question {
        Question::Admission(asked) => asked.who.publisher_id == Some(cid),
        _ => false,
    };
    call.answer_next();
    call.wait(1000);
    assert!(!call.asked.iter().any(|(_, question)| is_about_cid(question)), "{ann}: {:?}", call.asked);
    call.answer_next();
    call.wait(1);
    assert!(call.asked.iter().any(|(_, question)| is_about_cid(question)));
}

#[test]
fn a_plugin_that_has_the_lobby_asked_about_again_holds_up_nothing() {
    let lobby = |who: &lockgate_model::policy::Participant| match who.identity.subject.as_str() {
        "2" => Err(Denial { waiting: true, ..Denial::new(ErrorCode::WAITING, "wait") }),
        _ => Ok(Grant::default()),
    };
    let act = |_: &lockgate_model::policy::Participant, _: &str| CommandAnswer {
        decision: Ok(Grant::default()),
        reply: String::new(),
        effects: vec![CommandEffect::ReAsk { subject: None }],
    };
    let mut call = Call::ruled(Rules { admit: Box::new(lobby), act: Box::new(act), ..Rules::default() });
    let (ann, bob) = (call.join(1), call.join(2));
    for ends in [5000, 9000] {
        let expires_at_ms = Some(1_000_000 + ends);
        let identity = lockgate_model::policy::Identity { expires_at_ms, ..identity(2, all()) };
        call.input(Input::Renewed { member: bob, identity });
    }
    call.say(ann, json!({"type": "policy-command", "name": "x"}));
    call.wait(8999);
    assert!(call.gone.is_empty());
    call.wait(1);
    assert_eq!(call.gone, [bob]);
}

#[test]
fn when_others_answer_everything_is_asked_about_again_and_what_they_allow_is_not_touched() {
    let (mut call, subscribe, _, bob) = subscribing(Grant::default());
    call.slow_policy = true;
    call.input(Input::OtherPolicy);
    let kinds = |question: &Question| match question {
        Question::Admission(_) => "admission",
        Question::Publish(_) => "publish",
        Question::Subscribe(_) => "subscribe",
        Question::Record(_) | Question::Command(_) => "other",
    };
    let mut asked: Vec<_> = call.asked.iter().map(|(_, question)| kinds(question)).collect();
    asked.sort_unstable();
    assert_eq!(
        asked,
        ["admission", "admission", "publish", "subscribe"],
        "two stays, Ann's tracks, and Bob about them"
    );
    assert!(call.asked.iter().all(|(_, question)| question.is_repeated()));
    call.slow_policy = false;
    call.input(Input::OtherPolicy);
    assert!(is_untouched(&call));
    *subscribe.borrow_mut() = no("the new ones say so");
    call.input(Input::OtherPolicy);
    assert_eq!(ends(&call), ["a1", "v1"]);
    let told = |(to, said): &&(PublisherId, serde_json::Value)| *to == bob && said["type"] == "revoked";
    let reasons: Vec<_> = call.told.iter().filter(told).map(|(_, said)| said["reason"].clone()).collect();
    assert_eq!(reasons, ["the new ones say so", "the new ones say so"]);
}

#[test]
fn a_stay_that_is_denied_when_asked_again_ends() {
    let (mut call, admit, _, bob) = admitting(again(10_000));
    call.wait(50_000);
    assert!(is_untouched(&call));
    *admit.borrow_mut() = no("visiting hours are over");
    call.wait(10_000);
    assert!(matches!(call.media[0], MediaAction::CloseConnection { .. }), "media first: {:?}", call.media);
    assert_eq!(call.only(bob, "revoked")["reason"], "visiting hours are over");
    assert_eq!(call.gone, [bob]);
}

#[test]
fn a_stay_about_which_nobody_can_be_asked_ends_when_it_is_stale() {
    let (mut call, admit, _, bob) = admitting(again(10_000));
    *admit.borrow_mut() = unavailable();
    call.wait(68_000);
    assert!(is_untouched(&call));
    call.wait(2500);
    assert_eq!(call.gone, [bob]);
    assert_eq!(call.only(bob, "revoked")["reason"], "policy could not be asked again in time");
}

#[test]
fn a_stay_ends_when_what_admission_grants_does() {
    let (mut call, _, _, bob) = admitting(until(1_007_000));
    call.wait(7000);
    assert_eq!(call.gone, [bob]);
    assert_eq!(call.only(bob, "revoked")["reason"], "your grant has ended");
}

#[test]
fn a_narrower_stay_takes_effect_before_policy_is_asked_about_tracks_and_the_client_learns_its_grants() {
    let (mut call, admit, ann, bob) = admitting(again(10_000));
    call.publish(bob, &["v2"]);
    call.subscribe(ann, bob);
    call.quiet();
    *admit.borrow_mut() = Ok(Grant { can_publish: Some(false), can_subscribe: Some(false), ..again(10_000) });
    call.rules.subscribe = Box::new(|_, _| unavailable());
    call.wait(10_000);
    let mut ended = ends(&call);
    ended.sort_unstable();
    assert_eq!(ended, ["a1", "v1", "v2", "v2"]);
    let grants = call.only(bob, "grants-changed");
    assert_eq!((&grants["grants"]["canPublish"], &grants["roomName"]), (&json!(false), &json!("den")));
    assert!(call.gone.is_empty());
}

#[test]
fn what_a_wider_stay_shows_waits_for_policys_answer() {
    let (mut call, admit, _, bob) = admitting(Grant { can_subscribe: Some(false), ..again(10_000) });
    *admit.borrow_mut() = Ok(again(10_000));
    call.rules.subscribe = Box::new(|_, of| match of.track.id.as_str() {
        "v1" => unavailable(),
        _ => Ok(Grant::default()),
    });
    call.wait(10_000);
    let tracks = call.only(bob, "new-publisher")["tracks"].clone();
    assert_eq!((tracks.as_array().unwrap().len(), &tracks[0]["trackId"]), (1, &json!("a1")));
}

#[test]
fn who_is_hidden_from_now_on_is_seen_no_more_and_may_come_back() {
    let (mut call, admit, ann, bob) = admitting(again(10_000));
    call.publish(bob, &["v2"]);
    call.subscribe(ann, bob);
    call.quiet();
    *admit.borrow_mut() = Ok(Grant { hidden: true, ..again(10_000) });
    call.wait(10_000);
    assert_eq!(ends(&call), ["v2"]);
    assert_eq!(call.heard(ann), ["publisher-left", "user-left"]);
    call.quiet();
    *admit.borrow_mut() = Ok(again(10_000));
    call.wait(10_000);
    assert_eq!(call.heard(ann), ["user-joined", "new-publisher"]);
}

#[test]
fn who_is_hidden_while_policy_is_asked_who_may_know_of_them_stays_hidden() {
    let (mut call, admit, ann, bob) = admitting(again(10_000));
    call.slow_policy = true;
    call.publish(bob, &["v2"]);
    call.answer_next();
    assert_eq!(call.asked.len(), 1, "whether Ann may know of v2 is asked");
    *admit.borrow_mut() = Ok(Grant { hidden: true, ..Grant::default() });
    call.wait(10_000);
    call.asked.rotate_right(1);
    call.answer_next();
    call.quiet();
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert!(call.heard(ann).is_empty() && call.sending.values().flatten().all(|sent| *sent != track("v2")));
    assert!(!call.room.members[&ann].may_know(&track("v2")));
}

#[test]
fn an_answer_that_is_overtaken_by_a_later_one_changes_nothing() {
    let (mut call, subscribe, ann, bob) = subscribing(Grant::default());
    call.slow_policy = true;
    call.input(Input::Renewed { member: bob, identity: identity(2, Grant::default()) });
    let (old, question) = call.asked.pop_front().unwrap();
    let late = call.rules.answer(&question);
    *subscribe.borrow_mut() = no("not any more");
    call.input(Input::Renewed { member: bob, identity: identity(2, all()) });
    call.answer_next();
    assert_eq!(ends(&call), ["a1", "v1"]);
    call.quiet();
    call.input(Input::Answer { ticket: old, answer: late });
    assert!(call.media.is_empty() && call.heard(bob).is_empty(), "{:?} {ann}", call.media);
}

#[test]
fn a_plugin_has_everything_about_somebody_asked_again() {
    let (mut call, admit, ann, bob) = admitting(Grant::default());
    call.publish(bob, &["v2"]);
    call.rules.act = Box::new(|_, _| CommandAnswer {
        decision: Ok(Grant::default()),
        reply: String::new(),
        effects: vec![CommandEffect::ReAsk { subject: Some("2".into()) }],
    });
    call.quiet();
    *admit.borrow_mut() = Ok(Grant { can_data: Some(false), ..Grant::default() });
    call.rules.publish = Box::new(|_| no("no more"));
    call.say(ann, json!({"type": "policy-command", "name": "x"}));
    let heard = call.heard(bob);
    assert!(heard.contains(&"grants-changed".to_owned()) && heard.contains(&"revoked".to_owned()), "{heard:?}");
    call.rules.act = Box::new(|_, _| CommandAnswer {
        decision: Ok(Grant::default()),
        reply: String::new(),
        effects: vec![CommandEffect::Revoke { subject: Some("2".into()), reason: "banned".into() }],
    });
    call.say(ann, json!({"type": "policy-command", "name": "x"}));
    assert_eq!(call.only(bob, "revoked")["reason"], "banned");
    assert_eq!(call.gone, [bob]);
}
