//! Operators at work on a running node, over HTTP and by the command line.

use std::process::Output;

use lockgate_tests::{Client, Node, ROOM, Setup, Token, camera_offer, operator, said};
use serde_json::{Value, json};

/// Somebody in [`ROOM`] who publishes a camera, and their number there.
async fn publisher(node: &Node, token: &Token) -> (Client, u64) {
    let (mut client, joined) = node.enter(token, ROOM).await;
    let answer = client.ask(camera_offer()).await;
    assert_eq!(
        (&answer["type"], &answer["tracks"][0]["accepted"]),
        (&json!("publish-answer"), &json!(true)),
        "{answer}"
    );
    (client, joined["publisherId"].as_u64().expect("a place has a number"))
}

/// The JSON that a command wrote, which must have succeeded.
#[track_caller]
fn told(output: &Output) -> Value {
    let (code, words) = said(output);
    assert_eq!(code, 0, "{words}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"))
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, words: &str) {
    let (exit, text) = said(output);
    assert!(exit == code && text.contains(words), "exit code {exit}: {text}");
}

#[tokio::test]
async fn an_operator_sees_rooms_people_tracks_and_who_watches_what() {
    let node = Node::plain().await;
    let operator = operator();
    let (_ann, ann_id) = publisher(&node, &Token::of(1, "Ann")).await;
    let (mut bob, bob_id) = publisher(&node, &Token::of(2, "Bob")).await;
    let (_eve, _) = node.enter(&Token::of(3, "Eve"), "another room").await;
    bob.ask(json!({ "type": "subscribe-request", "roomName": ROOM, "publisherId": ann_id })).await;

    let (status, rooms) = node.admin("GET", "/rooms", Some(&operator), "").await;
    assert_eq!((status, rooms["rooms"].as_array().map(Vec::len)), (200, Some(2)), "{rooms}");
    let expected = json!({ "roomName": ROOM, "participants": 2, "waiting": 0, "tracks": 2, "watched": 1 });
    assert!(rooms["rooms"].as_array().is_some_and(|rooms| rooms.contains(&expected)), "{rooms}");

    let (status, room) = node.admin("GET", &format!("/rooms/{ROOM}"), Some(&operator), "").await;
    assert_eq!((status, &room["roomName"], &room["counts"]["watched"]), (200, &json!(ROOM), &json!(1)), "{room}");
    let people = room["participants"].as_array().expect("a list");
    assert_eq!([&people[0]["publisherId"], &people[1]["publisherId"]], [ann_id, bob_id].map(|id| json!(id)).each_ref());
    let track = &people[0]["tracks"][0];
    assert_eq!([&track["kind"], &track["source"], &track["codec"]], [&json!("video"), &json!("camera"), &json!("vp8")]);
    assert_eq!(
        (&people[1]["watches"][0]["publisherId"], &people[1]["watches"][0]["trackId"]),
        (&json!(ann_id), &track["trackId"])
    );
    assert_eq!(
        (&people[0]["stage"], &people[0]["door"], &people[0]["subject"]),
        (&json!("inside"), &json!("ws"), &json!("1"))
    );

    // A page at a time.
    let path = format!("/rooms/{ROOM}/participants?limit=1");
    let (_, first) = node.admin("GET", &path, Some(&operator), "").await;
    assert_eq!((first["participants"].as_array().map(Vec::len), &first["next"]), (Some(1), &json!(ann_id)), "{first}");
    assert!(first["participants"][0].get("watches").is_none(), "{first}");
    let (_, second) = node.admin("GET", &format!("{path}&after={ann_id}"), Some(&operator), "").await;
    assert_eq!((&second["participants"][0]["publisherId"], second.get("next")), (&json!(bob_id), None), "{second}");

    // A token for some rooms shows these only.
    let narrow = operator.claim("rooms", json!(["another room"]));
    let (_, rooms) = node.admin("GET", "/rooms", Some(&narrow), "").await;
    assert_eq!(rooms["rooms"][0]["roomName"], "another room", "{rooms}");
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(1), "{rooms}");
    assert_eq!(node.admin("GET", &format!("/rooms/{ROOM}"), Some(&narrow), "").await.0, 403);
    assert_eq!(node.admin("POST", "/drain", Some(&narrow), "").await.0, 403);
    let (status, problem) = node.admin("GET", "/rooms/none", Some(&narrow.claim("rooms", json!(["none"]))), "").await;
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")));
}

