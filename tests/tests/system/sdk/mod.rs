//! The client SDK in a real browser, against the real node that serves it.

mod among_people;
mod coming_back;
mod examples;

use std::collections::BTreeSet;

use lockgate_tests::{Call, Page, Recorder, Setup, Token, assert_clients, assert_servers, figures};
use serde_json::{Value, json};

/// Ann on the left page and Bob on the right one, both on the SDK.
async fn meet(setup: Setup) -> Call {
    let call = Call::begin(setup).await;
    enter(&call.left, "ann", &Token::of(1, "Ann").can_record(), "{}").await;
    enter(&call.right, "bob", &Token::of(2, "Bob"), "{}").await;
    call
}

async fn enter(page: &Page, name: &str, token: &Token, options: &str) {
    page.learn_sdk().await;
    page.run(LISTEN_IN).await;
    let token = token.text();
    page.run(&format!("globalThis.{name} = await Meeting.enter({token:?}, {options})")).await;
}

/// Keeps what goes over the page's sockets from now on, both ways.
const LISTEN_IN: &str = "if (globalThis.overheard) return;
     globalThis.overheard = [];
     globalThis.WebSocket = class extends WebSocket {
       constructor(...all) {
         super(...all);
         this.addEventListener('message', ({ data }) => overheard.push({ heard: JSON.parse(data) }));
       }
       send(text) {
         overheard.push({ said: JSON.parse(text) });
         super.send(text);
       }
     }";

/// Holds what went over a page's sockets against the schema, and returns the types of what the SDK said.
async fn assert_spoke_the_dialect(page: &Page) -> BTreeSet<String> {
    let overheard = page.run("return overheard").await;
    let mut said = BTreeSet::new();
    for frame in overheard.as_array().expect("frames are kept") {
        match (frame.get("said"), frame.get("heard")) {
            (Some(message), _) => {
                assert_clients(message);
                said.extend(message["type"].as_str().map(str::to_owned));
            }
            (_, Some(message)) => assert_servers(message),
            _ => panic!("{frame}"),
        }
    }
    said
}

const PUBLISH: &str =
    "const [camera, microphone] = await Promise.all([ann.room.publishCamera(), ann.room.publishMicrophone()]);
     Object.assign(globalThis, { camera, microphone });
     return [camera, microphone].map(({ source, isPublished }) => ({ source, isPublished }))";

