//! Each codec into the container that takes it.

use lockgate_model::{Codec, Source};

use crate::support::{Clip, Node, Probe, Sender, decodes, is_well_formed, session, track};

fn record(codec: Codec, name: &str) -> (Clip, Probe) {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let (sound, picture) = (Clip::sound(2), Clip::picture(codec, "322x182", 2));
    let tracks = [track(&start, 1, Source::ScreenAudio, Codec::Opus), track(&start, 2, Source::Screen, codec)];
    node.begin(&start, &tracks);
    node.play(&mut [&mut Sender::new(1, &sound), &mut Sender::new(2, &picture)], u64::MAX);
    let files = node.stop(&start);
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [name]);
    let file = node.archive(&start).join(name);
    let probe = Probe::read(&file);
    probe.stream("opus").expect_frames(&sound.hashes());
    decodes(&file);
    is_well_formed(&file);
    (picture, probe)
}

#[test]
fn vp9_goes_into_webm_as_it_came() {
    let (clip, probe) = record(Codec::Vp9, "9-screen-1.webm");
    let stream = probe.stream("vp9");
    stream.expect_frames(&clip.hashes());
    assert_eq!((stream.width, stream.height), (322, 182));
}

#[test]
fn av1_goes_into_webm_without_temporal_delimiters() {
    let (clip, probe) = record(Codec::Av1, "9-screen-1.webm");
    let stream = probe.stream("av1");
    assert_eq!((stream.hashes.len(), stream.width, stream.height), (clip.frames.len(), 322, 182));
    assert!(stream.is_monotonic() && stream.keys[0]);
}

#[test]
fn h264_goes_into_matroska_with_its_parameter_sets_in_the_head() {
    let (clip, probe) = record(Codec::H264, "9-screen-1.mkv");
    let stream = probe.stream("h264");
    assert_eq!((stream.hashes.len(), stream.width, stream.height), (clip.frames.len(), 322, 182));
    assert_eq!(stream.keys.iter().filter(|key| **key).count(), 2);
    assert!(stream.is_monotonic());
}
