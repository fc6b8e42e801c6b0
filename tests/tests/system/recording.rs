//! Recordings of real calls, read by ffmpeg.

use lockgate_tests::{Archive, Call, MediaFile, Page, ROOM, Recorder, Setup, Token, until};

/// Publishes VP8 and Opus as `name`.
async fn publish(page: &Page, name: &str) {
    publish_as(page, name, "vp8").await;
}

/// Publishes a camera with this codec, and Opus, as `name`.
async fn publish_as(page: &Page, name: &str, codec: &str) {
    page.run(&format!(
        "await {name}.publish([{{ track: await devices.camera(320, 240, 20), source: 'camera', codec: '{codec}' }},
                               {{ track: await devices.microphone(), source: 'microphone' }}])"
    ))
    .await;
}

/// Starts a recording and returns its id once it runs.
async fn record(page: &Page, name: &str) -> String {
    let state = page
        .run(&format!(
            "await {name}.ask({{ type: 'start-recording' }});
             return await {name}.hear('the recording', ({{ type, state }}) => type === 'recording-state' && state === 'recording')"
        ))
        .await;
    state["sessionId"].as_str().unwrap_or_else(|| panic!("{state}")).to_owned()
}

/// Waits until `name` has sent so many more frames.
async fn send(page: &Page, name: &str, frames: u32) {
    page.run(&format!(
        "const sent = async () => Object.values(await {name}.outbound())[0].framesSent;
         const before = await sent();
         await until('{frames} frames to be sent', async () => await sent() >= before + {frames})"
    ))
    .await;
}

async fn stop(page: &Page, name: &str) {
    page.run(&format!(
        "await {name}.ask({{ type: 'stop-recording' }});
         await {name}.hear('the end of the recording', ({{ type, state }}) => type === 'recording-state' && state === 'stopped')"
    ))
    .await;
}

#[track_caller]
fn assert_plays(file: &MediaFile, sent: u32) {
    assert_plays_as(file, "vp8", sent);
}

/// Whether a file holds picture and sound, where `sent` frames left the browser while it was recorded.
#[track_caller]
fn assert_plays_as(file: &MediaFile, codec: &str, sent: u32) {
    let (video, audio) = (file.stream("video"), file.stream("audio"));
    eprintln!(
        "{}: {:.2} s, {} frames of {}, {} frames of {}",
        file.path.file_name().unwrap_or_default().display(),
        file.seconds,
        video.frames,
        video.codec,
        audio.frames,
        audio.codec,
    );
    assert_eq!((video.codec.as_str(), audio.codec.as_str()), (codec, "opus"));
    assert_eq!(video.width, 320);
    assert!(video.is_monotonic(), "{:?}", video.times);
    assert!(audio.is_monotonic(), "{:?}", audio.times);
    assert!(video.begins_with_key_frame, "{file:?}");
    // A file may wait for its first key frame.
    assert!(video.frames >= u64::from(sent / 2), "{} frames of {sent}", video.frames);
    // There are at most 20 frames a second; 20 ms of sound are one packet, and a busy browser leaves some out.
    #[allow(clippy::cast_precision_loss, reason = "these counts are small")]
    let (frames, packets) = (video.frames as f64, audio.frames as f64);
    assert!(file.seconds >= frames / 25.0, "{frames} frames in {} s", file.seconds);
    assert!(packets >= file.seconds * 25.0, "{packets} packets of sound in {} s", file.seconds);
}

