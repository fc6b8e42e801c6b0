//! What is written is what was sent.

use crate::support::{Clip, Node, Probe, Sender, decodes, is_well_formed, session, track};
use lockgate_model::carrier::{FileState, SessionState};
use lockgate_model::{Codec, Source};
use serde_json::Value;

const ALL: u64 = u64::MAX;

#[test]
fn a_participants_sound_and_picture_make_one_file_that_holds_every_frame() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let (sound, picture) = (Clip::sound(4), Clip::picture(Codec::Vp8, "320x240", 4));
    let tracks = [track(&start, 1, Source::Microphone, Codec::Opus), track(&start, 2, Source::Camera, Codec::Vp8)];
    node.begin(&start, &tracks);
    let (mut a, mut v) = (Sender::new(1, &sound), Sender::new(2, &picture));
    // The picture takes a longer way than the sound; the reports tell where it belongs.
    v.delay_us = 230_000;
    node.play(&mut [&mut a, &mut v], ALL);
    node.expect(&start, SessionState::Recording);
    let files = node.stop(&start);

    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!((files[0].path.as_str(), files[0].state), ("9-camera-1.webm", FileState::Closed));
    assert!(files[0].duration_ms.abs_diff(4000) < 60, "{files:?}");
    let file = node.archive(&start).join("9-camera-1.webm");
    assert_eq!(files[0].bytes, file.metadata().unwrap().len());
    let probe = Probe::read(&file);
    assert!((probe.duration.unwrap() - 4.0).abs() < 0.06, "{:?}", probe.duration);
    let (opus, vp8) = (probe.stream("opus"), probe.stream("vp8"));
    opus.expect_frames(&sound.hashes());
    vp8.expect_frames(&picture.hashes());
    assert_eq!((vp8.width, vp8.height), (320, 240));
    assert!(vp8.keys[0] && vp8.is_monotonic() && opus.is_monotonic());
    // Sound is said to begin 6.5 ms before its timestamp: that is what the encoder looks ahead.
    let skew = vp8.times[60] - (opus.times[100] + 0.0065);
    assert!(skew.abs() < 0.02, "picture and sound of the same moment are {skew} s apart");
    decodes(&file);
    is_well_formed(&file);

    let manifest: Value =
        serde_json::from_slice(&std::fs::read(node.archive(&start).join("session.json")).unwrap()).unwrap();
    assert_eq!((&manifest["schema"], &manifest["end"]), (&1.into(), &"stopped".into()));
    assert_eq!(manifest["files"][0]["tracks"][1]["frames"], 120);
    assert_eq!(manifest["files"][0]["tracks"][1]["keyframes"], 4);
    let events = std::fs::read_to_string(node.archive(&start).join("events.jsonl")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    for name in ["session", "track", "open", "close", "resolution", "track-end", "end"] {
        assert!(named.contains(&name), "{name} in {named:?}");
    }
}
