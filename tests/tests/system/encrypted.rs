//! Calls that are encrypted from end to end: the node forwards what it cannot read, and chooses layers by what is beside it.

use lockgate_tests::{Call, Setup, Token, assert_unbroken, number};
use serde_json::Value;

/// Ann publishes; Bob has her key, Eve has none.
async fn begin(how: &str) -> Call {
    let sealed = format!("{{ transform: sealed('{how}') }}");
    let call = Call::begin(Setup::default()).await.with_left("ann", &Token::of(1, "Ann"), &sealed).await;
    call.with_right("bob", &Token::of(2, "Bob"), &sealed).await.with_right("eve", &Token::of(3, "Eve"), "{}").await
}

/// A camera with these encodings, and with sound or without it.
async fn publish(call: &Call, codec: &str, fps: u32, encodings: &str, sound: bool) {
    let sound = if sound { ", { track: await devices.microphone(), source: 'microphone' }" } else { "" };
    let publish = format!(
        "const published = await ann.publish([{{ track: await devices.camera(960, 540, {fps}), source: 'camera', codec: '{codec}',
             encodings: {encodings} }}{sound}]);
         return published.every(({{ accepted }}) => accepted)"
    );
    assert_eq!(call.left.run(&publish).await, true);
}

/// Bob watches until he sees the whole picture.
async fn watch(call: &Call, tracks: usize) -> Value {
    let watch = format!(
        "const {{ publisherId, tracks }} = await bob.publisher({tracks});
         const of = (kind) => tracks.find((track) => track.kind === kind)?.trackId;
         Object.assign(globalThis, {{ publisherId, trackId: of('video'), sound: of('audio') }});
         await bob.subscribe(publisherId);
         return await until('the widest picture', async () => {{
             globalThis.last = await bob.inbound(trackId);
             return last?.frameWidth === 960 && last;
         }}).catch((error) => {{ throw new Error(`${{error.message}}: ${{JSON.stringify([last, bob.transform.counts])}}`) }})"
    );
    call.right.run(&watch).await
}

/// Bob asks for a layer; resolves with the statistics of 30 pictures later than the first of that width.
async fn change(call: &Call, spatial: usize, width: u32) -> Value {
    let change = format!(
        "bob.send({{ type: 'set-layer', publisherId, trackId, spatial: {spatial}, temporal: 3 }});
         const seen = await until('a width of {width}', async () => {{
             globalThis.last = await bob.inbound(trackId);
             return last.frameWidth === {width} && last;
         }}).catch((error) => {{ throw new Error(`${{error.message}}: ${{JSON.stringify([last, bob.transform.counts])}}`) }});
         return await bob.decoded(trackId, seen.framesDecoded + 30)"
    );
    call.right.run(&change).await
}

/// Frames a second that Bob decodes of this temporal layer.
async fn rate(call: &Call, temporal: u8) -> f64 {
    let rate = format!(
        "bob.send({{ type: 'set-layer', publisherId, trackId, spatial: 3, temporal: {temporal} }});
         await bob.decoded(trackId, (await bob.inbound(trackId)).framesDecoded + 10);
         const [before, begun] = [await bob.inbound(trackId), performance.now()];
         const after = await bob.decoded(trackId, before.framesDecoded + 20);
         return (after.framesDecoded - before.framesDecoded) / (performance.now() - begun) * 1000"
    );
    call.right.run(&rate).await.as_f64().unwrap_or(0.0)
}

/// All that came could be opened, no decoder asked for a picture, and who has no key has seen nothing. A decoder of H.264 makes something of
/// whatever it is given, and proves nothing by it.
async fn assert_sealed(call: &Call) {
    let seen = call.right.run("return { ...await bob.inbound(trackId), counts: bob.transform.counts }").await;
    assert_unbroken(&seen);
    assert_eq!(seen["pliCount"], 0, "a decoder lost the picture: {seen}");
    assert_eq!((&seen["counts"]["wrong"], &seen["counts"]["problem"]), (&0.into(), &Value::Null), "{seen}");
    if seen["codec"] == "video/H264" {
        return;
    }
    let opened = number(&seen["counts"], "opened");
    assert!(opened >= number(&seen, "framesDecoded"), "it was not by the key that it was seen: {seen}");
    let eve = "await eve.subscribe(publisherId);
               return await until('packets of 50 pictures', async () => {
                   const seen = await eve.inbound(trackId);
                   return seen?.packetsReceived >= 50 && seen;
               })";
    let eve = call.right.run(eve).await;
    assert_eq!(eve["framesDecoded"], 0, "it can be read without a key: {eve}");
}

/// With descriptors nothing of VP8 needs to be read; without, whether a frame is a key frame.
#[tokio::test]
async fn encodings_that_nobody_can_read_are_chosen_and_seen_and_their_sound_is_heard() {
    for (how, mode) in [("all", "scalabilityMode: 'L1T2',"), ("body", "")] {
        let call = begin(how).await;
        let encodings = format!(
            "[{{ rid: 'low', {mode} scaleResolutionDownBy: 4, maxBitrate: 120_000 }}, {{ rid: 'high', {mode} maxBitrate: 600_000 }}]"
        );
        publish(&call, "vp8", 15, &encodings, true).await;
        watch(&call, 2).await;
        for (spatial, width) in [(0, 240), (1, 960), (0, 240)] {
            change(&call, spatial, width).await;
        }
        let heard = call.right.run("return await bob.sounded(sound, 96_000)").await;
        let made_up = number(&heard, "concealedSamples") / number(&heard, "totalSamplesReceived");
        eprintln!("vp8, {how}: {:.1} % of the sound made up", made_up * 100.0);
        assert!(number(&heard, "totalAudioEnergy") > 0.0 && made_up < 0.5, "{heard}");
        assert_sealed(&call).await;
    }
}

#[tokio::test]
#[ignore = "thorough: it takes a minute or more of two processors"]
async fn spatial_layers_that_nobody_can_read_are_chosen_and_seen() {
    for (codec, how, fps) in [("vp9", "all", 15), ("av1", "body", 10)] {
        let call = begin(how).await;
        publish(&call, codec, fps, "[{ scalabilityMode: 'L3T3', maxBitrate: 1_500_000 }]", false).await;
        watch(&call, 1).await;
        for (spatial, width) in [(0, 240), (1, 480), (0, 240), (2, 960)] {
            change(&call, spatial, width).await;
        }
        assert_sealed(&call).await;
    }
}

#[tokio::test]
#[ignore = "thorough: it takes a minute or more of two processors"]
async fn temporal_layers_that_nobody_can_read_are_left_out_and_come_back() {
    for (codec, how) in [("vp8", "all"), ("h264", "body")] {
        let call = begin(how).await;
        publish(&call, codec, 20, "[{ scalabilityMode: 'L1T3', maxBitrate: 800_000 }]", false).await;
        watch(&call, 1).await;
        let (slow, fast) = (rate(&call, 0).await, rate(&call, 2).await);
        eprintln!("{codec}: {slow:.1} and {fast:.1} frames a second");
        assert!(slow * 2.0 < fast, "{codec}: {slow:.1} and {fast:.1} frames a second");
        assert_sealed(&call).await;
    }
}
