use lockgate_model::policy::Grant;
use lockgate_model::{PublisherId, RevokedWhat};
use serde_json::json;

use super::{Call, Rules, track};
use crate::{Effect, Input, MediaAction, RecordAction, Revocation, Whom};

fn revoke(whom: Whom, what: RevokedWhat, only: Option<&str>) -> Input {
    Input::Revoke(Revocation { whom, what, track: only.map(track), reason: "an operator said so".into() })
}

/// Ann and Bob publish, and receive each other; Bob has two places. Policy would say yes to everything, and must not be asked.
fn call() -> (Call, PublisherId, PublisherId) {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.join_as(3, 2, super::all(), lockgate_model::SubscribeConnections::Shared);
    call.publish(ann, &["v1", "a1"]);
    call.publish(bob, &["v2", "a2"]);
    call.subscribe(bob, ann);
    call.subscribe(ann, bob);
    call.say(ann, json!({"type": "start-recording"}));
    call.quiet();
    call.slow_policy = true;
    (call, ann, bob)
}

#[test]
fn a_subject_is_out_of_all_its_places_and_nobody_is_asked() {
    let (mut call, ann, bob) = call();
    assert_eq!(call.room.concerned(&Whom::Subject("2".into())), [bob, PublisherId(3)]);
    call.input(revoke(Whom::Subject("2".into()), RevokedWhat::Stay, None));
    assert_eq!(call.gone, [bob, PublisherId(3)]);
    assert!(call.asked.is_empty());
    let revoked = call.only(bob, "revoked");
    assert_eq!((&revoked["what"], &revoked["reason"]), (&json!("stay"), &json!("an operator said so")));
    assert!(call.heard(ann).contains(&"user-left".to_owned()));
}

#[test]
fn media_ends_before_anybody_is_told() {
    for what in [RevokedWhat::Stay, RevokedWhat::Publication, RevokedWhat::Subscription, RevokedWhat::Recording] {
        let (mut call, _, bob) = call();
        call.room.handle(call.now_ms, revoke(Whom::Member(bob), what, None));
        let effects: Vec<_> = std::iter::from_fn(|| call.room.poll()).collect();
        let told = effects.iter().position(
            |effect| matches!(effect, Effect::Send { to, reply, .. } if *to == bob && matches!(reply.event, lockgate_model::Event::Revoked { .. })),
        );
        let ends = |effect: &Effect| match effect {
            Effect::Media(MediaAction::SetLimits { .. }) => false,
            Effect::Media(_) | Effect::Record(_) => true,
            _ => false,
        };
        let first = effects.iter().position(ends);
        assert!(first.is_some() && told.is_some() && first < told, "{what:?}: {effects:#?}");
        let asks = effects.iter().any(|effect| matches!(effect, Effect::Ask { .. }));
        assert!(!asks, "{what:?}");
    }
}

#[test]
fn one_track_is_taken_back_and_the_others_go_on() {
    let (mut call, ann, bob) = call();
    call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, Some("v2")));
    assert!(matches!(&call.media[0], MediaAction::Unpublish { track: ended, .. } if *ended == track("v2")));
    assert_eq!(call.only(bob, "revoked")["trackId"], "v2");
    assert_eq!(call.only(ann, "new-publisher")["tracks"].as_array().unwrap().len(), 1);
    call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, Some("none")));
    assert!(call.heard(bob).is_empty());
}

/// Whether policy's answer to the open offer lets each of its tracks in.
fn admitted(call: &mut Call) -> Vec<bool> {
    call.answer_next();
    let admitted = call.media.iter().find_map(|action| match action {
        MediaAction::AcceptOffer { admitted, .. } => Some(admitted.iter().map(|one| one.track.is_some()).collect()),
        _ => None,
    });
    admitted.unwrap_or_default()
}

