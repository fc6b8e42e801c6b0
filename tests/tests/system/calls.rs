//! Real calls: one browser publishes, another page of it decodes.

use lockgate_tests::{Call, LossyNetwork, Setup, Token, assert_unbroken, number};
use serde_json::Value;

/// Publishes one camera, and has Bob decode so many frames of it. Returns his statistics.
async fn camera(call: &Call, codec: &str, size: &str, frames: u32) -> Value {
    let publish = format!(
        "return await ann.publish([{{ track: await devices.camera({size}), source: 'camera', codec: '{codec}' }}])"
    );
    let published = call.left.run(&publish).await;
    assert_eq!(published[0]["accepted"], true, "{published}");
    let decode = format!(
        "const {{ publisherId, tracks }} = await bob.publisher();
         const asked = performance.now();
         await bob.subscribe(publisherId);
         const [first] = [await bob.decoded(tracks[0].trackId, 1), performance.now() - asked];
         const firstFrameMs = performance.now() - asked;
         return {{ ...await bob.decoded(tracks[0].trackId, {frames}), firstFrameMs, announced: tracks[0] }}"
    );
    let seen = call.right.run(&decode).await;
    eprintln!(
        "{codec}: {} frames decoded, first {:.0} ms after the request, {} key frames, {} freezes, {} × {}",
        seen["framesDecoded"],
        seen["firstFrameMs"].as_f64().unwrap_or_default(),
        seen["keyFramesDecoded"],
        seen["freezeCount"],
        seen["frameWidth"],
        seen["frameHeight"],
    );
    assert_eq!(seen["codec"].as_str().map(str::to_lowercase), Some(format!("video/{codec}")), "{seen}");
    assert_unbroken(&seen);
    assert_eq!(seen["announced"]["codec"].as_str().map(str::to_lowercase).as_deref(), Some(codec), "{seen}");
    seen
}

#[tokio::test]
async fn both_sides_of_a_call_decode_picture_and_sound() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    let publish = |who: &str| {
        format!(
            "return await {who}.publish([{{ track: await devices.camera(320, 240, 20), source: 'camera', codec: 'vp8' }},
                                         {{ track: await devices.microphone(), source: 'microphone' }}])"
        )
    };
    let watch = |who: &str| {
        format!(
            "const {{ publisherId, tracks }} = await {who}.publisher(2);
             const offered = await {who}.subscribe(publisherId);
             const of = (kind) => tracks.find((track) => track.kind === kind).trackId;
             const video = await {who}.decoded(of('video'), 100);
             const audio = await {who}.sounded(of('audio'), 48_000);
             return {{ video, audio, offer: offered.offer, problems: {who}.problems,
                       sources: tracks.map((track) => track.source).sort() }}"
        )
    };
    for (page, who) in [(&call.left, "ann"), (&call.right, "bob")] {
        let published = page.run(&publish(who)).await;
        assert_eq!(published.as_array().map(Vec::len), Some(2), "{published}");
        assert!(published.as_array().unwrap().iter().all(|track| track["accepted"] == true), "{published}");
    }
    let (by_ann, by_bob) = (watch("ann"), watch("bob"));
    let (at_ann, at_bob) = tokio::join!(call.left.run(&by_ann), call.right.run(&by_bob));
    for seen in [at_ann, at_bob] {
        let (video, audio) = (&seen["video"], &seen["audio"]);
        eprintln!(
            "vp8: {} frames decoded, {} freezes, {} samples of sound, {} of them made up",
            video["framesDecoded"], video["freezeCount"], audio["totalSamplesReceived"], audio["concealedSamples"],
        );
        assert_unbroken(video);
        assert_eq!((&video["frameWidth"], &video["frameHeight"]), (&320.into(), &240.into()));
        assert_eq!(seen["sources"], serde_json::json!(["camera", "microphone"]));
        assert_eq!(seen["problems"], serde_json::json!([]));
        let offer = seen["offer"].as_str().expect("an offer is a text");
        for line in [" nack\r\n", " nack pli\r\n", "rtx/90000", "apt=", "a=ice-lite", "a=sendonly"] {
            assert!(offer.contains(line), "no {line} in {offer}");
        }
    }
    let answer = call.left.run("return ann.sending.remoteDescription.sdp").await;
    let answer = answer.as_str().expect("an answer is a text");
    for line in [
        " nack\r\n",
        " nack pli\r\n",
        " transport-cc\r\n",
        "transport-wide-cc-extensions",
        "rtx/90000",
        "a=ice-lite",
        "a=recvonly",
    ] {
        assert!(answer.contains(line), "no {line} in {answer}");
    }
}

