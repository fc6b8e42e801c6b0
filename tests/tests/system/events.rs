//! What happens in a node, followed over real sockets.

use lockgate_tests::{Node, ROOM, Setup, Token, camera_offer, operator, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_call_is_told_in_order_without_a_gap_from_its_room_to_its_end() {
    let mut node = Node::plain().await;
    let mut stream = node.follow("", &operator(), &[]).await;
    let (mut ann, joined) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    ann.ask(camera_offer()).await;
    let place = format!("/rooms/{ROOM}/participants/{}", joined["publisherId"]);
    assert_eq!(node.admin("POST", &format!("{place}/mute"), Some(&operator()), "").await.0, 200);
    assert_eq!(node.admin("DELETE", &format!("{place}?reason=enough"), Some(&operator()), "").await.0, 200);
    let mut events: Vec<(u64, Value)> = Vec::new();
    while events.last().is_none_or(|(_, event)| event["type"] != "room-closed") {
        events.push(stream.next().await.expect("the room closes"));
    }
    let (mut eve, _) = node.enter(&Token::of(3, "Eve"), "another room").await;
    let refused = eve.ask(json!({ "type": "start-recording", "roomName": "another room" })).await;
    assert_eq!(refused["code"], "forbidden");
    assert_eq!(node.reload().await.0, 200);
    node.terminate().await;

    while let Some(event) = stream.next().await {
        events.push(event);
    }
    for pair in events.windows(2) {
        assert_eq!(pair[0].0 + 1, pair[1].0, "{pair:?}");
    }
    let told: Vec<_> = events.iter().map(|(_, event)| event["type"].as_str().unwrap_or_default()).collect();
    let expected = [
        "room-opened",
        "participant-joined",
        "track-published",
        "operator",
        "track-muted",
        "operator",
        "track-unpublished",
        "revoked",
        "participant-left",
        "room-closed",
        "room-opened",
        "participant-joined",
        "denied",
        "policy",
        "participant-left",
        "room-closed",
        "node-ending",
    ];
    assert_eq!(told, expected, "{events:#?}");
    let of = |kind: &str| events.iter().find(|(_, event)| event["type"] == kind).map(|(_, event)| event.clone());
    let left = of("participant-left").expect("Ann left");
    assert_eq!((&left["subject"], &left["roomName"], &left["reason"]), (&json!("1"), &json!(ROOM), &json!("enough")));
    assert_eq!(of("denied").map(|denied| denied["subject"].clone()), Some(json!("3")));
    assert!(events.iter().all(|(id, event)| event["id"] == *id && event["timeMs"].is_u64()));
}

#[tokio::test]
async fn a_reader_that_comes_again_goes_on_where_it_was_and_one_that_is_too_late_is_told_so() {
    let node = Node::plain().await;
    let mut stream = node.follow("", &operator(), &[]).await;
    let (ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    let (first, event) = stream.next().await.expect("the room opened");
    assert_eq!(event["type"], "room-opened");
    drop(stream);
    drop(ann);
    let mut again = node.follow("", &operator(), &[("last-event-id", &first.to_string())]).await;
    let (next, joined) = again.next().await.expect("Ann joined meanwhile");
    assert_eq!((next, &joined["type"]), (first + 1, &json!("participant-joined")));
    let mut from_address = node.follow(&format!("?after={first}"), &operator(), &[]).await;
    assert_eq!(from_address.next().await.map(|(id, _)| id), Some(first + 1));
    // Of another life of the node: nobody knows how much is missing.
    let mut late = node.follow("?after=5", &operator(), &[]).await;
    let (_, gap) = late.next().await.expect("it is told that it is late");
    assert_eq!((&gap["type"], &gap["after"], &gap["lost"]), (&json!("gap"), &json!(5), &Value::Null));
    assert_eq!(late.next().await.map(|(id, _)| id), Some(first), "and has all that there is");
}

#[tokio::test]
async fn who_may_not_follow_is_refused_and_a_token_for_some_rooms_shows_these() {
    let node = Node::plain().await;
    for (token, status) in [(None, 401), (Some(operator().forged()), 401), (Some(Token::of(7, "Eve")), 403)] {
        assert_eq!(node.admin("GET", "/events", token.as_ref(), "").await.0, status);
    }
    assert_eq!(node.admin("GET", "/events?after=x", Some(&operator()), "").await.0, 400);
    let mut narrow = node.follow("", &operator().claim("rooms", json!(["another room"])), &[]).await;
    let (_ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    let (_eve, _) = node.enter(&Token::of(3, "Eve"), "another room").await;
    let (_, event) = narrow.next().await.expect("a room opened");
    assert_eq!((&event["type"], &event["roomName"]), (&json!("room-opened"), &json!("another room")));
    // Without the token's right it ends.
    let hold = json!({ "holdMs": 60_000 });
    let other = Token::of(98, "Other").claim("admin", json!(true));
    assert_eq!(node.post("/admin/v1/subjects/99/revoke", Some(&other), &hold).await.status, 200);
    while narrow.next().await.is_some() {}
}

/// Takes one message over a new connection, answers it with a status, and gives its headers and body.
async fn message(listener: &TcpListener, status: &str) -> (String, Value) {
    let (stream, _) = within("a message", listener.accept()).await.expect("it is open");
    next_message(&mut BufReader::new(stream), status).await
}

/// Takes the next message of a connection.
async fn next_message(stream: &mut BufReader<TcpStream>, status: &str) -> (String, Value) {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        within("a message", stream.read_line(&mut line)).await.expect("a line");
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().expect("a number");
        }
        head.push_str(&line);
        head.push('\n');
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("the body");
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.expect("it listens");
    (head, serde_json::from_slice(&body).expect("it is JSON"))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[tokio::test]
async fn a_webhook_has_every_event_in_order_and_again_until_it_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let place = tempfile::NamedTempFile::new().expect("there is a place");
    std::fs::write(place.path(), secret).expect("it is ours");
    let policy =
        format!("[webhooks]\nurl = \"http://127.0.0.1:{port}/hook?x=1\"\nsecret = {{ file = {:?} }}\n", place.path());
    let mut node = Node::start(Setup { policy, ..Setup::default() }).await;
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    let (refused, first) = message(&listener, "503 Service Unavailable").await;
    assert!(refused.starts_with("post /hook?x=1 http/1.1\n"), "{refused}");
    let (taken, again) = message(&listener, "204 No Content").await;
    assert_eq!((&first, header(&refused, "webhook-id")), (&again, header(&taken, "webhook-id")));
    assert_eq!((&first["type"], &first["data"]["roomName"]), (&json!("room-opened"), &json!(ROOM)));
    assert!(first["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
    assert!(header(&taken, "webhook-signature").starts_with("v1,"));
    assert!(header(&taken, "webhook-timestamp").parse::<u64>().is_ok());
    // From here on over one connection, which is what a busy node's events are quick enough for.
    let (stream, _) = within("a connection", listener.accept()).await.expect("it is open");
    let mut stream = BufReader::new(stream);
    let (_, second) = next_message(&mut stream, "200 OK").await;
    assert_eq!(second["type"], "participant-joined");
    assert_eq!(second["data"]["id"].as_u64(), first["data"]["id"].as_u64().map(|id| id + 1));
    assert_eq!(ann.ask(json!({ "type": "leave-room", "roomName": ROOM })).await["type"], "room-left");
    for kind in ["participant-left", "room-closed"] {
        assert_eq!(next_message(&mut stream, "200 OK").await.1["type"], kind);
    }
    let ((_, last), status) = tokio::join!(next_message(&mut stream, "200 OK"), node.terminate());
    assert_eq!((&last["type"], status.code()), (&json!("node-ending"), Some(0)));
}

#[tokio::test]
async fn the_command_line_follows_events_until_the_node_ends() {
    let mut node = Node::plain().await;
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    assert_eq!(ann.ask(json!({ "type": "leave-room", "roomName": ROOM })).await["type"], "room-left");
    let mut stream = node.follow("?after=0", &operator(), &[]).await;
    stream.next_of("room-closed").await;
    let follower = node.operate_beside(&["events", "--after", "0", "--room", ROOM, "--json"]);
    let joined = follower.line("who joined", |line| line.contains("participant-joined").then_some(())).await;
    node.terminate().await;
    follower.line("the end of the room", |line| line.contains("room-closed").then_some(joined)).await;
    let mut follower = follower;
    assert_eq!(follower.ended().await.code(), Some(0), "{}", follower.log());
}
