//! Receiving on the client's own offer: asked and granted like everybody's.

use super::*;

fn receive(call: &mut Call, member: PublisherId) -> Value {
    let command = lockgate_model::Command::ReceiveOffer { room_name: RoomName::new("den").unwrap(), offer: "o".into() };
    call.input(Input::Command { member, request: Request { id: None, command, size: 0 }, offered: None });
    let answered = call.media.iter().rev().find_map(|action| match action {
        MediaAction::AnswerReceiver { ticket, .. } => Some(*ticket),
        _ => None,
    });
    let answer = ReceiverAnswer { sdp: "answer".into(), tracks: vec![("0".into(), track("camera"))] };
    call.input(Input::ReceiverAnswered { ticket: answered.unwrap(), result: Ok(answer) });
    call.only(member, "receive-answer")
}

#[test]
fn an_offer_is_answered_with_what_is_sent_and_closed_with_its_member() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["camera"]);
    let answer = receive(&mut call, bob);
    assert_eq!((&answer["answer"], &answer["tracks"][0]["publisherId"]), (&json!("answer"), &json!(ann.0)));
    call.quiet();
    call.input(Input::Leave { member: bob, reason: LeaveReason::Closed });
    let is_closed = |action: &MediaAction| matches!(action, MediaAction::CloseConnection { connection } if *connection == shared(bob));
    assert!(call.media.iter().any(is_closed), "{:?}", call.media);
}

#[test]
fn what_was_placed_answers_what_was_asked_for() {
    let mut call = Call::new();
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["camera"]);
    receive(&mut call, bob);
    call.slow_offers = true;
    call.quiet();
    call.say(bob, json!({ "type": "subscribe-request", "publisherId": ann.0, "id": 7 }));
    assert_eq!(call.heard(bob), [""; 0], "the media side has not placed it");
    let tracks = vec![("0".to_owned(), track("camera"))];
    call.input(Input::Placed { connection: shared(bob), cause: ann, tracks });
    let told = call.only(bob, "subscribed");
    assert_eq!((&told["id"], &told["tracks"][0]["trackId"]), (&json!(7), &json!("camera")));
    call.input(Input::Placed { connection: shared(bob), cause: ann, tracks: Vec::new() });
    assert_eq!(call.only(bob, "subscribed")["tracks"], json!([]), "what ends is told, too");
}

#[test]
fn only_those_who_come_over_http_hear_that_media_can_flow() {
    let mut call = Call::new();
    let bob = call.join(2);
    call.quiet();
    call.input(Input::Connected { member: bob });
    assert_eq!(call.heard(bob), [""; 0]);
    call.room.members.get_mut(&bob).unwrap().participant.door = Door::Whep;
    call.input(Input::Connected { member: bob });
    assert_eq!(call.heard(bob), ["media-connected"]);
}
