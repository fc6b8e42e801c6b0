//! The door of Rheomesh's dialect over real sockets: who is let through to the shell, with which token, and what is said both ways.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "these tests need a part of it")]
mod door;

use futures_util::SinkExt;
use lockgate_model::{Command, Event, Reply, Request, RoomName, UserId};
use lockgate_signal::{CloseCode, Incoming, Outgoing};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use door::{Door, Session, close_of};

async fn next_request(session: &mut Session) -> Request {
    match session.incoming.recv().await {
        Some(Incoming::Request(request)) => *request,
        other => panic!("{other:?}"),
    }
}

/// With which token a client came, and to which room.
async fn came(session: &mut Session) -> (String, String) {
    let Command::Auth { token, resume: None } = next_request(session).await.command else { panic!("no `auth`") };
    let Command::JoinRoom { room_name, .. } = next_request(session).await.command else { panic!("no `join-room`") };
    (token.expose().to_owned(), room_name.to_string())
}

fn waiting() -> Event {
    let room_name = RoomName::new("r").unwrap();
    Event::RoomWaiting { room_name, user_id: UserId(1), message: "a moderator lets you in".into() }
}

#[tokio::test]
async fn the_token_comes_by_the_query_a_header_or_a_subprotocol() {
    let mut door = Door::open().await;
    for (path, header, expected) in [
        ("/socket?room=r", None, ("", "r")),
        ("/socket?room=my%20room&token=q", None, ("q", "my room")),
        ("/socket?token=q&room=r", Some(("authorization", "Bearer h")), ("h", "r")),
        ("/socket?room=r", Some(("sec-websocket-protocol", "bearer, s.t-u_v")), ("s.t-u_v", "r")),
    ] {
        let mut request = format!("ws://{}{path}", door.address).into_client_request().unwrap();
        header.into_iter().for_each(|(name, value)| drop(request.headers_mut().insert(name, value.parse().unwrap())));
        let (_client, response) = connect_async(request).await.unwrap();
        let chosen = header.filter(|(name, _)| *name == "sec-websocket-protocol").map(|_| "bearer");
        let protocol = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(protocol.as_deref(), chosen);
        let arrival = door.arrivals.recv().await.unwrap();
        let mut session = Session { incoming: arrival.incoming, outgoing: arrival.outgoing };
        let (token, room) = came(&mut session).await;
        assert_eq!((token.as_str(), room.as_str()), expected, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_meant_is_refused_before_it_is_a_socket() {
    let door = Door::open().await;
    let upgrade =
        [("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
    let with = |more: &[(&'static str, &'static str)]| upgrade.into_iter().chain(more.to_vec()).collect::<Vec<_>>();
    for (path, headers, status, code) in [
        ("/socket", with(&[]), 400, "invalid-message"),
        ("/socket?room=", with(&[]), 400, "invalid-message"),
        ("/socket?room=a%0Ab", with(&[]), 400, "invalid-message"),
        ("/socket?room=r", with(&[("origin", "https://evil.example")]), 403, "forbidden"),
        ("/socket?room=r", Vec::new(), 426, "invalid-message"),
    ] {
        let answer = door.get(path, &headers).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{path}");
    }
    let long = format!("/socket?room={}", "x".repeat(129));
    assert_eq!(door.get(&long, &upgrade).await.status, 400);
}

#[tokio::test]
async fn pages_of_sites_that_were_named_may_come() {
    let mut door = Door::open().await;
    let mut request = format!("ws://{}/socket?room=r", door.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://tv.example".parse().unwrap());
    let (_client, _) = connect_async(request).await.unwrap();
    assert!(door.arrivals.recv().await.is_some());
}

#[tokio::test]
async fn messages_are_translated_both_ways_and_a_lost_client_has_left() {
    let mut door = Door::open().await;
    let (mut client, mut session) = door.connect("/socket?room=r").await;
    came(&mut session).await;
    client.send(Message::text(r#"{"action":"Ping"}"#)).await.unwrap();
    let request = next_request(&mut session).await;
    assert!(matches!(request.command, Command::Ping {}));
    let reply = Reply { id: request.id, event: Event::Pong {} };
    session.outgoing.send(Outgoing::Reply(Box::new(reply))).await.unwrap();
    assert_eq!(door::json(&mut client).await, json!({ "action": "Pong" }));
    session.outgoing.send(Outgoing::Reply(Box::new(waiting().into()))).await.unwrap();
    assert_eq!(door::json(&mut client).await["code"], "waiting");
    client.send(Message::text(r#"{"action":"Fly"}"#)).await.unwrap();
    let told = door::json(&mut client).await;
    assert_eq!(
        (&told["action"], &told["code"], &told["of"]),
        (&json!("Error"), &json!("unknown-message"), &json!("Fly"))
    );
    // It cannot come back to its place: nobody keeps it.
    drop(client);
    assert!(matches!(session.incoming.recv().await, Some(Incoming::Closed { clean: true })));
}

#[tokio::test]
async fn its_bounds_are_those_of_the_other_door() {
    let mut door = Door::open().await;
    for (message, code) in [
        (Message::binary(vec![1]), CloseCode::Unsupported),
        (Message::text(format!(r#"{{"action":"Ping","x":"{}"}}"#, "x".repeat(65 * 1024))), CloseCode::TooBig),
    ] {
        let (mut client, mut session) = door.connect("/socket?room=r").await;
        came(&mut session).await;
        client.send(message).await.unwrap();
        assert_eq!(close_of(&mut client).await, code.code());
    }
    let (mut client, mut session) = door.connect("/socket?room=r").await;
    came(&mut session).await;
    let counted = tokio::spawn(async move {
        let mut pings = 0;
        while let Some(Incoming::Request(_)) = session.incoming.recv().await {
            pings += 1;
        }
        pings
    });
    // As many as may come at once, and as many as may come in the ten seconds that sending them may take here.
    for _ in 0..1500 {
        client.feed(Message::text(r#"{"action":"Ping"}"#)).await.unwrap();
    }
    client.flush().await.unwrap();
    let told = door::json(&mut client).await;
    assert_eq!(told["code"], "rate-limited", "{told}");
    drop(client);
    assert!((500..1500).contains(&counted.await.unwrap()));
}
