//! A client with the habits of Rheomesh's in a real browser, doing what the pages of its published examples do.
//!
//! It is our own (`pages/rheomesh.js`). The real package takes its place where `LOCKGATE_RHEOMESH` names it, as one ES module
//! (docs/socket.md says how to make that).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lockgate_tests::{Archive, Call, MediaFile, Node, Page, ROOM, Recorder, Setup, Token};
use serde_json::json;

/// Opens the page of an example as `name`.
async fn open(page: &Page, name: &str, node: &Node, token: &Token) {
    page.learn_rheomesh().await;
    if let Some(file) = std::env::var_os("LOCKGATE_RHEOMESH") {
        let module = BASE64_STANDARD.encode(std::fs::read(&file).expect("the module is there"));
        page.run(&format!("globalThis.library = await import('data:text/javascript;base64,{module}')")).await;
    }
    let url = format!("ws://{}/socket?room={ROOM}&token={}", node.address(), token.text());
    page.run(&format!("globalThis.{name} = await Example.connect({url:?})")).await;
}

/// Ann on the left page and Bob on the right one.
async fn between_ann_and_bob(setup: Setup) -> Call {
    let call = Call::begin(setup).await;
    open(&call.left, "ann", &call.node, &Token::of(1, "Ann").can_record()).await;
    open(&call.right, "bob", &call.node, &Token::of(2, "Bob")).await;
    call
}

/// Has somebody publish a camera, and returns its id.
async fn show(page: &Page, name: &str) -> String {
    text(page.run(&format!("return await {name}.publish(await devices.camera(320, 240, 20))")).await)
}

