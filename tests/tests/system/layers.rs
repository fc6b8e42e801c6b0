//! Layers within one stream, from a real encoder to real decoders.

use lockgate_tests::{Call, Setup, Token, assert_unbroken, number};
use serde_json::Value;

/// Ann publishes; of two viewers, `free` may have everything and `capped` may not.
async fn begin() -> Call {
    let subscription = "[plugin.settings.roles.viewer]\nmax_spatial = 0\n";
    let call = Call::begin(Setup { subscription: subscription.into(), ..Setup::default() }).await;
    let call = call.with_left("ann", &Token::of(1, "Ann"), "{}").await;
    let call = call.with_right("capped", &Token::of(2, "Vic").role("viewer"), "{}").await;
    call.with_right("free", &Token::of(3, "Bob"), "{}").await
}

/// Publishes a camera in one stream with these layers.
async fn publish(call: &Call, codec: &str, mode: &str, fps: u32) {
    let publish = format!(
        "const [published] = await ann.publish([{{ track: await devices.camera(960, 540, {fps}), source: 'camera', codec: '{codec}',
             encodings: [{{ scalabilityMode: '{mode}', maxBitrate: 1_500_000 }}] }}]);
         return published"
    );
    let published = call.left.run(&publish).await;
    assert_eq!(published["accepted"], true, "{published}");
}

