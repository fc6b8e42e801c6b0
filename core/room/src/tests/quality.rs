use lockgate_model::SubscribeConnections::PerPublisher;
use lockgate_model::{PublisherId, Quality};
use serde_json::json;

use super::{Call, all, track};
use crate::{Connection, Input, RoomConfig};

const GOOD: Quality = Quality { score: 9, bitrate: 800_000, loss: 5, rtt: Some(20) };

#[test]
fn a_member_hears_how_it_receives_and_how_it_sends() {
    let (mut call, ann, bob, connection) = Call::watched(&["v1"]);
    call.quiet();
    call.input(Input::Received { connection, quality: GOOD });
    let told = json!({"type": "quality", "roomName": "den", "score": 9, "bitrate": 800_000, "loss": 0.005, "rtt": 20});
    assert_eq!(call.only(bob, "quality"), told);
    for _ in 0..2 {
        call.input(Input::Sent { member: ann, quality: Quality { rtt: None, ..GOOD } });
        let told = json!({"type": "quality", "roomName": "den", "publisherId": 1, "score": 9, "bitrate": 800_000, "loss": 0.005});
        assert_eq!(call.only(ann, "quality"), told);
    }
}

#[test]
fn who_receives_of_a_publisher_hears_of_its_score_when_that_changes() {
    let mut call = Call::new();
    let (ann, bob, eve) = (call.join(1), call.join(2), call.join(3));
    call.publish(ann, &["v1", "a1"]);
    call.subscribe(bob, ann);
    call.quiet();
    let mut sent = |score| {
        call.input(Input::Sent { member: ann, quality: Quality { score, ..GOOD } });
        assert_eq!(call.heard(ann), ["quality"]);
        assert!(call.heard(eve).is_empty(), "she does not receive it");
        call.heard(bob).len()
    };
    assert_eq!([9, 9, 4, 4, 9].map(&mut sent), [1, 0, 1, 0, 1]);
}

/// Somebody who receives of two publishers, each by a connection of its own.
fn of_two() -> (Call, PublisherId, [Connection; 2]) {
    let mut call = Call::new();
    let publishers = [(1, "v1"), (2, "v2")].map(|(user, track)| {
        let publisher = call.join(user);
        call.publish(publisher, &[track]);
        publisher
    });
    let eve = call.join_with(3, all(), PerPublisher);
    publishers.iter().for_each(|publisher| call.subscribe(eve, *publisher));
    call.quiet();
    (call, eve, publishers.map(|publisher| Connection { member: eve, publisher: Some(publisher) }))
}

#[test]
fn several_connections_are_told_of_as_one() {
    let (mut call, eve, [ann, bob]) = of_two();
    call.input(Input::Received { connection: ann, quality: GOOD });
    assert_eq!(call.only(eve, "quality")["score"], 9);
    call.input(Input::Received { connection: bob, quality: Quality { score: 3, rtt: Some(90), ..GOOD } });
    assert!(call.heard(eve).is_empty(), "the next one tells of both");
    call.now_ms += 2000;
    call.input(Input::Received { connection: ann, quality: GOOD });
    let both = call.only(eve, "quality");
    assert_eq!((&both["score"], &both["bitrate"], &both["rtt"]), (&json!(3), &json!(1_600_000), &json!(90)));
    call.input(Input::ConnectionLost { connection: bob, unanswered: false, reason: "lost".into() });
    call.quiet();
    call.now_ms += 2000;
    call.input(Input::Received { connection: ann, quality: GOOD });
    assert_eq!(call.only(eve, "quality")["score"], 9);
}

#[test]
fn a_connection_on_which_nothing_flows_any_more_neither_silences_the_others_nor_counts_for_long() {
    let (mut call, eve, [ann, bob]) = of_two();
    call.input(Input::Received { connection: ann, quality: Quality { score: 2, ..GOOD } });
    call.quiet();
    let mut told = Vec::new();
    for _ in 0..5 {
        call.now_ms += 2000;
        call.input(Input::Received { connection: bob, quality: GOOD });
        let message = call.only(eve, "quality");
        told.push((message["score"].as_u64().unwrap(), message["bitrate"].as_u64().unwrap() / 1000));
    }
    assert_eq!(told, [(2, 1600), (2, 1600), (9, 800), (9, 800), (9, 800)]);
    call.now_ms -= 600_000;
    call.input(Input::Received { connection: bob, quality: GOOD });
    assert_eq!(call.heard(eve), ["quality"], "a clock that is set back silences nobody");
}

#[test]
fn a_score_that_was_told_while_the_socket_was_lost_is_told_again() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.subscribe(bob, ann);
    call.input(Input::Sent { member: ann, quality: GOOD });
    call.input(Input::Resumed { member: bob });
    call.quiet();
    let mut sent = || {
        call.input(Input::Sent { member: ann, quality: GOOD });
        call.heard(bob).len()
    };
    assert_eq!([sent(), sent()], [1, 0]);
}

#[test]
fn a_score_that_wavers_is_not_told_each_time_and_one_that_stays_is() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1", "a1"]);
    call.subscribe(bob, ann);
    call.quiet();
    let mut told = |score| {
        call.input(Input::Sent { member: ann, quality: Quality { score, ..GOOD } });
        call.messages(bob).iter().map(|message| message["score"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!([9, 8, 9, 8, 9].map(&mut told), [9, 0, 0, 0, 0], "to and fro");
    assert_eq!([8, 8, 8].map(&mut told), [0, 8, 0], "it stays");
    assert_eq!([7, 6, 6].map(&mut told), [0, 6, 0], "it sinks on");
}

#[test]
fn who_is_sent_nothing_of_a_publisher_hears_of_its_score_when_something_comes_again() {
    let config = RoomConfig { last_n: Some(1), ..RoomConfig::default() };
    let mut call = Call::with(config, super::Rules::default());
    let (ann, bob, eve) = (call.join(1), call.join(2), call.join(3));
    call.publish(ann, &["v1"]);
    call.publish(bob, &["v2", "a2"]);
    call.subscribe(eve, ann);
    let only_camera = json!({"type": "subscribe-request", "publisherId": 2, "trackIds": [track("v2").as_str()]});
    call.say(eve, only_camera);
    call.quiet();
    call.input(Input::Sent { member: bob, quality: GOOD });
    assert!(call.heard(eve).is_empty(), "he waits for a place");
    call.speak(&["a2"], 2000);
    call.quiet();
    call.input(Input::Sent { member: bob, quality: GOOD });
    assert_eq!(call.only(eve, "quality")["publisherId"], 2);
    call.say(eve, json!({"type": "set-layer", "publisherId": 2, "trackId": "v2", "paused": true}));
    call.input(Input::Sent { member: bob, quality: Quality { score: 1, ..GOOD } });
    assert!(call.heard(eve).is_empty());
    call.say(eve, json!({"type": "set-layer", "publisherId": 2, "trackId": "v2", "paused": false}));
    call.input(Input::Sent { member: bob, quality: Quality { score: 1, ..GOOD } });
    assert_eq!(call.only(eve, "quality")["score"], 1);
}