#[tokio::test]
async fn vp9_is_forwarded_and_decoded() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "vp9", "320, 240, 15", 30).await;
}

#[tokio::test]
async fn h264_is_forwarded_and_decoded() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "h264", "320, 240, 15", 30).await;
}

#[tokio::test]
async fn av1_is_forwarded_and_decoded() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "av1", "320, 240, 15", 30).await;
}

#[tokio::test]
async fn tracks_come_and_go_many_times_on_one_connection() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "vp8", "320, 240, 15", 10).await;
    for round in 1..=5 {
        let published = call
            .left
            .run("return await ann.publish([{ track: await devices.camera(160, 120, 15), source: 'screen', codec: 'vp8' }])")
            .await;
        let (track, mid) = (&published[0]["trackId"], &published[0]["mid"]);
        assert_eq!(published[0]["accepted"], true, "round {round}: {published}");
        call.right
            .run(&format!(
                "await until('the track to be offered', () => bob.tracks.has({track}));
                 await bob.decoded({track}, 5)"
            ))
            .await;
        call.left.run(&format!("await ann.unpublish([{mid}])")).await;
        call.right.run(&format!("await until('the track to be gone', () => !bob.tracks.has({track}))")).await;
    }
    // The first track has played through it all, on the first connection of each side.
    let seen = call
        .right
        .run(
            "const [trackId] = bob.tracks.keys();
             const before = (await bob.inbound(trackId)).framesDecoded;
             const video = await bob.decoded(trackId, before + 15);
             return { video, tracks: bob.tracks.size, connections: bob.receiving.size, problems: bob.problems }",
        )
        .await;
    eprintln!("after five rounds: {seen}");
    assert_eq!((&seen["tracks"], &seen["connections"]), (&1.into(), &1.into()), "{seen}");
    assert_eq!(seen["problems"], serde_json::json!([]), "{seen}");
    assert_unbroken(&seen["video"]);
}

#[tokio::test]
async fn a_publisher_restarts_ice_and_the_picture_goes_on() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "vp8", "320, 240, 15", 10).await;
    let ufrag = "const ufrag = (sdp) => /a=ice-ufrag:(\\S+)/.exec(sdp)[1];";
    let restarted = call
        .left
        .run(&format!(
            "{ufrag} const before = [ufrag(ann.sending.localDescription.sdp), ufrag(ann.sending.remoteDescription.sdp)];
             await ann.offer({{ iceRestart: true }});
             await until('the connection', () => ann.sending.connectionState === 'connected');
             return {{ before, after: [ufrag(ann.sending.localDescription.sdp), ufrag(ann.sending.remoteDescription.sdp)] }}"
        ))
        .await;
    assert_ne!(restarted["before"][0], restarted["after"][0], "{restarted}");
    assert_ne!(restarted["before"][1], restarted["after"][1], "{restarted}");
    let after = call
        .right
        .run(
            "const [trackId] = bob.tracks.keys();
             const before = (await bob.inbound(trackId)).framesDecoded;
             return await bob.decoded(trackId, before + 30)",
        )
        .await;
    assert_unbroken(&after);
}

#[tokio::test]
async fn a_subscriber_has_its_connection_restarted() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "vp8", "320, 240, 15", 10).await;
    let seen = call
        .right
        .run(
            "const [trackId] = bob.tracks.keys();
             const before = bob.tracks.get(trackId).connection.remoteDescription.sdp;
             const { offer } = await bob.ask({ type: 'restart-ice' });
             const ufrag = (sdp) => /a=ice-ufrag:(\\S+)/.exec(sdp)[1];
             await until('the new credentials', () => ufrag(bob.tracks.get(trackId)?.connection.remoteDescription.sdp) === ufrag(offer));
             const frames = (await bob.inbound(trackId)).framesDecoded;
             await bob.decoded(trackId, frames + 30);
             return { before: ufrag(before), after: ufrag(offer), problems: bob.problems }",
        )
        .await;
    assert_ne!(seen["before"], seen["after"], "{seen}");
    assert_eq!(seen["problems"], serde_json::json!([]));
}

#[tokio::test]
async fn a_second_answer_is_refused_and_the_picture_goes_on() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    camera(&call, "vp8", "320, 240, 15", 10).await;
    let reply = call
        .right
        .run(
            "const offered = bob.heard.findLast(({ type }) => type === 'subscribe-offer');
             const [{ connection }] = bob.tracks.values();
             return await bob.reply({ type: 'subscribe-answer', publisherId: offered.publisherId, offerId: offered.offerId, answer: connection.localDescription.sdp })",
        )
        .await;
    assert_eq!((&reply["type"], &reply["code"]), (&"error".into(), &"invalid-sdp".into()), "{reply}");
    call.right
        .run(
            "const [trackId] = bob.tracks.keys();
             await bob.decoded(trackId, (await bob.inbound(trackId)).framesDecoded + 15)",
        )
        .await;
}

