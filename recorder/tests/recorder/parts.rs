//! When a file ends and the next one begins.

use lockgate_model::carrier::{Frame, TrackNumber};
use lockgate_model::{Codec, Source};

use crate::support::{Clip, Node, Probe, Sender, decodes, is_well_formed, session, track};

const SECOND: u64 = 1_000_000;

#[test]
fn sound_alone_makes_a_file() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clip = Clip::sound(2);
    node.begin(&start, &[track(&start, 1, Source::Microphone, Codec::Opus)]);
    node.play(&mut [&mut Sender::new(1, &clip)], u64::MAX);
    let files = node.stop_at_once(&start);
    assert_eq!(files.len(), 1);
    let file = node.archive(&start).join("9-camera-1.webm");
    Probe::read(&file).stream("opus").expect_frames(&clip.hashes());
    decodes(&file);
}

#[test]
fn camera_and_screen_are_two_files() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clip = Clip::picture(Codec::Vp8, "160x120", 1);
    let tracks = [track(&start, 1, Source::Camera, Codec::Vp8), track(&start, 2, Source::Screen, Codec::Vp8)];
    node.begin(&start, &tracks);
    node.play(&mut [&mut Sender::new(1, &clip), &mut Sender::new(2, &clip)], u64::MAX);
    let mut paths: Vec<_> = node.stop(&start).into_iter().map(|file| file.path).collect();
    paths.sort();
    assert_eq!(paths, ["9-camera-1.webm", "9-screen-1.webm"]);
}

#[test]
fn a_track_that_joins_begins_a_new_file_at_a_key_frame() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let (sound, picture) = (Clip::sound(2), Clip::picture(Codec::Vp8, "320x240", 4));
    node.begin(&start, &[track(&start, 2, Source::Camera, Codec::Vp8)]);
    let (mut a, mut v) = (Sender::new(1, &sound), Sender::new(2, &picture));
    node.play(&mut [&mut v], 2 * SECOND + SECOND / 2);
    node.expect_ack(v.track, v.ssrc, v.seq);
    node.add(&track(&start, 1, Source::Microphone, Codec::Opus));
    a.from_us = 2 * SECOND + SECOND / 2;
    node.play(&mut [&mut a, &mut v], 2 * SECOND + SECOND * 3 / 4);
    node.expect_pli(v.track);
    node.play(&mut [&mut a, &mut v], u64::MAX);
    assert_eq!(node.stop(&start).len(), 2);

    let archive = node.archive(&start);
    let hashes = picture.hashes();
    Probe::read(&archive.join("9-camera-1.webm")).stream("vp8").expect_frames(&hashes[..90]);
    let second = Probe::read(&archive.join("9-camera-2.webm"));
    second.stream("vp8").expect_frames(&hashes[90..]);
    assert!(second.stream("vp8").keys[0]);
    second.stream("opus").expect_frames(&sound.hashes());
    // The sound began half a second before the picture's key frame.
    assert!((second.stream("vp8").times[0] - second.stream("opus").times[0] - 0.5).abs() < 0.05);
    decodes(&archive.join("9-camera-1.webm"));
    decodes(&archive.join("9-camera-2.webm"));
}

#[test]
fn h264_with_other_parameters_begins_a_new_file() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clips = [Clip::picture(Codec::H264, "320x240", 1), Clip::picture(Codec::H264, "640x480", 1)];
    node.begin(&start, &[track(&start, 2, Source::Camera, Codec::H264)]);
    let mut first = Sender::new(2, &clips[0]);
    node.play(&mut [&mut first], u64::MAX);
    let mut second = switch(&mut node, &first, &clips[1], SECOND);
    node.play(&mut [&mut second], u64::MAX);
    assert_eq!(node.stop(&start).len(), 2);
    for (name, width) in [("9-camera-1.mkv", 320), ("9-camera-2.mkv", 640)] {
        let file = node.archive(&start).join(name);
        let probe = Probe::read(&file);
        assert_eq!((probe.stream("h264").width, probe.stream("h264").hashes.len()), (width, 30));
        decodes(&file);
    }
}

