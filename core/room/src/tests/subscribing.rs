use std::cell::RefCell;
use std::rc::Rc;

use lockgate_model::SubscribeConnections::PerPublisher;
use lockgate_model::policy::Grant;
use lockgate_model::{Bitrate, Layer, LayerReason, Limits};
use serde_json::json;

use super::{Call, Rules, all, no, shared, track};
use crate::{Input, MediaAction};

fn limits(call: &Call) -> Vec<Limits> {
    let of = |action: &MediaAction| match action {
        MediaAction::Subscribe { limits, .. } | MediaAction::SetLimits { limits, .. } => Some(*limits),
        _ => None,
    };
    call.media.iter().filter_map(of).collect()
}

#[test]
fn a_subscription_is_answered_by_an_offer_that_lists_its_tracks() {
    let (mut call, _, bob, _) = Call::watched(&["v1", "a1"]);
    let messages = call.messages(bob);
    let offer = messages.iter().rfind(|message| message["type"] == "subscribe-offer").unwrap();
    assert_eq!(offer["publisherId"], 1);
    assert_eq!(offer["tracks"].as_array().unwrap().len(), 2);
    assert_eq!(offer["tracks"][0]["publisherId"], 1);
    assert!(messages.iter().any(|message| message["id"] == "sub"));
}

#[test]
fn the_stricter_of_grant_and_wish_reaches_the_forwarder() {
    let mut call = Call::ruled(Rules {
        subscribe: Box::new(|_, _| {
            Ok(Grant {
                max_spatial: Some(1),
                max_bitrate: Some(Bitrate(300_000)),
                priority: Some(9),
                ..Grant::default()
            })
        }),
        ..Rules::default()
    });
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    let wish = json!({"type": "subscribe-request", "publisherId": 1, "maxLayer": {"spatial": 2, "temporal": 0}});
    call.say(bob, wish);
    let capped = Limits {
        max_layer: Layer::new(1, 0),
        granted: Layer::new(1, u8::MAX),
        max_bitrate: Some(Bitrate(300_000)),
        paused: false,
        waits: false,
        priority: 9,
    };
    assert_eq!(limits(&call), [capped]);
    call.say(bob, json!({"type": "set-layer", "publisherId": 1, "trackId": "v1", "spatial": 7, "temporal": 7}));
    assert_eq!(limits(&call)[1].max_layer, Layer::new(1, 7));
    call.say(bob, json!({"type": "set-layer", "publisherId": 1, "trackId": "v1", "paused": true, "priority": 200}));
    assert_eq!(limits(&call)[2], Limits { max_layer: Layer::new(1, 7), paused: true, ..capped });
    call.quiet();
    call.say(bob, json!({"type": "set-layer", "publisherId": 2, "trackId": "v1", "spatial": 0}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
    let connection = shared(bob);
    let reason = LayerReason::Policy;
    call.input(Input::Layer { connection, track: track("v1"), layer: Some(Layer::new(1, 0)), reason });
    let changed = call.only(bob, "layer-changed");
    assert_eq!((&changed["spatial"], &changed["reason"]), (&json!(1), &json!("policy")));
}

#[test]
fn the_bitrate_of_a_track_is_known_to_policy_once_its_publishing_has_a_limit() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&seen);
    let mut call = Call::ruled(Rules {
        publish: Box::new(|track| match track.id.as_str() {
            "v1" => Ok(Grant { max_bitrate: Some(Bitrate(500_000)), ..Grant::default() }),
            _ => Ok(Grant::default()),
        }),
        subscribe: Box::new(move |_, publication| {
            sees.borrow_mut().push((publication.track.id.as_str().to_owned(), publication.track.bitrate));
            Ok(Grant::default())
        }),
        ..Rules::default()
    });
    let ann = call.join(1);
    call.join(2);
    call.publish(ann, &["v1", "v2"]);
    assert_eq!(*seen.borrow(), [("v1".to_owned(), Some(Bitrate(500_000))), ("v2".to_owned(), None)]);
}