#[tokio::test]
async fn a_publisher_finds_by_itself_that_it_may_send_more() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    let reached = call
        .left
        .run(
            "await ann.publish([{ track: devices.noise(640, 360, 20), source: 'camera', codec: 'vp8', encodings: [{ maxBitrate: 4_000_000 }] }]);
             const begun = performance.now();
             const seen = [];
             const estimate = await until('an estimate of 2 Mbit/s', async () => {
                 const pairs = [...(await ann.sending.getStats()).values()].filter(({ type, nominated }) => type === 'candidate-pair' && nominated);
                 const estimate = pairs[0]?.availableOutgoingBitrate;
                 if (estimate !== seen.at(-1)) seen.push(estimate);
                 return estimate > 2_000_000 && estimate;
             }).catch((error) => { throw new Error(`${error.message}: ${seen}`) });
             return { estimate, first: seen.find((one) => one), seconds: (performance.now() - begun) / 1000 }",
        )
        .await;
    eprintln!("a publisher alone: {reached}");
    // Whether its encoder fills that is a question of its machine.
    assert!(number(&reached, "first") < 2e6, "it did not have to find out: {reached}");
}

/// One packet in 30 is lost on each of the two ways, each direction: what is seen was sent again.
#[tokio::test]
async fn lost_packets_are_sent_again_on_both_ways() {
    let network = LossyNetwork::begin(30).await;
    let setup = Setup { media_port: Some(network.port()), ..Setup::default() };
    let call = Call::between_ann_and_bob(setup).await;
    // Small enough that the encoder can send all 15 frames of a second: with loss, the browser stays near 500 kbit/s.
    call.left.run("await ann.publish([{ track: devices.noise(160, 120, 15), source: 'camera', codec: 'vp8' }])").await;
    let seen = call
        .right
        .run(
            "const { publisherId, tracks: [{ trackId }] } = await bob.publisher();
             await bob.subscribe(publisherId);
             return await bob.decoded(trackId, 150)",
        )
        .await;
    let sent = call.left.run("return Object.values(await ann.outbound())[0]").await;
    eprintln!(
        "{} datagrams lost: {} frames decoded, {} dropped, {} freezes, {} NACKs and {} packets again; \
         the publisher got {} NACKs and {} key frame requests, and sent {} packets again",
        network.lost(),
        seen["framesDecoded"],
        seen["framesDropped"],
        seen["freezeCount"],
        seen["nackCount"],
        seen["retransmittedPacketsReceived"],
        sent["nackCount"],
        sent["pliCount"],
        sent["retransmittedPacketsSent"],
    );
    assert!(network.lost() > 20, "the network is not that bad");
    assert!(seen["nackCount"].as_u64() > Some(0) && seen["retransmittedPacketsReceived"].as_u64() > Some(0), "{seen}");
    assert!(sent["nackCount"].as_u64() > Some(0) && sent["retransmittedPacketsSent"].as_u64() > Some(0), "{sent}");
    let count = |stats: &Value, name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"));
    let again = count(&seen, "retransmittedPacketsReceived") + count(&sent, "retransmittedPacketsSent");
    assert!(count(&sent, "pliCount") * 2 < again, "it was mended by key frames: {seen} {sent}");
}

#[tokio::test]
async fn who_unsubscribes_gets_no_more_frames_and_may_come_back() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    let seen = camera(&call, "vp8", "320, 240, 15", 10).await;
    let track = &seen["announced"]["trackId"];
    let after = call
        .right
        .run(&format!(
            "const {{ publisherId }} = bob.tracks.get({track});
             const {{ tracks, offer }} = await bob.ask({{ type: 'unsubscribe', publisherId }});
             await until('the track to be gone', () => !bob.tracks.has({track}));
             const inactive = /a=inactive/.test(offer);
             await bob.subscribe(publisherId);
             await until('the track to be back', () => bob.tracks.has({track}));
             await bob.decoded({track}, 15);
             return {{ left: tracks.length, inactive, problems: bob.problems }}"
        ))
        .await;
    assert_eq!(after, serde_json::json!({ "left": 0, "inactive": true, "problems": [] }));
}

