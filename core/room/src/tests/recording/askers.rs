//! Who wanted what recorded, and what becomes of it when they may not, leave or come back.

use super::*;
use crate::tests::identity;

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
            false => Input::Renewed { member: cid, identity: identity(3, Grant::default()) },
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
    call.input(Input::Renewed { member: bob, identity: identity(2, Grant::default()) });
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
    call.input(Input::Renewed { member: back, identity: identity(7, Grant::default()) });
    assert!(has_stopped(&call), "nobody wants any of it any more: {:?}", call.recorder);
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
