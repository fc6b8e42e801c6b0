//! Policy, an operator or somebody in the room changes their mind while it is being asked what may be recorded.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate_model::policy::{CommandAnswer, CommandEffect, Grant};
use lockgate_model::{PublisherId, RevokedWhat};
use serde_json::{Value, json};

use super::{added, answer, call, session, take_record_question};
use crate::tests::{Call, Rules, no, track};
use crate::{Input, Question, RecorderReport, Revocation, Ticket, Whom};

/// A recording of everything in which policy lets nothing of Ann be recorded until it is told otherwise. Each command has all about
/// somebody asked again.
fn reluctant(agrees: &Rc<RefCell<bool>>, asked_again: &'static str) -> Call {
    let agrees = Rc::clone(agrees);
    let mut call = call(Rules {
        record: Box::new(move |_, of| match of.publisher.identity.subject.as_str() {
            "1" if !*agrees.borrow() => no("they do not agree"),
            _ => Ok(Grant::default()),
        }),
        act: Box::new(move |_, _| CommandAnswer {
            decision: Ok(Grant::default()),
            reply: String::new(),
            effects: vec![CommandEffect::ReAsk { subject: Some(asked_again.into()) }],
        }),
        ..Rules::default()
    });
    call.publish(PublisherId(2), &["a2"]);
    call.say(PublisherId(2), json!({"type": "start-recording"}));
    call
}

#[test]
fn what_policy_allows_when_it_is_asked_again_joins_the_recording() {
    let agrees = Rc::default();
    let mut call = reluctant(&agrees, "1");
    assert_eq!(added(&call), ["a2"]);
    agrees.replace(true);
    call.say(PublisherId(1), json!({"type": "policy-command", "name": "consent"}));
    assert_eq!(added(&call), ["a2", "a1", "v1"]);
}

#[test]
fn what_an_operator_took_from_the_recorder_is_not_asked_about_by_itself() {
    let agrees = Rc::new(RefCell::new(true));
    let mut call = reluctant(&agrees, "1");
    let (whom, what, track) = (Whom::Member(PublisherId(1)), RevokedWhat::Recording, Some(track("v1")));
    call.input(Input::Revoke(Revocation { whom, what, track, reason: "not this one".into() }));
    let before = added(&call).len();
    call.say(PublisherId(1), json!({"type": "policy-command", "name": "consent"}));
    assert_eq!(added(&call).len(), before);
    call.say(PublisherId(2), json!({"type": "start-recording"}));
    assert_eq!(added(&call).last(), Some(&"v1"), "whoever asks for it is answered by policy");
}

#[test]
fn an_answer_from_before_policy_changed_its_mind_records_nothing() {
    let agrees = Rc::new(RefCell::new(true));
    let mut call = reluctant(&agrees, "1");
    let early = asked_early(&mut call, Value::Null);
    call.say(PublisherId(1), json!({"type": "policy-command", "name": "withdraw"}));
    call.answer_next();
    answer(&mut call, early);
    agrees.replace(false);
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert_eq!(added(&call), ["a2"]);
}

/// Bob asks for these tracks (null: for everything) while policy takes its time: the question waits.
fn asked_early(call: &mut Call, tracks: Value) -> (Ticket, Box<Question>) {
    call.say(PublisherId(2), json!({"type": "stop-recording"}));
    let session = session(call);
    call.input(Input::Recorder(RecorderReport::Stopped { session }));
    call.recorder.clear();
    call.slow_policy = true;
    call.say(PublisherId(2), json!({"type": "start-recording", "tracks": tracks}));
    take_record_question(call)
}

#[test]
fn an_answer_from_before_policy_changed_its_mind_about_who_asked_records_nothing() {
    let agrees = Rc::new(RefCell::new(true));
    let mut call = reluctant(&agrees, "2");
    let early = asked_early(&mut call, json!(["a1", "v1"]));
    call.say(PublisherId(1), json!({"type": "policy-command", "name": "withdraw"}));
    call.answer_next();
    answer(&mut call, early);
    agrees.replace(false);
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert!(added(&call).is_empty(), "{:?}", added(&call));
}

#[test]
fn what_somebody_may_record_when_policy_is_asked_again_about_them_joins_the_recording() {
    let agrees = Rc::default();
    let mut call = reluctant(&agrees, "2");
    agrees.replace(true);
    call.say(PublisherId(1), json!({"type": "policy-command", "name": "promote"}));
    assert_eq!(added(&call), ["a2", "a1", "v1"]);
}

#[test]
fn what_an_operator_takes_from_the_recorder_stays_out_though_policy_thinks_again_meanwhile() {
    for revoked_first in [true, false] {
        let mut call = reluctant(&Rc::new(RefCell::new(true)), "1");
        let early = asked_early(&mut call, Value::Null);
        let revoke = |call: &mut Call| {
            let (whom, what, track) = (Whom::Member(PublisherId(1)), RevokedWhat::Recording, Some(track("v1")));
            call.input(Input::Revoke(Revocation { whom, what, track, reason: "not this one".into() }));
        };
        if revoked_first {
            revoke(&mut call);
        }
        call.say(PublisherId(1), json!({"type": "policy-command", "name": "consent"}));
        call.answer_next();
        if !revoked_first {
            revoke(&mut call);
        }
        answer(&mut call, early);
        while !call.asked.is_empty() {
            call.answer_next();
        }
        assert_eq!(added(&call), ["a1", "a2"]);
        assert_eq!(call.only(PublisherId(2), "error")["trackId"], "v1");
    }
}

#[test]
fn what_was_taken_out_by_name_comes_back_only_when_it_is_asked_for() {
    let mut call = reluctant(&Rc::new(RefCell::new(true)), "1");
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    let before = added(&call).len();
    call.say(bob, json!({"type": "stop-recording", "tracks": ["v1"]}));
    call.say(ann, json!({"type": "policy-command", "name": "consent"}));
    assert_eq!(added(&call).len(), before);
    call.slow_policy = true;
    call.publish(ann, &["a1", "v1", "v2"]);
    call.answer_next();
    let join = take_record_question(&mut call);
    call.say(bob, json!({"type": "stop-recording", "tracks": ["v2"]}));
    answer(&mut call, join);
    assert_eq!(added(&call).len(), before);
    call.slow_policy = false;
    call.say(bob, json!({"type": "start-recording", "tracks": ["v1"]}));
    assert_eq!(added(&call).last(), Some(&"v1"));
}