/// Both viewers watch until the one without a cap sees the widest picture and the other has seen enough.
async fn watch(call: &Call) -> Value {
    call.right
        .run(
            "const { publisherId, tracks: [{ trackId }] } = await free.publisher();
             Object.assign(globalThis, { publisherId, trackId });
             await capped.subscribe(publisherId);
             capped.send({ type: 'set-layer', publisherId, trackId, spatial: 2, temporal: 2 });
             const begun = performance.now();
             await free.subscribe(publisherId);
             const seen = new Set();
             const wide = await until('the widest picture', async () => {
                 const mine = await capped.inbound(trackId);
                 if (mine?.frameWidth) seen.add(mine.frameWidth);
                 const theirs = await free.inbound(trackId);
                 globalThis.last = { mine, theirs };
                 return theirs?.frameWidth === 960 && theirs;
             }).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(last)}`) });
             const seconds = (performance.now() - begun) / 1000;
             const before = (await capped.inbound(trackId))?.framesDecoded ?? 0;
             const low = await capped.decoded(trackId, before + 40);
             seen.add(low.frameWidth);
             return { seconds, wide, low, widths: [...seen] }",
        )
        .await
}

/// The viewer without a cap asks for another layer, and has so many frames more decoded when it sees it.
async fn change(call: &Call, spatial: usize, width: u32) -> Value {
    call.right
        .run(&format!(
            "const before = await free.inbound(trackId);
             free.send({{ type: 'set-layer', publisherId, trackId, spatial: {spatial}, temporal: 2 }});
             const seen = await until('a width of {width}', async () => {{
                 const now = await free.inbound(trackId);
                 globalThis.last = now;
                 return now.frameWidth === {width} && now;
             }}).catch((error) => {{ throw new Error(`${{error.message}}: ${{JSON.stringify(last)}}`) }});
             const after = await free.decoded(trackId, seen.framesDecoded + 30);
             const told = free.heard.findLast(({{ type }}) => type === 'layer-changed');
             return {{ width: after.frameWidth, asked: after.pliCount - before.pliCount, told: told?.spatial,
                       freezes: after.freezeCount - before.freezeCount, after }}"
        ))
        .await
}

fn assert_decodable(seen: &Value) {
    assert_unbroken(seen);
    assert_eq!(seen["pliCount"], 0, "a decoder lost the picture: {seen}");
}

/// From the publisher's encoder to two decoders and back and forth between layers.
async fn layers_are_chosen(codec: &str, mode: &str, fps: u32) {
    let widths: &[u32] = if mode[1..].starts_with('2') { &[480, 960] } else { &[240, 480, 960] };
    let (lowest, top) = (widths[0], widths.len() - 1);
    let call = begin().await;
    publish(&call, codec, mode, fps).await;
    let seen = watch(&call).await;
    let sent = call.left.run("return Object.values(await ann.outbound())[0]").await;
    let (wide, low) = (&seen["wide"], &seen["low"]);
    eprintln!(
        "{codec} {mode} ({}): 960 wide after {:.1} s; capped: {:?} wide, {} frames, {} freezes, {} requests; \
         {} key frames sent, {} asked for",
        sent["scalabilityMode"],
        number(&seen, "seconds"),
        seen["widths"],
        low["framesDecoded"],
        low["freezeCount"],
        low["pliCount"],
        sent["keyFramesEncoded"],
        sent["pliCount"],
    );
    assert_eq!(sent["scalabilityMode"], mode, "{sent}");
    assert_eq!(seen["widths"], serde_json::json!([lowest]), "policy allows no more");
    [wide, low].into_iter().for_each(assert_decodable);
    for spatial in [0, 1, 0, top] {
        let changed = change(&call, spatial, widths[spatial]).await;
        eprintln!("  {} wide: {} freezes, {} requests", widths[spatial], changed["freezes"], changed["asked"]);
        assert_eq!((&changed["asked"], &changed["told"]), (&0.into(), &spatial.into()), "{changed}");
        assert_unbroken(&changed["after"]);
    }
    let capped = call.right.run("return await capped.inbound(trackId)").await;
    assert_decodable(&capped);
    assert_eq!(capped["frameWidth"], lowest);
}

#[tokio::test]
async fn layers_of_vp9_that_build_on_each_other_are_chosen() {
    layers_are_chosen("vp9", "L3T3", 15).await;
}

#[tokio::test]
#[ignore = "thorough: it takes a minute or more of two processors"]
async fn layers_of_vp9_that_meet_at_key_frames_are_chosen() {
    layers_are_chosen("vp9", "L3T3_KEY", 15).await;
}

#[tokio::test]
#[ignore = "thorough: it takes a minute or more of two processors"]
async fn layers_of_vp9_that_need_no_other_are_chosen() {
    layers_are_chosen("vp9", "S3T3", 15).await;
}

/// With three such layers Chromium's encoder of AV1 gives up, between two connections of its own as well.
#[tokio::test]
#[ignore = "thorough: it takes a minute or more of two processors"]
async fn layers_of_av1_that_need_no_other_are_chosen() {
    layers_are_chosen("av1", "S2T3", 10).await;
}

#[tokio::test]
async fn layers_of_av1_are_chosen_by_their_descriptors() {
    layers_are_chosen("av1", "L3T3", 10).await;
}

/// Of the frames that are sent, the share that the viewer without a cap gets with this temporal layer.
async fn share(call: &Call, temporal: u8) -> f64 {
    let sent = async || call.left.run("return Object.values(await ann.outbound())[0].framesSent").await;
    let ask = format!("free.send({{ type: 'set-layer', publisherId, trackId, temporal: {temporal} }})");
    call.right.run(&ask).await;
    let some = |frames: u32| {
        format!("return await free.decoded(trackId, (await free.inbound(trackId)).framesDecoded + {frames})")
    };
    let before = call.right.run(&some(10)).await;
    let sent_before = sent().await;
    let after = call.right.run(&some(20)).await;
    let sent = sent().await.as_f64().zip(sent_before.as_f64()).map(|(after, before)| after - before);
    (number(&after, "framesReceived") - number(&before, "framesReceived"))
        / sent.expect("the publisher tells what it sends")
}

#[tokio::test]
async fn temporal_layers_are_left_out_and_come_back() {
    for codec in ["vp8", "h264", "av1"] {
        let call = begin().await;
        publish(&call, codec, "L1T3", 20).await;
        let seen = call
            .right
            .run(
                "const { publisherId, tracks: [{ trackId }] } = await free.publisher();
                 await free.subscribe(publisherId);
                 const seen = await free.decoded(trackId, 40);
                 Object.assign(globalThis, { publisherId, trackId });
                 return seen",
            )
            .await;
        let few = share(&call, 0).await;
        let all = share(&call, 2).await;
        eprintln!("{codec}: {few:.2} and {all:.2} of the frames (of {})", seen["framesDecoded"]);
        assert!(few * 2.0 < all, "{codec}: {few} and {all}");
        assert_decodable(&call.right.run("return await free.inbound(trackId)").await);
    }
}