#[test]
fn what_a_member_gets_is_told_and_told_again_when_its_socket_is_back() {
    let (mut call, _, bob, connection) = Call::watched(&["v1"]);
    let mut tell = |layer, reason| {
        call.quiet();
        call.input(Input::Layer { connection, track: track("v1"), layer, reason });
        let told = call.only(bob, "layer-changed");
        call.quiet();
        call.input(Input::Resumed { member: bob });
        assert_eq!(call.messages(bob).iter().filter(|message| **message == told).count(), 1);
        told
    };
    let paused = tell(None, LayerReason::Bandwidth);
    let wanted = json!({"type": "layer-changed", "roomName": "den", "publisherId": 1, "trackId": "v1", "paused": true, "reason": "bandwidth"});
    assert_eq!(paused, wanted);
    let back = tell(Some(Layer::new(2, 1)), LayerReason::Bandwidth);
    assert_eq!((&back["paused"], &back["spatial"], &back["temporal"]), (&json!(false), &json!(2), &json!(1)));
}

#[test]
fn a_denied_subscription_gets_an_error_and_no_media() {
    let mut call = Call::ruled(Rules { subscribe: Box::new(|_, _| no("for members")), ..Rules::default() });
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.quiet();
    call.subscribe(bob, ann);
    let error = call.only(bob, "error");
    assert_eq!((&error["code"], &error["trackId"], &error["id"]), (&json!("forbidden"), &json!("v1"), &json!("sub")));
    assert!(call.media.is_empty());
}

#[test]
fn who_may_not_subscribe_by_token_gets_nothing_whatever_the_plugins_say() {
    let mut call = Call::new();
    let ann = call.join(1);
    let deaf = Grant { can_subscribe: Some(false), ..Grant::default() };
    let bob = call.join_with(2, deaf, PerPublisher);
    call.publish(ann, &["v1"]);
    call.subscribe(bob, ann);
    assert!(limits(&call).is_empty());
    assert!(!call.heard(bob).contains(&"new-publisher".into()));
}

#[test]
fn some_tracks_refused_means_the_offer_first_then_an_error_for_each() {
    let mut call = Call::ruled(Rules {
        subscribe: Box::new(|_, of| if of.track.id.as_str() == "v2" { no("hidden") } else { Ok(Grant::default()) }),
        ..Rules::default()
    });
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1", "v2"]);
    call.quiet();
    call.subscribe(bob, ann);
    assert_eq!(call.heard(bob), ["subscribe-offer", "error"]);
}

#[test]
fn a_publisher_without_tracks_is_subscribed_for_later() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.quiet();
    call.subscribe(bob, ann);
    assert_eq!(call.only(bob, "subscribed")["tracks"], json!([]));
    call.publish(ann, &["v1"]);
    assert_eq!(call.heard(bob), ["new-publisher", "subscribe-offer"]);
}

#[test]
fn an_unknown_publisher_and_an_unknown_track_are_told() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.quiet();
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 99}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 1, "trackIds": ["v9"]}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 2}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
}

#[test]
fn each_request_is_answered_when_one_offer_carries_several() {
    let mut call = Call::new();
    let (ann, bob, cid) = (call.join(1), call.join(2), call.join(3));
    call.publish(ann, &["v1"]);
    call.publish(bob, &["v2"]);
    call.slow_offers = true;
    call.quiet();
    call.say(cid, json!({"type": "subscribe-request", "id": "one", "publisherId": 1}));
    let connection = shared(cid);
    // The first offer was on its way before the second request took effect.
    let early = call.make_offer(connection, ann);
    call.say(cid, json!({"type": "subscribe-request", "id": "two", "publisherId": 2}));
    call.say(cid, json!({"type": "subscribe-request", "id": "three", "publisherId": 1}));
    call.input(early);
    assert_eq!(call.only(cid, "subscribe-offer")["id"], "one");
    call.offer(connection, bob);
    let messages = call.messages(cid);
    assert_eq!((&messages[0]["type"], &messages[0]["id"]), (&json!("subscribe-offer"), &json!("two")));
}

#[test]
fn a_client_chooses_one_connection_for_all_or_one_for_each() {
    for (connections, expected) in [(PerPublisher, 2), (lockgate_model::SubscribeConnections::Shared, 1)] {
        let mut call = Call::new();
        let (ann, bob) = (call.join(1), call.join(2));
        call.publish(ann, &["v1"]);
        call.publish(bob, &["v2"]);
        let cid = call.join_with(3, all(), connections);
        call.subscribe(cid, ann);
        call.subscribe(cid, bob);
        assert_eq!(call.sending.len(), expected);
    }
}

