//! The doors over real sockets: what clients and pages see, with a shell that is a few lines of the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod door;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lockgate_model::{Command, ErrorCode, Event, Reply, Request, UserId};
use lockgate_signal::{CloseCode, Incoming, Outgoing};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use door::{Answer, Door, Session, close_of};

fn authenticated() -> Event {
    let (username, resume_token) = ("Ann".into(), "r".into());
    let ice_servers = Vec::new();
    Event::Authenticated { user_id: UserId(1), username, expires_at: None, resume_token, resume_ms: 0, ice_servers }
}

async fn next_request(session: &mut Session) -> Request {
    match session.incoming.recv().await {
        Some(Incoming::Request(request)) => *request,
        other => panic!("{other:?}"),
    }
}

fn tell(session: &Session, event: Event) {
    session.outgoing.try_send(Outgoing::Reply(Box::new(event.into()))).unwrap();
}

#[tokio::test]
async fn operators_pages_take_the_methods_that_their_document_names_and_no_others() {
    let door = Door::open().await;
    let document = door.get("/admin/v1/openapi.json", &[]).await.json();
    for (path, described) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            let page = format!("/admin/v1{}", path.replace("{publisher}", "1").replace(['{', '}'], ""));
            let answer = door.ask(&method.to_uppercase(), &page, &[], "").await;
            let is_described = described.get(method).is_some();
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {}", answer.status);
            if !is_described {
                assert_eq!(answer.json()["code"], "invalid-message");
            }
        }
    }
}

