//! A room on several media workers: every connection on another one than the last.

use lockgate_tests::{Archive, Call, MediaFile, ROOM, Recorder, Setup, Token, assert_unbroken};

#[tokio::test]
async fn a_room_that_is_spread_over_workers_is_one_call() {
    let call = Call::between_ann_and_bob(Setup { room_spread: Some(1), ..Setup::default() }).await;
    let Call { node, left, right, .. } = &call;
    for (page, who) in [(left, "ann"), (right, "bob")] {
        let publish = format!(
            "return await {who}.publish([{{ track: await devices.camera(320, 240, 20), source: 'camera', codec: 'vp8' }},
                                         {{ track: await devices.microphone(), source: 'microphone' }}])"
        );
        let published = page.run(&publish).await;
        assert!(published.as_array().unwrap().iter().all(|track| track["accepted"] == true), "{published}");
    }
    let watch = |who: &str| {
        format!(
            "const {{ publisherId, tracks }} = await {who}.publisher(2);
             await {who}.subscribe(publisherId);
             const of = (kind) => tracks.find((track) => track.kind === kind).trackId;
             const video = await {who}.decoded(of('video'), 60);
             const audio = await {who}.sounded(of('audio'), 48_000);
             return {{ video, audio, problems: {who}.problems }}"
        )
    };
    let (by_ann, by_bob) = (watch("ann"), watch("bob"));
    let (at_ann, at_bob) = tokio::join!(left.run(&by_ann), right.run(&by_bob));
    for seen in [at_ann, at_bob] {
        assert_unbroken(&seen["video"]);
        assert_eq!(seen["problems"], serde_json::json!([]));
    }
    // The two publish on different workers: wherever somebody sits who watches both, one of them comes through a pipe.
    let third = call.page().await;
    third.enter("eve", node, &Token::of(3, "Eve"), ROOM, "{}").await;
    let seen = third
        .run(
            "const video = [];
             for (const name of ['Ann', 'Bob']) {
                 const { publisherId, tracks } = await eve.publisher(2, name);
                 await eve.subscribe(publisherId);
                 video.push(await eve.decoded(tracks.find((track) => track.kind === 'video').trackId, 60));
             }
             return { video, problems: eve.problems }",
        )
        .await;
    assert_eq!(seen["problems"], serde_json::json!([]));
    assert_eq!(node.metric("lockgate_pipes").await, 2.0, "both ends of one");
    assert_eq!(node.metric("lockgate_tracks").await, 4.0);
    assert!(node.metric("lockgate_piped_packets_received_total").await > 60.0);
    assert_eq!(node.metric("lockgate_dropped_total{reason=\"pipe-frame\"}").await, 0.0);
    assert_eq!(node.metric("lockgate_worker_up{worker=\"1\"}").await, 1.0);
}

#[tokio::test]
async fn a_recording_has_everybody_whichever_worker_they_publish_on() {
    let call = Call::begin(Setup { room_spread: Some(1), ..Setup::default() }).await;
    let _recorder = Recorder::beside(&call.node).await;
    let call = call.with_left("ann", &Token::of(1, "Ann").can_record(), "{}").await;
    let Call { node, left, right, .. } = &call.with_right("bob", &Token::of(2, "Bob"), "{}").await;
    for (page, who) in [(left, "ann"), (right, "bob")] {
        page.run(&format!(
            "await {who}.publish([{{ track: await devices.camera(320, 240, 20), source: 'camera', codec: 'vp8' }},
                                  {{ track: await devices.microphone(), source: 'microphone' }}])"
        ))
        .await;
    }
    assert_eq!(node.metric("lockgate_pipes").await, 2.0, "the room is on both workers");
    let recorded = left
        .run(
            "await ann.ask({ type: 'start-recording' });
             const { sessionId } = await ann.hear('the recording', ({ type, state }) => type === 'recording-state' && state === 'recording');
             return sessionId",
        )
        .await;
    let session = recorded.as_str().unwrap_or_else(|| panic!("{recorded}")).to_owned();
    for (page, who) in [(left, "ann"), (right, "bob")] {
        page.run(&format!(
            "const sent = async () => Object.values(await {who}.outbound())[0].framesSent;
             const before = await sent();
             await until('60 frames to be sent', async () => await sent() >= before + 60)"
        ))
        .await;
    }
    left.run(
        "await ann.ask({ type: 'stop-recording' });
         await ann.hear('the end of the recording', ({ type, state }) => type === 'recording-state' && state === 'stopped')",
    )
    .await;
    let files = Archive::of(&node.recordings(), ROOM, &session).files(".webm");
    assert_eq!(files.len(), 2);
    for file in files {
        let file = MediaFile::decode(&file);
        assert!(file.stream("video").frames > 20 && file.stream("audio").frames > 50, "{}", file.path.display());
    }
}