#[test]
fn unsubscribing_ends_one_track_or_all_and_later_ones() {
    let (mut call, ann, bob, connection) = Call::watched(&["v1", "a1"]);
    call.quiet();
    call.say(bob, json!({"type": "unsubscribe", "id": 1, "publisherId": 1, "trackIds": ["v1"]}));
    call.offer(connection, ann);
    let offer = call.only(bob, "subscribe-offer");
    assert_eq!((&offer["id"], offer["tracks"].as_array().unwrap().len()), (&json!(1), 1));
    call.say(bob, json!({"type": "unsubscribe", "publisherId": 1}));
    call.publish(ann, &["v1", "a1", "v3"]);
    assert_eq!(call.heard(bob), ["new-publisher"]);
    call.say(bob, json!({"type": "unsubscribe", "id": 2, "publisherId": 1}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
}

#[test]
fn unsubscribing_from_one_track_takes_nothing_of_those_that_are_on_their_way() {
    let (mut call, ann, bob, connection) = Call::watched(&["v1"]);
    call.slow_policy = true;
    call.publish(ann, &["v1", "v2"]);
    call.say(bob, json!({"type": "unsubscribe", "publisherId": 1, "trackIds": ["v1"]}));
    while !call.asked.is_empty() {
        call.answer_next();
    }
    assert_eq!(call.sending[&connection], [track("v2")]);
    call.slow_policy = false;
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 1, "trackIds": ["v1"]}));
    assert_eq!(call.sending[&connection], [track("v2"), track("v1")]);
}

#[test]
fn what_is_taken_back_while_policy_thinks_is_not_sent() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1", "v2"]);
    call.slow_policy = true;
    call.say(bob, json!({"type": "subscribe-request", "publisherId": 1}));
    call.say(bob, json!({"type": "unsubscribe", "publisherId": 1, "trackIds": ["v1"]}));
    while !call.asked.is_empty() {
        call.answer_next();
    }
    let sent: Vec<_> = call.sending.values().flatten().cloned().collect();
    assert_eq!(sent, [track("v2")]);
}

#[test]
fn a_second_or_stale_answer_is_refused_and_changes_nothing() {
    let (mut call, _, bob, _) = Call::watched(&["v1"]);
    call.quiet();
    call.say(bob, json!({"type": "subscribe-answer", "publisherId": 1, "answer": "v=0", "offerId": 1}));
    assert!(call.heard(bob).is_empty());
    call.say(bob, json!({"type": "subscribe-answer", "id": 8, "publisherId": 1, "answer": "v=0", "offerId": 9}));
    let error = call.only(bob, "error");
    assert_eq!((&error["code"], &error["id"]), (&json!("invalid-sdp"), &json!(8)));
    assert_eq!(call.sending.len(), 1);
}

#[test]
fn ice_is_restarted_only_where_something_is_received() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.say(bob, json!({"type": "restart-ice", "id": 1}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
    call.publish(ann, &["v1"]);
    call.subscribe(bob, ann);
    call.quiet();
    call.say(bob, json!({"type": "restart-ice", "id": 2}));
    assert!(matches!(call.media[..], [MediaAction::RestartIce { .. }]));
    call.offer(shared(bob), ann);
    assert_eq!(call.only(bob, "subscribe-offer")["id"], 2);
}

#[test]
fn a_lost_subscribe_connection_is_told_and_can_be_asked_for_again() {
    let (mut call, ann, bob, connection) = Call::watched(&["v1"]);
    call.quiet();
    call.input(Input::ConnectionLost { connection, unanswered: true, reason: "no answer".into() });
    let messages = call.messages(bob);
    assert_eq!((&messages[0]["code"], &messages[0]["of"]), (&json!("invalid-sdp"), &json!("subscribe-answer")));
    assert_eq!((&messages[1]["type"], &messages[1]["what"]), (&json!("revoked"), &json!("subscription")));
    call.subscribe(bob, ann);
    assert_eq!(call.only(bob, "subscribe-offer")["id"], "sub");
}
