//! Decisions at every door, and what becomes of them while calls go on: with real plugins, real browsers, and packets that are
//! counted on the wire.

use std::time::{Duration, Instant};

use lockgate_tests::{
    Call, Client, LossyNetwork, Node, ROOM, Recorder, RecorderWire, Setup, Token, assert_unbroken, camera_offer,
    data_offer, number, until, viewer_offer,
};
use serde_json::{Value, json};

/// What the policy lets nobody do who is called after it.
const DENIED: &str = r#"fault = "deny"
only = ["no-auth@auth", "no-admission@admission", "no-publishing@publishing", "no-subscription@subscription",
        "no-recording@recording", "no-command@command", "no-admin@admin"]"#;

const EVERY_HOOK: &[&str] = &["auth", "admission", "publishing", "subscription", "recording", "command"];

/// A token of whom the policy denies one thing, and that itself grants everything.
fn denied(what: &str) -> Token {
    Token::of(0, what).claim("sub", json!(what)).can_record().claim("admin", json!(true))
}

/// What those who are denied something get to hear at `/socket`, about the host's track. Offers are answered all the same.
async fn assert_refused_in_rheomeshs_dialect(node: &Node, track: &Value) {
    let offer = json!({ "action": "Offer", "sdp": { "type": "offer", "sdp": camera_offer()["offer"] } });
    let about_track = |action: &str| json!({ "action": action, "publisherId": track });
    let nothing = Token::of(8, "Eve").claim("canPublish", json!(false)).claim("canSubscribe", json!(false));
    for (token, message, code, end) in [
        (denied("no-auth"), json!({ "action": "Ping" }), "x-closed", Some(4401)),
        (denied("no-admission"), json!({ "action": "Ping" }), "x-closed", Some(1008)),
        (Token::of(9, "Eve").claim("rooms", json!(["lab"])), json!({ "action": "Ping" }), "forbidden", Some(1008)),
        (denied("no-publishing"), offer.clone(), "x-closed", None),
        (nothing.clone(), offer, "forbidden", None),
        // What is not shown is not there.
        (denied("no-subscription"), about_track("Subscribe"), "not-found", None),
        (nothing, about_track("Subscribe"), "not-found", None),
    ] {
        let url = format!("ws://{}/socket?room={ROOM}&token={}", node.address(), token.text());
        let mut client = Client::connect(&url).await;
        for message in [json!({ "action": "SubscriberInit" }), message.clone()] {
            client.send(message).await;
        }
        let told = client.hear("the refusal", |told| told["action"] == "Error").await;
        assert_eq!(told["code"], code, "{message}");
        match end {
            Some(end) => assert_eq!(client.closed().await, end, "{told}"),
            None => {
                client.send(json!({ "action": "Ping" })).await;
                client.hear("a pong", |told| told["action"] == "Pong").await;
            }
        }
        let is_answered = client.has_heard(|told| told["action"] == "Answer");
        assert_eq!(is_answered, message["action"] == "Offer", "{message}");
        assert!(!client.has_heard(|told| told["action"] == "Offer" || told["action"] == "Subscribed"));
    }
    let url = format!("ws://{}/socket?room={ROOM}&token={}", node.address(), denied("no-recording").text());
    let mut client = Client::connect(&url).await;
    client.send(about_track("StartRecording")).await;
    client.hear("the refusal", |told| told["action"] == "RecordingError").await;
}

/// The code with which a message is refused, wherever it is told.
async fn refusal(client: &mut Client, message: &Value) -> Value {
    let mut reply = client.ask(message.clone()).await;
    if reply["type"] == "publish-answer" {
        assert_eq!(reply["tracks"][0]["accepted"], false, "{reply}");
        reply = reply["tracks"][0].clone();
    }
    reply["code"].clone()
}

