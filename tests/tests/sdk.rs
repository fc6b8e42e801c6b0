//! The client SDK in a real browser, against the real node that serves it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockgate_tests::{
    Browser, Call, Node, Page, PrivateNetwork, Recorder, Setup, Token, assert_clients, assert_servers, figures, root,
};
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

/// Loses the socket of a page, and waits until its room is back. Returns how long that took, in milliseconds.
async fn lose(page: &Page, name: &str) -> Value {
    page.run(&format!(
        "const lost = performance.now();
         const {{ publisherId }} = {name}.room;
         sockets.last.close(4000);
         const {{ isKept }} = await {name}.hear('reconnected');
         const back = performance.now() - lost;
         await {name}.room.chat('back');
         return {{ ms: Math.round(back), isKept, same: publisherId === {name}.room.publisherId }}"
    ))
    .await
}

#[tokio::test]
async fn who_loses_the_socket_is_back_soon_and_media_never_stops() {
    let call = meet(Setup::default()).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(20)").await;
    let publisher = lose(&call.left, "ann").await;
    let viewer = lose(&call.right, "bob").await;
    for back in [&publisher, &viewer] {
        assert_eq!((&back["isKept"], &back["same"]), (&json!(true), &json!(true)), "{back}");
    }
    call.right.run("await bob.more(20)").await;
    let later = call
        .left
        .run("return (await ann.room.publish(devices.noise(160, 120, 10), { source: 'screen' })).isPublished")
        .await;
    assert_eq!(later, true);
    let seen = call
        .right
        .run(
            "await bob.more(5, 'screen');
             return { problems: bob.problems, ended: bob.heard.filter(({ type }) => type === 'track-ended').length }",
        )
        .await;
    assert_eq!(seen, json!({ "problems": [], "ended": 0 }));
    keep("sdk-socket-lost", &json!({ "publisher": publisher, "viewer": viewer }));
}

#[tokio::test]
async fn who_is_forgotten_meanwhile_publishes_and_subscribes_anew() {
    let call = meet(Setup { rooms: "resume = \"0s\"".into(), ..Setup::default() }).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(20); globalThis.first = await bob.track('camera')").await;
    let viewer = lose(&call.right, "bob").await;
    assert_eq!((&viewer["isKept"], &viewer["same"]), (&json!(false), &json!(false)), "{viewer}");
    // The same track goes on, in the element that it was in.
    let seen = call
        .right
        .run(
            "await bob.more(20);
             const track = await bob.track('camera');
             return { same: track === first, shown: track.elements[0].srcObject.getTracks()[0] === track.track, problems: bob.problems }",
        )
        .await;
    assert_eq!(seen, json!({ "same": true, "shown": true, "problems": [] }));
    let publisher = lose(&call.left, "ann").await;
    assert_eq!((&publisher["isKept"], &publisher["same"]), (&json!(false), &json!(false)), "{publisher}");
    call.right.run("await bob.track('camera'); await bob.more(20)").await;
    assert_eq!(
        call.left.run("return [ann.problems, camera.isPublished, microphone.isPublished]").await,
        json!([[], true, true])
    );
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

#[test]
fn media_is_back_soon_after_the_network_was_gone_for_five_seconds() {
    PrivateNetwork::around("media_is_back_soon_after_the_network_was_gone_for_five_seconds", async |network| {
        let call = meet(Setup::default()).await;
        let port = call.node.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it has a port");
        call.left.run(PUBLISH).await;
        call.right.run("await bob.more(20)").await;
        network.block_udp();
        network.silence_tcp(port);
        // The length of the cut is what is tested: nothing happens in it that could be waited for.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = call.right.run("return (await bob.stats('camera')).framesDecoded").await;
        network.unblock();
        let healed = Instant::now();
        call.right.run("await bob.more(3)").await;
        let media = healed.elapsed();
        call.left.run("await until('the room', async () => { try { await ann.room.chat('back'); return true } catch { return false } })").await;
        call.right.run("await bob.hear('chat')").await;
        let signalling = healed.elapsed();
        let ended = call.right.run("return bob.heard.filter(({ type }) => type === 'track-ended').length").await;
        assert_eq!(ended, 0, "the tracks are the same ones");
        keep(
            "sdk-network-cut",
            &json!({ "cutSeconds": 5, "framesBefore": before, "mediaBackMs": media.as_millis(), "signallingBackMs": signalling.as_millis() }),
        );
    });
}

/// One viewer enters, sees a first frame, and leaves. Resolves with how long the frame took from the open socket on, in milliseconds.
const JOIN: &str = "globalThis.joinOnce = async (token) => {
         const { Room } = await import('/sdk/index.js');
         const room = new Room({ room: 'board', token });
         const video = Object.assign(document.createElement('video'), { muted: true });
         document.body.append(video);
         const seen = new Promise((resolve) => video.requestVideoFrameCallback(() => resolve(performance.now())));
         room.on('track', ({ track }) => track.attach(video));
         await room.connect();
         const took = (await seen) - sockets.openedAt;
         room.leave();
         video.remove();
         return took;
     }";

