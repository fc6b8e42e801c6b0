//! Who is let in and what is refused, over a raw socket.

use std::net::UdpSocket;

use lockgate_tests::{BESIDE, Client, Node, Setup, Token, until};
use serde_json::{Value, json};

/// A member of room `board` on a plain node.
async fn member(node: &Node) -> Client {
    node.enter(&Token::of(1, "Ann"), "board").await.0
}

#[track_caller]
fn assert_refused(reply: &Value, code: &str, of: &str) {
    assert_eq!((&reply["type"], &reply["code"], &reply["of"]), (&json!("error"), &json!(code), &json!(of)), "{reply}");
    assert!(reply["message"].as_str().is_some_and(|message| !message.is_empty()), "{reply}");
}

#[tokio::test]
async fn a_node_says_that_it_lives_that_it_is_ready_and_what_it_counts() {
    let node = Node::plain().await;
    assert_eq!(node.get("/health").await.status, 200);
    assert_eq!(node.get("/ready").await.status, 200);
    assert_eq!(node.get("/no-such-page").await.status, 404);
    let page = node.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.headers.contains("content-type: text/html") && page.body.contains("Lockgate"), "{page:?}");
    let (_client, _) = node.enter(&Token::of(1, "Ann"), "board").await;
    assert_eq!(node.metric("lockgate_connections").await, 1.0);
    assert_eq!(node.metric("lockgate_rooms").await, 1.0);
    assert_eq!(node.metric("lockgate_recorder_attached").await, 0.0);
    let asked = "lockgate_policy_call_seconds_count{plugin=\"jwt-auth\",hook=\"auth\"}";
    assert_eq!(node.metric(asked).await, 1.0);
}

#[tokio::test]
async fn a_token_says_who_one_is() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    let reply = client.authenticate(&Token::of(7, "Ann")).await;
    assert_eq!((&reply["userId"], &reply["username"]), (&json!(7), &json!("Ann")));
    assert!(reply["resumeToken"].as_str().is_some_and(|token| token.len() >= 32), "{reply}");
    assert!(reply["expiresAt"].is_u64() && reply["resumeMs"].is_u64(), "{reply}");
}

#[tokio::test]
async fn the_token_command_makes_tokens_that_the_node_accepts() {
    let node = Node::plain().await;
    let token = node.token_command(&["--subject", "42", "--name", "Bob", "--room", "board"]);
    let mut client = node.connect().await;
    let reply = client.ask(json!({ "type": "auth", "token": token })).await;
    assert_eq!((&reply["type"], &reply["userId"]), (&json!("authenticated"), &json!(42)), "{reply}");
    let elsewhere = client.ask(json!({ "type": "join-room", "roomName": "elsewhere" })).await;
    assert_refused(&elsewhere, "forbidden", "join-room");
    let joined = client.ask(json!({ "type": "join-room", "roomName": "board" })).await;
    assert_eq!(joined["type"], "room-joined", "{joined}");
}

#[tokio::test]
async fn a_token_that_is_bad_ends_the_socket_with_4401() {
    let node = Node::plain().await;
    let good = Token::of(1, "Ann");
    let other_issuers = good.clone().forged().text();
    let tampered = good.text().replace('.', ".e30");
    for (token, code) in [
        (good.expired().text(), "token-expired"),
        (other_issuers, "unauthenticated"),
        (tampered, "unauthenticated"),
        ("no token".into(), "unauthenticated"),
        (String::new(), "unauthenticated"),
    ] {
        let mut client = node.connect().await;
        let reply = client.ask(json!({ "type": "auth", "token": token })).await;
        assert_refused(&reply, code, "auth");
        assert_eq!(client.closed().await, 4401, "{token}");
    }
}

#[tokio::test]
async fn whoever_does_not_begin_with_a_token_is_out() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    let reply = client.ask(json!({ "type": "join-room", "roomName": "board" })).await;
    assert_refused(&reply, "unauthenticated", "join-room");
    assert_eq!(client.closed().await, 4401);
}

