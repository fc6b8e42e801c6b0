//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): a real browser publishes and views with one HTTP request each.

use lockgate_tests::{
    Answer, Call, Node, ROOM, Setup, Token, assert_unbroken, camera_offer, number, until, viewer_offer,
};
use serde_json::{Value, json};

/// Makes `name` in a page a session that publishes. `media` is JavaScript.
async fn publish(call: &Call, name: &str, token: &Token, media: &str) {
    call.left.learn_http().await;
    let (url, token) = (call.node.url(&format!("/whip/{ROOM}")), token.text());
    call.left.run(&format!("globalThis.{name} = await Stream.publish({url:?}, {token:?}, {media})")).await;
}

/// Makes `name` in a page a session that views. `kinds` is JavaScript.
async fn view(call: &Call, name: &str, token: &Token, of: &str, kinds: &str) {
    call.right.learn_http().await;
    let (url, token) = (call.node.url(&format!("/whep/{ROOM}{of}")), token.text());
    call.right.run(&format!("globalThis.{name} = await Stream.view({url:?}, {token:?}, {kinds})")).await;
}

const CAMERA: &str = "[{ track: await devices.camera(320, 240, 20), codec: 'vp8' }]";
const BOTH: &str =
    "[{ track: await devices.camera(320, 240, 20), codec: 'vp8' }, { track: await devices.microphone() }]";

/// A publisher Ann, a viewer Bob, and who gets what of whom.
async fn call() -> Call {
    Call::begin(Setup::default()).await
}

#[tokio::test]
async fn what_is_published_over_http_is_seen_over_http() {
    let call = call().await;
    publish(&call, "ann", &Token::of(1, "Ann"), BOTH).await;
    let began = call.left.run("return ann.began").await;
    assert_eq!(began["status"], 201, "{began}");
    let headers = &began["headers"];
    assert_eq!(headers["content-type"], "application/sdp");
    assert_eq!(headers["accept-patch"], "application/trickle-ice-sdpfrag");
    assert!(headers["location"].as_str().unwrap().starts_with(&format!("/whip/{ROOM}/")), "{headers}");
    assert!(headers["etag"].as_str().unwrap().starts_with('"'), "{headers}");
    view(&call, "bob", &Token::of(2, "Bob"), "", "['video', 'audio']").await;
    let seen = call.right.run("return { video: await bob.decoded(0, 60), audio: await bob.sounded(1, 48000) }").await;
    assert_unbroken(&seen["video"]);
    assert_eq!((&seen["video"]["codec"], &seen["video"]["frameWidth"]), (&json!("video/VP8"), &json!(320)));
    let answer = call.right.run("return bob.began.text").await;
    let answer = answer.as_str().unwrap();
    assert!(answer.contains("a=sendonly\r\n") && answer.contains("a=setup:passive") && answer.contains("a=ice-lite"));
    let ended = call.right.run("return await bob.end()").await;
    assert_eq!(ended["status"], 200, "{ended}");
    let again = call.right.run("return await bob.end()").await;
    assert_eq!(again["status"], 404, "{again}");
}

#[tokio::test]
async fn sockets_and_http_meet_in_one_room() {
    let call = call().await.with_right("eve", &Token::of(3, "Eve"), "{}").await;
    publish(&call, "ann", &Token::of(1, "Ann"), CAMERA).await;
    let seen = "const { publisherId, tracks } = await eve.publisher();
        await eve.subscribe(publisherId);
        return { publisherId, ...await eve.decoded(tracks[0].trackId, 30) }";
    let seen = call.right.run(seen).await;
    assert_unbroken(&seen);
    let of = format!("/{}", seen["publisherId"]);
    view(&call, "bob", &Token::of(2, "Bob"), &of, "['audio', 'video']").await;
    assert_unbroken(&call.right.run("return await bob.decoded(1, 30)").await);
    // Who is put out is out here, too; and whoever views learns it.
    call.node.revoke(&seen["publisherId"], &json!({ "reason": "enough" })).await;
    call.right.run("await eve.hear('publisher-left', ({ type }) => type === 'publisher-left')").await;
    let gone = call.left.run("return (await ann.patch(ann.fragment(), ann.tag)).status").await;
    assert_eq!(gone, 404);
}

