use lockgate_model::policy::Grant;
use lockgate_model::{Bitrate, ErrorCode, MediaKind, Request, SubscribeConnections};
use serde_json::json;

use super::{Call, Rules, all, no, track};
use crate::{Input, MediaAction, MediaProblem, RoomConfig};

#[test]
fn a_refused_track_is_rejected_in_the_answer_and_told_besides() {
    let mut call = Call::ruled(Rules {
        publish: Box::new(|track| match track.id.as_str() {
            "v2" => no("one camera is enough"),
            _ => Ok(Grant { max_bitrate: Some(Bitrate(500_000)), ..Grant::default() }),
        }),
        ..Rules::default()
    });
    let (ann, bob) = (call.join(1), call.join(2));
    call.quiet();
    call.publish(ann, &["v1", "v2"]);
    let messages = call.messages(ann);
    assert_eq!(messages[0]["type"], "publish-answer");
    assert_eq!(messages[0]["id"], "pub");
    assert_eq!(messages[0]["tracks"][0], json!({"trackId": "v1", "mid": "0", "accepted": true}));
    assert_eq!(messages[0]["tracks"][1]["code"], "forbidden");
    assert_eq!((&messages[1]["type"], &messages[1]["trackId"]), (&json!("error"), &json!("v2")));
    assert_eq!(messages[1]["message"], "one camera is enough");
    let MediaAction::AcceptOffer { admitted, .. } = &call.media[0] else { panic!("{:?}", call.media) };
    assert_eq!(admitted[0].max_bitrate, Some(Bitrate(500_000)));
    assert_eq!(admitted[1].track, None);
    let news = call.only(bob, "new-publisher");
    assert_eq!(news["tracks"].as_array().unwrap().len(), 1);
}

#[test]
fn what_needs_no_plugin_is_refused_without_one() {
    let config = RoomConfig { max_tracks: 2, ..RoomConfig::default() };
    let mut call = Call::with(config, Rules::default());
    let ann =
        call.join_with(1, Grant { kinds: Some([MediaKind::Video].into()), ..all() }, SubscribeConnections::Shared);
    call.publish(ann, &["x1", "a1", "v1"]);
    let answer = call.only(ann, "publish-answer");
    let codes: Vec<_> = (0..3).map(|index| answer["tracks"][index]["code"].as_str()).collect();
    assert_eq!(codes, [Some("unsupported-codec"), Some("forbidden"), Some("overloaded")]);
}

#[test]
fn a_source_names_a_track_by_id_or_mid_and_fits_its_kind() {
    let mut call = Call::new();
    let ann = call.join(1);
    let tracks = json!([
        {"mid": "0", "source": "screen", "name": "slides"},
        {"trackId": "v2", "source": "microphone"},
    ]);
    call.offer_tracks(ann, json!({"type": "publish-offer", "offer": "v=0", "tracks": tracks}), &["v1", "v2"]);
    assert_eq!(call.only(ann, "publish-answer")["tracks"][1]["code"], "invalid-message");
    let bob = call.join(2);
    let news = call.only(bob, "new-publisher");
    assert_eq!((&news["tracks"][0]["source"], &news["tracks"][0]["name"]), (&json!("screen"), &json!("slides")));
}

#[test]
fn a_track_id_belongs_to_one_track_even_when_both_come_at_once() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.publish(bob, &["v1"]);
    assert_eq!(call.only(bob, "publish-answer")["tracks"][0]["code"], "invalid-message");
    call.slow_policy = true;
    call.publish(ann, &["v1", "v2"]);
    call.publish(bob, &["v2"]);
    call.quiet();
    call.answer_next();
    call.answer_next();
    assert_eq!(call.only(ann, "publish-answer")["tracks"][1]["accepted"], true);
    assert_eq!(call.only(bob, "publish-answer")["tracks"][0]["accepted"], false);
}

#[test]
fn an_offer_with_fewer_tracks_takes_the_others_back() {
    let (mut call, ann, bob, _) = Call::watched(&["v1", "a1"]);
    call.quiet();
    call.publish(ann, &["v1"]);
    assert_eq!(call.only(bob, "new-publisher")["tracks"].as_array().unwrap().len(), 1);
    assert!(
        call.media
            .iter()
            .any(|action| matches!(action, MediaAction::Unsubscribe { track: of, .. } if *of == track("a1")))
    );
    call.publish(ann, &[]);
    assert_eq!(call.heard(bob), ["publisher-left"]);
}

#[test]
fn unpublishing_ends_one_track_and_an_unknown_one_is_told() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.quiet();
    call.say(bob, json!({"type": "unpublish", "trackId": "v1"}));
    assert_eq!(call.only(bob, "error")["code"], "not-found");
    call.say(ann, json!({"type": "unpublish", "trackId": "v1", "id": 3}));
    assert_eq!(call.only(ann, "unpublished")["id"], 3);
    assert_eq!(call.heard(bob), ["publisher-left"]);
}

