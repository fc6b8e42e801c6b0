use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use lockgate_model::policy::{Door, Grant, Participant};
use lockgate_model::{Layer, LayerReason, ParticipantStage, PublisherId, Quality};
use serde_json::{Value, json};

use super::{Call, Rules, all, identity, no, shared, track};
use crate::{Input, LeaveReason, MediaAction, Operation, RecordAction, RecorderReport, Wanted};

/// The number of an operator's act.
const BY: PublisherId = PublisherId(900);
const EVERYBODY: Wanted = Wanted { after: None, most: 1000, items: 10_000, watches: true };

fn operation(record: bool, grant: Grant, tracks: Option<&[&str]>) -> Input {
    let who = Participant {
        identity: identity(99, grant),
        publisher_id: None,
        door: Door::Admin,
        peer: Ipv4Addr::LOCALHOST.into(),
    };
    let tracks = tracks.map(|tracks| tracks.iter().map(|name| track(name)).collect());
    Input::Operation(Operation { by: BY, who, record, tracks })
}

fn started(call: &mut Call) {
    let session = call.recorder.iter().find_map(|action| match action {
        RecordAction::Start { session } => Some(session.clone()),
        _ => None,
    });
    call.input(Input::Recorder(RecorderReport::Started { session: session.unwrap() }));
}

#[test]
fn an_operator_has_a_room_recorded_through_the_same_door_as_members() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&asked);
    let record = Box::new(move |who: Option<&Participant>, _: &_| {
        heard.borrow_mut().push(who.map(|who| (who.identity.subject.clone(), who.door, who.publisher_id)));
        Ok(Grant::default())
    });
    let mut call = Call::ruled(Rules { record, ..Rules::default() });
    let ann = call.join(1);
    call.publish(ann, &["a1"]);
    call.quiet();
    call.input(operation(true, all(), None));
    assert_eq!(*asked.borrow(), [Some(("99".to_owned(), Door::Admin, None))]);
    started(&mut call);
    let state = call.only(BY, "recording-state");
    assert_eq!((&state["state"], &state["tracks"]), (&json!("starting"), &json!(["a1"])));
    assert_eq!(call.only(ann, "recording-state")["state"], "starting", "everybody may know that they are recorded");
    assert!(!call.room.is_asking_for(BY));
    // What is published later is asked about with the operator, too, though they are no member.
    call.publish(ann, &["a1", "v1"]);
    assert_eq!(asked.borrow().last().unwrap().as_ref().unwrap().0, "99");
    assert_eq!(call.room.counts().recording.unwrap().tracks, 2);
    call.input(operation(false, all(), None));
    assert_eq!(call.only(BY, "recording-state")["state"], "stopping");
    assert!(call.room.counts().recording.is_none());
}

#[test]
fn an_operator_is_told_no_by_policy_by_their_own_grant_and_where_nobody_is() {
    let mut call = Call::ruled(Rules { record: Box::new(|_, _| no("not here")), ..Rules::default() });
    call.input(operation(true, all(), None));
    assert_eq!(call.only(BY, "error")["code"], "not-found");
    let ann = call.join(1);
    call.publish(ann, &["a1"]);
    call.input(operation(true, all(), None));
    let refused = call.only(BY, "error");
    assert_eq!((&refused["message"], &refused["trackId"]), (&json!("not here"), &json!("a1")));
    call.input(operation(true, Grant { admin: Some(true), ..Grant::default() }, None));
    assert_eq!(call.only(BY, "error")["code"], "forbidden");
    call.input(operation(false, all(), None));
    assert_eq!(call.only(BY, "error")["code"], "not-found", "nothing is recorded");
    assert!(call.recorder.is_empty());
}

#[test]
fn while_policy_thinks_somebody_is_asking_and_after_that_nobody() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.publish(ann, &["a1"]);
    call.slow_policy = true;
    call.input(operation(true, all(), Some(&["a1"])));
    assert!(call.room.is_asking_for(BY));
    call.answer_next();
    assert!(!call.room.is_asking_for(BY));
    call.slow_policy = false;
    call.input(Input::Leave { member: ann, reason: LeaveReason::Closed });
    assert!(call.room.is_empty());
}