#[test]
fn one_track_is_taken_back_and_what_is_being_asked_about_goes_on() {
    let (mut call, _, bob) = call();
    for (stream, label) in [(1, "d1"), (2, "d2")] {
        let (label, protocol) = (label.into(), String::new());
        let (max_retransmits, max_packet_life_time) = (None, None);
        let channel =
            lockgate_model::ChannelFacts { label, protocol, ordered: true, max_retransmits, max_packet_life_time };
        call.input(Input::ChannelOpened { member: bob, stream, channel });
    }
    let refused = |call: &Call| {
        let refused = call.media.iter().filter_map(|action| match action {
            MediaAction::RefuseChannel { stream, .. } => Some(*stream),
            _ => None,
        });
        refused.collect::<Vec<_>>()
    };
    call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, Some("a2")));
    assert!(refused(&call).is_empty());
    call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, Some("d1")));
    assert_eq!(refused(&call), [1]);
    call.answer_next();
    call.answer_next();
    let in_use = call.media.iter().filter(|action| matches!(action, MediaAction::AdmitChannel { stream: 2, .. }));
    assert_eq!((in_use.count(), refused(&call)), (1, vec![1]));
    call.asked.clear();
    call.publish(bob, &["v2", "v4"]);
    call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, Some("v2")));
    assert_eq!(admitted(&mut call), [false, true], "what is published already is held against what holds by then");
}

#[test]
fn a_limit_that_came_while_an_offer_waits_is_in_its_answer() {
    let limit = std::rc::Rc::new(std::cell::Cell::new(None));
    let says = limit.clone();
    let publish = move |_: &lockgate_model::policy::TrackFacts| {
        Ok(Grant { max_bitrate: says.get(), reask_after_ms: Some(10_000), ..Grant::default() })
    };
    let mut call = Call::ruled(Rules { publish: Box::new(publish), ..Rules::default() });
    let ann = call.join(1);
    call.publish(ann, &["v1"]);
    call.quiet();
    call.slow_policy = true;
    call.publish(ann, &["v1", "v2"]);
    call.wait(10_000);
    limit.set(Some(lockgate_model::Bitrate(300_000)));
    call.asked.rotate_right(1);
    call.answer_next();
    assert!(matches!(call.media.as_slice(), [MediaAction::LimitPublication { .. }]), "{:?}", call.media);
    limit.set(None);
    call.answer_next();
    let most = call.media.iter().find_map(|action| match action {
        MediaAction::AcceptOffer { admitted, .. } => Some(admitted[0].max_bitrate),
        _ => None,
    });
    assert_eq!(most, Some(Some(lockgate_model::Bitrate(300_000))));
}

#[test]
fn a_track_that_is_being_asked_about_is_taken_back_by_its_name() {
    let (mut call, _, bob) = call();
    call.publish(bob, &["v2", "a2", "v4"]);
    call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, Some("v4")));
    assert_eq!(admitted(&mut call), [true, true, false]);
}

#[test]
fn what_is_received_no_more_does_not_come_back_by_itself_but_may_be_asked_for() {
    let (mut call, ann, bob) = call();
    call.input(revoke(Whom::Member(bob), RevokedWhat::Subscription, Some("v1")));
    let revoked = call.only(bob, "revoked");
    assert_eq!((&revoked["trackId"], &revoked["publisherId"]), (&json!("v1"), &json!(1)));
    assert!(matches!(call.media.as_slice(), [MediaAction::Unsubscribe { track: ended, .. }] if *ended == track("v1")));
    call.quiet();
    call.slow_policy = false;
    call.input(Input::Renewed { member: bob, identity: super::identity(2, Grant::default()) });
    assert!(!call.media.iter().any(|action| matches!(action, MediaAction::Subscribe { .. })), "{:?}", call.media);
    call.quiet();
    call.subscribe(bob, ann);
    assert_eq!(call.offered(bob), 2);
}

/// What the media side was told to send to a member, since the last look.
fn begun(call: &mut Call, member: PublisherId) -> Vec<String> {
    let begun = std::mem::take(&mut call.media).into_iter().filter_map(|action| match action {
        MediaAction::Subscribe { connection, track, .. } if connection.member == member => Some(track.to_string()),
        _ => None,
    });
    begun.collect()
}

#[test]
fn who_receives_everything_but_one_track_receives_later_ones_too() {
    let (mut call, ann, bob) = call();
    call.slow_policy = false;
    call.input(revoke(Whom::Member(bob), RevokedWhat::Subscription, Some("v1")));
    call.quiet();
    call.publish(ann, &["v1", "a1", "v5"]);
    assert_eq!(begun(&mut call, bob), ["v5"]);
    call.input(Input::Renewed { member: bob, identity: super::identity(2, Grant::default()) });
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 1, "trackIds": ["a1"]}));
    assert_eq!(begun(&mut call, bob), ["a1"]);
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 1, "trackIds": ["v1"]}));
    assert_eq!(begun(&mut call, bob), ["v1"]);
}