#[test]
fn an_offer_that_cannot_be_read_is_told_and_changes_nothing() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.publish(ann, &["v1"]);
    call.quiet();
    let request: Request =
        serde_json::from_value(json!({"type": "publish-offer", "roomName": "den", "offer": "?", "id": 1})).unwrap();
    let problem = MediaProblem { code: ErrorCode::INVALID_SDP, message: "line 1 is no SDP".into() };
    call.input(Input::Command { member: ann, request, offered: Some(Err(problem)) });
    let error = call.only(ann, "error");
    assert_eq!((&error["code"], &error["id"]), (&json!("invalid-sdp"), &json!(1)));
    assert!(call.media.is_empty());
}

#[test]
fn a_lost_publish_connection_ends_what_came_by_it() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.quiet();
    call.input(Input::PublishLost { member: ann, reason: "no consent".into() });
    assert_eq!(call.only(ann, "revoked")["what"], "publication");
    assert_eq!(call.heard(bob), ["publisher-left"]);
    assert!(call.room.contains(ann));
}

#[test]
fn a_bad_candidate_is_told_to_its_sender() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.quiet();
    let problem = MediaProblem { code: ErrorCode::INVALID_SDP, message: "not a candidate".into() };
    let id = Some(lockgate_model::RequestId::Number(4));
    call.input(Input::CandidateRefused { member: ann, id, of: "publish-ice-candidate", problem });
    assert_eq!(call.only(ann, "error")["id"], 4);
}

#[test]
fn a_publisher_is_told_what_to_send_and_told_again_when_its_socket_is_back() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    call.quiet();
    let encodings = vec![(Some("low".to_owned()), true), (Some("high".to_owned()), false)];
    call.input(Input::Steered { member: ann, track: track("v1"), encodings });
    let expected = json!({
        "type": "publish-layers", "roomName": "den", "trackId": "v1",
        "encodings": [{"rid": "low", "active": true}, {"rid": "high", "active": false}],
    });
    assert_eq!(call.only(ann, "publish-layers"), expected);
    assert!(call.heard(bob).is_empty());
    call.input(Input::Resumed { member: ann });
    assert_eq!(call.messages(ann).iter().filter(|message| **message == expected).count(), 1);
    call.input(Input::Steered { member: ann, track: track("v1"), encodings: vec![(None, false)] });
    assert_eq!(call.only(ann, "publish-layers")["encodings"], json!([{"active": false}]));
    call.quiet();
    call.input(Input::Steered { member: ann, track: track("gone"), encodings: vec![(None, true)] });
    assert!(call.heard(ann).is_empty());
}

#[test]
fn a_track_that_comes_back_in_another_shape_was_not_asked_for_anything_yet() {
    let mut call = Call::new();
    call.encodings = 3;
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1"]);
    let encodings = ["low", "mid", "high"].map(|rid| (Some(rid.to_owned()), rid == "low"));
    call.input(Input::Steered { member: ann, track: track("v1"), encodings: encodings.into() });
    call.publish(ann, &["v1"]);
    call.quiet();
    call.input(Input::Resumed { member: ann });
    assert_eq!(call.only(ann, "publish-layers")["encodings"].as_array().unwrap().len(), 3, "as it was");
    call.encodings = 1;
    call.publish(ann, &["v1"]);
    call.quiet();
    call.input(Input::Resumed { member: ann });
    assert!(!call.heard(ann).contains(&"publish-layers".into()), "its encodings have other names now");
    call.input(Input::Resumed { member: bob });
    assert_eq!(call.only(bob, "publishers-list")["publishers"][0]["tracks"][0]["simulcast"], false);
}

#[test]
fn encoders_that_call_their_tracks_alike_publish_side_by_side() {
    let mut call = Call::new();
    for number in [1, 2] {
        let member = call.join_by_whip(number);
        call.publish(member, &["video"]);
        let answer = call.only(member, "publish-answer");
        let track = &answer["tracks"][0];
        assert_eq!((&track["accepted"], &track["trackId"]), (&json!(true), &json!(format!("t{number}-0"))));
    }
}

#[test]
fn what_an_encoder_offers_is_published_whole_or_not_at_all() {
    let mut call = Call::ruled(Rules {
        publish: Box::new(|track| if track.kind == MediaKind::Video { no("no cameras") } else { Ok(Grant::default()) }),
        ..Rules::default()
    });
    let (bob, encoder) = (call.join(2), call.join_by_whip(1));
    call.quiet();
    call.publish(encoder, &["audio", "video"]);
    let answer = call.only(encoder, "publish-answer");
    assert_eq!(
        answer["tracks"],
        json!([{"trackId": "t1-1", "mid": "1", "accepted": false, "code": "forbidden", "reason": "no cameras"}])
    );
    assert!(call.media.is_empty(), "{:?}", call.media);
    assert_eq!(call.heard(bob), Vec::<String>::new());
    call.publish(encoder, &["audio"]);
    assert_eq!(call.only(encoder, "publish-answer")["tracks"][0]["accepted"], true);
    call.only(bob, "new-publisher");
}