/// A browser makes a key frame every 300 ms at most, however many ask: who joins just after another one would wait for that.
const SOME_FRAMES: &str = "const sent = async () => [...(await ann.room.connections.publish.getStats()).values()].find(({ rid }) => rid === 'low')?.framesSent ?? 0;
     const before = await sent();
     await until('frames', async () => (await sent()) >= before + 12)";

#[tokio::test]
async fn joining_is_measured_from_the_open_socket_to_the_first_decoded_frame() {
    let call = Call::begin(Setup::default()).await;
    enter(&call.left, "ann", &Token::of(1, "Ann"), "{}").await;
    call.left.run("await ann.room.publishCamera({ width: 640, height: 360 })").await;
    call.right.learn_sdk().await;
    call.right.run(JOIN).await;
    let join = format!("return await joinOnce({:?})", Token::of(2, "Bob").text());
    let mut joins = Vec::new();
    for _ in 0..JOINS {
        call.left.run(SOME_FRAMES).await;
        joins.push(call.right.run(&join).await.as_f64().expect("a time is a number").round() as u64);
    }
    joins.sort_unstable();
    let at = |percent: usize| joins[(JOINS * percent / 100).min(JOINS - 1)];
    keep(
        "sdk-join",
        &json!({ "what": "milliseconds from the open WebSocket to the first decoded frame, over loopback",
                 "joins": JOINS, "p50": at(50), "p95": at(95), "max": at(100) }),
    );
}

const JOINS: usize = 50;

