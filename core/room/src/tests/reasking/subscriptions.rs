//! What viewers receive, asked about again.

use std::collections::BTreeSet;

use lockgate_model::ErrorCode;
use lockgate_model::policy::{Denial, Grant};
use serde_json::json;

use super::{again, ends, is_untouched, said, subscribing, unavailable, until};
use crate::tests::{Call, Rules, no, track};
use crate::{MediaAction, Question};

#[test]
fn a_subscription_ends_on_time_media_first_and_the_viewer_is_told_why() {
    let (mut call, _, _, bob) = subscribing(until(1_005_000));
    call.wait(4999);
    assert!(is_untouched(&call));
    call.wait(1);
    assert_eq!(ends(&call), ["a1", "v1"]);
    assert_eq!(call.heard(bob), ["revoked", "new-publisher", "revoked", "publisher-left"]);
    assert_eq!(call.room.next_timeout(), None);
}

#[test]
fn an_ended_subscription_may_be_asked_for_again() {
    let (mut call, subscribe, ann, bob) = subscribing(until(1_005_000));
    call.wait(5000);
    call.quiet();
    *subscribe.borrow_mut() = Ok(Grant::default());
    call.subscribe(bob, ann);
    assert_eq!(call.offered(bob), 2);
}

#[test]
fn an_answer_that_stays_the_same_touches_nothing() {
    let (mut call, _, _, _) = subscribing(Grant { max_spatial: Some(1), ..again(10_000) });
    call.wait(95_000);
    assert!(is_untouched(&call), "{:?} {:?}", call.media, call.told);
    assert!(call.room.next_timeout().is_some());
}

#[test]
fn a_narrower_or_wider_answer_changes_limits_and_nothing_else() {
    let (mut call, subscribe, _, bob) = subscribing(again(10_000));
    for max_spatial in [Some(0), Some(2), None] {
        *subscribe.borrow_mut() = Ok(Grant { max_spatial, ..again(10_000) });
        call.wait(10_000);
        let limited = call.media.iter().filter(|action| matches!(action, MediaAction::SetLimits { .. })).count();
        assert_eq!((limited, call.media.len()), (2, 2), "{:?}", call.media);
        assert!(call.heard(bob).is_empty(), "no offer, nothing is renegotiated");
        call.quiet();
    }
}

#[test]
fn what_is_denied_when_asked_again_ends_and_what_is_allowed_again_comes_back_when_asked_for() {
    let (mut call, subscribe, ann, bob) = subscribing(again(10_000));
    *subscribe.borrow_mut() = no("the lesson is over");
    call.wait(10_000);
    assert_eq!(ends(&call), ["a1", "v1"]);
    assert_eq!(call.messages(bob)[0]["reason"], "the lesson is over");
    call.wait(100_000);
    call.quiet();
    *subscribe.borrow_mut() = Ok(Grant::default());
    call.subscribe(bob, ann);
    assert_eq!(call.offered(bob), 2);
}

#[test]
fn a_question_that_fails_keeps_the_grant_until_it_is_stale_and_then_comes_back_by_itself() {
    let (mut call, subscribe, _, bob) = subscribing(again(10_000));
    *subscribe.borrow_mut() = unavailable();
    call.wait(68_000);
    assert!(is_untouched(&call));
    call.wait(2_500);
    assert_eq!(ends(&call), ["a1", "v1"]);
    assert_eq!(call.messages(bob)[0]["reason"], "policy could not be asked again in time");
    call.quiet();
    *subscribe.borrow_mut() = Ok(Grant::default());
    call.wait(15_000);
    assert_eq!(call.media.iter().filter(|action| matches!(action, MediaAction::Subscribe { .. })).count(), 2);
    assert!(call.heard(bob).contains(&"new-publisher".to_owned()));
}

#[test]
fn a_question_that_nobody_answers_does_not_keep_the_grant_for_ever() {
    let (mut call, _, _, bob) = subscribing(again(10_000));
    call.slow_policy = true;
    call.wait(68_000);
    assert!(is_untouched(&call) && !call.asked.is_empty());
    call.wait(2500);
    assert_eq!(ends(&call), ["a1", "v1"]);
    assert_eq!(call.messages(bob)[0]["reason"], "policy could not be asked again in time");
    call.quiet();
    call.answer_next();
    assert_eq!(call.media.iter().filter(|action| matches!(action, MediaAction::Subscribe { .. })).count(), 2);
}

