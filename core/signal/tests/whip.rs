//! WHIP and WHEP over real sockets, with a shell that is a few lines of the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "these tests need a part of it")]
mod door;

use std::time::Duration;

use lockgate_model::policy::Door as Entrance;
use lockgate_model::{
    Command, ErrorCode, Event, IceServer, PublishedTrack, PublisherId, Reply, RoomName, TrackId, UserId,
};
use lockgate_signal::{Arrival, CloseCode, Incoming, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use door::{Answer, Door};

const SDP: (&str, &str) = ("content-type", "application/sdp");

/// What the shell of the test says to a command.
fn reply(command: &Command) -> Event {
    let room_name = || RoomName::new("r").unwrap();
    match command {
        Command::Auth { token, .. } if token.expose() == "bad" => {
            Event::error(ErrorCode::from_plugin("x-no"), "you are nobody", "auth")
        }
        Command::Auth { .. } => Event::Authenticated {
            user_id: UserId(1),
            username: "Ann".into(),
            expires_at: None,
            resume_token: "r".into(),
            resume_ms: 0,
            ice_servers: vec![IceServer { urls: vec!["stun:a.example".into()], username: None, credential: None }],
        },
        Command::JoinRoom { room_name, .. } if room_name.as_str() == "lobby" => {
            Event::RoomWaiting { room_name: room_name.clone(), user_id: UserId(1), message: "wait".into() }
        }
        Command::JoinRoom { .. } => Event::RoomJoined {
            room_name: room_name(),
            user_id: UserId(1),
            publisher_id: PublisherId(1),
            participants: Vec::new(),
            grants: Default::default(),
        },
        Command::PublishOffer { .. } => {
            let track_id = TrackId::new("t").unwrap();
            let accepted = PublishedTrack { track_id, mid: "0".into(), accepted: true, code: None, reason: None };
            Event::PublishAnswer { room_name: room_name(), answer: "answer".into(), tracks: vec![accepted] }
        }
        other => panic!("{other:?}"),
    }
}

/// Answers whoever arrives, until they are gone.
async fn shell(mut arrivals: tokio::sync::mpsc::Receiver<Arrival>) {
    while let Some(Arrival { door, mut incoming, outgoing, .. }) = arrivals.recv().await {
        assert_eq!(door, Entrance::Whip);
        tokio::spawn(async move {
            while let Some(Incoming::Request(request)) = incoming.recv().await {
                let event = reply(&request.command);
                outgoing.send(Outgoing::Reply(Box::new(Reply { id: request.id, event }))).await.unwrap();
            }
        });
    }
}

async fn door() -> Door {
    let mut door = Door::with_places(2048).await;
    let (_, none) = tokio::sync::mpsc::channel(1);
    tokio::spawn(shell(std::mem::replace(&mut door.arrivals, none)));
    door
}

async fn post(door: &Door, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    door.ask("POST", path, &[SDP, ("authorization", &bearer)], "a=mid:0\r\n").await
}

#[tokio::test]
async fn an_offer_is_answered_with_everything_that_the_client_needs() {
    let door = door().await;
    let answer = post(&door, "/whip/r", "t").await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "answer"));
    for header in ["location: /whip/r/", "etag: \"", "<stun:a.example>; rel=\"ice-server\"", "cache-control: no-store"]
    {
        assert!(answer.head.contains(header), "no {header} in {}", answer.head);
    }
    let refused = post(&door, "/whip/r", "bad").await;
    assert_eq!((refused.status, &refused.json()["code"]), (401, &serde_json::json!("x-no")));
    assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
}

#[tokio::test]
async fn whoever_is_in_the_lobby_is_told_to_come_again() {
    let door = door().await;
    let mut client = TcpStream::connect(door.address).await.unwrap();
    let head = "POST /whip/lobby HTTP/1.1\r\nhost: here\r\ncontent-type: application/sdp\r\nconnection: close\r\n";
    client.write_all(format!("{head}content-length: 2\r\n\r\na=").as_bytes()).await.unwrap();
    let answer = timeout(Duration::from_secs(20), door::answer(client)).await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (503, &serde_json::json!("waiting")));
    assert!(answer.head.contains("retry-after: 2"), "{}", answer.head);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let door = door().await;
    let mut client = TcpStream::connect(door.address).await.unwrap();
    let head = "POST /whip/r HTTP/1.1\r\nhost: here\r\ncontent-type: application/sdp\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // The body is being waited for.
    let mut going_on = [0; 25];
    timeout(Duration::from_secs(20), client.read_exact(&mut going_on)).await.unwrap().unwrap();
    assert!(going_on.starts_with(b"HTTP/1.1 100"));
    client.write_all(b"v=0").await.unwrap();
    tokio::time::pause();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(30), client.read_exact(&mut answer)).await.expect("it is waited for").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn sessions_that_never_connect_are_bounded_and_the_next_one_may_come_later() {
    let door = door().await;
    for number in 0..256 {
        let answer = post(&door, "/whip/r", "t").await;
        assert_eq!(answer.status, 201, "{number}: {}", answer.body);
    }
    let late = post(&door, "/whip/r", "t").await;
    assert_eq!((late.status, &late.json()["code"]), (503, &serde_json::json!("overloaded")));
    assert!(late.head.contains("retry-after: "), "{}", late.head);
    // Requests that begin nothing are served.
    assert_eq!(door.ask("OPTIONS", "/whip/r", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_node_that_is_full_says_when_to_come_again() {
    let mut door = Door::without_guests().await;
    let mut client = TcpStream::connect(door.address).await.unwrap();
    let head = "POST /whip/r HTTP/1.1\r\nhost: here\r\ncontent-type: application/sdp\r\nconnection: close\r\n";
    client.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await.unwrap();
    let arrival = door.arrivals.recv().await.unwrap();
    arrival.outgoing.send(Outgoing::Close(CloseCode::TryAgain, "the node is full; try again later")).await.unwrap();
    drop(arrival);
    let answer = door::answer(client).await;
    assert_eq!((answer.status, &answer.json()["code"]), (503, &serde_json::json!("overloaded")));
    assert!(answer.head.contains("retry-after: 2"), "{}", answer.head);
}
