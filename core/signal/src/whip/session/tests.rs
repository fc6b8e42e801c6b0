//! What a session says while the shell is behind.

use lockgate_model::policy::Door;
use lockgate_model::{Candidate, PublisherId, RoomName};
use tokio::task::JoinHandle;

use super::super::acts::Act;
use super::super::fragment::Fragment;
use super::super::target::Watched;
use super::*;

/// A session that has begun, under the tag `1`, for an offer of one line.
fn began(door: Door) -> (Session, Arrival) {
    let endpoint = Endpoint { door, room: RoomName::new("r").unwrap(), of: Watched::Room };
    let opening = Opening { endpoint, token: Secret::default(), offer: "a=mid:0\r\n".to_owned() };
    let (mut session, arrival) = Session::new(opening, "192.0.2.1:9".parse().unwrap());
    session.tag = "1".to_owned();
    session.view.open();
    (session, arrival)
}

/// Lets it go on, in a task that ends with it.
fn goes_on(mut session: Session) -> (mpsc::Sender<Ask>, JoinHandle<()>) {
    let (asks, mut asked) = mpsc::channel(MAX_ASKS);
    (asks, tokio::spawn(async move { session.run(&mut asked).await }))
}

async fn next_command(arrival: &mut Arrival) -> Command {
    match arrival.incoming.recv().await {
        Some(Incoming::Request(request)) => request.command,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_candidates_of_a_fragment_reach_a_shell_that_is_behind() {
    let (session, mut arrival) = began(Door::Whip);
    let lines: String = (0..128).map(|number| format!("a=candidate:{number}\r\n")).collect();
    let (answer, answered) = oneshot::channel();
    let fragment = Fragment::read(&lines).unwrap();
    let act = Act::Patch { if_match: Some("\"1\"".to_owned()), fragment, new_tag: "2".to_owned() };
    let (asks, running) = goes_on(session);
    asks.send(Ask { token: None, act, answer }).await.unwrap();
    assert_eq!(answered.await.unwrap().status().as_u16(), 204);
    for number in 0..128 {
        match next_command(&mut arrival).await {
            Command::PublishIceCandidate { candidate: Some(Candidate::Line(line)), .. } => {
                assert_eq!(line, format!("candidate:{number}"));
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(!running.is_finished(), "the session goes on");
    drop(arrival);
    running.await.unwrap();
}

#[tokio::test]
async fn whoever_publishes_in_a_large_room_is_asked_for_as_the_shell_gets_to_it() {
    let (session, mut arrival) = began(Door::Whep);
    for number in 0..200 {
        let event = Event::NewPublisher {
            room_name: RoomName::new("r").unwrap(),
            publisher_id: PublisherId(number),
            username: "Ann".into(),
            tracks: Vec::new(),
            subject: "7".into(),
        };
        arrival.outgoing.send(Outgoing::Reply(Box::new(event.into()))).await.unwrap();
    }
    let (_asks, running) = goes_on(session);
    for number in 0..200 {
        match next_command(&mut arrival).await {
            Command::SubscribeRequest { publisher_id, .. } => assert_eq!(publisher_id, PublisherId(number)),
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(!running.is_finished(), "the session goes on");
    drop(arrival);
    running.await.unwrap();
}