#[tokio::test]
async fn whoever_is_denied_is_refused_at_every_door_with_a_stable_code() {
    let setup = Setup { faulty: Some(DENIED.into()), faulty_hooks: EVERY_HOOK, ..Setup::default() };
    let node = Node::start(setup).await;
    let (mut host, joined) = node.enter(&Token::of(1, "Host"), ROOM).await;
    let published = host.ask(camera_offer()).await;
    let camera = &published["tracks"][0];
    assert_eq!(camera["accepted"], true, "{published}");
    let (host_id, track) = (&joined["publisherId"], &camera["trackId"]);
    let about_track = |kind: &str| json!({ "type": kind, "roomName": ROOM, "publisherId": host_id, "trackId": track });
    let say = |kind: &str| json!({ "type": kind, "roomName": ROOM });
    let chat = json!({ "type": "chat", "roomName": ROOM, "text": "hello" });
    let relay = json!({ "type": "offer", "roomName": ROOM, "targetUserId": 1, "sdp": "past the server" });
    let command = json!({ "type": "policy-command", "roomName": ROOM, "name": "anything", "payload": "" });
    let no_data = Token::of(7, "Eve").claim("canData", json!(false));
    let nothing = Token::of(8, "Eve").claim("canPublish", json!(false)).claim("canSubscribe", json!(false));

    // Authentication and admission come before there is a room to ask in.
    let mut client = node.connect().await;
    let told = client.ask(json!({ "type": "auth", "token": denied("no-auth").text() })).await;
    assert_eq!((&told["code"], client.closed().await), (&json!("x-closed"), 4401), "authenticate: {told}");
    let mut client = node.connect().await;
    client.authenticate(&denied("no-admission")).await;
    assert_eq!(refusal(&mut client, &say("join-room")).await, "x-closed", "admit");

    let doors = [
        ("publish", denied("no-publishing"), camera_offer(), "x-closed"),
        ("publish, by the token", nothing.clone(), camera_offer(), "forbidden"),
        ("subscribe", denied("no-subscription"), about_track("subscribe-request"), "x-closed"),
        ("subscribe, by the token", nothing.clone(), about_track("subscribe-request"), "forbidden"),
        ("a track that is not shown", denied("no-subscription"), about_track("mute"), "not-found"),
        ("layers of a track that is not shown", denied("no-subscription"), about_track("set-layer"), "not-found"),
        ("data channels", no_data.clone(), data_offer(), "forbidden"),
        ("chat", no_data.clone(), chat, "forbidden"),
        ("relay", no_data, relay, "forbidden"),
        ("record", denied("no-recording"), say("start-recording"), "x-closed"),
        ("record, by the token", Token::of(9, "Eve"), say("start-recording"), "forbidden"),
        ("mute", denied("no-command"), about_track("mute"), "x-closed"),
        ("kick", denied("no-command"), about_track("kick"), "x-closed"),
        ("policy-command", denied("no-command"), command, "x-closed"),
    ];
    for (door, token, mut message, code) in doors {
        let (mut client, _) = node.enter(&token, ROOM).await;
        if message["type"] == "subscribe-request" {
            message.as_object_mut().expect("it is one").remove("trackId");
        }
        assert_eq!(refusal(&mut client, &message).await, code, "{door}");
        assert_eq!(client.ask(json!({ "type": "ping" })).await["type"], "pong", "{door}: the client stays usable");
    }

    assert_refused_in_rheomeshs_dialect(&node, track).await;

    let (whip, whep) = (format!("/whip/{ROOM}"), format!("/whep/{ROOM}"));
    let of_host = format!("{whep}/{host_id}");
    for (path, token, status, code) in [
        (&whip, denied("no-auth"), 401, "x-closed"),
        (&whip, denied("no-admission"), 403, "x-closed"),
        (&whip, denied("no-publishing"), 403, "x-closed"),
        (&whip, nothing.clone(), 403, "forbidden"),
        (&whip, Token::of(9, "Eve").claim("rooms", json!(["lab"])), 403, "forbidden"),
        (&whep, denied("no-auth"), 401, "x-closed"),
        (&whep, denied("no-admission"), 403, "x-closed"),
        (&of_host, denied("no-subscription"), 403, "x-closed"),
        (&of_host, nothing, 403, "forbidden"),
        // What is not shown is not there.
        (&whep, denied("no-subscription"), 409, "not-found"),
    ] {
        let sdp = if *path == whip { camera_offer() } else { viewer_offer() }["offer"].clone();
        let bearer = format!("Bearer {}", token.text());
        let headers = [("content-type", "application/sdp"), ("authorization", bearer.as_str())];
        let answer = node.request("POST", path, &headers, sdp.as_str().expect("it is a text")).await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }

    let path = format!("/admin/v1/rooms/{ROOM}/participants/{host_id}/revoke");
    let admin = |name: &str| Token::of(0, name).claim("sub", json!(name)).claim("admin", json!(true));
    for (token, status, code) in [
        (None, 401, "unauthenticated"),
        (Some(admin("somebody").forged()), 401, "unauthenticated"),
        (Some(admin("somebody").expired()), 401, "token-expired"),
        (Some(Token::of(7, "Eve")), 403, "forbidden"),
        (Some(admin("no-admin")), 403, "x-closed"),
        (Some(admin("somebody").claim("rooms", json!(["lab"]))), 403, "forbidden"),
    ] {
        let answer = node.post(&path, token.as_ref(), &json!({})).await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "admin: {problem}");
        assert!(answer.headers.contains("content-type: application/problem+json"), "{answer:?}");
        assert!(!answer.headers.contains("access-control"), "{answer:?}");
    }
    assert_eq!(host.ask(json!({ "type": "ping" })).await["type"], "pong");
    assert!(!host.has_heard(|message| message["type"] == "revoked"));
}