/// What Rheomesh's getting-started page has a client do, in its order and with its names.
const GETTING_STARTED: &str = "
    const { PublishTransport, SubscribeTransport, simulcastEncodings } = await import('/sdk/index.js');
    const peerConnectionConfig = { iceServers: [] };
    const publishTransport = new PublishTransport(peerConnectionConfig);
    const subscribeTransport = new SubscribeTransport(peerConnectionConfig);
    publishTransport.on('icecandidate', (candidate) => sender.send({ type: 'publish-ice-candidate', candidate }));
    subscribeTransport.on('icecandidate', (candidate) => viewer.send({ type: 'subscribe-ice-candidate', candidate }));

    const publish = async (track, encodings) => {
        const publisher = await publishTransport.publish(track, encodings);
        sender.send({ type: 'publish-offer', offer: publisher.offer });
        const { answer, tracks } = await sender.next('publish-answer');
        await publishTransport.setAnswer({ type: 'answer', sdp: answer });
        if (!tracks.some(({ trackId, accepted }) => trackId === publisher.id && accepted)) throw new Error(JSON.stringify(tracks));
        return publisher.id;
    };
    const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const ids = [];
    for (const track of stream.getTracks()) ids.push(await publish(track, track.kind === 'video' ? simulcastEncodings() : undefined));

    const { publisherId } = await viewer.next('new-publisher');
    const answerNext = async () => {
        const { offer, offerId } = await viewer.next('subscribe-offer');
        const answer = await subscribeTransport.setOffer({ type: 'offer', sdp: offer });
        viewer.send({ type: 'subscribe-answer', publisherId, offerId, answer });
    };
    const subscribers = Promise.all(ids.map((id) => subscribeTransport.subscribe(id)));
    viewer.send({ type: 'subscribe-request', publisherId });
    await answerNext();
    const remoteVideo = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
    document.body.append(remoteVideo);
    const { track } = (await subscribers).find(({ track }) => track.kind === 'video');
    remoteVideo.srcObject = new MediaStream([track]);
    const frames = async () => [...(await subscribeTransport.getStats()).values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video')?.framesDecoded ?? 0;
    await until('30 frames', async () => (await frames()) >= 30);

    const data = await publishTransport.publishData();
    sender.send({ type: 'publish-offer', offer: data.offer });
    await publishTransport.setAnswer({ type: 'answer', sdp: (await sender.next('publish-answer')).answer });
    const subscribed = subscribeTransport.subscribeData(data.id, { timeout: PATIENCE });
    await answerNext();
    const { channel } = await subscribed;
    const said = new Promise((resolve) => (channel.onmessage = ({ data }) => resolve(data)));
    await until('the channel', () => data.channel.readyState === 'open' && channel.readyState === 'open');
    data.channel.send('hello');
    const heard = await said;

    const ufrag = () => /a=ice-ufrag:(\\S+)/.exec(publishTransport.connection.localDescription.sdp)[1];
    const before = [ufrag(), await frames()];
    sender.send({ type: 'publish-offer', offer: await publishTransport.restartIce() });
    await publishTransport.setAnswer({ type: 'answer', sdp: (await sender.next('publish-answer')).answer });
    await until('frames over the new way', async () => (await frames()) >= before[1] + 30);
    const states = [publishTransport.connectionState(), publishTransport.signalingState(), subscribeTransport.connectionState()];
    publishTransport.close();
    subscribeTransport.close();
    const late = await publishTransport.publish(stream.getTracks()[0]).catch(({ code }) => code);
    const nobody = await subscribeTransport.subscribe('nobody', { timeout: 10 }).catch(({ code }) => code);
    return { heard, restarted: ufrag() !== before[0], states, late, nobody, width: remoteVideo.videoWidth }";

#[tokio::test]
async fn the_getting_started_flow_of_the_seed_works_call_for_call() {
    let call = Call::begin(Setup::default()).await;
    call.left.learn_sdk().await;
    let (sender, viewer) = (Token::of(1, "Ann").text(), Token::of(2, "Bob").text());
    call.left
        .run(&format!(
            "globalThis.sender = await Wire.open({sender:?}, 'board'); globalThis.viewer = await Wire.open({viewer:?}, 'board')"
        ))
        .await;
    let seen = call.left.run(GETTING_STARTED).await;
    eprintln!("{seen}");
    assert_eq!((&seen["heard"], &seen["restarted"]), (&json!("hello"), &json!(true)), "{seen}");
    assert_eq!(seen["states"], json!(["connected", "stable", "connected"]), "{seen}");
    assert_eq!((&seen["late"], &seen["nobody"]), (&json!("closed"), &json!("not-found")), "{seen}");
}

/// The example that a text shows first: the first block of JavaScript in it.
fn example(file: &str) -> String {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (_, rest) = text.split_once("```js\n").unwrap_or_else(|| panic!("{file} has no example"));
    rest.split_once("```").expect("blocks end").0.to_owned()
}

#[tokio::test]
async fn the_example_of_the_readme_is_ten_lines_that_work() {
    let code = example("client/sdk/README.md");
    assert_eq!(code, example("docs/sdk.md"), "both show the same example");
    let rest = |code: &str| code.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(rest(&code), rest(&example("README.md")), "and so does the project's README, for the console");
    assert!(code.lines().filter(|line| !line.trim().is_empty()).count() <= 10, "{code}");
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let browser = Browser::start().await;
    let pages = [browser.open(&node.url("/health")).await, browser.open(&node.url("/health")).await];
    for page in &pages {
        page.run(&format!(
            "const script = Object.assign(document.createElement('script'), {{ type: 'module', textContent: {code:?} }});
             document.body.append(script)"
        ))
        .await;
    }
    for page in &pages {
        page.shows("the other's picture", "document.querySelector('video')?.videoWidth > 0").await;
        page.shows("the other's words", "/Hello/.test(document.body.textContent)").await;
    }
}
