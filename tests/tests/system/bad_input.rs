//! What clients may send that is wrong, too much or meant badly: refused with the right status and a useful message; nothing leaks, nothing grows.
//!
//! Bodies and heads that come too slowly are in core/signal/tests, where the clock is the test's own.

use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::{StreamExt, stream};
use lockgate_tests::{Answer, Node, ROOM, Token, camera_offer, operator, until, viewer_offer};
use serde_json::{Value, json};

/// The code and what to do, as they are told over HTTP.
#[track_caller]
fn problem(answer: &Answer) -> (u16, String) {
    assert!(answer.headers.contains("content-type: application/problem+json"), "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer:?}");
    (answer.status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn description(offer: &Value) -> String {
    offer["offer"].as_str().expect("an offer has a description").to_owned()
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.text())
}

const SDP: (&str, &str) = ("content-type", "application/sdp");
/// What trickles (RFC 8840).
const CANDIDATE: &str = "a=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n\
    a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n";
const STRANGER: (&str, &str) = ("origin", "https://evil.example");

async fn is_empty(node: &Node) {
    until("all to have left", async || (node.metric("lockgate_connections").await == 0.0).then_some(())).await;
    assert_eq!(node.metric("lockgate_rooms").await, 0.0);
}

/// Begins so many sessions that never connect, eight at a time, and counts the answers by their status.
async fn besiege(node: &Node, sessions: Range<usize>) -> BTreeMap<u16, usize> {
    let (bearer, offer) = (&bearer(&Token::of(1, "Ann")), &description(&camera_offer()));
    let knocks = sessions.map(|number| async move {
        let path = format!("/whip/room-{}", number % 700);
        node.request("POST", &path, &[SDP, ("authorization", bearer)], offer).await
    });
    let answers: Vec<_> = stream::iter(knocks).buffer_unordered(8).collect().await;
    let mut counts = BTreeMap::new();
    for answer in answers {
        if answer.status != 201 {
            // A machine that stalls keeps policy from answering in time, which is no fault of the door's.
            let (status, code) = problem(&answer);
            assert!(status == 503 && ["overloaded", "policy-unavailable"].contains(&code.as_str()), "{answer:?}");
            assert!(answer.headers.contains("retry-after: "), "{answer:?}");
        }
        *counts.entry(answer.status).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn of_ten_thousand_sessions_that_never_connect_few_are_held_and_nothing_grows() {
    let node = Node::plain().await;
    let first = besiege(&node, 0..1_000).await;
    let held = (node.process().resident_kilobytes(), node.process().descriptors());
    let rest = besiege(&node, 1_000..10_000).await;
    let now = (node.process().resident_kilobytes(), node.process().descriptors());
    assert!(rest.get(&503).is_some_and(|refused| *refused > 5_000), "{first:?}, then {rest:?}");
    assert!(now.0 < held.0 + 32 * 1024, "from {} KB to {} KB", held.0, now.0);
    assert!(now.1 < held.1 + 64, "from {} descriptors to {}", held.1, now.1);
    let open = node.metric("lockgate_connections").await;
    assert!(open <= MOST_HALF_OPEN, "{open}");
    // Sockets are let in meanwhile.
    let (bob, _) = node.enter(&Token::of(2, "Bob"), ROOM).await;
    drop(bob);
}

/// Sessions of one network that may be on their way (core/signal/src/whip/sessions.rs), and as many as are being refused.
const MOST_HALF_OPEN: f64 = 256.0 + 8.0;

#[tokio::test]
async fn a_giant_description_is_refused_on_a_socket_and_the_room_goes_on() {
    let node = Node::plain().await;
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    let good = description(&camera_offer());
    let (head, media) = good.split_at(good.find("m=video").expect("it has a line"));
    let lines: String = (0..300).map(|mid| media.replace("a=mid:0", &format!("a=mid:{mid}"))).collect();
    for (what, sdp) in [
        ("long lines", format!("{good}a={}\r\n", "x".repeat(700_000))),
        ("many attributes", format!("{good}{}", "a=x\r\n".repeat(120_000))),
        ("many candidates", format!("{good}{}", "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n".repeat(15_000))),
        ("many m-lines", format!("{head}{lines}")),
    ] {
        let refused = ann.ask(json!({ "type": "publish-offer", "roomName": ROOM, "offer": sdp })).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("invalid-sdp")), "{what}: {refused}");
        assert!(refused["message"].as_str().is_some_and(|text| (1..400).contains(&text.len())), "{what}: {refused}");
    }
    let answered = ann.ask(camera_offer()).await;
    assert_eq!(answered["type"], "publish-answer", "{answered}");
}

#[tokio::test]
async fn a_rooms_name_is_never_a_path() {
    let node = Node::plain().await;
    let (bearer, offer) = (bearer(&Token::of(1, "Ann")), description(&camera_offer()));
    let headers = [SDP, ("authorization", bearer.as_str())];
    for (name, segment) in
        [("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"), ("..", "%2E%2E"), ("a?b#c", "a%3Fb%23c"), ("<b>", "%3Cb%3E")]
    {
        let began = node.request("POST", &format!("/whip/{segment}"), &headers, &offer).await;
        assert_eq!(began.status, 201, "{name}: {began:?}");
        let location = began.headers.lines().find_map(|line| line.strip_prefix("location: ")).expect("it has a place");
        let place = format!("/whip/{}/", segment.to_lowercase());
        assert!(location.starts_with(&place), "{name}: {location}");
        // The same room for sockets and for operators, and none beside it.
        let (_bob, joined) = node.enter(&Token::of(2, "Bob"), name).await;
        assert_eq!(joined["participants"].as_array().map(Vec::len), Some(1), "{name}: {joined}");
        let (status, seen) = node.admin("GET", &format!("/rooms/{segment}/participants"), Some(&operator()), "").await;
        assert_eq!(status, 200, "{name}: {seen}");
    }
    for path in [
        "/whip/../admin/v1/rooms",
        "/whip/a/../../health",
        "/whip//board",
        "/app/../../config.toml",
        "/sdk/%2e%2e%2fapp",
    ] {
        let answer = node.request("POST", path, &headers, &offer).await;
        assert!([400, 404, 405].contains(&answer.status), "{path}: {answer:?}");
        let answer = node.get(path).await;
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_neither_act_nor_read() {
    let node = Node::plain().await;
    let operator = bearer(&operator());
    let own = [("authorization", operator.as_str()), STRANGER];
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/app/app.js"),
        ("GET", "/admin/v1/rooms"),
        ("GET", "/admin/v1/openapi.json"),
        ("POST", "/admin/v1/policy/reload"),
        ("POST", "/dev/token"),
        ("POST", "/whip/board"),
        ("POST", "/whep/board"),
    ] {
        // A browser asks first, and is told nothing that would let it go on; what goes without asking has no readable answer.
        let asks =
            [STRANGER, ("access-control-request-method", method), ("access-control-request-headers", "authorization")];
        for answer in [node.request("OPTIONS", path, &asks, "").await, node.request(method, path, &own, "").await] {
            assert!(!answer.headers.contains("access-control-allow"), "{method} {path}: {answer:?}");
        }
    }
    for path in ["/whip/board", "/whep/board"] {
        assert_eq!(problem(&node.request("POST", path, &[SDP, own[0], STRANGER], "v=0").await).0, 403, "{path}");
    }
    for path in ["/sdk/index.js", "/ws/schema.json"] {
        let open = node.request("GET", path, &[STRANGER], "").await;
        assert!(open.headers.contains("access-control-allow-origin: *"), "{path}: {open:?}");
    }
}

#[tokio::test]
async fn markup_stays_text_wherever_it_is_told() {
    let node = Node::plain().await;
    let markup = "<img src=x onerror=alert(1)>";
    let (mut ann, _) = node.enter(&Token::of(1, markup), markup).await;
    let (mut bob, joined) = node.enter(&Token::of(2, "Bob"), markup).await;
    assert_eq!(joined["participants"][0]["username"], markup, "{joined}");
    ann.send(json!({ "type": "chat", "roomName": markup, "text": markup })).await;
    assert_eq!(bob.hear_type("chat").await["text"], markup);
    let (status, rooms) = node.admin("GET", "/rooms", Some(&operator()), "").await;
    assert!(status == 200 && rooms.to_string().contains(markup), "{rooms}");
    // No answer that has some of what was asked in it is a page.
    let authorization = bearer(&operator());
    for path in [
        "/%3Cscript%3E",
        "/whip/%3Cscript%3E/x",
        "/admin/v1/rooms/%3Cscript%3E",
        "/admin/v1/rooms?after=%3Cscript%3E",
        "/socket?room=%3Cscript%3E",
    ] {
        let answer = node.request("GET", path, &[("authorization", &authorization)], "").await;
        assert!(!answer.headers.contains("text/html"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn the_wrong_type_of_content_is_told_the_right_one() {
    let node = Node::plain().await;
    let bearer = bearer(&Token::of(1, "Ann"));
    let own = ("authorization", bearer.as_str());
    let publisher = node.request("POST", &format!("/whip/{ROOM}"), &[SDP, own], &description(&camera_offer())).await;
    let viewer = node.request("POST", &format!("/whep/{ROOM}"), &[SDP, own], &description(&viewer_offer())).await;
    let place = |began: &Answer| {
        let found = began.headers.lines().find_map(|line| line.strip_prefix("location: "));
        found.unwrap_or_else(|| panic!("it has no place: {began:?}")).to_owned()
    };
    let (publisher, viewer) = (place(&publisher), place(&viewer));
    for (method, path, given, right) in [
        ("POST", "/whip/board".to_owned(), "text/html", "application/sdp"),
        ("POST", "/whep/board".to_owned(), "application/json", "application/sdp"),
        ("PATCH", publisher.clone(), "application/sdp", "application/trickle-ice-sdpfrag"),
        ("PATCH", viewer.clone(), "application/json", "application/trickle-ice-sdpfrag"),
        ("POST", format!("{viewer}/layer"), "text/plain", "application/json"),
    ] {
        let answer = node.request(method, &path, &[("content-type", given), own], "{}").await;
        assert_eq!(problem(&answer), (415, "invalid-message".to_owned()), "{method} {path}");
        assert!(answer.body.contains(right), "{method} {path}: {answer:?}");
    }
    for path in [&publisher, &viewer] {
        let stale = ("if-match", "\"stale\"");
        let fragment = ("content-type", "application/trickle-ice-sdpfrag");
        let answer = node.request("PATCH", path, &[fragment, own, stale], CANDIDATE).await;
        assert_eq!(problem(&answer).0, 412, "{path}");
        assert_eq!(problem(&node.request("POST", path, &[SDP, own], "v=0").await).0, 405, "{path}");
        assert_eq!(node.request("DELETE", path, &[own], "").await.status, 200, "{path}");
    }
    is_empty(&node).await;
}