#[test]
fn a_layer_switch_of_vp8_stays_in_the_file_and_in_time() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clips = [Clip::picture(Codec::Vp8, "320x240", 1), Clip::picture(Codec::Vp8, "640x480", 1)];
    node.begin(&start, &[track(&start, 2, Source::Camera, Codec::Vp8)]);
    let mut first = Sender::new(2, &clips[0]);
    node.play(&mut [&mut first], u64::MAX);
    let mut second = switch(&mut node, &first, &clips[1], SECOND);
    node.play(&mut [&mut second], u64::MAX);
    assert_eq!(node.stop(&start).len(), 1);
    let file = node.archive(&start).join("9-camera-1.webm");
    let probe = Probe::read(&file);
    let stream = probe.stream("vp8");
    stream.expect_frames(&[clips[0].hashes(), clips[1].hashes()].concat());
    assert!(stream.times.windows(2).all(|pair| (pair[1] - pair[0] - 1.0 / 30.0).abs() < 0.01), "{:?}", stream.times);
    decodes(&file);
    let events = std::fs::read_to_string(node.archive(&start).join("events.jsonl")).unwrap();
    assert!(events.contains(r#""event":"resolution","track":2,"width":640,"height":480"#), "{events}");
}

/// The track goes on with another encoding, whose timestamps start elsewhere.
fn switch(node: &mut Node, old: &Sender, clip: &Clip, at_us: u64) -> Sender {
    let mut new = Sender::new(7, clip);
    new.track = TrackNumber(2);
    new.from_us = at_us;
    let (old_report, new_report) = (Some(old.report(at_us)), Some(new.report(at_us)));
    let layer = Frame::Layer {
        track: old.track,
        old_ssrc: old.ssrc,
        new_ssrc: new.ssrc,
        first_seq: new.seq,
        old_report,
        new_report,
    };
    node.frame(&layer);
    new
}

#[test]
fn a_file_that_is_long_enough_ends_at_a_key_frame_and_nothing_is_lost_between_the_parts() {
    let (mut node, _recorder) = Node::with_recorder_that("part_length = \"1m\"");
    let start = session("s1");
    let clips = [Clip::sound(64), Clip::picture(Codec::Vp8, "160x120", 64)];
    let tracks = [track(&start, 1, Source::Microphone, Codec::Opus), track(&start, 2, Source::Camera, Codec::Vp8)];
    node.begin(&start, &tracks);
    let (mut a, mut v) = (Sender::new(1, &clips[0]), Sender::new(2, &clips[1]));
    node.play(&mut [&mut a, &mut v], 60_500_000);
    // What is in the file is told with the files' tick, and with it they are looked at.
    node.expect_ack(v.track, v.ssrc, v.seq);
    node.expect_pli(v.track);
    node.play(&mut [&mut a, &mut v], u64::MAX);
    let files = node.stop(&start);
    let names: Vec<_> = files.iter().map(|file| &*file.path).collect();
    assert_eq!(names, ["9-camera-1.webm", "9-camera-2.webm"]);
    let parts = names.iter().map(|name| Probe::read(&node.archive(&start).join(name))).collect::<Vec<_>>();
    for (codec, clip) in [("opus", &clips[0]), ("vp8", &clips[1])] {
        let hashes: Vec<_> = parts.iter().flat_map(|part| part.stream(codec).hashes.clone()).collect();
        assert!(hashes == clip.hashes(), "{codec}: {} of {} frames", hashes.len(), clip.frames.len());
    }
    assert!(parts[1].stream("vp8").keys[0] && parts[1].stream("vp8").times[0] < 0.1);
    assert!((60_000..62_500).contains(&files[0].duration_ms), "{files:?}");
    names.iter().for_each(|name| is_well_formed(&node.archive(&start).join(name)));
}
