//! One video of a session: everybody in their place, and in time with each other.

use std::path::Path;
use std::process::Command;

use lockgate_model::{Codec, PublisherId, Source};

use crate::support::{Clip, Node, Probe, Sender, session, tool, track, until_sealed};

/// Red, green and blue of a pixel of a video's frame at this second.
fn pixel(video: &Path, second: f64, x: usize, y: usize) -> [u8; 3] {
    let crop = format!("crop=2:2:{x}:{y}");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", &second.to_string(), "-i"])
        .arg(video)
        .args(["-vf", &crop, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    *output.stdout.first_chunk().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// How loud a part of a video is, in dB below the loudest.
fn loudness(video: &Path, second: f64) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-ss", &second.to_string(), "-t", "0.4", "-i"])
        .arg(video)
        .args(["-map", "0:a", "-af", "volumedetect", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let level = said.split("mean_volume: ").nth(1).and_then(|rest| rest.split(' ').next());
    level.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

#[test]
fn a_session_becomes_one_video_in_which_everybody_has_a_place_and_a_time() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let [red, blue] = ["red", "blue"].map(|color| Clip::color(color, "320x180", 4));
    let sound = Clip::sound(1);
    let of = |number, publisher, source, codec| {
        let mut add = track(&start, number, source, codec);
        add.publisher_id = PublisherId(publisher);
        add
    };
    let tracks = [
        of(1, 1, Source::Camera, Codec::Vp8),
        of(2, 2, Source::Camera, Codec::Vp8),
        of(3, 2, Source::Microphone, Codec::Opus),
    ];
    node.begin(&start, &tracks);
    let (mut first, mut second) = (Sender::new(1, &red), Sender::new(2, &blue));
    let mut voice = Sender::new(3, &sound);
    // The second one comes two seconds later, and speaks for one second from the fourth on.
    (second.from_us, voice.from_us) = (2_000_000, 4_000_000);
    node.play(&mut [&mut first, &mut second, &mut voice], u64::MAX);
    node.stop(&start);
    let folder = node.archive(&start);
    until_sealed(&folder);

    let video = node.folder().join("all.webm");
    let arguments = ["compose", folder.to_str().unwrap(), "--width", "640", "--height", "180", "--output"];
    let arguments = [&arguments[..], &[video.to_str().unwrap()]].concat();
    let (code, said) = tool(node.folder(), &arguments);
    assert_eq!(code, Some(0), "{said}");
    let probe = Probe::read(&video);
    assert!((probe.duration.unwrap() - 6.0).abs() < 0.2, "{:?}", probe.duration);
    assert_eq!((probe.stream("vp9").width, probe.stream("vp9").height), (640, 180));
    let is = |second, x, color: [bool; 3]| pixel(&video, second, x, 90).map(|part| part > 120) == color;
    let (red, blue, nobody) = ([true, false, false], [false, false, true], [false; 3]);
    assert!(is(1.0, 160, red) && is(1.0, 480, nobody), "the first one is alone");
    assert!(is(3.0, 160, red) && is(3.0, 480, blue), "both are there");
    assert!(is(5.0, 160, nobody) && is(5.0, 480, blue), "the first one has left");
    assert!(is(1.9, 480, nobody) && is(2.1, 480, blue), "the second one came after two seconds");
    assert!(loudness(&video, 3.5) < -60.0 && loudness(&video, 4.1) > -40.0, "sound is where it was");
    let (code, said) = tool(node.folder(), &arguments);
    assert!(code == Some(1) && said.contains("it is there already"), "{said}");
}

#[test]
fn without_the_program_the_command_can_still_be_had() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clip = Clip::sound(1);
    node.begin(&start, &[track(&start, 1, Source::Microphone, Codec::Opus)]);
    node.play(&mut [&mut Sender::new(1, &clip)], u64::MAX);
    node.stop(&start);
    let folder = node.archive(&start);
    let video = node.folder().join("it's.mp4");
    let arguments = ["compose", folder.to_str().unwrap(), "-o", video.to_str().unwrap()];
    let (code, said) = tool(node.folder(), &[&arguments[..], &["--ffmpeg", "no-such-program"]].concat());
    assert!(code == Some(1) && said.contains("--print"), "{code:?} {said}");
    let half = node.folder().join("it's.part.mp4");
    std::fs::write(&half, "somebody's").unwrap();
    let (code, said) = tool(node.folder(), &arguments);
    assert!(code == Some(1) && said.contains("it's.part.mp4: it is there already"), "{code:?} {said}");
    assert_eq!(std::fs::read_to_string(&half).unwrap(), "somebody's");
    let (code, said) = tool(node.folder(), &[&arguments[..], &["--print"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let ended = Command::new("sh").args(["-c", &said]).status().unwrap();
    assert!(ended.success(), "{said}");
    assert!((Probe::read(&video).duration.unwrap() - 1.0).abs() < 0.1);
}