#[test]
fn an_operator_mutes_what_can_be_heard_or_seen() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["a1", "v1"]);
    call.quiet();
    let tracks = call.room.mutable(ann, None);
    assert_eq!(tracks, [track("a1"), track("v1")]);
    assert_eq!(call.room.mutable(ann, Some(&track("v1"))), [track("v1")]);
    assert!(call.room.mutable(bob, None).is_empty() && call.room.mutable(ann, Some(&track("x"))).is_empty());
    call.input(Input::MuteByOperator { tracks, muted: true });
    assert_eq!(call.heard(ann), ["track-muted", "track-muted"]);
    assert_eq!(call.heard(bob), ["track-muted", "track-muted"]);
    let silent = |action: &&MediaAction| matches!(action, MediaAction::Mute { muted: true, .. });
    assert_eq!(call.media.iter().filter(silent).count(), 2);
    assert!(call.room.page(&EVERYBODY).participants[0].tracks.iter().all(|track| track.info.muted));
}

#[test]
fn operators_see_who_watches_what_and_why_not_more() {
    let (mut call, ann, bob, connection) = Call::watched(&["a1", "v1"]);
    let quality = |bitrate| Quality { score: 9, bitrate, loss: 10, rtt: Some(20) };
    call.input(Input::Sent { member: ann, quality: quality(5000) });
    call.input(Input::Received { connection, quality: quality(4000) });
    call.input(Input::Rates { member: ann, tracks: vec![(track("v1"), vec![1000, 3000]), (track("gone"), vec![1])] });
    let layer = Some(Layer::new(1, 2));
    call.input(Input::Layer { connection, track: track("v1"), layer, reason: LayerReason::Bandwidth });
    call.say(bob, json!({"type": "set-layer", "publisherId": 1, "trackId": "a1", "paused": true}));
    let seen = serde_json::to_value(call.room.page(&EVERYBODY)).unwrap();
    let [first, second] = [0, 1].map(|index| &seen["participants"][index]);
    assert_eq!((&first["publisherId"], &first["sends"]["bitrate"]), (&json!(1), &json!(5000)));
    let published = &first["tracks"][1];
    assert_eq!(
        (&published["trackId"], &published["kind"], &published["codec"]),
        (&json!("v1"), &json!("video"), &json!("vp8"))
    );
    assert_eq!((&published["bitrates"], first["tracks"][0].get("bitrates")), (&json!([1000, 3000]), None));
    assert_eq!((&second["receives"]["bitrate"], &second["receives"]["loss"]), (&json!(4000), &json!(0.01)));
    let watches = second["watches"].as_array().unwrap();
    assert_eq!((watches.len(), &watches[0]["paused"]), (2, &json!(true)));
    let layer = json!({"spatial": 1, "temporal": 2});
    assert_eq!((&watches[1]["layer"], &watches[1]["reason"]), (&layer, &json!("bandwidth")));
    let counts = call.room.counts();
    assert_eq!((counts.participants, counts.waiting, counts.tracks, counts.watched), (2, 0, 2, 2));
    // What was told long ago is not so now.
    call.now_ms += 60_000;
    call.input(Input::Time);
    let later = serde_json::to_value(call.room.page(&EVERYBODY)).unwrap();
    assert_eq!(
        (&later["participants"][0]["sends"], &later["participants"][1]["receives"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(later["participants"][0]["tracks"][1].get("bitrates"), None);
    assert_eq!(shared(bob), connection);
}

#[test]
fn a_page_has_a_bound_of_people_and_of_things() {
    let mut call = Call::new();
    for number in 1..=5 {
        let member = call.join(number);
        call.publish(member, &[&format!("a{number}"), &format!("v{number}")]);
    }
    let page = |wanted: Wanted| {
        let page = call.room.page(&wanted);
        (page.participants.iter().map(|one| one.publisher_id.0).collect::<Vec<_>>(), page.next.map(|next| next.0))
    };
    let two = Wanted { most: 2, watches: false, ..EVERYBODY };
    assert_eq!(page(two), (vec![1, 2], Some(2)));
    assert_eq!(page(Wanted { after: Some(PublisherId(4)), ..two }), (vec![5], None));
    assert_eq!(page(Wanted { after: Some(PublisherId(3)), ..two }), (vec![4, 5], None));
    // Each is three things: itself and two tracks. One is always shown.
    assert_eq!(page(Wanted { items: 6, watches: false, ..EVERYBODY }), (vec![1, 2], Some(2)));
    assert_eq!(page(Wanted { items: 1, watches: false, ..EVERYBODY }), (vec![1], Some(1)));
}

#[test]
fn whoever_waits_at_the_door_is_seen_too() {
    let mut call = Call::new();
    call.slow_policy = true;
    call.join(1);
    let page = call.room.page(&EVERYBODY);
    assert_eq!((page.participants[0].stage, call.room.counts().waiting), (ParticipantStage::Entering, 1));
}