#[tokio::test]
async fn simulcast_comes_over_http_and_viewers_choose_layers() {
    let call = call().await;
    let encodings = "[{ rid: 'l', scaleResolutionDownBy: 2 }, { rid: 'h' }]";
    let media = format!("[{{ track: await devices.camera(640, 480, 20), codec: 'vp8', encodings: {encodings} }}]");
    publish(&call, "ann", &Token::of(1, "Ann"), &media).await;
    view(&call, "bob", &Token::of(2, "Bob"), "/~1", "['video']").await;
    call.right.run("await until('the whole picture', async () => (await bob.decoded(0, 1)).frameWidth === 640)").await;
    let listen = "const made = await bob.send(bob.link('server-sent-events'), 'POST', '[\"layers\", \"active\", \"inactive\"]');
        const events = new EventSource(new URL(made.headers.location, bob.url));
        bob.stream = events.url;
        bob.events = [];
        for (const kind of ['layers', 'active', 'inactive']) events.addEventListener(kind, ({ data }) => bob.events.push([kind, JSON.parse(data)]));
        await until('layers', () => bob.events.some(([kind]) => kind === 'layers'));
        return { status: made.status, events: bob.events }";
    let heard = call.right.run(listen).await;
    assert_eq!(heard["status"], 201);
    let layers = &heard["events"].as_array().unwrap().iter().find(|event| event[0] == "layers").unwrap()[1];
    assert_eq!(
        layers["0"],
        json!([{ "rid": "1", "spatialLayerId": 1 }, { "rid": "0", "spatialLayerId": 0 }]),
        "{heard}"
    );
    // Whoever comes from another network is not held up by the connection of before.
    let again = "const again = await fetch(bob.stream);
        const reader = again.body.getReader();
        const { value } = await reader.read();
        await reader.cancel();
        return { status: again.status, text: new TextDecoder().decode(value) }";
    let again = call.right.run(again).await;
    assert_eq!(again["status"], 200, "{again}");
    assert!(again["text"].as_str().unwrap().starts_with("event: active\n"), "{again}");
    let choose = |wish: &str, width: u32| {
        format!(
            "const chosen = await bob.send(bob.link('core:layer'), 'POST', JSON.stringify({wish}), {{ 'content-type': 'application/json' }});
             if (chosen.status === 200) await until('{width}', async () => (await bob.decoded(0, 1)).frameWidth === {width});
             return chosen.status"
        )
    };
    assert_eq!(call.right.run(&choose("{ mediaId: '0', rid: '0' }", 320)).await, 200);
    assert_eq!(call.right.run(&choose("{ mediaId: '0' }", 640)).await, 200);
    assert_eq!(call.right.run(&choose("{ mediaId: '3' }", 0)).await, 422);
    assert_eq!(call.right.run(&choose("{ rid: 'high' }", 0)).await, 422);
    assert_eq!(call.right.run(&choose("{ mediaId: '0', rid: '2' }", 0)).await, 422);
    // The publisher goes, comes again, and is seen on the same line.
    let before = number(&call.right.run("return await bob.inbound(0)").await, "framesDecoded");
    call.left.run("await ann.end(); ann.connection.close()").await;
    call.right.run("await until('inactive', () => bob.events.some(([kind]) => kind === 'inactive'))").await;
    publish(&call, "ann", &Token::of(1, "Ann"), &media).await;
    call.right.run(&format!("await bob.decoded(0, 30, {before})")).await;
}