/// Keeps what was measured, for people and programs.
fn keep(name: &str, figures_: &Value) {
    eprintln!("{name}: {figures_}");
    let file = figures().join(name).with_extension("json");
    std::fs::write(&file, format!("{figures_:#}\n")).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

#[tokio::test]
async fn what_one_publishes_the_other_sees_hears_and_is_told() {
    let call = meet(Setup::default()).await;
    let _recorder = Recorder::beside(&call.node).await;
    let published = call.left.run(PUBLISH).await;
    let expected =
        json!([{ "source": "camera", "isPublished": true }, { "source": "microphone", "isPublished": true }]);
    assert_eq!(published, expected);
    let seen = call
        .right
        .run(
            "const seen = await bob.more(30);
             const sound = await until('sound', async () => (await bob.stats('microphone'))?.totalSamplesReceived > 0);
             const [ann] = bob.room.participants;
             return { width: seen.frameWidth, sound, name: ann.username, tracks: ann.tracks.map(({ source }) => source).sort() }",
        )
        .await;
    assert_eq!((&seen["name"], &seen["tracks"]), (&json!("Ann"), &json!(["camera", "microphone"])), "{seen}");

    call.left.run("camera.mute()").await;
    call.right.run("await bob.hear('muted', ({ track, muted }) => track.source === 'camera' && muted)").await;
    call.left.run("camera.unmute()").await;
    call.right
        .run("await bob.hear('muted', ({ track, muted }) => track.source === 'camera' && !muted); await bob.more(10)")
        .await;

    call.left
        .run("await ann.room.chat('<b>hi</b>'); globalThis.words = await ann.room.publishData('words', { ordered: true })")
        .await;
    let chat =
        call.right.run("const { text, username, own } = await bob.hear('chat'); return { text, username, own }").await;
    assert_eq!(chat, json!({ "text": "<b>hi</b>", "username": "Ann", "own": false }));
    call.right.run("await bob.hear('data-channel', ({ channel }) => channel.readyState === 'open')").await;
    call.left.run("words.send('one'); words.send(new Uint8Array([1, 2, 3]))").await;
    let data = call
        .right
        .run(
            "await bob.hear('data', ({ data }) => data instanceof ArrayBuffer);
             const told = bob.heard.filter(({ type }) => type === 'data');
             return told.map(({ label, data }) => [label, typeof data === 'string' ? data : data.byteLength])",
        )
        .await;
    assert_eq!(data, json!([["words", "one"], ["words", 3]]));

    let refused = call
        .right
        .run("return await bob.room.startRecording().catch(({ name, code, of }) => ({ name, code, of }))")
        .await;
    assert_eq!(refused, json!({ "name": "LockgateError", "code": "forbidden", "of": "start-recording" }));
    call.left.run("await ann.room.startRecording()").await;
    call.right.run("await bob.hear('recording', ({ state }) => state === 'recording')").await;
    call.left.run("await ann.room.stopRecording()").await;
    call.right.run("await bob.hear('recording', ({ state }) => state === 'stopped')").await;

    call.left.run("await microphone.unpublish()").await;
    call.right.run("await bob.hear('track-ended', ({ track }) => track.source === 'microphone')").await;
    call.left.run("ann.room.leave()").await;
    let after = call
        .right
        .run(
            "await bob.hear('participant-left');
             return { tracks: bob.room.tracks.length, people: bob.room.participants.length, problems: bob.problems,
                      elements: document.querySelectorAll('video, audio').length }",
        )
        .await;
    assert_eq!(after, json!({ "tracks": 0, "people": 0, "problems": [], "elements": 0 }));
    let left = call.left.run("return [ann.room.state, camera.track.readyState, ann.problems.length]").await;
    assert_eq!(left, json!(["left", "ended", 0]));
    for (page, expected) in [
        (&call.left, &["auth", "join-room", "publish-offer", "mute", "chat", "start-recording", "leave-room"][..]),
        (&call.right, &["auth", "join-room", "subscribe-request", "subscribe-answer", "start-recording"]),
    ] {
        let said = assert_spoke_the_dialect(page).await;
        assert!(expected.iter().all(|kind| said.contains(*kind)), "{said:?}");
    }
}

#[tokio::test]
async fn the_last_track_is_taken_back_and_others_follow_over_the_same_connection() {
    let call = meet(Setup::default()).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(5)").await;
    call.left.run("globalThis.connection = ann.room.connections.publish; await camera.unpublish(); await microphone.unpublish()").await;
    let is_gone = "await until('nothing', () => bob.room.tracks.length === 0)";
    call.right.run(is_gone).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(5)").await;
    call.left.run("await Promise.all([microphone.unpublish(), camera.unpublish()])").await;
    call.right.run(is_gone).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(5)").await;
    let seen = call
        .left
        .run(
            "const published = ann.heard.filter(({ type }) => type === 'published').length;
             return { same: connection === ann.room.connections.publish, published, problems: ann.problems,
                      lines: connection.localDescription.sdp.match(/^m=/gm).length }",
        )
        .await;
    assert_eq!(seen, json!({ "same": true, "published": 6, "problems": [], "lines": 3 }));
}

#[tokio::test]
async fn a_track_that_policy_refuses_is_told_and_others_are_published_after_it() {
    let admission = "[plugin.settings.roles.quiet]\npublish = [\"microphone\"]".to_owned();
    let call = Call::begin(Setup { admission, ..Setup::default() }).await;
    enter(&call.left, "ann", &Token::of(1, "Ann").role("quiet"), "{}").await;
    let seen = call
        .left
        .run(
            "const outcome = (publishing) => publishing.then(({ source }) => source, ({ code }) => code);
             const alone = await outcome(ann.room.publishCamera());
             const together = await Promise.all([ann.room.publishCamera(), ann.room.publishMicrophone()].map(outcome));
             return { alone, together, problems: ann.problems }",
        )
        .await;
    assert_eq!(seen, json!({ "alone": "forbidden", "together": ["forbidden", "microphone"], "problems": [] }));
}

#[tokio::test]
async fn no_more_of_a_picture_is_fetched_than_is_seen() {
    let call = meet(Setup::default()).await;
    call.left.run("globalThis.camera = await ann.room.publishCamera({ width: 960, height: 540 })").await;
    call.right
        .run(
            "globalThis.picture = await bob.track('camera');
             globalThis.style = picture.elements[0].style;
             style.width = '100px';
             await bob.width(240);",
        )
        .await;
    let wide =
        "style.width = '1100px'; await bob.width(960); await until('layer 2', () => picture.layer.spatial === 2)";
    call.right.run(wide).await;
    let hidden = "style.display = 'none'; await until('a pause', () => picture.layer.paused);
        style.display = ''; style.width = '100px'; await until('its end', () => !picture.layer.paused);
        await bob.width(240)";
    call.right.run(hidden).await;
    let by_hand = "picture.setLayer({ spatial: 1 }); await bob.width(480);
        picture.setLayer('auto'); await bob.width(240); return bob.problems";
    assert_eq!(call.right.run(by_hand).await, json!([]));
}

#[tokio::test]
async fn layers_within_one_stream_are_chosen_by_size_too() {
    let call = meet(Setup::default()).await;
    call.left.run("await ann.room.publishCamera({ width: 640, height: 360, codec: 'vp9' })").await;
    let seen = call
        .right
        .run(
            "const picture = await bob.track('camera');
             picture.elements[0].style.width = '1100px';
             await bob.width(640);
             picture.elements[0].style.width = '200px';
             await bob.width(320);
             return { codec: picture.codec, simulcast: picture.simulcast }",
        )
        .await;
    assert_eq!(seen, json!({ "codec": "vp9", "simulcast": false }));
}

#[tokio::test]
async fn a_token_is_asked_for_when_it_is_needed_and_a_wrong_one_is_told() {
    let call = Call::begin(Setup::default()).await;
    let (short, long) = (Token::of(1, "Ann").expiring_in(55).text(), Token::of(1, "Ann").text());
    call.left.learn_sdk().await;
    let asked = call
        .left
        .run(&format!(
            "const asked = [];
             globalThis.ann = await Meeting.enter((why) => {{ asked.push(why); return asked.length === 1 ? {short:?} : {long:?}; }});
             await until('a new token', () => asked.length === 2);
             await ann.room.chat('still here');
             sockets.last.close(4000);
             await ann.hear('reconnected');
             return {{ asked, problems: ann.problems }}"
        ))
        .await;
    assert_eq!(asked, json!({ "asked": ["connect", "expiring", "reconnect"], "problems": [] }));
    let forged = Token::of(2, "Eve").forged().text();
    let refused = call
        .left
        .run(&format!("return await Meeting.enter({forged:?}).catch(({{ name, code }}) => ({{ name, code }}))"))
        .await;
    assert_eq!(refused, json!({ "name": "LockgateError", "code": "unauthenticated" }));
}
