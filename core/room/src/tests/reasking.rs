use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lockgate_model::SubscribeConnections::Shared;
use lockgate_model::policy::{CommandAnswer, CommandEffect, Decision, Denial, Grant, TrackFacts};
use lockgate_model::{Bitrate, ErrorCode, PublisherId, TrackId};
use proptest::prelude::*;
use serde_json::json;

use super::{Call, Rules, all, identity, no, track};
use crate::{Input, LeaveReason, MediaAction, Question, RecordAction, RecorderReport};

/// A grant that is asked about again after so long.
fn again(ms: u32) -> Grant {
    Grant { reask_after_ms: Some(ms), ..Grant::default() }
}

fn until(ms: u64) -> Grant {
    Grant { expires_at_ms: Some(ms), ..Grant::default() }
}

fn unavailable() -> Decision {
    Err(Denial::new(ErrorCode::POLICY_UNAVAILABLE, "the policy cannot answer at the moment"))
}

/// What the plugins say of every track, which a test may change.
type Said = Rc<RefCell<Decision>>;

fn said(grant: Grant) -> Said {
    Rc::new(RefCell::new(Ok(grant)))
}

/// Ann publishes a camera and a microphone, and Bob receives both.
fn call(rules: Rules) -> (Call, PublisherId, PublisherId) {
    let mut call = Call::ruled(rules);
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1", "a1"]);
    call.subscribe(bob, ann);
    call.quiet();
    (call, ann, bob)
}

fn subscribing(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let subscribe = said(grant);
    let rule = subscribe.clone();
    let rules = Rules { subscribe: Box::new(move |_, _| rule.borrow().clone()), ..Rules::default() };
    let (call, ann, bob) = call(rules);
    (call, subscribe, ann, bob)
}

fn publishing(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let publish = said(grant);
    let rule = publish.clone();
    let rules = Rules { publish: Box::new(move |_| rule.borrow().clone()), ..Rules::default() };
    let (call, ann, bob) = call(rules);
    (call, publish, ann, bob)
}

fn admitting(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let admit = said(grant);
    let rule = admit.clone();
    let admit_bob = move |who: &lockgate_model::policy::Participant| match who.identity.subject.as_str() {
        "2" => rule.borrow().clone(),
        _ => Ok(Grant::default()),
    };
    let (call, ann, bob) = call(Rules { admit: Box::new(admit_bob), ..Rules::default() });
    (call, admit, ann, bob)
}

fn ends(call: &Call) -> Vec<&str> {
    let ended = call.media.iter().filter_map(|action| match action {
        MediaAction::Unsubscribe { track, .. } | MediaAction::Unpublish { track, .. } => Some(track.as_str()),
        _ => None,
    });
    ended.collect()
}

fn is_untouched(call: &Call) -> bool {
    call.media.is_empty() && call.told.is_empty() && call.recorder.is_empty()
}

// Subscriptions.

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

// Publications.

#[test]
fn a_publication_ends_on_time_for_everybody() {
    let (mut call, _, ann, bob) = publishing(until(1_005_000));
    call.wait(5000);
    assert!(ends(&call).contains(&"v1") && matches!(call.media[0], MediaAction::Unpublish { .. }));
    let told = call.messages(ann);
    assert_eq!((&told[0]["type"], &told[0]["what"]), (&json!("revoked"), &json!("publication")));
    assert!(call.heard(bob).contains(&"publisher-left".to_owned()));
}

