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

/// Who was named as wanting what, since the last look.
type Named = Rc<RefCell<Vec<(String, String)>>>;

/// Bob has Ann's sound recorded, and Cid everything. Policy is asked about all of it every ten seconds, and does not like some people.
fn widened(dislikes: &Rc<RefCell<Vec<&'static str>>>) -> (Call, Named) {
    let (named, dislikes) = (Named::default(), dislikes.clone());
    let log = named.clone();
    let record = move |who: Option<&Participant>, of: &Publication| {
        let subject = who.map(|who| who.identity.subject.clone()).unwrap_or_default();
        log.borrow_mut().push((subject.clone(), of.track.id.to_string()));
        match dislikes.borrow().contains(&subject.as_str()) {
            true => no("not for them"),
            false => Ok(Grant { reask_after_ms: Some(10_000), ..Grant::default() }),
        }
    };
    let mut call = call(Rules { record: Box::new(record), ..Rules::default() });
    let cid = call.join(3);
    call.say(PublisherId(2), json!({"type": "start-recording", "tracks": ["a1"]}));
    call.say(cid, json!({"type": "start-recording"}));
    assert_eq!(added(&call), ["a1", "v1"]);
    named.borrow_mut().clear();
    call.quiet();
    (call, named)
}

#[test]
fn who_widens_a_recording_answers_for_what_came_of_it() {
    for loses_all in [true, false] {
        let (mut call, _) = widened(&Rc::default());
        let cid = PublisherId(3);
        call.input(match loses_all {
            true => Input::Leave { member: cid, reason: LeaveReason::Expired },
            false => Input::Renewed { member: cid, identity: super::identity(3, Grant::default()) },
        });
        assert_eq!((removed(&call), has_stopped(&call)), (vec!["v1"], false));
        let told = call.messages(cid);
        assert!(told.iter().any(|it| it["type"] == "revoked" && it["what"] == "recording"), "{told:?}");
        let state = call.only(PublisherId(1), "recording-state");
        assert_eq!((&state["state"], &state["tracks"]), (&json!("starting"), &json!(["a1"])));
        call.quiet();
        call.publish(PublisherId(1), &["a1", "v1", "v2"]);
        assert!(call.recorder.is_empty(), "nobody wants everything any more: {:?}", call.recorder);
    }
}

#[test]
fn a_recorded_track_is_asked_about_again_with_who_wanted_it_and_new_ones_with_who_wants_all() {
    let dislikes = Rc::default();
    let (mut call, named) = widened(&dislikes);
    let pair = |who: &str, track: &str| (who.to_owned(), track.to_owned());
    call.wait(10_000);
    named.borrow_mut().sort();
    assert_eq!(*named.borrow(), [pair("2", "a1"), pair("3", "v1")]);
    named.borrow_mut().clear();
    call.publish(PublisherId(1), &["a1", "v1", "v2"]);
    assert_eq!(*named.borrow(), [pair("3", "v2")]);
    assert!(call.told.iter().all(|(_, told)| told["type"] != "revoked"));
    call.quiet();
    dislikes.borrow_mut().push("2");
    call.wait(10_000);
    assert_eq!(removed(&call), ["a1"]);
    let is_told = |call: &mut Call, who| call.heard(PublisherId(who)).contains(&"revoked".to_owned());
    assert_eq!([1, 2, 3].map(|who| is_told(&mut call, who)), [true, true, false]);
}

#[test]
fn what_another_one_wants_too_is_asked_about_for_them_when_the_first_may_not_record_any_more() {
    let (mut call, named) = widened(&Rc::default());
    let bob = PublisherId(2);
    call.input(Input::Renewed { member: bob, identity: super::identity(2, Grant::default()) });
    assert_eq!((removed(&call), added(&call), has_stopped(&call)), (vec!["a1"], vec!["a1"], false));
    assert_eq!(*named.borrow(), [("3".to_owned(), "a1".to_owned())]);
    call.input(Input::Leave { member: PublisherId(3), reason: LeaveReason::Expired });
    assert!(has_stopped(&call), "the last one who wanted it is gone");
}

#[test]
fn who_was_put_out_while_policy_was_asked_adds_nothing_to_what_others_want() {
    let (mut call, _) = widened(&Rc::default());
    call.slow_policy = true;
    call.publish(PublisherId(1), &["a1", "v1", "v2"]);
    call.answer_next();
    let late = take_record_question(&mut call);
    call.input(Input::Leave { member: PublisherId(3), reason: LeaveReason::Expired });
    call.recorder.clear();
    answer(&mut call, late);
    assert!(call.recorder.is_empty(), "{:?}", call.recorder);
}