fn text(value: serde_json::Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Everything that the client demands was so, once all its offers are answered.
async fn assert_kept(page: &Page, name: &str) {
    let settled = format!("await until('all answers', () => {name}.all('Answer').length === {name}.offered.length)");
    let broken = page.run(&format!("{settled}; return {name}.broken()")).await;
    assert_eq!(broken, json!([]), "{name}");
}

#[tokio::test]
async fn two_pages_publish_and_see_each_other_and_a_third_one_comes_later() {
    let call = between_ann_and_bob(Setup::default()).await;
    let (ann, bob) = tokio::join!(show(&call.left, "ann"), show(&call.right, "bob"));
    let voice = text(call.left.run("return await ann.publish(await devices.microphone())").await);
    call.right.run(&format!("await bob.shows('{ann}', 40); await bob.has('{voice}')")).await;
    call.left.run(&format!("await ann.shows('{bob}', 40)")).await;
    // The browser wants to negotiate once more after each of them, and changes nothing then.
    call.left.run("await until('an offer that changes nothing', () => ann.offered.length >= 3)").await;
    // Candidates may come again, and late.
    call.left
        .run(
            "const [candidate] = ann.offered.at(-1).match(/candidate:.*udp.*/);
             ann.send({ action: 'PublisherIce', candidate: { candidate, sdpMid: '0' } });
             ann.send({ action: 'Ping' });
             await until('a pong', () => ann.all('Pong').length)",
        )
        .await;
    let third = call.page().await;
    open(&third, "cat", &call.node, &Token::of(3, "Cat")).await;
    let seen = third
        .run(&format!(
            "await Promise.all(['{ann}', '{bob}'].map((id) => cat.shows(id, 20)));
         await until('three subscribers', () => cat.subscriberIds.length === 3);
         return (await cat.has('{voice}')).track.kind"
        ))
        .await;
    assert_eq!(seen, "audio");
    for (page, name) in [(&call.left, "ann"), (&call.right, "bob"), (&third, "cat")] {
        assert_kept(page, name).await;
    }
}

#[tokio::test]
async fn what_is_stopped_is_gone_and_its_line_is_nobody_elses() {
    let call = between_ann_and_bob(Setup::default()).await;
    let first = show(&call.left, "ann").await;
    call.right.run(&format!("await bob.shows('{first}', 10)")).await;
    call.left.run(&format!("ann.send({{ action: 'StopPublish', publisherId: '{first}' }})")).await;
    call.right
        .run(&format!("await until('an inactive line', () => bob.line('{first}').direction === 'inactive')"))
        .await;
    let second = show(&call.left, "ann").await;
    let seen = call.right.run(&format!(
        "await bob.shows('{second}', 20);
         const told = bob.all('Published').flatMap(({{ publisherIds }}) => publisherIds);
         return {{ first: bob.line('{first}').mid, second: bob.line('{second}').mid, again: told.filter((id) => id === '{first}').length }}"
    )).await;
    assert_ne!(seen["first"], seen["second"], "another ontrack: {seen}");
    assert_eq!(seen["again"], 1, "the client still offers what it has taken back: {seen}");
    // Bob looks away, and comes back: to another line, as the client may not be told another track on the one that it knows.
    call.right
        .run(&format!(
            "const {{ track }} = await bob.has('{second}');
             bob.send({{ action: 'StopSubscribe', subscriberId: '{second}' }});
             await until('an inactive line', () => bob.line('{second}').direction === 'inactive');
             bob.send({{ action: 'Subscribe', publisherId: '{second}' }});
             await until('another track', async () => (await bob.receiving.subscribe('{second}')).track !== track);
             await bob.subscribe('{second}');
             await bob.shows('{second}', 10)"
        ))
        .await;
    assert_kept(&call.left, "ann").await;
    assert_kept(&call.right, "bob").await;
}

#[tokio::test]
async fn layers_are_chosen_of_simulcast_and_of_scalable_streams() {
    let call = between_ann_and_bob(Setup::default()).await;
    // Older versions of the package take a list, newer ones an object.
    let publish = async |size: &str, encodings: &str, codec: &str| {
        let options = format!("Object.assign(library.{encodings}, {{ encodings: library.{encodings}, {codec} }})");
        let publish = format!(
            "const id = await ann.publish(await devices.camera({size}), {options}); await ann.keepSizes(); return id"
        );
        text(call.left.run(&publish).await)
    };
    let prefer =
        |id: &str, layer: &str| format!("bob.send({{ action: 'SetPreferredLayer', subscriberId: '{id}', {layer} }})");
    // The browser leaves encodings and layers out of smaller pictures.
    let simulcast = publish("960, 540, 15", "simulcastEncodings()", "").await;
    call.right.run(&format!("await bob.shows('{simulcast}', 10)")).await;
    for (layer, width) in [("sid: 0", 240), ("sid: 1, tid: 2", 480), ("rid: 'low'", 240), ("sid: 2, tid: 2", 960)] {
        call.right.run(&format!("{}; await bob.widthOf('{simulcast}', {width})", prefer(&simulcast, layer))).await;
    }
    call.left.run(&format!("ann.send({{ action: 'StopPublish', publisherId: '{simulcast}' }})")).await;
    let scalable = publish("640, 480, 10", "SVCEncodings()", "preferredCodec: 'AV1'").await;
    call.right.run(&format!("await bob.widthOf('{scalable}', 640)")).await;
    for (layer, width) in [("sid: 0, tid: 2", 320), ("sid: 1, tid: 2", 640)] {
        call.right.run(&format!("{}; await bob.widthOf('{scalable}', {width})", prefer(&scalable, layer))).await;
    }
    assert_kept(&call.left, "ann").await;
    assert_kept(&call.right, "bob").await;
}

/// Both publish data as the first thing they do: their offers are made before there is any candidate.
#[tokio::test]
async fn messages_go_both_ways_by_the_steps_of_the_data_example() {
    let call = between_ann_and_bob(Setup::default()).await;
    for (page, name) in [(&call.left, "ann"), (&call.right, "bob")] {
        page.run(&format!(
            "{name}.send({{ action: 'RequestPublish' }});
             await until('an open channel', () => {name}.channel?.readyState === 'open')"
        ))
        .await;
    }
    let of = async |page: &Page, name: &str| text(page.run(&format!("return {name}.published[0]")).await);
    let (ann, bob) = (of(&call.left, "ann").await, of(&call.right, "bob").await);
    for (from, to) in
        [(("ann", &call.left, &ann), ("bob", &call.right)), (("bob", &call.right, &bob), ("ann", &call.left))]
    {
        let ((speaker, page, id), (listener, other)) = (from, to);
        other.run(&format!("await {listener}.has('{id}')")).await;
        page.run(&format!("for (let at = 0; at < 50; at++) {speaker}.channel.send(`hello ${{at}}`)")).await;
        let heard = other
            .run(&format!(
                "const {{ channel, messages }} = await {listener}.has('{id}');
             await until('all messages', () => messages.length === 50);
             return {{ label: channel.label, id: channel.id, messages }}"
            ))
            .await;
        assert!(heard["label"] == id.as_str() && heard["id"].as_u64() > Some(0), "{heard}");
        let expected: Vec<_> = (0..50).map(|at| format!("hello {at}")).collect();
        assert_eq!(heard["messages"], json!(expected));
    }
    call.left.run(&format!("ann.send({{ action: 'StopPublish', publisherId: '{ann}' }})")).await;
    call.right
        .run(&format!("await until('the end', () => bob.received.get('{ann}').channel.readyState === 'closed')"))
        .await;
    assert_kept(&call.left, "ann").await;
    assert_kept(&call.right, "bob").await;
}

#[tokio::test]
async fn both_sides_restart_ice_and_the_picture_goes_on() {
    let call = between_ann_and_bob(Setup::default()).await;
    let camera = show(&call.left, "ann").await;
    call.right.run(&format!("await bob.shows('{camera}', 10)")).await;
    let ways = call.left.run(
        "const way = () => sections(ann.all('Answer').at(-1).sdp.sdp)[0].ufrag;
         await until('all answers', () => ann.all('Answer').length === ann.offered.length);
         const before = way();
         const sdp = await ann.sending.restartIce();
         ann.offered.push(sdp.sdp);
         ann.send({ action: 'Offer', sdp });
         return [before, await until('another way', () => way() !== before && way())]",
    );
    let ways = ways.await;
    assert_ne!(ways[0], ways[1]);
    call.right.run(&format!("await bob.shows('{camera}', 20)")).await;
    let ways = call.right.run(
        "const way = () => sections(bob.all('Offer').at(-1).sdp.sdp)[0].ufrag;
         const before = way();
         bob.send({ action: 'RestartICE' });
         return [before, await until('another way', () => way() !== before && way())]",
    );
    let ways = ways.await;
    assert_ne!(ways[0], ways[1]);
    call.right.run(&format!("await bob.shows('{camera}', 20)")).await;
    assert_kept(&call.left, "ann").await;
    assert_kept(&call.right, "bob").await;
}

#[tokio::test]
async fn whoever_may_not_publish_is_answered_and_stays_usable() {
    let call = Call::begin(Setup::default()).await;
    open(&call.left, "ann", &call.node, &Token::of(1, "Ann")).await;
    open(&call.right, "eve", &call.node, &Token::of(2, "Eve").claim("canPublish", json!(false))).await;
    let camera = show(&call.left, "ann").await;
    let seen = call
        .right
        .run(&format!(
            "await eve.publish(await devices.camera(320, 240, 20));
         // The second one waits until the first is answered.
         await eve.publish(await devices.microphone());
         await until('all answers', () => eve.all('Answer').length === eve.offered.length);
         await until('two refusals', () => eve.all('Error').length >= 2);
         await eve.shows('{camera}', 20);
         return {{ problems: eve.problems, codes: [...new Set(eve.all('Error').map(({{ code }}) => code))] }}"
        ))
        .await;
    assert_eq!(seen, json!({ "problems": [], "codes": ["forbidden"] }));
    assert_eq!(call.left.run("return ann.all('Published')").await, json!([]));
}

#[tokio::test]
async fn a_track_is_recorded_by_the_steps_of_the_recording_example() {
    let call = between_ann_and_bob(Setup::default()).await;
    let _recorder = Recorder::beside(&call.node).await;
    let (mut witness, _) = call.node.enter(&Token::of(9, "Witness"), ROOM).await;
    let camera = show(&call.left, "ann").await;
    call.right.run(&format!("await bob.shows('{camera}', 10)")).await;
    let about = |action: &str| format!("ann.send({{ action: '{action}', publisherId: '{camera}' }})");
    let sdp = call
        .left
        .run(&format!(
            "{}; return (await until('a description', () => ann.all('RecordingSDP')[0])).sdp",
            about("Record")
        ))
        .await;
    assert!(text(sdp).starts_with("v=0\r\n"));
    call.left.run(&about("StartRecording")).await;
    let runs = |state: &'static str| {
        move |told: &serde_json::Value| told["type"] == "recording-state" && told["state"] == state
    };
    let session = text(witness.hear("the recording", runs("recording")).await["sessionId"].clone());
    call.right.run(&format!("await bob.shows('{camera}', 60)")).await;
    call.left.run(&about("StopRecording")).await;
    witness.hear("its end", runs("stopped")).await;
    let files = Archive::of(&call.node.recordings(), ROOM, &session).files(".webm");
    assert_eq!(files.len(), 1, "{files:?}");
    let frames = MediaFile::decode(&files[0]).stream("video").frames;
    eprintln!("{frames} frames were recorded");
    assert!(frames >= 20);
    // Bob's token does not allow it.
    let refused = call
        .right
        .run(&format!(
            "bob.send({{ action: 'StartRecording', publisherId: '{camera}' }});
         return (await until('a refusal', () => bob.all('RecordingError')[0])).error"
        ))
        .await;
    assert!(!text(refused).is_empty());
    assert_kept(&call.left, "ann").await;
}