#[tokio::test]
async fn an_operator_mutes_and_kicks_and_the_log_has_who_did_it() {
    let node =
        Node::start(Setup { policy: "[policy.log]\ndirectory = \"decisions\"".into(), ..Setup::default() }).await;
    let operator = operator();
    let (mut ann, ann_id) = publisher(&node, &Token::of(1, "Ann")).await;
    let (mut bob, _) = node.enter(&Token::of(2, "Bob"), ROOM).await;
    let place = format!("/rooms/{ROOM}/participants/{ann_id}");
    let (status, muted) = node.admin("POST", &format!("{place}/mute"), Some(&operator), "").await;
    assert_eq!(
        (status, &muted["muted"], muted["tracks"].as_array().map(Vec::len)),
        (200, &json!(true), Some(1)),
        "{muted}"
    );
    assert_eq!(bob.hear_type("track-muted").await["publisherId"], ann_id);
    let again = r#"{"muted": false}"#;
    assert_eq!(node.admin("POST", &format!("{place}/mute"), Some(&operator), again).await.0, 200);
    bob.hear_type("track-unmuted").await;
    let other = r#"{"trackId": "none"}"#;
    assert_eq!(node.admin("POST", &format!("{place}/mute"), Some(&operator), other).await.0, 404);
    let (status, out) = node.admin("DELETE", &format!("{place}?reason=enough"), Some(&operator), "").await;
    assert_eq!((status, &out["revoked"][0]["publisherId"]), (200, &json!(ann_id)), "{out}");
    let told = ann.hear_type("revoked").await;
    assert_eq!((&told["what"], &told["reason"]), (&json!("stay"), &json!("enough")));
    assert_eq!(node.admin("DELETE", &place, Some(&operator), "").await.0, 404);

    let mut node = node;
    node.terminate().await;
    let log = std::fs::read_to_string(node.folder().join("decisions/decisions-000001.jsonl")).expect("there is a log");
    let acts: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let acts = acts.iter().filter(|line| line["kind"] == "act" || line["kind"] == "revocation");
    let acts: Vec<_> = acts.map(|line| (&line["kind"], &line["act"], &line["operator"])).collect();
    let by = json!("99");
    let (act, revocation) = (json!("act"), json!("revocation"));
    let (mute, unmute) = (json!("mute"), json!("unmute"));
    // A mute of what there is not is no act; a kick of who has gone concerned nobody.
    assert_eq!(acts[..3], [(&act, &mute, &by), (&act, &unmute, &by), (&revocation, &Value::Null, &by)], "{acts:?}");
}