#[test]
fn what_is_being_asked_for_when_another_track_is_revoked_stays_wanted() {
    let (mut call, ann, bob) = call();
    call.slow_policy = false;
    call.say(bob, json!({"type": "unsubscribe", "publisherId": 1}));
    call.slow_policy = true;
    call.subscribe(bob, ann);
    call.input(revoke(Whom::Member(bob), RevokedWhat::Subscription, Some("v1")));
    call.quiet();
    call.answer_next();
    assert_eq!(begun(&mut call, bob), ["a1"]);
    call.slow_policy = false;
    call.publish(ann, &["v1", "a1", "v5"]);
    assert_eq!(begun(&mut call, bob), ["v5"]);
}

#[test]
fn what_was_asked_for_before_the_revocation_is_not_granted_after_it() {
    let (mut call, ann, bob) = call();
    call.publish(bob, &["v2", "a2", "v4"]);
    call.subscribe(ann, bob);
    let (_, _) = (
        call.input(revoke(Whom::Member(bob), RevokedWhat::Publication, None)),
        call.input(revoke(Whom::Member(ann), RevokedWhat::Subscription, None)),
    );
    call.quiet();
    while !call.asked.is_empty() {
        call.answer_next();
    }
    let accepted = call.media.iter().find_map(|action| match action {
        MediaAction::AcceptOffer { admitted, .. } => Some(admitted.iter().any(|one| one.track == Some(track("v4")))),
        _ => None,
    });
    assert_eq!(accepted, Some(false), "{:?}", call.media);
    assert!(!call.media.iter().any(|action| matches!(action, MediaAction::Subscribe { .. })));
}

#[test]
fn a_track_that_is_new_to_somebody_who_may_receive_no_more_is_not_sent_after_all() {
    let (mut call, ann, bob) = call();
    call.publish(ann, &["v1", "a1", "v4"]);
    call.answer_next();
    assert!(!call.asked.is_empty(), "whether others may know of v4 is asked");
    call.input(revoke(Whom::Member(bob), RevokedWhat::Subscription, None));
    call.subscribe(bob, ann);
    call.quiet();
    let subscribe = call.asked.pop_back();
    while !call.asked.is_empty() {
        call.answer_next();
    }
    let sent = |call: &Call| {
        let subscribed = call.media.iter().filter_map(|action| match action {
            MediaAction::Subscribe { connection, track, .. } if connection.member == bob => Some(track.to_string()),
            _ => None,
        });
        subscribed.collect::<Vec<_>>()
    };
    assert!(sent(&call).is_empty() && !call.heard(bob).contains(&"new-publisher".to_owned()), "{:?}", call.media);
    call.asked.extend(subscribe);
    call.answer_next();
    assert_eq!(sent(&call), ["a1", "v1", "v4"], "what was asked for later is");
}

#[test]
fn what_somebody_publishes_is_recorded_no_more() {
    let (mut call, ann, bob) = call();
    call.input(revoke(Whom::Member(bob), RevokedWhat::Recording, None));
    let removed = call.recorder.iter().filter(|action| matches!(action, RecordAction::Remove { .. })).count();
    assert_eq!((removed, call.recorder.len()), (2, 2));
    let is_recorded = ["v1", "a1", "v2", "a2"].map(|name| call.room.records(&track(name)));
    assert_eq!(is_recorded, [true, true, false, false]);
    assert_eq!(call.only(ann, "recording-state")["tracks"], json!(["a1", "v1"]));
    let told = call.messages(bob);
    assert_eq!(told.iter().filter(|told| told["what"] == "recording").count(), 2, "{told:?}");
}

#[test]
fn a_question_whether_to_record_that_was_put_before_counts_no_more() {
    let mut call = Call::ruled(Rules::default());
    let ann = call.join(1);
    call.publish(ann, &["v1"]);
    call.slow_policy = true;
    call.say(ann, json!({"type": "start-recording"}));
    call.input(revoke(Whom::Member(ann), RevokedWhat::Recording, None));
    call.answer_next();
    assert!(call.recorder.is_empty(), "{:?}", call.recorder);
    assert_eq!(call.only(ann, "error")["code"], "forbidden");
}