#[test]
fn a_recording_that_the_configuration_wants_goes_on_without_who_wanted_more() {
    let rules = Rules {
        record: Box::new(|who, of| match (who, of.track.id.as_str()) {
            (None, "v1") => no("not by itself"),
            _ => Ok(Grant::default()),
        }),
        ..Rules::default()
    };
    let mut call = Call::with(RoomConfig { auto_record: true, ..RoomConfig::default() }, rules);
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["a1", "v1"]);
    call.say(bob, json!({"type": "start-recording"}));
    assert_eq!(added(&call), ["a1", "v1"]);
    call.input(Input::Leave { member: bob, reason: LeaveReason::Expired });
    assert_eq!((removed(&call), has_stopped(&call)), (vec!["v1"], false));
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
fn what_was_revoked_while_policy_was_asked_is_not_asked_about_for_anybody_else() {
    let (mut call, _) = widened(&Rc::default());
    let (ann, dan) = (PublisherId(1), call.join(4));
    call.say(dan, json!({"type": "start-recording"}));
    call.slow_policy = true;
    call.publish(ann, &["a1", "v1", "v2", "v3"]);
    call.answer_next();
    let asked_for_cid = take_record_question(&mut call);
    let (whom, what, track) = (Whom::Member(ann), RevokedWhat::Recording, Some(track("v2")));
    call.input(Input::Revoke(Revocation { whom, what, track, reason: "not this one".into() }));
    call.input(Input::Leave { member: PublisherId(3), reason: LeaveReason::Expired });
    call.asked.clear();
    answer(&mut call, asked_for_cid);
    let (_, question) = take_record_question(&mut call);
    let Question::Record(asked) = *question else { panic!("{question:?}") };
    assert_eq!(asked.publications.iter().map(|of| of.track.id.as_str()).collect::<Vec<_>>(), ["v3"]);
    assert_eq!(asked.who.map(|who| who.identity.subject).as_deref(), Some("4"));
}

#[test]
fn a_name_that_the_room_does_not_have_is_not_kept() {
    let mut call = call(Rules::default());
    call.say(PublisherId(2), json!({"type": "start-recording", "tracks": ["a1", "v7"]}));
    call.publish(PublisherId(1), &["a1", "v1", "v7"]);
    assert_eq!(added(&call), ["a1"]);
}

#[test]
fn those_who_wanted_something_and_left_keep_nobody_else_out() {
    let mut call = call(Rules::default());
    let ann = PublisherId(1);
    call.say(ann, json!({"type": "start-recording", "tracks": ["a1"]}));
    for number in 10..100 {
        // Half of them are one subject that keeps coming back, and wants everything; the others want what is gone after them.
        let one = number % 2 == 0;
        let somebody = call.join_as(number, if one { 7 } else { number }, all(), Shared);
        call.publish(ann, &["a1", "v1", "v9"]);
        let tracks = if one { json!(null) } else { json!(["v9"]) };
        call.quiet();
        call.say(somebody, json!({"type": "start-recording", "tracks": tracks}));
        assert!(!call.heard(somebody).contains(&"error".to_owned()), "{number} may want something too");
        call.say(ann, json!({"type": "unpublish", "trackId": "v9"}));
        call.say(somebody, json!({"type": "leave-room"}));
    }
}

#[test]
fn whoever_comes_back_answers_for_all_that_they_wanted_before_from_each_place() {
    let mut call = call(Rules::default());
    for (place, track) in [(10, "a1"), (11, "v1")] {
        call.join_as(place, 7, all(), Shared);
        call.say(PublisherId(place), json!({"type": "start-recording", "tracks": [track]}));
    }
    for place in [10, 11] {
        call.say(PublisherId(place), json!({"type": "leave-room"}));
    }
    let back = call.join_as(12, 7, all(), Shared);
    call.say(back, json!({"type": "start-recording", "tracks": ["a1"]}));
    call.recorder.clear();
    call.input(Input::Renewed { member: back, identity: super::identity(7, Grant::default()) });
    assert!(has_stopped(&call), "nobody wants any of it any more: {:?}", call.recorder);
}
