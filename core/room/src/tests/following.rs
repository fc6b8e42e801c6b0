use lockgate_model::policy::{Denial, Grant};
use lockgate_model::{ErrorCode, Happening, PublisherId, RevokedWhat};
use serde_json::json;

use super::{Call, Rules, no, track};
use crate::{Input, LeaveReason, RecorderReport, Revocation, Whom};

/// The names of what has happened since the last look.
fn names(call: &mut Call) -> Vec<&'static str> {
    std::mem::take(&mut call.happened).iter().map(Happening::name).collect()
}

#[test]
fn a_call_is_told_in_its_order_and_each_thing_once() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    assert_eq!(names(&mut call), ["participant-joined"; 2]);
    call.publish(ann, &["a1", "v1"]);
    assert_eq!(names(&mut call), ["track-published"; 2]);
    call.publish(ann, &["a1", "v1"]);
    call.subscribe(bob, ann);
    call.input(Input::Resumed { member: bob });
    assert!(names(&mut call).is_empty(), "nothing has changed that others are told of");
    call.say(ann, json!({"type": "mute", "trackId": "a1"}));
    call.say(ann, json!({"type": "mute", "trackId": "a1"}));
    assert_eq!(names(&mut call), ["track-muted"]);
    call.say(ann, json!({"type": "unpublish", "trackId": "a1"}));
    assert_eq!(names(&mut call), ["track-unpublished"]);
    call.input(Input::Leave { member: ann, reason: LeaveReason::Closed });
    let left = call.happened.last().cloned();
    assert_eq!(names(&mut call), ["track-unpublished", "participant-left"]);
    let Some(Happening::ParticipantLeft { who, reason: None }) = left else { panic!("{left:?}") };
    assert_eq!((who.publisher_id, who.subject.as_str()), (ann, "1"));
}

#[test]
fn who_is_put_out_left_for_a_reason_and_who_was_never_in_did_not_leave() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.happened.clear();
    let (whom, what, reason) = (Whom::Member(ann), RevokedWhat::Stay, "enough".to_owned());
    call.input(Input::Revoke(Revocation { whom, what, track: None, reason }));
    let Some(Happening::ParticipantLeft { reason, .. }) = call.happened.pop() else { panic!("nobody left") };
    assert_eq!(reason.as_deref(), Some("enough"));
    let mut call = Call::ruled(Rules { admit: Box::new(|_| no("closed")), ..Rules::default() });
    call.join(1);
    assert!(names(&mut call).is_empty());
}

#[test]
fn who_waits_in_the_lobby_is_told_once() {
    let waiting = |_: &_| Err(Denial { waiting: true, ..Denial::new(ErrorCode::WAITING, "wait") });
    let mut call = Call::ruled(Rules { admit: Box::new(waiting), ..Rules::default() });
    let ann = call.join(1);
    call.say(ann, json!({"type": "join-room"}));
    assert_eq!(names(&mut call), ["participant-waiting"]);
    call.rules.admit = Box::new(|_| Ok(Grant::default()));
    call.say(ann, json!({"type": "join-room"}));
    assert_eq!(names(&mut call), ["participant-joined"]);
}

#[test]
fn a_recording_is_told_when_its_state_or_its_tracks_change() {
    let mut call = Call::new();
    let ann = call.join(1);
    call.publish(ann, &["a1"]);
    call.say(ann, json!({"type": "start-recording"}));
    let session = call.room.counts().recording.unwrap().session_id;
    call.happened.clear();
    call.input(Input::Recorder(RecorderReport::Started { session: session.clone() }));
    call.input(Input::Recorder(RecorderReport::Recording { session }));
    call.say(ann, json!({"type": "start-recording"}));
    assert_eq!(names(&mut call), ["recording", "recording"], "asking twice changes nothing");
    call.publish(ann, &["a1", "v1"]);
    call.say(ann, json!({"type": "stop-recording", "tracks": ["a1"]}));
    let Some(Happening::Recording { tracks, .. }) = call.happened.last() else { panic!("{:?}", call.happened) };
    assert_eq!(*tracks, [track("v1")]);
    call.input(Input::Leave { member: PublisherId(1), reason: LeaveReason::Closed });
    assert!(names(&mut call).contains(&"recording"));
}