#[tokio::test]
async fn ice_is_trickled_and_restarted_under_its_tag() {
    let call = call().await;
    publish(&call, "ann", &Token::of(1, "Ann"), CAMERA).await;
    view(&call, "bob", &Token::of(2, "Bob"), "", "['video']").await;
    // What goes on through the restarts has to have begun.
    call.right.run("await bob.decoded(0, 10)").await;
    for (page, name) in [(&call.left, "ann"), (&call.right, "bob")] {
        let statuses = format!(
            "await {name}.connected();
             await until('candidates', () => {name}.candidates.includes('a=end-of-candidates'));
             const [way, old] = [{name}.fragment(), {name}.tag];
             const trickled = await {name}.patch(way, old);
             const [none, stale, empty] = [await {name}.patch(way), await {name}.patch(way, '\"other\"'), await {name}.patch('', old)];
             const restarted = await {name}.restart();
             const late = await {name}.patch(way, old);
             const known = {{ trickled, none, stale, empty, restarted, late }};
             return Object.fromEntries(Object.entries(known).map(([key, {{ status }}]) => [key, status]))"
        );
        let expected =
            json!({ "trickled": 204, "none": 428, "stale": 412, "empty": 400, "restarted": 200, "late": 412 });
        assert_eq!(page.run(&statuses).await, expected, "{name}");
    }
    let seen = call
        .right
        .run("const { framesDecoded } = await bob.inbound(0); return await bob.decoded(0, 60, framesDecoded)");
    assert_unbroken(&seen.await);
}

#[tokio::test]
async fn whoever_is_gone_without_a_word_is_out_when_consent_ends() {
    let call = call().await;
    publish(&call, "ann", &Token::of(1, "Ann"), CAMERA).await;
    view(&call, "bob", &Token::of(2, "Bob"), "", "['video']").await;
    call.right.run("await bob.decoded(0, 10); bob.connection.close()").await;
    call.left.run("await ann.connected(); ann.connection.close()").await;
    until("the room to be empty", async || (call.node.metric("lockgate_rooms").await == 0.0).then_some(())).await;
    assert_eq!(call.right.run("return (await bob.end()).status").await, 404);
}

/// Everything that a code may go by.
fn problem(answer: &Answer) -> (u16, Value) {
    assert!(answer.headers.contains("application/problem+json"), "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer:?}");
    (answer.status, body["code"].clone())
}

/// The description in an offer: over HTTP there is nothing else in it.
fn description(offer: &Value) -> String {
    offer["offer"].as_str().expect("an offer has a description").to_owned()
}

#[tokio::test]
async fn what_is_no_offer_is_refused_with_the_right_status() {
    let node = Node::plain().await;
    let bearer = format!("Bearer {}", Token::of(1, "Ann").text());
    let sdp = [("content-type", "application/sdp"), ("authorization", bearer.as_str())];
    let (good, viewing) = (description(&camera_offer()), description(&viewer_offer()));
    let giant = "a=x\r\n".repeat(60_000);
    let h263 = good.replace("VP8", "H263");
    for (headers, body, expected) in [
        (&[("content-type", "text/plain"), sdp[1]][..], good.as_str(), (415, json!("invalid-message"))),
        (&[sdp[1]], &good, (415, json!("invalid-message"))),
        (&sdp, "", (400, json!("invalid-sdp"))),
        (&sdp, "v=0", (400, json!("invalid-sdp"))),
        (&sdp, &giant, (413, json!("invalid-message"))),
        (&sdp, &viewing, (400, json!("invalid-sdp"))),
        (&sdp, &h263, (422, json!("unsupported-codec"))),
        (&[sdp[0]], &good, (401, json!("unauthenticated"))),
        (&[sdp[0], ("authorization", "Bearer no-token")], &good, (401, json!("unauthenticated"))),
        (&[sdp[0], sdp[1], ("origin", "https://evil.example")], &good, (403, json!("forbidden"))),
    ] {
        let answer = node.request("POST", "/whip/board", headers, body).await;
        let start: String = body.chars().take(40).collect();
        assert_eq!(problem(&answer), expected, "{headers:?} {start}");
    }
    for (path, status) in [("/whip/", 404), ("/whip/a%00b", 400), ("/whip/board/x", 404), ("/whip/%ff", 404)] {
        assert_eq!(problem(&node.request("POST", path, &sdp, &good).await).0, status, "{path}");
    }
    let nobody = node.request("POST", "/whep/board", &sdp, &viewing).await;
    assert_eq!(problem(&nobody), (409, json!("not-found")));
    assert!(nobody.headers.contains("retry-after: "), "{nobody:?}");
    let nobody = node.request("POST", "/whep/board/4242", &sdp, &viewing).await;
    assert_eq!(problem(&nobody), (404, json!("not-found")));
    assert_eq!(node.request("GET", "/whip/board", &[], "").await.status, 204);
    let put = node.request("PUT", "/whip/board", &sdp, &good).await;
    assert_eq!(put.status, 405);
    assert!(put.headers.contains("allow: post, options, get, head"), "{put:?}");
    until("all to have left", async || (node.metric("lockgate_connections").await == 0.0).then_some(())).await;
    assert_eq!(node.metric("lockgate_rooms").await, 0.0);
}