#[tokio::test]
async fn each_participant_of_a_call_is_one_playable_file() {
    let call = Call::begin(Setup::default()).await;
    let _recorder = Recorder::beside(&call.node).await;
    let call = call.with_left("ann", &Token::of(1, "Ann").can_record(), "{}").await;
    let Call { node, left, right, .. } = &call.with_right("bob", &Token::of(2, "Bob"), "{}").await;
    tokio::join!(publish(left, "ann"), publish(right, "bob"));
    let session = record(left, "ann").await;
    tokio::join!(send(left, "ann", 110), send(right, "bob", 110));
    stop(left, "ann").await;
    assert_eq!(
        right.run("return bob.heard.filter(({ type }) => type === 'recording-state').map(({ state }) => state)").await,
        serde_json::json!(["starting", "recording", "stopping", "stopped"]),
    );

    let archive = Archive::of(&node.recordings(), ROOM, &session);
    let files = archive.files(".webm");
    assert_eq!(files.len(), 2, "{:?}", archive.files(""));
    assert!(archive.files(".part").is_empty());
    for file in files {
        assert_plays(&MediaFile::decode(&file), 110);
    }
    let manifest = archive.manifest();
    assert_eq!(manifest["end"], "stopped", "{manifest}");
    let mut names: Vec<_> = manifest["files"].as_array().unwrap().iter().map(|file| file["username"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["Ann", "Bob"], "{manifest}");
}

#[tokio::test]
async fn what_was_written_plays_after_the_recorder_was_killed_and_the_next_one_goes_on_in_it() {
    let call = Call::begin(Setup::default()).await;
    let mut recorder = Recorder::beside(&call.node).await;
    let Call { node, left: page, .. } = &call.with_left("ann", &Token::of(1, "Ann").can_record(), "{}").await;
    publish(page, "ann").await;
    let session = record(page, "ann").await;
    send(page, "ann", 60).await;
    recorder.kill().await;

    let archive = Archive::of(&node.recordings(), ROOM, &session);
    let growing = archive.files(".part");
    let [open] = &growing[..] else { panic!("{:?}", archive.files("")) };
    let torn = node.folder().join("torn.webm");
    let before = std::fs::copy(open, &torn).expect("it can be read");
    let _second = Recorder::beside(node).await;
    let grows = async || open.metadata().is_ok_and(|now| now.len() > before).then_some(());
    until("the file to grow on", grows).await;
    send(page, "ann", 40).await;
    stop(page, "ann").await;
    assert!(archive.files(".part").is_empty() && archive.files(".mark").is_empty(), "{:?}", archive.files(""));

    let first = MediaFile::decode(&torn);
    assert_plays(&first, 60);
    let played = page.play(&torn).await;
    assert!(played >= 30, "the browser shows {played} frames of it");
    let complete = archive.files(".webm");
    let [whole] = &complete[..] else { panic!("{:?}", archive.files("")) };
    let whole = MediaFile::decode(whole);
    assert_plays(&whole, 100);
    let frames = |file: &MediaFile| file.stream("video").frames;
    assert!(frames(&whole) >= frames(&first) + 40, "{} and then {}", frames(&first), frames(&whole));
    assert_eq!(archive.manifest()["files"][0]["mended"], serde_json::Value::Null);
}

/// A file of each codec; H.264 is not for WebM.
#[tokio::test]
async fn vp9_av1_and_h264_are_recorded_too() {
    let Call { node, left: page, .. } = &Call::begin(Setup::default()).await;
    let _recorder = Recorder::beside(node).await;
    for (codec, ending) in [("vp9", ".webm"), ("av1", ".webm"), ("h264", ".mkv")] {
        page.enter("ann", node, &Token::of(1, "Ann").can_record(), codec, "{}").await;
        publish_as(page, "ann", codec).await;
        let session = record(page, "ann").await;
        send(page, "ann", 40).await;
        stop(page, "ann").await;
        page.run("await ann.ask({ type: 'leave-room' }); ann.sending.close(); ann.socket.close()").await;
        let files = Archive::of(&node.recordings(), codec, &session).files(ending);
        assert_eq!(files.len(), 1, "{codec}: {files:?}");
        assert_plays_as(&MediaFile::decode(&files[0]), codec, 40);
    }
}

#[tokio::test]
async fn a_room_that_is_always_recorded_needs_nobody_to_ask() {
    let setup = Setup { recording: "auto = true".into(), ..Default::default() };
    let call = Call::begin(setup).await;
    let _recorder = Recorder::beside(&call.node).await;
    let Call { node, left: page, .. } = &call.with_left("ann", &Token::of(1, "Ann"), "{}").await;
    publish(page, "ann").await;
    let state = "ann.hear('the recording', ({ type, state }) => type === 'recording-state' && state === 'recording')";
    let session = page.run(&format!("return (await {state}).sessionId")).await;
    send(page, "ann", 40).await;
    page.run("await ann.ask({ type: 'leave-room' })").await;
    let archive = Archive::of(&node.recordings(), ROOM, session.as_str().expect("a session has an id"));
    until("the file to be complete", async || (archive.files(".webm").len() == 1).then_some(())).await;
    assert_plays(&MediaFile::decode(&archive.files(".webm")[0]), 40);
}