#[tokio::test]
async fn nobody_gets_a_layer_above_their_grant_whatever_they_ask_for() {
    let subscription = "[plugin.settings.roles.viewer]\nmax_spatial = 0\n".to_owned();
    let call = Call::begin(Setup { subscription, ..Setup::default() }).await;
    let call = call.with_left("ann", &Token::of(1, "Ann"), "{}").await;
    let call = call.with_right("vic", &Token::of(2, "Vic").role("viewer"), "{}").await;
    let call = call.with_right("bob", &Token::of(3, "Bob"), "{}").await;
    call.left
        .run(
            "await ann.publish([{ track: await devices.camera(640, 480, 30), source: 'camera', encodings: [
                 { rid: 'low', scaleResolutionDownBy: 2, maxBitrate: 150_000 },
                 { rid: 'high', maxBitrate: 1_000_000 }] }])",
        )
        .await;
    let seen = call
        .right
        .run(
            "const { publisherId, tracks: [{ trackId }] } = await vic.publisher();
             const above = { type: 'set-layer', publisherId, trackId, spatial: 2, temporal: 2 };
             await vic.subscribe(publisherId);
             vic.send(above);
             await bob.subscribe(publisherId);
             const wide = await until('the higher layer', async () => (await bob.inbound(trackId))?.frameWidth === 640);
             vic.send(above);
             const low = await vic.decoded(trackId, ((await vic.inbound(trackId))?.framesDecoded ?? 0) + 40);
             const told = vic.heard.filter(({ type, paused }) => type === 'layer-changed' && !paused);
             return { wide, width: low.frameWidth, told: told.map(({ spatial }) => spatial) }",
        )
        .await;
    assert_eq!((&seen["wide"], &seen["width"]), (&json!(true), &json!(320)), "{seen}");
    let told = seen["told"].as_array().expect("it is a list");
    assert!(!told.is_empty() && told.iter().all(|layer| *layer == 0), "{seen}");
}

#[tokio::test]
async fn an_operator_puts_a_subject_out_of_all_rooms_and_keeps_it_out() {
    let node = Node::plain().await;
    let eve = Token::of(42, "Eve");
    let (mut ann, _) = node.enter(&Token::of(1, "Ann"), ROOM).await;
    let (mut first, joined) = node.enter(&eve, ROOM).await;
    let (mut second, _) = node.enter(&eve, "lab").await;
    let operator = Token::of(99, "Operator").claim("admin", json!(true));
    let body = json!({ "reason": "see you tomorrow", "holdMs": 600_000 });
    let answer = node.post("/admin/v1/subjects/42/revoke", Some(&operator), &body).await;
    let done: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, done["revoked"].as_array().map(Vec::len)), (200, Some(2)), "{answer:?}");
    for client in [&mut first, &mut second] {
        let told = client.hear_type("revoked").await;
        assert_eq!((&told["what"], &told["reason"]), (&json!("stay"), &json!("see you tomorrow")));
        let again = client.ask(json!({ "type": "join-room", "roomName": ROOM })).await;
        assert_eq!((&again["code"], &again["roomName"]), (&json!("forbidden"), &json!(ROOM)));
        assert!(again["retryAfterMs"].as_u64() > Some(0), "{again}");
    }
    assert_eq!(ann.hear_type("user-left").await["publisherId"], joined["publisherId"]);
    let mut client = node.connect().await;
    let told = client.ask(json!({ "type": "auth", "token": eve.text() })).await;
    assert_eq!((&told["code"], client.closed().await), (&json!("forbidden"), 4401));
    let gone = format!("/admin/v1/rooms/{ROOM}/participants/{}/revoke", joined["publisherId"]);
    assert_eq!(node.post(&gone, Some(&operator), &json!({})).await.status, 404);
    assert_eq!(node.post(&gone, Some(&operator), &json!({ "what": "everything" })).await.status, 400);
}