#[tokio::test]
async fn a_session_is_its_own_clients() {
    let node = Node::plain().await;
    let bearer = |user, name| format!("Bearer {}", Token::of(user, name).text());
    let (ann, bob) = (bearer(1, "Ann"), bearer(2, "Bob"));
    let (offer, sdp) = (description(&camera_offer()), ("content-type", "application/sdp"));
    let began = node.request("POST", "/whip/my%20room", &[sdp, ("authorization", &ann)], &offer).await;
    assert_eq!(began.status, 201, "{began:?}");
    let location = began.headers.lines().find_map(|line| line.strip_prefix("location: ")).expect("it has a place");
    assert!(location.starts_with("/whip/my%20room/") && location.len() > 40, "{location}");
    let path = location.to_owned();
    assert_eq!(problem(&node.request("DELETE", &path, &[], "").await).0, 401);
    assert_eq!(problem(&node.request("DELETE", &path, &[("authorization", &bob)], "").await).0, 403);
    let elsewhere = path.replace("my%20room", "board");
    assert_eq!(problem(&node.request("DELETE", &elsewhere, &[("authorization", &ann)], "").await).0, 404);
    let second = node.request("POST", &path, &[("authorization", &ann)], &offer).await;
    assert_eq!(problem(&second).0, 405);
    assert_eq!(node.request("GET", &path, &[], "").await.status, 204);
    // Another token of the same subject will do.
    let renewed = format!("Bearer {}", Token::of(1, "Ann").can_record().text());
    assert_eq!(node.request("DELETE", &path, &[("authorization", &renewed)], "").await.status, 200);
    assert_eq!(problem(&node.request("DELETE", &path, &[("authorization", &ann)], "").await).0, 404);
}

#[tokio::test]
async fn browsers_ask_before_they_call_from_elsewhere() {
    let setup = Setup { http: "cors_origins = [\"https://tv.example\"]".into(), ..Setup::default() };
    let node = Node::start(setup).await;
    let asks = [("origin", "https://tv.example"), ("access-control-request-method", "POST")];
    let allowed = node.request("OPTIONS", "/whip/board", &asks, "").await;
    assert_eq!(allowed.status, 200);
    for header in [
        "accept-post: application/sdp",
        "access-control-allow-origin: https://tv.example",
        "access-control-allow-headers: authorization, content-type, if-match, last-event-id",
    ] {
        assert!(allowed.headers.contains(header), "no {header} in {allowed:?}");
    }
    let stranger = node.request("OPTIONS", "/whip/board", &[("origin", "https://evil.example"), asks[1]], "").await;
    assert_eq!(problem(&stranger).0, 403);
    assert!(!stranger.headers.contains("access-control-allow"), "{stranger:?}");
}
