mod askers;
mod minds;

use std::cell::RefCell;
use std::rc::Rc;

use lockgate_model::SubscribeConnections::Shared;
use lockgate_model::policy::{Grant, Participant, Publication};
use lockgate_model::{MediaKind, PublisherId, RecordingId, RevokedWhat, Source};
use serde_json::json;

use super::{Call, Rules, all, no, track};
use crate::{Input, LeaveReason, Question, RecordAction, RecorderReport, Revocation, RoomConfig, Ticket, Whom};

fn session(call: &Call) -> RecordingId {
    let started = call.recorder.iter().find_map(|action| match action {
        RecordAction::Start { session } => Some(session.clone()),
        _ => None,
    });
    started.unwrap()
}

fn added(call: &Call) -> Vec<&str> {
    let added = call.recorder.iter().filter_map(|action| match action {
        RecordAction::Add { track, .. } => Some(track.as_str()),
        _ => None,
    });
    added.collect()
}

/// Two people, one of whom publishes; everything said so far is forgotten.
fn call(rules: Rules) -> Call {
    let mut call = Call::ruled(rules);
    let ann = call.join(1);
    call.join(2);
    call.publish(ann, &["a1", "v1"]);
    call.quiet();
    call
}

#[test]
fn a_recording_goes_through_its_states_and_the_room_hears_each() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.say(bob, json!({"type": "start-recording", "id": 1}));
    assert_eq!(added(&call), ["a1", "v1"]);
    let session = session(&call);
    call.input(Input::Recorder(RecorderReport::Started { session: session.clone() }));
    let state = call.only(bob, "recording-state");
    assert_eq!((&state["state"], &state["id"], &state["sessionId"]), (&json!("starting"), &json!(1), &json!(session)));
    assert_eq!(call.only(ann, "recording-state")["state"], "starting");
    call.input(Input::Recorder(RecorderReport::Recording { session: session.clone() }));
    assert_eq!(call.only(ann, "recording-state")["state"], "recording");
    call.heard(bob);
    call.say(bob, json!({"type": "start-recording", "id": 2}));
    assert_eq!(call.only(bob, "recording-state")["id"], 2);
    assert_eq!(added(&call).len(), 2);
    call.say(bob, json!({"type": "stop-recording", "id": 3}));
    assert_eq!(call.only(bob, "recording-state")["state"], "stopping");
    call.say(bob, json!({"type": "stop-recording", "id": 4}));
    assert_eq!(call.only(bob, "recording-state")["id"], 4);
    call.input(Input::Recorder(RecorderReport::Stopped { session }));
    assert_eq!(call.only(bob, "recording-state")["state"], "stopped");
    call.say(bob, json!({"type": "stop-recording"}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
}

#[test]
fn what_joins_a_recording_is_told_to_the_room_once_it_knows_of_the_recording() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.say(bob, json!({"type": "start-recording"}));
    let session = session(&call);
    call.publish(ann, &["a1", "v1", "v2"]);
    assert!(!call.heard(bob).iter().any(|heard| heard == "recording-state"), "nothing has begun yet");
    call.input(Input::Recorder(RecorderReport::Started { session: session.clone() }));
    call.input(Input::Recorder(RecorderReport::Recording { session }));
    call.quiet();
    call.publish(ann, &["a1", "v1", "v2", "v3"]);
    let state = call.only(bob, "recording-state");
    assert_eq!((&state["state"], &state["tracks"]), (&json!("recording"), &json!(["a1", "v1", "v2", "v3"])));
}

#[test]
fn without_a_recorder_only_the_asker_is_told_and_nothing_has_begun() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.say(bob, json!({"type": "start-recording", "id": 1}));
    let session = session(&call);
    call.input(Input::Recorder(RecorderReport::Absent { session, reason: "no recorder is attached".into() }));
    let error = call.only(bob, "error");
    assert_eq!(
        (&error["code"], &error["of"], &error["id"]),
        (&json!("recording-unavailable"), &json!("start-recording"), &json!(1))
    );
    assert!(call.heard(ann).is_empty());
    call.recorder.clear();
    call.say(bob, json!({"type": "start-recording"}));
    assert_eq!(added(&call).len(), 2);
}

#[test]
fn a_recording_that_fails_later_is_told_to_the_room_with_its_reason() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.say(bob, json!({"type": "start-recording"}));
    let session = session(&call);
    call.input(Input::Recorder(RecorderReport::Started { session: session.clone() }));
    call.quiet();
    call.input(Input::Recorder(RecorderReport::Failed { session, reason: "disk full".into() }));
    let state = call.only(ann, "recording-state");
    assert_eq!((&state["state"], &state["reason"]), (&json!("failed"), &json!("disk full")));
}