#[test]
fn a_publication_that_is_asked_about_again_goes_on_is_limited_or_ends() {
    let (mut call, publish, ann, _) = publishing(again(10_000));
    call.wait(30_000);
    assert!(is_untouched(&call));
    let max_bitrate = Some(Bitrate(300_000));
    *publish.borrow_mut() = Ok(Grant { max_bitrate, ..again(10_000) });
    call.wait(10_000);
    let limits = |action: &&MediaAction| matches!(action, MediaAction::LimitPublication { max_bitrate: most, .. } if *most == max_bitrate);
    assert_eq!((call.media.iter().filter(limits).count(), call.media.len()), (2, 2));
    assert!(call.told.is_empty());
    call.publish(ann, &["v1", "a1"]);
    let admitted = call.media.iter().find_map(|action| match action {
        MediaAction::AcceptOffer { admitted, .. } => Some(admitted.iter().all(|one| one.max_bitrate == max_bitrate)),
        _ => None,
    });
    assert_eq!(admitted, Some(true), "the next offer leaves the limit as it is");
    call.quiet();
    *publish.borrow_mut() = unavailable();
    call.wait(59_000);
    assert!(is_untouched(&call));
    call.wait(12_000);
    assert_eq!(call.heard(ann), ["revoked", "revoked"]);
}

// The stay.

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

// Recordings.

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

// Whatever happens.

fn grants() -> impl Strategy<Value = Decision> {
    let times = (proptest::option::of(0..60_000u64), proptest::option::of(0..30_000u32), proptest::option::of(0..3u8));
    prop_oneof![
        4 => times.prop_map(|(ends, reask_after_ms, max_spatial)| {
            let expires_at_ms = ends.map(|ends| 1_000_000 + ends);
            Ok(Grant { expires_at_ms, reask_after_ms, max_spatial, ..Grant::default() })
        }),
        2 => Just(unavailable()),
        1 => Just(no("no")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Policy says this and that, at all doors, and at last nothing: what still flows then is what it has allowed without an end.
    #[test]
    fn nothing_flows_longer_than_it_may(answers in prop::collection::vec((0..20_000u64, grants()), 1..30)) {
        let current = said(Grant::default());
        let heard: Rc<RefCell<BTreeMap<(&str, String), Decision>>> = Rc::default();
        let rule = |hook| {
            let (current, heard) = (current.clone(), heard.clone());
            move |track: &TrackFacts| {
                let says = current.borrow().clone();
                if says != unavailable() {
                    heard.borrow_mut().insert((hook, track.id.to_string()), says.clone());
                }
                says
            }
        };
        let (subscribe, publish, record) = (rule("subscribe"), rule("publish"), rule("record"));
        let rules = Rules {
            subscribe: Box::new(move |_, of| subscribe(&of.track)),
            publish: Box::new(publish),
            record: Box::new(move |_, of| record(&of.track)),
            ..Rules::default()
        };
        let (mut call, ann, bob) = call(rules);
        call.say(bob, json!({"type": "start-recording"}));
        for (pause, answer) in answers {
            *current.borrow_mut() = answer;
            call.publish(ann, &["v1", "a1", "v2"]);
            call.subscribe(bob, ann);
            call.wait(pause);
        }
        *current.borrow_mut() = unavailable();
        // The longest interval, the time for which a stale grant stands, and the latest end.
        call.wait(30_000 + 60_000 + 60_000);
        let may_flow = |hook, track: &TrackId| {
            let heard = heard.borrow();
            let says = heard.get(&(hook, track.to_string()));
            says.is_some_and(|says| says.as_ref().is_ok_and(|it| it.expires_at_ms.or(it.reask_after_ms.map(u64::from)).is_none()))
        };
        for sent in call.sending.values().flatten() {
            prop_assert!(may_flow("subscribe", sent) && may_flow("publish", sent), "{} is sent", sent);
        }
        let recorded = call.recorder.iter().fold(BTreeSet::new(), |mut recorded, action| {
            match action {
                RecordAction::Add { track, .. } => drop(recorded.insert(track)),
                RecordAction::Remove { track, .. } => drop(recorded.remove(track)),
                _ => {}
            }
            recorded
        });
        for track in recorded {
            prop_assert!(may_flow("record", track) && may_flow("publish", track), "{} is recorded", track);
        }
    }
}

#[test]
fn time_alone_costs_nothing_where_nobody_limits_it() {
    let (call, ann, _) = call(Rules::default());
    assert_eq!((call.room.next_timeout(), call.room.contains(ann)), (None, true));
    assert!(call.room.identity(ann).is_some() && call.sending.values().flatten().any(|sent| *sent == track("v1")));
}