#[tokio::test]
async fn an_operators_recording_is_a_question_to_plugins() {
    // Without a recorder: what counts is what is asked, and what an operator is told.
    let node = Node::plain().await;
    let (_ann, _) = publisher(&node, &Token::of(1, "Ann")).await;
    let path = format!("/rooms/{ROOM}/recording");
    let start = r#"{"action": "start"}"#;
    let (status, problem) = node.admin("POST", &path, Some(&operator()), start).await;
    assert_eq!((status, &problem["code"]), (503, &json!("recording-unavailable")), "{problem}");
    let may_not = Token::of(99, "Operator").claim("admin", json!(true));
    let (status, problem) = node.admin("POST", &path, Some(&may_not), start).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    let (status, problem) = node.admin("POST", &path, Some(&operator()), r#"{"action": "stop"}"#).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")), "{problem}");
    assert_eq!(node.admin("POST", &path, Some(&operator()), r#"{"action": "pause"}"#).await.0, 400);
}

#[tokio::test]
async fn a_node_that_drains_lets_nobody_new_in_and_ends_when_the_last_one_has_left() {
    // Whoever loses the socket is gone.
    let mut node = Node::start(Setup { rooms: "resume = \"0s\"".into(), ..Setup::default() }).await;
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    let (status, draining) = node.admin("POST", "/drain", Some(&operator()), r#"{"withinMs": 3600000}"#).await;
    assert_eq!((status, &draining["draining"], &draining["connections"]), (200, &json!(true), &json!(1)), "{draining}");
    let left = ann.hear_type("server-draining").await;
    assert!(left["deadlineMs"].as_u64().is_some_and(|left| (1..=3_600_000).contains(&left)), "{left}");
    let ready = node.get("/ready").await;
    assert!(ready.status == 503 && ready.body.contains("draining"), "{ready:?}");
    let mut late = node.connect().await;
    let refused = late.ask(json!({ "type": "auth", "token": Token::of(2, "Bob").text() })).await;
    assert_eq!((&refused["code"], refused["retryAfterMs"].is_u64()), (&json!("overloaded"), true), "{refused}");
    assert_eq!(late.closed().await, 1013);
    // Whoever is in goes on, in other rooms too.
    let joined = ann.ask(json!({ "type": "join-room", "roomName": "another room" })).await;
    assert_eq!(joined["type"], "room-joined", "{joined}");

    let (status, stopped) = node.admin("DELETE", "/drain", Some(&operator()), "").await;
    assert_eq!((status, stopped), (200, json!({ "draining": false })));
    assert_eq!(node.get("/ready").await.status, 200);
    let (bob, _) = node.enter(&Token::of(2, "Bob"), ROOM).await;

    assert_eq!(node.admin("POST", "/drain", Some(&operator()), "").await.0, 200);
    drop(bob);
    assert_eq!(ann.ask(json!({ "type": "ping" })).await["type"], "pong");
    drop(ann);
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.process().log());
}

#[tokio::test]
async fn a_node_that_drains_ends_when_the_time_is_over() {
    let mut node = Node::plain().await;
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    assert_eq!(node.admin("POST", "/drain", Some(&operator()), r#"{"withinMs": 1}"#).await.0, 200);
    assert_eq!(ann.closed().await, 1001);
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.process().log());
}

#[tokio::test]
async fn the_command_line_does_what_the_interface_does() {
    let node = Node::plain().await;
    let (mut ann, ann_id) = publisher(&node, &Token::of(1, "Ann")).await;
    let number = ann_id.to_string();
    let rooms = told(&node.operate(&["rooms", "--json"]));
    assert_eq!((&rooms["rooms"][0]["roomName"], &rooms["rooms"][0]["participants"]), (&json!(ROOM), &json!(1)));
    let (code, table) = said(&node.operate(&["rooms"]));
    assert_eq!((code, table.lines().count()), (0, 2), "{table}");
    assert!(table.starts_with("ROOM") && !table.contains('\u{1b}'), "{table}");
    let (_, table) = said(&node.operate(&["participants", ROOM]));
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with(&number) && line.ends_with("Ann")), "{table}");
    let (_, table) = said(&node.operate(&["tracks", ROOM]));
    assert!(table.contains("camera") && table.contains("vp8"), "{table}");

    let (_, whole) = said(&node.operate(&["node"]));
    let heads: Vec<_> = whole.split("\n\n").map(|part| part.split_whitespace().next()).collect();
    assert_eq!(heads, [Some("VERSION"), Some("WORKER"), Some("PLUGIN")], "{whole}");
    assert!(whole.contains("turns") && whole.contains("room-admission"), "{whole}");
    assert_eq!(told(&node.operate(&["node", "--json"]))["rooms"], 1);
    assert_eq!(told(&node.operate(&["recordings", "--json"]))["recordings"], json!([]));
    let muted = told(&node.operate(&["mute", ROOM, &number, "--json"]));
    assert_eq!(muted["tracks"].as_array().map(Vec::len), Some(1));
    ann.hear_type("track-muted").await;
    assert_eq!(said(&node.operate(&["mute", ROOM, &number, "--undo"])).0, 0);
    ann.hear_type("track-unmuted").await;
    assert_fails(&node.operate(&["record", ROOM, "start"]), 1, "recording-unavailable");
    let plugins = told(&node.operate(&["plugins", "--json"]));
    assert_eq!(plugins["plugins"][0]["name"], "jwt-auth");
    assert_eq!(told(&node.operate(&["reload", "--json"]))["outcome"], "unchanged");
    let (code, words) = said(&node.operate(&["drain"]));
    assert!(code == 0 && words.contains("1 connections"), "{words}");
    assert_eq!(said(&node.operate(&["drain", "--stop"])).0, 0);
    assert_eq!(said(&node.operate(&["kick", ROOM, &number, "--reason", "that was it"])).0, 0);
    assert_eq!(ann.hear_type("revoked").await["reason"], "that was it");
    let (mut again, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    assert_eq!(told(&node.operate(&["revoke", "1", "--hold", "10m", "--json"]))["revoked"][0]["roomName"], ROOM);
    again.hear_type("revoked").await;
    let decisions = node.operate_beside(&["decisions", "--room", ROOM]);
    let coming_and_going = async {
        loop {
            let (mut bob, _) = node.enter(&Token::of(2, "Bob"), ROOM).await;
            bob.ask(json!({ "type": "leave-room", "roomName": ROOM })).await;
        }
    };
    tokio::select! {
        line = decisions.line("an admission", |line| line.contains(" admission ").then(|| line.to_owned())) => {
            assert!(line.contains("room-admission=allow") && line.contains(&format!("{ROOM:?}")), "{line}");
        }
        () = coming_and_going => {}
    }
}

#[tokio::test]
async fn the_command_line_says_what_is_wrong() {
    let mut node = Node::plain().await;
    let (_ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    assert_fails(&node.operate(&["participants", "gast"]), 1, "not-found");
    let slip = format!("{ROOM}x");
    assert_fails(&node.operate(&["participants", &slip]), 1, &format!("the nearest room is {ROOM:?}"));
    assert_fails(&node.operate(&["kick", ROOM, "7"]), 1, "no such participant");
    let file = node.folder().join("token");
    let path = file.to_str().expect("it is UTF-8");
    std::fs::write(&file, Token::of(7, "Eve").text()).expect("the folder is ours");
    assert_fails(&node.operate(&["rooms", "--token-file", path]), 77, "admin");
    std::fs::write(&file, Token::of(7, "Eve").forged().text()).expect("the folder is ours");
    assert_fails(&node.operate(&["rooms", "--token-file", path]), 77, "lockgate token");
    assert_fails(&node.operate(&["rooms", "--token-file", "/nowhere"]), 64, "/nowhere");
    assert_fails(&node.operate(&["rooms", "--url", "nowhere"]), 69, "is no address");
    assert_fails(&node.operate(&["mute", ROOM]), 2, "PARTICIPANT");
    let refused: Value =
        serde_json::from_slice(&node.operate(&["kick", ROOM, "7", "--json"]).stdout).unwrap_or_default();
    assert_eq!(refused["code"], "not-found", "a program is told, too");
    node.terminate().await;
    assert_fails(&node.operate(&["rooms"]), 69, "is the node running");
}

#[tokio::test]
async fn shells_complete_every_command() {
    let node = Node::plain().await;
    for shell in ["bash", "zsh", "fish"] {
        let (code, script) = said(&node.operate(&["completions", shell]));
        assert_eq!(code, 0, "{script}");
        for word in ["rooms", "participants", "kick", "mute", "record", "drain", "revoke", "reload", "token", "policy"]
        {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}