#[tokio::test]
async fn a_token_is_renewed_by_its_own_subject_only() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    client.authenticate(&Token::of(1, "Ann")).await;
    client.authenticate(&Token::of(1, "Ann").can_record()).await;
    let reply = client.ask(json!({ "type": "auth", "token": Token::of(2, "Bob").text() })).await;
    assert_refused(&reply, "forbidden", "auth");
    let reply = client.ask(json!({ "type": "ping" })).await;
    assert_eq!(reply["type"], "pong", "the socket lives on");
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_changes_nothing() {
    let node = Node::plain().await;
    let mut client = member(&node).await;
    for (text, code) in [
        ("this is no JSON", "invalid-message"),
        ("[1, 2]", "invalid-message"),
        ("{}", "invalid-message"),
        (r#"{"type": "join-room"}"#, "invalid-message"),
        (r#"{"type": "join-room", "roomName": ""}"#, "invalid-message"),
        (r#"{"type": "subscribe-request", "roomName": "board", "publisherId": "x"}"#, "invalid-message"),
        (r#"{"type": "open-the-pod-bay-doors", "roomName": "board"}"#, "unknown-message"),
    ] {
        client.send_text(text).await;
        let reply = client.hear_type("error").await;
        assert_eq!(reply["code"], code, "{text}: {reply}");
    }
    assert_eq!(client.ask(json!({ "type": "ping" })).await["type"], "pong");
}

#[tokio::test]
async fn an_id_comes_back_as_it_was() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    client.authenticate(&Token::of(1, "Ann")).await;
    for id in [json!(7), json!("seven"), json!(7.5)] {
        client.send(json!({ "type": "ping", "id": id })).await;
        assert_eq!(client.hear_type("pong").await["id"], id);
        client.send(json!({ "type": "no-such-type", "id": id })).await;
        assert_eq!(client.hear_type("error").await["id"], id);
    }
    client.send(json!({ "type": "ping" })).await;
    assert!(client.hear_type("pong").await.get("id").is_none());
}

#[tokio::test]
async fn a_frame_beyond_all_bounds_ends_the_socket_with_1009() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    client.send_text(&format!("{{\"type\": \"auth\", \"token\": \"{}\"}}", "x".repeat(65 * 1024))).await;
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test]
async fn a_room_that_one_is_not_in_is_not_found() {
    let node = Node::plain().await;
    let mut client = member(&node).await;
    for message in [
        json!({ "type": "leave-room", "roomName": "elsewhere" }),
        json!({ "type": "start-recording", "roomName": "elsewhere" }),
        json!({ "type": "subscribe-answer", "roomName": "elsewhere", "publisherId": 1, "answer": "" }),
        json!({ "type": "chat", "roomName": "elsewhere", "text": "hello" }),
    ] {
        let of = message["type"].as_str().unwrap().to_owned();
        assert_refused(&client.ask(message).await, "not-found", &of);
    }
    let unknown = json!({ "type": "subscribe-request", "roomName": "board", "publisherId": 4242 });
    assert_refused(&client.ask(unknown).await, "not-found", "subscribe-request");
}

#[tokio::test]
async fn those_in_a_room_hear_of_each_other() {
    let node = Node::plain().await;
    let (mut ann, joined) = node.enter(&Token::of(1, "Ann"), "board").await;
    assert_eq!(joined["participants"], json!([]));
    let (mut bob, joined) = node.enter(&Token::of(2, "Bob"), "board").await;
    assert_eq!(joined["participants"][0]["username"], "Ann", "{joined}");
    assert_eq!(bob.hear_type("publishers-list").await["publishers"], json!([]));
    let came = ann.hear_type("user-joined").await;
    assert_eq!((&came["username"], &came["publisherId"]), (&json!("Bob"), &joined["publisherId"]));
    bob.send(json!({ "type": "chat", "roomName": "board", "text": "hello" })).await;
    let said = ann.hear_type("chat").await;
    assert_eq!((&said["text"], &said["username"]), (&json!("hello"), &json!("Bob")));
    let left = bob.ask(json!({ "type": "leave-room", "roomName": "board" })).await;
    assert_eq!(left["type"], "room-left", "{left}");
    assert_eq!(ann.hear_type("user-left").await["publisherId"], joined["publisherId"]);
}

#[tokio::test]
async fn a_full_room_and_a_wrong_password_keep_people_out() {
    // The password is "open sesame".
    let admission = "[plugin.settings.rooms.small]\ncapacity = 1\n\
        [plugin.settings.rooms.vault]\npassword_sha256 = \"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"\n\
        [plugin.settings.rooms.list]\nsubjects = [\"7\"]\n";
    let node = Node::start(Setup { admission: admission.into(), ..Setup::default() }).await;
    let _first = node.enter(&Token::of(1, "Ann"), "small").await;
    let mut bob = node.connect().await;
    bob.authenticate(&Token::of(2, "Bob")).await;
    let mut knock = async |room: &str, password: Option<&str>| {
        bob.ask(json!({ "type": "join-room", "roomName": room, "password": password })).await
    };
    assert_refused(&knock("small", None).await, "room-full", "join-room");
    assert_refused(&knock("vault", None).await, "forbidden", "join-room");
    assert_refused(&knock("vault", Some("guess")).await, "forbidden", "join-room");
    assert_refused(&knock("list", None).await, "forbidden", "join-room");
    assert_eq!(knock("vault", Some("open sesame")).await["type"], "room-joined");
}

#[tokio::test]
async fn a_token_for_one_room_opens_no_other() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    client.authenticate(&Token::of(1, "Ann").claim("rooms", json!(["board"]))).await;
    let reply = client.ask(json!({ "type": "join-room", "roomName": "elsewhere" })).await;
    assert_refused(&reply, "forbidden", "join-room");
    assert_eq!(reply["roomName"], "elsewhere");
}

#[tokio::test]
async fn a_plugin_that_fails_denies_and_disturbs_nobody_else() {
    for fault in ["trap", "loop", "memory"] {
        let faulty = format!("fault = \"{fault}\"\nonly = \"trouble\"");
        let node = Node::start(Setup { faulty: Some(faulty), ..Setup::default() }).await;
        let (mut calm, _) = node.enter(&Token::of(1, "Ann"), "calm").await;
        let mut client = node.connect().await;
        client.authenticate(&Token::of(2, "Bob")).await;
        let reply = client.ask(json!({ "type": "join-room", "roomName": "trouble" })).await;
        assert_refused(&reply, "policy-unavailable", "join-room");
        let reply = client.ask(json!({ "type": "join-room", "roomName": "calm" })).await;
        assert_eq!(reply["type"], "room-joined", "{fault}: {reply}");
        assert_eq!(calm.ask(json!({ "type": "ping" })).await["type"], "pong");
        assert_eq!(node.get("/health").await.status, 200);
    }
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_asked_no_more_and_operators_see_it() {
    let breaker = "[plugin.breaker]\nfailures = 2\npause = \"1h\"\nmax_pause = \"1h\"";
    let faulty = format!("fault = \"trap\"\nonly = \"trouble\"\n{breaker}");
    let node = Node::start(Setup { faulty: Some(faulty), ..Setup::default() }).await;
    let mut client = node.connect().await;
    client.authenticate(&Token::of(1, "Ann")).await;
    for room in ["trouble", "trouble", "calm"] {
        let reply = client.ask(json!({ "type": "join-room", "roomName": room })).await;
        assert_refused(&reply, "policy-unavailable", "join-room");
    }
    let metric = async |name: &str, labels: &str| node.metric(&format!("{name}{{plugin=\"faulty\",{labels}}}")).await;
    assert_eq!(metric("lockgate_policy_paused", "hook=\"admission\"").await, 1.0);
    assert_eq!(metric("lockgate_policy_call_seconds_count", "hook=\"admission\"").await, 2.0);
    assert_eq!(metric("lockgate_policy_failures_total", "cause=\"paused\"").await, 1.0);
}

#[tokio::test]
async fn a_bad_description_or_candidate_is_refused_and_the_room_goes_on() {
    let node = Node::plain().await;
    let mut client = member(&node).await;
    for offer in [
        "",
        "no description",
        "v=0\r\n",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    ] {
        let message = json!({ "type": "publish-offer", "roomName": "board", "offer": offer });
        assert_refused(&client.ask(message).await, "invalid-sdp", "publish-offer");
    }
    let answer = json!({ "type": "subscribe-answer", "roomName": "board", "publisherId": 1, "answer": "v=0\r\n" });
    let reply = client.ask(answer).await;
    assert_eq!(reply["type"], "error", "nothing was offered: {reply}");
    let (_bob, joined) = node.enter(&Token::of(2, "Bob"), "board").await;
    assert_eq!(joined["participants"].as_array().map(Vec::len), Some(1), "{joined}");
}

#[tokio::test]
async fn a_candidate_that_is_none_is_refused_and_the_end_of_them_is_not() {
    let node = Node::plain().await;
    let mut client = member(&node).await;
    let candidate =
        |candidate: Value| json!({ "type": "publish-ice-candidate", "roomName": "board", "candidate": candidate });
    let reply = client.ask(candidate(json!("candidate:no candidate at all"))).await;
    assert_eq!((&reply["type"], &reply["of"]), (&json!("error"), &json!("publish-ice-candidate")), "{reply}");
    for end in [json!(null), json!(""), json!({ "candidate": "" })] {
        client.send(candidate(end)).await;
    }
    assert_eq!(client.ask(json!({ "type": "ping" })).await["type"], "pong");
    assert!(!client.has_heard(|message| message["type"] == "error"));
}

#[tokio::test]
async fn a_token_that_expires_ends_the_socket() {
    let node = Node::plain().await;
    let mut client = node.connect().await;
    client.authenticate(&Token::of(1, "Ann").expiring_in(2)).await;
    assert!(client.hear_type("token-expiring").await["expiresAt"].is_u64());
    assert_eq!(client.hear_type("error").await["code"], "token-expired");
    assert_eq!(client.closed().await, 4401);
}

#[tokio::test]
async fn a_lost_socket_is_resumed_once_and_nobody_else_notices() {
    let node = Node::plain().await;
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), "board").await;
    let mut bob = node.connect().await;
    let token = Token::of(2, "Bob");
    let resume = bob.authenticate(&token).await["resumeToken"].clone();
    let joined = bob.ask(json!({ "type": "join-room", "roomName": "board" })).await;
    // No farewell: the connection is just gone.
    drop(bob);
    let mut bob = node.connect().await;
    bob.send(json!({ "type": "auth", "token": token.text(), "resume": resume })).await;
    let again = bob.hear_type("authenticated").await;
    assert_ne!(again["resumeToken"], resume, "{again}");
    assert_eq!(bob.hear_type("room-joined").await["publisherId"], joined["publisherId"]);
    bob.send(json!({ "type": "chat", "roomName": "board", "text": "back" })).await;
    assert_eq!(ann.hear_type("chat").await["publisherId"], joined["publisherId"]);
    assert!(!ann.has_heard(|message| message["type"] == "user-left"));

    let mut thief = node.connect().await;
    thief.send(json!({ "type": "auth", "token": token.text(), "resume": resume })).await;
    thief.hear_type("authenticated").await;
    let reply = thief.ask(json!({ "type": "chat", "roomName": "board", "text": "mine" })).await;
    assert_refused(&reply, "not-found", "chat");
}

#[tokio::test]
async fn an_admin_puts_somebody_out_and_others_may_not() {
    let node = Node::plain().await;
    let (mut ann, joined) = node.enter(&Token::of(1, "Ann"), "board").await;
    let (mut bob, _) = node.enter(&Token::of(2, "Bob"), "board").await;
    let (mut host, _) = node.enter(&Token::of(3, "Eve").claim("admin", json!(true)), "board").await;
    let kick = json!({ "type": "kick", "roomName": "board", "publisherId": joined["publisherId"] });
    assert_refused(&bob.ask(kick.clone()).await, "forbidden", "kick");
    host.send(kick).await;
    assert_eq!(ann.hear_type("revoked").await["what"], "stay");
    assert_eq!(bob.hear_type("user-left").await["publisherId"], joined["publisherId"]);
    assert_refused(&ann.ask(json!({ "type": "chat", "roomName": "board", "text": "?" })).await, "not-found", "chat");
}

#[tokio::test]
async fn recording_needs_leave_and_a_recorder() {
    let node = Node::plain().await;
    let mut guest = member(&node).await;
    let start = json!({ "type": "start-recording", "roomName": "board" });
    assert_refused(&guest.ask(start.clone()).await, "forbidden", "start-recording");
    let (mut host, _) = node.enter(&Token::of(2, "Bob").can_record(), "board").await;
    assert_refused(&host.ask(start).await, "recording-unavailable", "start-recording");
}

#[tokio::test]
async fn datagrams_that_are_nobodys_are_counted_and_change_nothing() {
    let held = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let port = held.local_addr().expect("it is bound").port();
    let node = Node::start(Setup { media_port: Some(port), ..Setup::default() }).await;
    let mut client = member(&node).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    // A check for nobody (RFC 8489 §5), and the first bytes of STUN, DTLS, RTP, RTCP and of nothing (RFC 7983 §7).
    let mut check = [0; 20];
    check[..8].copy_from_slice(&[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42]);
    let media = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    let report = [0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    let datagrams: [(&[u8], &str); 6] = [
        (&check, "ice-check"),
        (&[0x00, 0x01, 0xff], "ice-check"),
        (&[0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1], "stray"),
        (&media, "stray"),
        (&report, "stray"),
        (&[0xff; 64], "unknown"),
    ];
    for (datagram, reason) in datagrams {
        let counter = format!("lockgate_dropped_total{{reason=\"{reason}\"}}");
        let before = node.metric(&counter).await;
        stranger.send_to(datagram, (BESIDE, port)).expect("loopback takes it");
        until(&format!("{datagram:x?} to be counted"), async || (node.metric(&counter).await > before).then_some(()))
            .await;
    }
    assert_eq!(client.ask(json!({ "type": "ping" })).await["type"], "pong");
    assert_eq!(node.get("/ready").await.status, 200);
}