/// Ann's camera, which Bob watches and does not say so to anybody: he ignores what he is told.
async fn watched(setup: Setup) -> Call {
    let call = Call::between_ann_and_bob(setup).await;
    call.left.run("await ann.publish([{ track: await devices.camera(320, 240, 30), source: 'camera' }])").await;
    call.right
        .run(
            "const { publisherId, tracks: [{ trackId }] } = await bob.publisher();
             Object.assign(globalThis, { publisherId, trackId });
             await bob.subscribe(publisherId);
             await bob.decoded(trackId, 20)",
        )
        .await;
    call
}

/// Waits until Ann has sent so many more frames.
async fn ann_sends(call: &Call, frames: u32) {
    let send = format!(
        "const sent = async () => Object.values(await ann.outbound())[0].framesSent;
         const before = await sent();
         await until('{frames} frames to be sent', async () => await sent() >= before + {frames})"
    );
    call.left.run(&send).await;
}

#[tokio::test]
async fn a_grant_that_ends_takes_the_packets_of_a_client_that_does_not_listen() {
    let network = LossyNetwork::watch().await;
    let faulty = "at = [\"subscription\"]\nexpires_after_ms = 10000".to_owned();
    let call = watched(Setup { faulty: Some(faulty), media_port: Some(network.port()), ..Setup::default() }).await;
    let told = call.right.run("return await bob.hear('the end', ({ type }) => type === 'revoked')").await;
    assert_eq!((&told["what"], &told["reason"]), (&json!("subscription"), &json!("your grant has ended")), "{told}");
    assert_eq!(told["trackId"], call.right.run("return trackId").await);
    silence(|| network.sent_by_node()).await;
    let (packets, _) = network.sent_by_node();
    ann_sends(&call, 30).await;
    assert_eq!(network.sent_by_node().0, packets, "not one more packet");
    let left = call.right.run("return bob.heard.filter(({ type }) => type === 'publisher-left').length").await;
    assert_eq!(left, 1);
}

#[tokio::test]
async fn what_stays_allowed_is_asked_about_again_and_again_and_nobody_notices() {
    let faulty = "at = [\"subscription\", \"publishing\", \"admission\"]\nreask_after_ms = 250".to_owned();
    let call = watched(Setup { faulty: Some(faulty), ..Setup::default() }).await;
    let asked = "lockgate_policy_call_seconds_count{plugin=\"faulty\",hook=\"subscription\"}";
    let (before, before_asked) = (call.right.run("return bob.inbound(trackId)").await, call.node.metric(asked).await);
    let after = call.right.run("return bob.decoded(trackId, (await bob.inbound(trackId)).framesDecoded + 150)").await;
    let times = call.node.metric(asked).await - before_asked;
    assert!(times >= 10.0, "asked again {times} times");
    assert_unbroken(&after);
    assert_eq!(number(&after, "keyFramesDecoded"), number(&before, "keyFramesDecoded"), "{after}");
    let told = call.right.run(
        "const told = ['revoked', 'grants-changed', 'subscribe-offer', 'layer-changed', 'new-publisher', 'publisher-left'];
         return Object.fromEntries(told.map((kind) => [kind, bob.heard.filter(({ type }) => type === kind).length]))",
    );
    let told = told.await;
    assert_eq!((&told["revoked"], &told["grants-changed"], &told["publisher-left"]), (&json!(0), &json!(0), &json!(0)));
    assert_eq!((&told["subscribe-offer"], &told["new-publisher"]), (&json!(1), &json!(1)), "{told}");
}

#[tokio::test]
async fn a_policy_that_fails_when_it_is_asked_again_keeps_the_grant_until_it_is_stale() {
    let faulty = "fault = \"trap\"\nwhy = \"recheck\"\nat = [\"subscription\"]\nreask_after_ms = 2000".to_owned();
    let setup = Setup { faulty: Some(faulty), policy: "stale_max = \"4s\"".into(), ..Setup::default() };
    let call = watched(setup).await;
    let asked = "lockgate_policy_call_seconds_count{plugin=\"faulty\",hook=\"subscription\"}";
    // Announced, asked for, and once more, in vain.
    until("the first question that fails", async || (call.node.metric(asked).await >= 3.0).then_some(())).await;
    call.right.run("await bob.decoded(trackId, (await bob.inbound(trackId)).framesDecoded + 10)").await;
    let told = call.right.run("return await bob.hear('the end', ({ type }) => type === 'revoked')").await;
    assert_eq!(told["reason"], "policy could not be asked again in time", "{told}");
}