#[tokio::test]
async fn both_paths_open_a_socket_and_messages_go_both_ways() {
    let mut door = Door::open().await;
    for path in ["/ws", "/"] {
        let (mut client, mut session) = door.connect(path).await;
        client.send(Message::text(r#"{"type":"auth","token":"t","id":"a"}"#)).await.unwrap();
        let request = next_request(&mut session).await;
        assert!(matches!(request.command, Command::Auth { .. }));
        let reply = Reply { id: request.id, event: authenticated() };
        session.outgoing.send(Outgoing::Reply(Box::new(reply))).await.unwrap();
        let heard = door::json(&mut client).await;
        assert_eq!((&heard["type"], &heard["id"]), (&json!("authenticated"), &json!("a")));
    }
}

#[tokio::test]
async fn a_bad_message_is_answered_and_the_socket_goes_on() {
    let mut door = Door::open().await;
    let (mut client, mut session) = door.connect("/ws").await;
    for (frame, code, id) in [
        ("{", "invalid-message", Value::Null),
        (r#"{"type":"fly","id":7}"#, "unknown-message", json!(7)),
        (r#"{"type":"join-room","id":"j"}"#, "invalid-message", json!("j")),
    ] {
        client.send(Message::text(frame)).await.unwrap();
        let error = door::json(&mut client).await;
        assert_eq!((&error["type"], &error["code"], &error["id"]), (&json!("error"), &json!(code), &id));
    }
    client.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
    assert!(matches!(next_request(&mut session).await.command, Command::Ping {}));
}

#[tokio::test]
async fn a_stranger_may_send_little_and_a_friend_more_but_not_all() {
    let mut door = Door::open().await;
    let offer = |size: usize| {
        let offer = "x".repeat(size);
        Message::text(json!({"type": "publish-offer", "roomName": "r", "offer": offer}).to_string())
    };
    let (mut client, _session) = door.connect("/ws").await;
    client.send(offer(65 * 1024)).await.unwrap();
    assert_eq!(close_of(&mut client).await, 1009);

    let (mut client, mut session) = door.connect("/ws").await;
    tell(&session, authenticated());
    door::json(&mut client).await;
    client.send(offer(900 * 1024)).await.unwrap();
    assert!(matches!(next_request(&mut session).await.command, Command::PublishOffer { .. }));
    client.send(offer(1024 * 1024)).await.unwrap();
    assert_eq!(close_of(&mut client).await, 1009);
    assert!(matches!(session.incoming.recv().await, Some(Incoming::Closed { clean: false })));
}

#[tokio::test]
async fn binary_frames_are_not_spoken_here() {
    let mut door = Door::open().await;
    let (mut client, _session) = door.connect("/ws").await;
    client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(close_of(&mut client).await, 1003);
}

#[tokio::test]
async fn the_shell_closes_with_a_code_after_its_last_words() {
    let mut door = Door::open().await;
    for (code, number) in [
        (CloseCode::Normal, 1000),
        (CloseCode::GoingAway, 1001),
        (CloseCode::Policy, 1008),
        (CloseCode::Unauthenticated, 4401),
    ] {
        let (mut client, session) = door.connect("/ws").await;
        tell(&session, Event::error(ErrorCode::UNAUTHENTICATED, "no", "auth"));
        session.outgoing.try_send(Outgoing::Close(code, "because")).unwrap();
        drop(session);
        assert_eq!(door::json(&mut client).await["code"], "unauthenticated");
        assert_eq!(close_of(&mut client).await, number);
    }
}

#[tokio::test]
async fn the_shell_learns_whether_a_socket_was_closed_or_lost() {
    let mut door = Door::open().await;
    let (mut client, mut session) = door.connect("/ws").await;
    client.close(None).await.unwrap();
    assert!(matches!(session.incoming.recv().await, Some(Incoming::Closed { clean: true })));
    let (client, mut session) = door.connect("/ws").await;
    drop(client);
    assert!(matches!(session.incoming.recv().await, Some(Incoming::Closed { clean: false })));
}

#[tokio::test]
async fn when_nobody_takes_arrivals_they_are_sent_away() {
    let door = Door::open().await;
    let mut waiting = Vec::new();
    for _ in 0..door::MAX_ARRIVING {
        waiting.push(door.connect_only("/ws").await);
    }
    // The first ones are being carried by now, or this one is not the one too many.
    while door.arrivals.len() < door::MAX_ARRIVING {
        tokio::task::yield_now().await;
    }
    let mut late = door.connect_only("/ws").await;
    assert_eq!(close_of(&mut late).await, 1013);
}

#[tokio::test]
async fn a_flood_is_refused_message_by_message() {
    let mut door = Door::open().await;
    let (client, mut session) = door.connect("/ws").await;
    let (mut sink, mut stream) = client.split();
    let flood = async {
        for _ in 0..600 {
            sink.feed(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let refused = async {
        let frame = stream.next().await.unwrap().unwrap();
        serde_json::from_str::<Value>(frame.to_text().unwrap()).unwrap()
    };
    let read = async { while session.incoming.recv().await.is_some() {} };
    tokio::select! {
        (refusal, ()) = async { tokio::join!(refused, flood) } => assert_eq!(refusal["code"], "rate-limited"),
        () = read => panic!("the socket was closed"),
    }
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_socket() {
    let mut door = Door::open().await;
    let (mut client, _session) = door.connect("/ws").await;
    for _ in 0..600 {
        client.feed(Message::Ping(Default::default())).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(close_of(&mut client).await, 1008);
}

#[tokio::test]
async fn a_plain_request_to_the_socket_page_is_told_what_to_do() {
    let door = Door::open().await;
    let answer = door.get("/ws", &[]).await;
    assert_eq!((answer.status, answer.json()["status"].as_u64()), (426, Some(426)));
    assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
}

#[tokio::test]
async fn health_and_readiness_say_how_it_stands() {
    let door = Door::open().await;
    assert_eq!(door.get("/health", &[]).await.json()["status"], "ok");
    assert_eq!(door.get("/ready", &[]).await.status, 200);
    door.missing.lock().unwrap().push("a cup of tea".into());
    let answer = door.get("/ready", &[]).await;
    assert_eq!((answer.status, &answer.json()["missing"][0]), (503, &json!("a cup of tea")));
    assert_eq!(door.get("/nowhere", &[]).await.json()["code"], "not-found");
    door.end().await;
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_for_the_token() {
    let door = Door::open().await;
    let Answer { status, body, .. } = door.get("/metrics", &[]).await;
    assert_eq!((status, body.as_str()), (200, "numbers 1\n"));
    for elsewhere in [
        ("host", "sfu.example.org"),
        ("host", "127.0.0.1.example.org:9000"),
        ("x-forwarded-for", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7"),
    ] {
        assert_eq!(door.get("/metrics", &[elsewhere]).await.status, 403, "{elsewhere:?}");
    }
    let door = Door::with_metrics_token("s3cret").await;
    assert_eq!(door.get("/metrics", &[]).await.status, 403);
    assert_eq!(door.get("/metrics", &[("authorization", "Bearer wrong")]).await.status, 403);
    assert_eq!(door.get("/metrics", &[("authorization", "bearer s3cret")]).await.status, 200);
}

#[tokio::test]
async fn the_web_app_is_shown_with_headers_that_protect_it() {
    let door = Door::open().await;
    let page = door.get("/", &[]).await;
    assert_eq!((page.status, page.body.as_str()), (200, "<p>hello"));
    for header in ["content-security-policy: default-src 'self'", "x-content-type-options: nosniff"] {
        assert!(page.head.contains(header), "{}", page.head);
    }
    assert_eq!(door.get("/app/index.html", &[]).await.status, 200);
    for path in ["/admin", "/admin/", "/app/admin/index.html"] {
        let page = door.get(path, &[]).await;
        assert_eq!((page.status, page.body.as_str()), (200, "<p>operator"), "{path}");
        assert!(page.head.contains("content-security-policy: default-src 'self'"), "{}", page.head);
    }
    for path in ["/app/../index.html", "/app/none.js", "/app/%2e%2e/x", "/sdk/index.html", "/sdk/../app/index.html"] {
        assert_eq!(door.get(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_may_load_the_sdk_and_nothing_else() {
    let door = Door::open().await;
    let allowed = "access-control-allow-origin: *";
    let elsewhere = [("origin", "https://elsewhere.example")];
    let sdk = door.get("/sdk/index.js", &elsewhere).await;
    assert_eq!((sdk.status, sdk.body.as_str()), (200, "export {};"));
    assert!(sdk.head.contains(allowed) && sdk.head.contains("content-type: text/javascript"), "{}", sdk.head);
    let page = door.get("/app/index.html", &elsewhere).await;
    assert!(page.status == 200 && !page.head.contains(allowed), "{}", page.head);
}

#[tokio::test]
async fn everybody_may_read_what_is_said_on_a_socket() {
    let door = Door::open().await;
    let answer = door.get("/ws/schema.json", &[("origin", "https://elsewhere.example")]).await;
    assert_eq!(answer.status, 200);
    for header in ["content-type: application/schema+json", "access-control-allow-origin: *"] {
        assert!(answer.head.contains(header), "{}", answer.head);
    }
    assert_eq!(answer.json(), lockgate_model::schema::dialect());
    assert_eq!(door.post("/ws/schema.json", &[], "{}").await.status, 405);
}

#[tokio::test]
async fn guest_tokens_are_only_for_the_nodes_own_page() {
    let door = Door::open().await;
    let own = format!("http://{}", door.address);
    let host = door.address.to_string();
    let ask = async |headers: &[(&str, &str)], body: &str| door.post("/dev/token", headers, body).await;
    let answer = ask(&[("host", &host), ("origin", &own)], r#"{"name":"Ann"}"#).await;
    assert_eq!((answer.status, &answer.json()["token"]), (200, &json!("token of Ann")));
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    for headers in [
        vec![("host", host.as_str())],
        vec![("host", host.as_str()), ("origin", "https://evil.example")],
        vec![("host", "evil.example"), ("origin", "http://evil.example")],
        vec![("host", host.as_str()), ("origin", "null")],
    ] {
        assert_eq!(ask(&headers, r#"{"name":"Ann"}"#).await.status, 403, "{headers:?}");
    }
    let own = [("host", host.as_str()), ("origin", own.as_str())];
    assert_eq!(ask(&own, r#"{"name":"  "}"#).await.status, 400);
    assert_eq!(ask(&own, r#"{"name":"Ann","guest":"admin"}"#).await.status, 400);
    let renewal = r#"{"name":"Ann","guest":"00112233445566778899aabbccddeeff"}"#;
    assert_eq!(ask(&own, renewal).await.status, 200);
    let broken = ask(&own, "{").await;
    assert_eq!((broken.status, &broken.json()["code"]), (400, &json!("invalid-message")));
    let form =
        door.ask("POST", "/dev/token", &[own[0], own[1], ("content-type", "text/plain")], r#"{"name":"A"}"#).await;
    assert_eq!((form.status, &form.json()["code"]), (415, &json!("invalid-message")));
    assert_eq!(ask(&own, &format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000))).await.status, 413);
    let door = Door::without_guests().await;
    let own = format!("http://{}", door.address);
    let host = door.address.to_string();
    assert_eq!(door.post("/dev/token", &[("host", &host), ("origin", &own)], r#"{"name":"A"}"#).await.status, 404);
}

#[tokio::test]
async fn at_the_end_open_sockets_are_closed_and_the_server_stops() {
    let mut door = Door::open().await;
    let (mut client, session) = door.connect("/ws").await;
    drop(session);
    assert_eq!(close_of(&mut client).await, 1001);
    timeout(Duration::from_secs(10), door.end()).await.unwrap();
}

#[tokio::test]
async fn who_does_not_finish_a_request_is_cut_off() {
    let door = Door::without_guests().await;
    let mut client = TcpStream::connect(door.address).await.unwrap();
    client.write_all(b"GET /health HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
    client.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    // Only from here on: until now the socket needed real time.
    tokio::time::pause();
    let end = timeout(Duration::from_secs(30), client.read(&mut [0; 4096])).await.expect("it is waited for");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_recorded_file_comes_in_ranges_and_as_slowly_as_it_is_read() {
    let door = Door::without_guests().await;
    // More than sockets hold.
    let file = tempfile::NamedTempFile::with_suffix(".webm").unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let page = format!("/recorded/den/s-1/{}", file.path().file_name().unwrap().to_str().unwrap());
    for ticket in ["", "?ticket=bad"] {
        assert_eq!(door.get(&format!("{page}{ticket}"), &[]).await.status, 401);
    }
    let page = format!("{page}?ticket=good");
    let part = door.get(&page, &[("range", "bytes=4-7")]).await;
    assert_eq!((part.status, part.body.len()), (206, 4));
    for line in [
        "content-range: bytes 4-7/67108864",
        "content-length: 4",
        "content-type: video/webm",
        "cache-control: private, no-store",
    ] {
        assert!(part.head.contains(line), "{line}: {}", part.head);
    }
    let mut client = TcpStream::connect(door.address).await.unwrap();
    client
        .write_all(format!("GET {page} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    tokio::time::resume();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() >= (64 << 20) - 4096, "it was cut off: {} bytes", rest.len());
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be_and_the_next_one_waits() {
    let mut door = Door::with_places(2).await;
    let (client, _session) = door.connect("/ws").await;
    let (other, _other) = door.connect("/ws").await;
    let mut late = TcpStream::connect(door.address).await.unwrap();
    late.write_all(b"GET /health HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await.unwrap();
    let early = timeout(Duration::from_millis(200), late.read(&mut [0; 16])).await;
    assert!(early.is_err(), "{early:?}");
    drop((client, other));
    let mut answer = String::new();
    timeout(Duration::from_secs(20), late.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn whoever_may_have_no_guest_token_is_answered_before_the_body() {
    let door = Door::without_guests().await;
    let mut client = TcpStream::connect(door.address).await.unwrap();
    let head =
        "POST /dev/token HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(20), client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
}

#[tokio::test]
async fn one_address_has_few_operators_requests_open_and_others_do_not_wait_for_it() {
    let mut door = Door::open().await;
    let (crowd, other) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut open = Vec::new();
    for _ in 0..4 {
        let request = door.revoke(crowd).await;
        open.push((request, door.operators.recv().await.unwrap()));
    }
    let late = door::answer(door.revoke(crowd).await).await;
    assert_eq!((late.status, &late.json()["code"]), (429, &json!("rate-limited")));
    assert!(late.head.contains("retry-after: 1"), "{}", late.head);
    let request = door.revoke(other).await;
    door.operators.recv().await.unwrap().answer.send(Ok(json!({}))).unwrap();
    assert_eq!(door::answer(request).await.status, 200);
    let (request, asked) = open.pop().unwrap();
    asked.answer.send(Ok(json!({}))).unwrap();
    assert_eq!(door::answer(request).await.status, 200);
    let _next = door.revoke(crowd).await;
    assert!(door.operators.recv().await.is_some());
}

#[tokio::test]
async fn what_an_operator_wants_is_carried_out_though_they_hang_up_and_is_their_turn_until_then() {
    let mut door = Door::with_places(4).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let request = door.revoke([127, 0, 0, 1]).await;
        open.push(door.operators.recv().await.unwrap());
        drop(request);
    }
    // There is a place for this one only after the node has let go of one that hung up, and for all of these after all.
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(door.connect_only("/ws").await);
    }
    places.clear();
    assert_eq!(door::answer(door.revoke([127, 0, 0, 1]).await).await.status, 429);
    for asked in open {
        asked.answer.send(Ok(json!({}))).expect("it is not given up");
        asked.done.await.expect("it is carried out");
    }
}

#[tokio::test]
async fn a_node_that_does_not_speak_rheomeshs_dialect_has_no_such_page() {
    let door = Door::without_rheomesh().await;
    assert_eq!(door.get("/socket?room=r", &[]).await.status, 404);
}
