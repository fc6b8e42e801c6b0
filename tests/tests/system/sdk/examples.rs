//! Programs as others write them with the SDK: one that joins, the seed's getting-started flow, and the example that the texts show.

use lockgate_tests::{Browser, Call, Node, Setup, Token, root};
use serde_json::json;

use super::{enter, keep};

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