#[tokio::test]
async fn one_connection_for_each_publisher_carries_a_picture_too() {
    let call = Call::begin(Setup::default()).await.with_left("ann", &Token::of(1, "Ann"), "{}").await;
    let call = call.with_right("bob", &Token::of(2, "Bob"), "{ subscribeConnections: 'per-publisher' }").await;
    camera(&call, "vp8", "320, 240, 15", 15).await;
}

#[tokio::test]
async fn a_role_gets_the_lowest_layer_whatever_its_client_asks_for() {
    let subscription = "[plugin.settings.roles.viewer]\nmax_spatial = 0\n";
    let call = Call::begin(Setup { subscription: subscription.into(), ..Setup::default() }).await;
    let call = call.with_left("ann", &Token::of(1, "Ann"), "{}").await;
    let call = call.with_right("capped", &Token::of(2, "Vic").role("viewer"), "{}").await;
    let call = call.with_right("free", &Token::of(3, "Bob"), "{}").await;
    call.left
        .run(
            "await ann.publish([{ track: await devices.camera(960, 540, 15), source: 'camera', codec: 'vp8', encodings: [
                 { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: 100_000 },
                 { rid: 'mid', scaleResolutionDownBy: 2, maxBitrate: 300_000 },
                 { rid: 'high', maxBitrate: 1_000_000 }] }])",
        )
        .await;
    let seen = call
        .right
        .run(
            "const widths = new Set();
             const watch = async (peer, wanted) => {
                 const { publisherId, tracks: [{ trackId, simulcast }] } = await peer.publisher();
                 await peer.subscribe(publisherId);
                 peer.send({ type: 'set-layer', publisherId, trackId, spatial: 2, temporal: 2 });
                 return { trackId, simulcast };
             };
             const begun = performance.now();
             const [low, high] = [await watch(capped), await watch(free)];
             const wide = await until('the widest picture without a cap', async () => {
                 const mine = await capped.inbound(low.trackId);
                 if (mine?.frameWidth) widths.add(mine.frameWidth);
                 const theirs = await free.inbound(high.trackId);
                 globalThis.seen = { theirs: theirs?.frameWidth, mine: mine?.frameWidth };
                 return mine?.frameWidth && theirs?.frameWidth === 960 && theirs;
             }).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(globalThis.seen)}`) });
             const seconds = (performance.now() - begun) / 1000;
             const before = (await capped.inbound(low.trackId)).framesDecoded;
             const { framesDecoded, frameWidth } = await capped.decoded(low.trackId, before + 15);
             widths.add(frameWidth);
             return { simulcast: low.simulcast, widths: [...widths], wide: wide.frameWidth, framesDecoded, seconds }",
        )
        .await;
    eprintln!("capped: {seen}");
    assert_eq!(seen["simulcast"], true);
    assert_eq!(seen["widths"], serde_json::json!([240]), "{seen}");
    assert_eq!(seen["wide"], 960);
}

#[tokio::test]
async fn who_may_not_see_somebody_gets_an_error_and_no_packet() {
    let subscription = "[plugin.settings.roles.viewer]\nsees = [\"host\"]\n";
    let call = Call::begin(Setup { subscription: subscription.into(), ..Setup::default() }).await;
    let call = call.with_left("ann", &Token::of(1, "Ann").role("speaker"), "{}").await;
    let call = call.with_right("vic", &Token::of(2, "Vic").role("viewer"), "{}").await;
    call.left
        .run("await ann.publish([{ track: await devices.camera(320, 240, 15), source: 'camera', codec: 'vp8' }])")
        .await;
    let publisher = call.left.run("return ann.publisherId").await;
    let reply = call
        .right
        .run(&format!("return await vic.reply({{ type: 'subscribe-request', publisherId: {publisher} }})"))
        .await;
    assert_eq!((&reply["type"], &reply["code"]), (&"error".into(), &"forbidden".into()), "{reply}");
    // Her packets do arrive, and go nowhere.
    let came = async || (call.node.metric("lockgate_packets_received_total").await > 50.0).then_some(());
    lockgate_tests::until("packets of the publisher", came).await;
    assert_eq!(call.node.metric("lockgate_tracks").await, 1.0);
    assert_eq!(call.node.metric("lockgate_subscriptions").await, 0.0);
    let heard =
        call.right.run("return { connections: vic.receiving.size, types: vic.heard.map(({ type }) => type) }").await;
    assert_eq!(heard["connections"], 0, "{heard}");
    let told = heard["types"].as_array().unwrap();
    assert!(
        !told.iter().any(|kind| ["new-publisher", "user-joined", "subscribe-offer"].contains(&kind.as_str().unwrap())),
        "{heard}"
    );
}