// How long it takes.

/// Waits until nothing has come for a while: that something has ended, nobody says. Returns when the last of it came.
async fn silence(mut last: impl FnMut() -> (u64, Instant)) -> Instant {
    until("silence", async || {
        let (_, last) = last();
        (last.elapsed() > QUIET).then_some(last)
    })
    .await
}

/// What many revocations took, told on the standard error.
fn tell(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("{what}: {} revocations, from request to last packet p50 {median:?}, max {most:?}", took.len());
}

#[tokio::test]
async fn the_last_packet_to_a_viewer_leaves_with_the_revocation() {
    let network = LossyNetwork::watch().await;
    let call = watched(Setup { media_port: Some(network.port()), ..Setup::default() }).await;
    let bob = call.right.run("return bob.publisherId").await;
    let mut took = Vec::new();
    for _ in 0..12 {
        let asked = Instant::now();
        call.node.revoke(&bob, &json!({ "what": "subscription" })).await;
        let last = silence(|| network.sent_by_node()).await;
        took.push(last.saturating_duration_since(asked));
        call.right.run("await bob.subscribe(publisherId)").await;
        let (packets, _) = network.sent_by_node();
        until("media to flow again", async || (network.sent_by_node().0 > packets + 30).then_some(())).await;
    }
    tell("a viewer's track", took);
    // At last the whole stay: he goes on as if nothing were, and gets nothing.
    let asked = Instant::now();
    call.node.revoke(&bob, &json!({})).await;
    let last = silence(|| network.sent_by_node()).await;
    tell("a viewer's stay", vec![last.saturating_duration_since(asked)]);
    let (packets, _) = network.sent_by_node();
    ann_sends(&call, 30).await;
    assert_eq!(network.sent_by_node().0, packets, "not one more packet");
}

#[tokio::test]
async fn the_last_packet_of_a_publisher_leaves_with_the_revocation() {
    let network = LossyNetwork::watch().await;
    let call = watched(Setup { media_port: Some(network.port()), ..Setup::default() }).await;
    let ann = call.left.run("return ann.publisherId").await;
    let asked = Instant::now();
    call.node.revoke(&ann, &json!({})).await;
    let last = silence(|| network.sent_by_node()).await;
    tell("a publisher's stay", vec![last.saturating_duration_since(asked)]);
    let told = call.left.run("return await ann.hear('the end', ({ type }) => type === 'revoked')").await;
    assert_eq!((&told["what"], &told["reason"]), (&json!("stay"), &json!("an operator revoked it")));
    call.right.run("await bob.hear('her leave', ({ type }) => type === 'user-left')").await;
}

#[tokio::test]
async fn the_last_packet_to_the_recorder_leaves_with_the_revocation() {
    let node = Node::plain().await;
    let wire = RecorderWire::beside(&node);
    let _recorder = Recorder::through(&node, &wire).await;
    let browser = lockgate_tests::Browser::start().await;
    let page = browser.open(&node.url("/health")).await;
    page.enter("ann", &node, &Token::of(1, "Ann").can_record(), ROOM, "{}").await;
    page.run("await ann.publish([{ track: await devices.camera(320, 240, 30), source: 'camera' }])").await;
    let ann = page.run("return ann.publisherId").await;
    let mut took = Vec::new();
    for round in 0..10 {
        let (bytes, _) = wire.sent_by_node();
        page.run("await ann.ask({ type: 'start-recording' })").await;
        until("packets to be recorded", async || (wire.sent_by_node().0 > bytes + 20_000).then_some(())).await;
        let asked = Instant::now();
        node.revoke(&ann, &json!({ "what": "recording", "reason": format!("no. {round}") })).await;
        let last = silence(|| wire.sent_by_node()).await;
        took.push(last.saturating_duration_since(asked));
        let over =
            format!("ann.hear('the end', ({{ reason, what }}) => what === 'recording' && reason === 'no. {round}')");
        assert_eq!(page.run(&format!("return (await {over}).trackId.length > 0")).await, true);
    }
    tell("a recorded track", took);
    let tracks = page.run("return ann.heard.findLast(({ type }) => type === 'recording-state').tracks").await;
    assert_eq!(tracks, json!([]));
}

/// No frame rate is so low.
const QUIET: Duration = Duration::from_millis(400);
