//! Who speaks and how well they are connected; what moderators do; a screen that is shared.

use lockgate_tests::{Call, Setup, Token, operator};
use serde_json::json;

use super::{PUBLISH, assert_spoke_the_dialect, enter};

/// Ann, who moderates, on the left page; Bob on the right one. He publishes a camera, and a voice that is silent for now.
async fn meet_a_moderator() -> Call {
    let call = Call::begin(Setup { rooms: "audio_levels = \"200ms\"".into(), ..Setup::default() }).await;
    enter(&call.left, "ann", &operator(), "{}").await;
    enter(&call.right, "bob", &Token::of(2, "Bob"), "{}").await;
    call.right
        .run(
            "globalThis.voice = devices.voice();
             const [camera, microphone] = await Promise.all([bob.room.publishCamera(), bob.room.publish(voice.track, { source: 'microphone' })]);
             Object.assign(globalThis, { camera, microphone })",
        )
        .await;
    call.left.run("await ann.more(10)").await;
    call
}

#[tokio::test]
async fn who_speaks_how_loud_and_how_well_connected_is_told() {
    let call = meet_a_moderator().await;
    call.left
        .run(
            "globalThis.loudness = [];
             const [him] = ann.room.participants;
             ann.room.on('levels', ({ levels }) => loudness.push(levels.find(({ publisherId }) => publisherId === him.publisherId)?.level))",
        )
        .await;
    assert_eq!(
        call.left.run("return [ann.room.speaker ?? null, ann.room.participants[0].isSpeaking]").await,
        json!([null, false])
    );
    call.right.run("voice.speak()").await;
    let heard = call
        .left
        .run(
            "const { participant, publisherId, own } = await ann.hear('speaker');
             await until('a level', () => loudness.some((level) => level > -40 && level < 0));
             await until('the level of a participant', () => participant.level > -40);
             return { name: participant.username, same: publisherId === ann.room.speaker, own, speaks: participant.isSpeaking }",
        )
        .await;
    assert_eq!(heard, json!({ "name": "Bob", "same": true, "own": false, "speaks": true }));
    assert_eq!(call.right.run("return (await bob.hear('speaker')).own").await, true);
    call.right.run("voice.hush()").await;
    call.left.run("await until('silence', () => ann.room.participants[0].level < -90)").await;

    // The one who receives is told of that and of the one who sends, who is told of it as well.
    let quality =
        "({ score, bitrate, loss }) => ({ ok: score >= 0 && score <= 10 && bitrate > 0 && loss >= 0 && loss <= 1 })";
    for (page, who, of) in
        [(&call.left, "ann", "receiving"), (&call.left, "ann", "participant"), (&call.right, "bob", "sending")]
    {
        let told = format!(
            "return ({quality})(await {who}.hear('quality', ({{ of, bitrate }}) => of === '{of}' && bitrate > 0))"
        );
        assert_eq!(page.run(&told).await, json!({ "ok": true }), "{of}");
    }
    let kept = "const [him] = ann.room.participants; return him.quality.score === (await ann.hear('quality', ({ of }) => of === 'participant')).score";
    assert_eq!(call.left.run(kept).await, true);
    assert_eq!(call.left.run("return ann.problems").await, json!([]));
}

#[tokio::test]
async fn a_moderator_mutes_and_puts_out_and_others_are_refused() {
    let call = meet_a_moderator().await;
    let refused = call
        .right
        .run(
            "const [ann] = bob.room.participants;
             const kicked = await bob.room.kick(ann).catch(({ code, of }) => ({ code, of }));
             return { kicked, state: bob.room.state }",
        )
        .await;
    assert_eq!(refused, json!({ "kicked": { "code": "forbidden", "of": "kick" }, "state": "joined" }));
    for muted in [true, false] {
        let mute = format!(
            "const track = ann.room.tracks.find(({{ source }}) => source === 'microphone');
             await ann.room.moderateMute(track, {muted});
             await ann.hear('muted', (told) => told.track === track && told.muted === {muted});
             return track.muted"
        );
        assert_eq!(call.left.run(&mute).await, muted);
        let told = format!(
            "const {{ publication }} = await bob.hear('muted', ({{ own, muted }}) => own && muted === {muted});
             return [publication === microphone, microphone.muted, voice.track.enabled]"
        );
        assert_eq!(call.right.run(&told).await, json!([true, muted, !muted]));
    }
    let gone = call.left.run(
        "await ann.room.kick(ann.room.participants[0]); return [ann.room.participants.length, ann.room.tracks.length]",
    );
    assert_eq!(gone.await, json!([0, 0]));
    let left = call
        .right
        .run(
            "const { error } = await bob.hear('left');
             return { name: error.name, code: error.code, why: error.message, state: bob.room.state, camera: camera.track.readyState }",
        )
        .await;
    let expected = json!({ "name": "LockgateError", "code": "revoked", "why": "a moderator put you out", "state": "left", "camera": "ended" });
    assert_eq!(left, expected);
    let said = assert_spoke_the_dialect(&call.left).await;
    assert!(["mute", "unmute", "kick"].iter().all(|kind| said.contains(*kind)), "{said:?}");
}

#[tokio::test]
async fn a_screen_is_published_with_its_sound_and_taken_back() {
    let call = Call::begin(Setup::default()).await;
    enter(&call.left, "ann", &Token::of(1, "Ann"), "{}").await;
    enter(&call.right, "bob", &Token::of(2, "Bob"), "{}").await;
    call.left.run(PUBLISH).await;
    let shared = call
        .left
        .run(
            "globalThis.shared = await ann.room.publishScreen({ name: 'slides' });
             return shared.map(({ source, name, isPublished, track }) => [source, name, isPublished, track.contentHint])",
        )
        .await;
    assert_eq!(shared, json!([["screen", "slides", true, "detail"], ["screen-audio", "slides", true, ""]]));
    let seen = call
        .right
        .run(
            "await bob.track('screen-audio');
             const { frameWidth } = await bob.more(10, 'screen');
             await until('its sound', async () => (await bob.stats('screen-audio'))?.totalSamplesReceived > 0);
             return { wide: frameWidth > 0, name: (await bob.track('screen')).name }",
        )
        .await;
    assert_eq!(seen, json!({ "wide": true, "name": "slides" }));
    call.left.run("await Promise.all(shared.map((one) => one.unpublish()))").await;
    call.right.run("await until('no screen', () => bob.room.tracks.every(({ source }) => !/screen/.test(source))); await bob.more(5)").await;
    assert_eq!(
        call.left.run("return [shared.map(({ track }) => track.readyState), ann.problems]").await,
        json!([["ended", "ended"], []])
    );
    assert_eq!(call.right.run("return bob.problems").await, json!([]));
}