#[test]
fn only_what_policy_allows_reaches_the_recorder() {
    let rules = Rules {
        record: Box::new(|_, of| if of.track.id.as_str() == "v1" { no("no pictures") } else { Ok(Grant::default()) }),
        ..Rules::default()
    };
    let mut call = call(rules);
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.say(bob, json!({"type": "start-recording"}));
    assert_eq!(added(&call), ["a1"]);
    assert_eq!(call.only(bob, "error")["trackId"], "v1");
    call.publish(ann, &["a1", "v1", "v2"]);
    assert_eq!(added(&call), ["a1", "v2"]);
    call.say(ann, json!({"type": "unpublish", "trackId": "a1"}));
    assert!(matches!(call.recorder.last(), Some(RecordAction::Remove { track: of, .. }) if *of == track("a1")));
}

#[test]
fn a_yes_of_policy_holds_within_its_limits_only() {
    let audio = Grant { kinds: Some([MediaKind::Audio].into()), ..Grant::default() };
    let screens = Grant { sources: Some([Source::Screen].into()), ..Grant::default() };
    let never = Grant { can_record: Some(false), ..Grant::default() };
    for (grant, recorded) in [(audio, vec!["a1"]), (screens, vec![]), (never, vec![])] {
        let mut call = call(Rules { record: Box::new(move |_, _| Ok(grant.clone())), ..Rules::default() });
        let bob = PublisherId(2);
        call.say(bob, json!({"type": "start-recording"}));
        assert_eq!(added(&call), recorded);
        let errors = call.messages(bob).into_iter().filter(|event| event["code"] == "forbidden").count();
        assert_eq!(errors, 2 - recorded.len());
    }
}

#[test]
fn nothing_begins_when_policy_or_grant_deny_everything() {
    let mut call = call(Rules { record: Box::new(|_, _| no("never")), ..Rules::default() });
    let guest = call.join_with(3, Grant::default(), Shared);
    call.quiet();
    call.say(PublisherId(2), json!({"type": "start-recording", "id": 1}));
    let errors = call.messages(PublisherId(2));
    assert!(errors.len() == 2 && errors.iter().all(|error| error["code"] == "forbidden" && error["id"] == 1));
    call.say(guest, json!({"type": "start-recording"}));
    assert_eq!(call.only(guest, "error")["code"], "forbidden");
    call.say(guest, json!({"type": "stop-recording"}));
    assert_eq!(call.only(guest, "error")["code"], "forbidden");
    assert!(call.recorder.is_empty());
}

#[test]
fn a_room_can_be_recorded_from_its_first_track_on() {
    let config = RoomConfig { auto_record: true, ..RoomConfig::default() };
    let mut call = Call::with(config, Rules::default());
    let ann = call.join(1);
    assert!(call.recorder.is_empty());
    call.publish(ann, &["v1"]);
    assert_eq!(added(&call), ["v1"]);
    let session = session(&call);
    call.say(ann, json!({"type": "leave-room"}));
    assert!(matches!(call.recorder.last(), Some(RecordAction::Stop { session: of }) if *of == session));
}