#[test]
fn a_question_that_fails_for_a_while_is_not_noticed() {
    let (mut call, subscribe, _, _) = subscribing(again(10_000));
    *subscribe.borrow_mut() = unavailable();
    call.wait(50_000);
    *subscribe.borrow_mut() = Ok(again(10_000));
    call.wait(200_000);
    assert!(is_untouched(&call));
}

#[test]
fn an_announcement_that_failed_is_asked_about_again() {
    let (mut call, subscribe, ann, bob) = subscribing(Grant::default());
    *subscribe.borrow_mut() = unavailable();
    call.publish(ann, &["v1", "a1", "v2"]);
    assert!(call.heard(bob).is_empty(), "a first question that fails denies");
    *subscribe.borrow_mut() = Ok(Grant::default());
    call.wait(1000);
    assert_eq!(call.only(bob, "new-publisher")["tracks"].as_array().unwrap().len(), 3);
}

#[test]
fn a_request_that_fails_opens_nothing_though_the_announcement_was_allowed() {
    let subscribe = said(Grant::default());
    let rule = subscribe.clone();
    let rules = Rules { subscribe: Box::new(move |_, _| rule.borrow().clone()), ..Rules::default() };
    let mut call = Call::ruled(rules);
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1", "a1"]);
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 1, "trackIds": ["a1"]}));
    for code in [ErrorCode::POLICY_UNAVAILABLE, ErrorCode::OVERLOADED] {
        call.quiet();
        *subscribe.borrow_mut() = Err(Denial::new(code.clone(), "not now"));
        call.subscribe(bob, ann);
        let error = call.only(bob, "error");
        assert_eq!((&error["code"], &error["trackId"], &error["id"]), (&json!(code), &json!("v1"), &json!("sub")));
        assert!(call.sending.values().flatten().all(|sent| *sent == track("a1")), "{:?}", call.media);
        assert!(ends(&call).is_empty(), "what is received goes on: {:?}", call.media);
    }
    *subscribe.borrow_mut() = Ok(Grant::default());
    call.subscribe(bob, ann);
    assert_eq!(call.offered(bob), 2);
}

#[test]
fn tracks_of_one_viewer_are_asked_about_together_and_those_of_many_apart() {
    let (mut call, _, ann, _) = subscribing(again(10_000));
    for number in 3..9 {
        let viewer = call.join(number);
        call.subscribe(viewer, ann);
    }
    call.slow_policy = true;
    let begin = call.now_ms;
    let mut times = BTreeSet::new();
    while call.now_ms < begin + 10_000 {
        call.wait(1);
        while let Some((_, question)) = call.asked.pop_front() {
            let Question::Subscribe(question) = *question else { panic!("{question:?}") };
            assert_eq!(question.publications.len(), 2);
            times.insert(call.now_ms);
        }
    }
    assert!(times.len() >= 6 && *times.first().unwrap() >= begin + 8750, "{times:?}");
}

#[test]
fn no_question_is_about_more_than_256_tracks() {
    let subscribe = said(again(10_000));
    let rules = Rules { subscribe: Box::new(move |_, _| subscribe.borrow().clone()), ..Rules::default() };
    let mut call = Call::ruled(rules);
    let bob = call.join(1);
    for number in 2..22 {
        let ann = call.join(number);
        let tracks: Vec<_> = (0..15).map(|track| format!("v{number}-{track}")).collect();
        call.publish(ann, &tracks.iter().map(String::as_str).collect::<Vec<_>>());
    }
    call.slow_policy = true;
    call.wait(10_000);
    let asked = call.asked.iter().filter_map(|(_, question)| match &**question {
        Question::Subscribe(question) if question.who.publisher_id == Some(bob) => Some(question.publications.len()),
        _ => None,
    });
    assert_eq!(asked.collect::<Vec<_>>(), [256, 44]);
}
