//! Who speaks, as real browsers say how loud they are, and what follows from it.

use lockgate_tests::{Call, Page, Setup, Token, assert_unbroken, number};
use serde_json::{Value, json};

/// Ann on one page; Bob and Cid, who only watches, on another.
async fn begin(setup: Setup) -> Call {
    Call::between_ann_and_bob(setup).await.with_right("cid", &Token::of(3, "Cid"), "{}").await
}

/// Who speaks, one after the other, as one of them was told so far, when there have been so many.
async fn told(page: &Page, who: &str, count: usize) -> Vec<Value> {
    let told = format!(
        "const told = () => {who}.heard.filter(({{ type }}) => type === 'active-speaker');
         await until('{count} speakers', () => told().length >= {count});
         return told()"
    );
    page.run(&told).await.as_array().cloned().unwrap_or_default()
}

/// Ann speaks, then Bob does.
async fn takes_turns(setup: Setup) {
    let call = begin(setup).await;
    for (page, who) in [(&call.left, "ann"), (&call.right, "bob")] {
        let publish = format!(
            "globalThis.voice = devices.voice();
             return await {who}.publish([{{ track: voice.track, source: 'microphone' }}])"
        );
        assert_eq!(page.run(&publish).await[0]["accepted"], true);
    }
    call.left.run("voice.speak()").await;
    let first = told(&call.right, "cid", 1).await;
    let ann = call.left.run("return ann.publisherId").await;
    assert_eq!((&first[0]["publisherId"], &first[0]["audioLevels"][0]["publisherId"]), (&ann, &ann), "{first:?}");
    let level = first[0]["audioLevels"][0]["level"].as_i64().unwrap_or_default();
    // As loud as it is by then: it has just begun. Silence is -127 (RFC 6464 §3).
    assert!((-126..-5).contains(&level), "{first:?}");
    call.left.run("voice.hush()").await;
    call.right.run("voice.speak()").await;
    let bob = call.right.run("return bob.publisherId").await;
    for (page, who) in [(&call.right, "cid"), (&call.right, "bob"), (&call.left, "ann")] {
        let speakers = told(page, who, 2).await;
        let speakers: Vec<_> = speakers.iter().map(|one| &one["publisherId"]).collect();
        assert_eq!(speakers, [&ann, &bob], "as {who} was told");
    }
}

#[tokio::test]
async fn everybody_is_told_who_speaks() {
    takes_turns(Setup::default()).await;
}

#[tokio::test]
async fn a_room_on_several_workers_has_one_speaker() {
    takes_turns(Setup { room_spread: Some(1), ..Setup::default() }).await;
}

/// The made-up microphone of a browser beeps for an instant, again and again: that is nobody who speaks.
#[tokio::test]
async fn a_beep_is_nobody_who_speaks() {
    let call = begin(Setup { rooms: "audio_levels = \"200ms\"".into(), ..Setup::default() }).await;
    call.left.run("await ann.publish([{ track: await devices.microphone(), source: 'microphone' }])").await;
    call.right.run("globalThis.voice = devices.voice(); await bob.publish([{ track: voice.track, source: 'microphone' }]); voice.speak()").await;
    told(&call.right, "cid", 1).await;
    call.right.run("voice.hush()").await;
    // Beeps of five seconds are heard by Cid, and change nothing.
    let seen = call
        .right
        .run(
            "const { publisherId, tracks } = await cid.publisher(1, 'Ann');
             await cid.subscribe(publisherId);
             await cid.sounded(tracks[0].trackId, 48_000 * 5);
             return [...new Set(cid.heard.filter(({ type }) => type === 'active-speaker').map(({ publisherId }) => publisherId))]",
        )
        .await;
    let bob = call.right.run("return bob.publisherId").await;
    assert_eq!(seen, json!([bob]));
}

#[tokio::test]
async fn only_the_cameras_of_the_last_speakers_are_decoded() {
    let call = begin(Setup { rooms: "last_n = 1".into(), ..Setup::default() }).await;
    for (page, who) in [(&call.left, "ann"), (&call.right, "bob")] {
        let publish = format!(
            "globalThis.voice = devices.voice();
             return await {who}.publish([{{ track: await devices.camera(320, 240, 15), source: 'camera', codec: 'vp8' }},
                                         {{ track: voice.track, source: 'microphone' }}])"
        );
        assert_eq!(page.run(&publish).await[0]["accepted"], true);
    }
    // Nobody has spoken: who came first is seen.
    call.right
        .run(
            "globalThis.camera = {};
             for (const name of ['Ann', 'Bob']) {
                 const { publisherId, tracks } = await cid.publisher(2, name);
                 camera[name] = tracks.find(({ kind }) => kind === 'video').trackId;
                 await cid.subscribe(publisherId);
             }
             globalThis.frames = async (name) => (await cid.inbound(camera[name]))?.framesDecoded ?? 0;
             globalThis.told = (name, paused) => cid.heard.filter(({ type, trackId, paused: is }) =>
                 type === 'layer-changed' && trackId === camera[name] && is === paused);
             await cid.decoded(camera.Ann, 20)",
        )
        .await;
    let waiting = call
        .right
        .run("await until('to be told', () => told('Bob', true).length); return [told('Bob', true)[0].reason, await frames('Bob')]")
        .await;
    assert_eq!(waiting, json!(["speakers", 0]));
    // Bob speaks, and takes the place.
    let seen = call
        .right
        .run(
            "voice.speak();
             await until('Ann to wait', () => told('Ann', true).length);
             const before = await frames('Ann');
             await cid.decoded(camera.Bob, 30);
             voice.hush();
             return { before, after: await frames('Ann'), reason: told('Ann', true)[0].reason, back: told('Bob', false)[0].reason }",
        )
        .await;
    let (before, after) = (seen["before"].as_u64().unwrap_or(0), seen["after"].as_u64().unwrap_or(0));
    // What was on its way when it was told.
    assert!(after <= before + 3, "{seen}");
    assert_eq!((&seen["reason"], &seen["back"]), (&json!("speakers"), &json!("speakers")));
    // Ann comes back where she was, without a hole.
    call.left.run("voice.speak()").await;
    let back = call
        .right
        .run(&format!(
            "const stats = await cid.decoded(camera.Ann, {after} + 30);
             const bob = await frames('Bob');
             await cid.decoded(camera.Ann, {after} + 50);
             return {{ stats, bob, later: await frames('Bob') }}"
        ))
        .await;
    assert_unbroken(&back["stats"]);
    assert!(number(&back, "later") <= number(&back, "bob") + 3.0, "{back}");
}
