//! What nobody watches is not encoded, with a real browser at both ends.

use lockgate_tests::{Call, Page, Setup, Token};
use serde_json::{Value, json};

/// As many encodings as a browser makes of a picture of this size.
const PUBLISH: &str = "
    const [published] = await ann.publish([{ track: await devices.camera(640, 360, 15), source: 'camera', codec: 'vp8', encodings: [
        { rid: 'low', scaleResolutionDownBy: 2, maxBitrate: 150_000 },
        { rid: 'high', maxBitrate: 600_000 }] }]);
    /** Which encodings the server wants by its last word. */
    globalThis.asked = () => ann.heard.findLast(({ type }) => type === 'publish-layers')?.encodings.map(({ active }) => active).join();
    globalThis.clock = () => performance.timeOrigin + performance.now();
    return published.accepted";

/// Resolves with how many frames were made of each encoding, and of how many they are more one second later.
const MADE: &str = "
    const count = (sent) => ['low', 'high'].map((rid) => sent[rid]?.framesEncoded ?? 0);
    const first = await ann.outbound();
    const later = await until('statistics of a second later', async () => {
        const sent = await ann.outbound();
        return sent.high.timestamp - first.high.timestamp >= 1000 && sent;
    });
    return { more: count(later).map((made, place) => made - count(first)[place]),
             active: ['low', 'high'].map((rid) => later[rid].active) }";

async fn is_asked(page: &Page, encodings: &str) {
    page.run(&format!("await until('to be asked for {encodings}', () => asked() === '{encodings}')")).await;
}

/// Has the viewer say something, and returns after how many milliseconds the publisher made frames of an encoding again.
async fn back_after(ann: &Page, bob: &Page, rid: &str, say: &str) -> f64 {
    let before = ann.run(&format!("return (await ann.outbound()).{rid}.framesEncoded")).await;
    let watch = format!(
        "return await until('frames of {rid}', async () => (await ann.outbound()).{rid}.framesEncoded > {before} && clock())"
    );
    let say = format!("const said = performance.timeOrigin + performance.now(); {say}; return said");
    let (back, said) = tokio::join!(ann.run(&watch), bob.run(&say));
    let at = |time: Value| time.as_f64().expect("a page's clock is a number");
    at(back) - at(said)
}

#[tokio::test]
async fn what_nobody_watches_is_not_encoded_until_somebody_does() {
    let call = Call::begin(Setup::default()).await.with_left("ann", &Token::of(1, "Ann"), "{ steered: true }").await;
    let Call { left, right, .. } = &call.with_right("bob", &Token::of(2, "Bob"), "{}").await;
    assert_eq!(left.run(PUBLISH).await, true);

    is_asked(left, "false,false").await;
    let none: Value = left.run(MADE).await;
    assert_eq!(none, json!({ "more": [0, 0], "active": [false, false] }));

    let subscribe = "const { publisherId, tracks: [{ trackId }] } = await bob.publisher();
                     globalThis.seen = { publisherId, trackId };
                     const subscribed = bob.subscribe(publisherId)";
    let first = back_after(left, right, "low", subscribe).await;
    let wide = "return await until('the widest picture', async () => {
                    const { frameWidth, freezeCount } = await bob.inbound(seen.trackId) ?? {};
                    return frameWidth === 640 && { frameWidth, freezeCount };
                })";
    right.run(wide).await;
    is_asked(left, "true,true").await;

    right.run("bob.send({ type: 'set-layer', ...seen, spatial: 0 })").await;
    is_asked(left, "true,false").await;
    let small: Value = left.run(MADE).await;
    assert_eq!((&small["active"], &small["more"][1]), (&json!([true, false]), &json!(0)));
    assert!(small["more"][0].as_u64() >= Some(1), "{small}");
    let again = back_after(left, right, "high", "bob.send({ type: 'set-layer', ...seen, spatial: 1 })").await;
    right.run(wide).await;
    let told = right.run("return bob.heard.filter(({ type }) => type === 'layer-changed').map(({ spatial, reason }) => [spatial, reason])").await;

    right.run("await bob.ask({ type: 'unsubscribe', publisherId: seen.publisherId })").await;
    is_asked(left, "false,false").await;
    let problems = left.run("return ann.problems").await;
    assert_eq!(problems, json!([]));
    eprintln!(
        "the publisher encodes again {first:.0} ms after a first viewer asks, {again:.0} ms after one asks for more; told: {told}"
    );
    let told = told.as_array().unwrap();
    assert_eq!(told.last(), Some(&json!([1, "requested"])), "{told:?}");
    assert!(told.contains(&json!([0, "requested"])), "{told:?}");
}
