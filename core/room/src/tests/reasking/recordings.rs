//! What is recorded, asked about again.

use lockgate_model::PublisherId;
use lockgate_model::SubscribeConnections::Shared;
use lockgate_model::policy::Grant;
use serde_json::json;

use super::{Said, again, call, is_untouched, said, unavailable, until};
use crate::tests::{Call, Rules, all, identity, no};
use crate::{Input, LeaveReason, RecordAction, RecorderReport};

/// A room that Bob records.
fn recorded(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let record = said(grant);
    let rule = record.clone();
    let rules = Rules { record: Box::new(move |_, _| rule.borrow().clone()), ..Rules::default() };
    let (mut call, ann, bob) = call(rules);
    call.say(bob, json!({"type": "start-recording"}));
    let Some(RecordAction::Start { session }) = call.recorder.first() else { panic!("{:?}", call.recorder) };
    let session = session.clone();
    call.input(Input::Recorder(RecorderReport::Started { session: session.clone() }));
    call.input(Input::Recorder(RecorderReport::Recording { session }));
    call.quiet();
    (call, record, ann, bob)
}

fn removed(call: &Call) -> Vec<&str> {
    let removed = call.recorder.iter().filter_map(|action| match action {
        RecordAction::Remove { track, .. } => Some(track.as_str()),
        _ => None,
    });
    removed.collect()
}

#[test]
fn a_recording_ends_on_time_and_those_it_concerns_are_told() {
    let (mut call, _, ann, bob) = recorded(until(1_005_000));
    call.wait(4999);
    assert!(is_untouched(&call));
    call.wait(1);
    assert_eq!(removed(&call), ["a1", "v1"]);
    for who in [ann, bob] {
        let told = call.messages(who);
        assert_eq!((&told[0]["type"], &told[0]["tracks"]), (&json!("recording-state"), &json!([])));
        assert_eq!((&told[1]["what"], &told[1]["publisherId"]), (&json!("recording"), &json!(1)));
    }
}

#[test]
fn a_recording_is_asked_about_again_and_goes_on_ends_or_becomes_stale() {
    let (mut call, record, _, bob) = recorded(again(10_000));
    call.wait(50_000);
    assert!(is_untouched(&call));
    *record.borrow_mut() = unavailable();
    call.wait(40_000);
    assert!(is_untouched(&call));
    *record.borrow_mut() = Ok(again(10_000));
    call.wait(50_000);
    assert!(is_untouched(&call));
    let no_cameras = Grant { kinds: Some([lockgate_model::MediaKind::Audio].into()), ..again(10_000) };
    *record.borrow_mut() = Ok(no_cameras);
    call.wait(10_000);
    assert_eq!(removed(&call), ["v1"]);
    assert_eq!(call.only(bob, "recording-state")["tracks"], json!(["a1"]));
    *record.borrow_mut() = no("opted out");
    call.wait(10_000);
    assert_eq!(removed(&call), ["v1", "a1"]);
    assert_eq!(call.room.next_timeout(), None);
}

#[test]
fn a_recording_ends_with_the_right_of_who_asked_for_it_but_not_when_they_leave() {
    let (mut call, _, _, bob) = recorded(Grant::default());
    call.input(Input::Renewed { member: bob, identity: identity(2, Grant::default()) });
    assert!(call.recorder.iter().any(|action| matches!(action, RecordAction::Stop { .. })));
    assert_eq!(removed(&call), ["a1", "v1"]);
    let told = call.messages(bob);
    assert!(told.iter().any(|it| it["type"] == "revoked" && it["what"] == "recording"), "{told:?}");

    let (mut call, _, _, bob) = recorded(Grant::default());
    call.input(Input::Leave { member: bob, reason: LeaveReason::Closed });
    assert!(call.recorder.is_empty());

    let (mut call, _, _, bob) = recorded(Grant::default());
    call.input(Input::Leave { member: bob, reason: LeaveReason::Expired });
    assert!(call.recorder.iter().any(|action| matches!(action, RecordAction::Stop { .. })));
}

#[test]
fn no_recording_begins_for_somebody_who_may_not_record_any_more_by_then() {
    let (mut call, _, bob) = call(Rules::default());
    call.slow_policy = true;
    call.say(bob, json!({"type": "start-recording"}));
    call.input(Input::Renewed { member: bob, identity: identity(2, Grant::default()) });
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert!(call.recorder.is_empty(), "{:?}", call.recorder);
    let refused = call.only(bob, "error");
    assert_eq!((&refused["of"], &refused["code"]), (&json!("start-recording"), &json!("forbidden")));
}

#[test]
fn a_recording_goes_on_in_another_place_of_who_asked_for_it_only_if_that_may_record() {
    for (grant, goes_on) in [(all(), true), (Grant::default(), false)] {
        let config = crate::RoomConfig { replace_duplicates: true, ..crate::RoomConfig::default() };
        let mut call = Call::with(config, Rules::default());
        let ann = call.join(1);
        call.publish(ann, &["v1"]);
        let bob = call.join(2);
        call.say(bob, json!({"type": "start-recording"}));
        call.quiet();
        call.join_as(3, 2, grant, Shared);
        assert_eq!((call.gone.as_slice(), call.recorder.is_empty()), ([bob].as_slice(), goes_on));
    }
}

#[test]
fn a_recording_ends_with_the_stay_of_a_subject_who_has_left() {
    let (mut call, _, ann, bob) = recorded(Grant::default());
    call.input(Input::Leave { member: bob, reason: LeaveReason::Closed });
    let revoke = |subject: &str| {
        let (whom, reason) = (crate::Whom::Subject(subject.into()), "banned".to_owned());
        Input::Revoke(crate::Revocation { whom, what: lockgate_model::RevokedWhat::Stay, track: None, reason })
    };
    call.input(revoke("3"));
    assert!(call.recorder.is_empty());
    call.quiet();
    call.input(revoke("2"));
    assert!(call.recorder.iter().any(|action| matches!(action, RecordAction::Stop { .. })));
    assert_eq!(call.only(ann, "recording-state")["reason"], "banned");
}

#[test]
fn policy_is_told_who_asked_for_a_recording_after_they_left() {
    let (mut call, _, ann, bob) = recorded(Grant::default());
    call.input(Input::Leave { member: bob, reason: LeaveReason::Closed });
    call.rules.record = Box::new(|who, _| match who {
        Some(who) if who.identity.subject == "2" => no("it is known who wants it"),
        _ => Ok(Grant::default()),
    });
    call.publish(ann, &["v1", "a1", "v2"]);
    assert!(call.recorder.is_empty(), "{:?}", call.recorder);
}