#[test]
fn some_tracks_are_recorded_and_taken_out_one_by_one() {
    let mut call = call(Rules::default());
    let bob = PublisherId(2);
    call.say(bob, json!({"type": "start-recording", "tracks": ["zz"]}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
    call.say(bob, json!({"type": "start-recording", "tracks": ["a1"]}));
    assert_eq!(added(&call), ["a1"]);
    call.say(bob, json!({"type": "start-recording", "tracks": ["v1"]}));
    assert_eq!(added(&call), ["a1", "v1"]);
    call.say(bob, json!({"type": "stop-recording", "tracks": ["a1"]}));
    assert!(matches!(call.recorder.last(), Some(RecordAction::Remove { .. })));
    call.say(bob, json!({"type": "stop-recording", "tracks": ["v1"]}));
    assert!(matches!(call.recorder.last(), Some(RecordAction::Stop { .. })));
}

#[test]
fn the_tracks_of_a_recording_that_ends_or_fails_go_to_the_recorder_no_more() {
    let removed = |call: &Call| {
        let names = call.recorder.iter().filter_map(|action| match action {
            RecordAction::Remove { track, .. } => Some(track.as_str().to_owned()),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    let bob = PublisherId(2);
    let mut stopped = call(Rules::default());
    stopped.say(bob, json!({"type": "start-recording"}));
    stopped.say(bob, json!({"type": "stop-recording"}));
    assert_eq!(removed(&stopped), ["a1", "v1"]);
    assert!(matches!(stopped.recorder.last(), Some(RecordAction::Stop { .. })));
    let session = session(&stopped);
    stopped.input(Input::Recorder(RecorderReport::Stopped { session }));
    assert_eq!(removed(&stopped).len(), 2, "once is enough");

    let mut failed = call(Rules::default());
    failed.say(bob, json!({"type": "start-recording"}));
    let session = self::session(&failed);
    failed.input(Input::Recorder(RecorderReport::Failed { session, reason: "disk full".into() }));
    assert_eq!(removed(&failed), ["a1", "v1"]);
}

#[test]
fn who_enters_a_recorded_room_is_told_so() {
    let mut call = call(Rules::default());
    call.say(PublisherId(2), json!({"type": "start-recording"}));
    let cid = call.join(3);
    assert_eq!(call.only(cid, "recording-state")["state"], "starting");
}

/// The question about recording that was put last, whatever else is asked.
fn take_record_question(call: &mut Call) -> (Ticket, Box<Question>) {
    let at = call.asked.iter().rposition(|(_, question)| matches!(**question, Question::Record(_)));
    call.asked.remove(at.unwrap()).unwrap()
}

fn answer(call: &mut Call, (ticket, question): (Ticket, Box<Question>)) {
    let answer = call.rules.answer(&question);
    call.input(Input::Answer { ticket, answer });
}

#[test]
fn an_answer_about_one_recording_adds_nothing_to_the_next_one() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.say(bob, json!({"type": "start-recording"}));
    call.slow_policy = true;
    call.publish(ann, &["a1", "v1", "v2"]);
    call.answer_next();
    let late = take_record_question(&mut call);
    call.input(Input::Leave { member: bob, reason: LeaveReason::Expired });
    call.say(ann, json!({"type": "start-recording", "tracks": ["a1"]}));
    let begun = take_record_question(&mut call);
    answer(&mut call, begun);
    call.recorder.clear();
    answer(&mut call, late);
    assert!(call.recorder.is_empty(), "{:?}", call.recorder);
}

#[test]
fn an_answer_about_a_track_records_no_later_one_of_its_name() {
    let mut call = call(Rules::default());
    let ann = PublisherId(1);
    call.say(ann, json!({"type": "start-recording"}));
    call.slow_policy = true;
    call.publish(ann, &["a1", "v1", "v2"]);
    call.answer_next();
    let late = take_record_question(&mut call);
    call.asked.clear();
    call.say(ann, json!({"type": "unpublish", "trackId": "v2"}));
    call.publish(ann, &["a1", "v1", "v2"]);
    call.answer_next();
    call.recorder.clear();
    answer(&mut call, late);
    assert!(call.recorder.is_empty(), "{:?}", call.recorder);
    let own = take_record_question(&mut call);
    answer(&mut call, own);
    assert_eq!(added(&call), ["v2"]);
}

fn removed(call: &Call) -> Vec<&str> {
    let removed = call.recorder.iter().filter_map(|action| match action {
        RecordAction::Remove { track, .. } => Some(track.as_str()),
        _ => None,
    });
    removed.collect()
}

fn has_stopped(call: &Call) -> bool {
    call.recorder.iter().any(|action| matches!(action, RecordAction::Stop { .. }))
}

#[test]
fn what_is_published_while_policy_is_asked_is_recorded_too() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.slow_policy = true;
    call.say(bob, json!({"type": "start-recording"}));
    call.publish(ann, &["a1", "v1", "v2"]);
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert_eq!(added(&call), ["a1", "v1", "v2"]);
}

#[test]
fn a_track_that_came_back_while_policy_was_asked_whether_to_record_it_is_asked_about_again() {
    let mut call = call(Rules::default());
    let (ann, bob) = (PublisherId(1), PublisherId(2));
    call.slow_policy = true;
    call.say(bob, json!({"type": "start-recording"}));
    call.say(ann, json!({"type": "unpublish", "trackId": "v1"}));
    call.publish(ann, &["a1", "v1"]);
    call.answer_next();
    assert_eq!(added(&call), ["a1"]);
    assert!(!call.heard(bob).contains(&"error".to_owned()));
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert_eq!(added(&call), ["a1", "v1"]);
}

#[test]
fn a_name_that_the_room_does_not_have_is_not_kept() {
    let mut call = call(Rules::default());
    call.say(PublisherId(2), json!({"type": "start-recording", "tracks": ["a1", "v7"]}));
    call.publish(PublisherId(1), &["a1", "v1", "v7"]);
    assert_eq!(added(&call), ["a1"]);
}
