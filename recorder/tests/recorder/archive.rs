//! What an archive says of itself is true, and what is changed in it shows.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_model::carrier::{Frame, GapReason, StartSession};
use lockgate_model::{Codec, Source};
use serde_json::Value;

use crate::support::{Clip, Node, Recorder, Sender, session, tool, track, until_sealed};

/// A session of somebody who spoke from 1.0 to 2.5 s, of whose sound 200 ms from 3.0 s on were lost.
fn recorded() -> (Node, Recorder, StartSession) {
    let (mut node, recorder) = Node::with_recorder();
    let start = session("s1");
    let clips = [Clip::sound(5), Clip::picture(Codec::Vp8, "320x240", 5)];
    let tracks = [track(&start, 1, Source::Microphone, Codec::Opus), track(&start, 2, Source::Camera, Codec::Vp8)];
    node.begin(&start, &tracks);
    let (mut a, mut v) = (Sender::new(1, &clips[0]), Sender::new(2, &clips[1]));
    for (level, until_ms) in [(90, 1000), (25, 2500), (90, 3000)] {
        a.level = Some(level);
        node.play(&mut [&mut a, &mut v], (until_ms + 30) * 1000);
    }
    let lost: Vec<_> = (0..10).flat_map(|_| a.packets()).collect();
    let (from, to) = (lost[0].seq, lost[9].seq);
    node.frame(&Frame::Gap { track: a.track, ssrc: a.ssrc, from, to, reason: GapReason::Overload });
    node.play(&mut [&mut a, &mut v], u64::MAX);
    node.stop(&start);
    until_sealed(&node.archive(&start));
    (node, recorder, start)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn verify(node: &Node) -> (Option<i32>, Value) {
    let (code, said) = tool(node.folder(), &["verify", "--json"]);
    (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// The code of the first problem that is found when a file was changed in this way, which is then undone.
fn problem_after(node: &Node, path: &Path, change: impl FnOnce(&Path)) -> String {
    let (before, bytes) = (path.with_extension("before"), fs::read(path).unwrap());
    fs::copy(path, &before).unwrap();
    change(path);
    let (code, found) = verify(node);
    fs::remove_file(&before).unwrap();
    fs::write(path, bytes).unwrap();
    let problem = &found["sessions"][0]["problems"][0];
    assert_eq!((code, &found["damaged"]), (Some(65), &1.into()), "{found}");
    format!("{} {}", problem["file"].as_str().unwrap_or("session"), problem["code"].as_str().unwrap())
}

fn flip_last_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_archive_is_sealed_when_its_session_has_ended_and_every_change_shows() {
    let (node, _recorder, start) = recorded();
    let (code, found) = verify(&node);
    let session = &found["sessions"][0];
    assert_eq!(
        (code, &session["verdict"], &session["signature"]),
        (Some(0), &"good".into(), &"good".into()),
        "{found}"
    );

    let folder = node.archive(&start);
    let at = |name: &str| folder.join(name);
    assert_eq!(problem_after(&node, &at("9-camera-1.webm"), flip_last_byte), "9-camera-1.webm hash");
    let cut = |path: &Path| OpenOptions::new().write(true).open(path).unwrap().set_len(5000).unwrap();
    assert_eq!(problem_after(&node, &at("9-camera-1.webm"), cut), "9-camera-1.webm size");
    assert_eq!(
        problem_after(&node, &at("9-camera-1.webm"), |path| fs::remove_file(path).unwrap()),
        "9-camera-1.webm missing"
    );
    let append = |path: &Path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"{}\n").unwrap();
    assert_eq!(problem_after(&node, &at("events.jsonl"), append), "events.jsonl hash");
    let shorten = |path: &Path| fs::write(path, "WEBVTT\n").unwrap();
    assert_eq!(problem_after(&node, &at("speakers.vtt"), shorten), "speakers.vtt hash");
    let rename = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("\"Ann\""));
        fs::write(path, text.replace("\"Ann\"", "\"Eve\"")).unwrap();
    };
    assert_eq!(problem_after(&node, &at("session.json"), rename), "session.json signature");
    assert_eq!(problem_after(&node, &at("session.json.sig"), flip_last_byte), "session.json signature");
    fs::write(at("9-camera-2.webm"), "").unwrap();
    assert_eq!(verify(&node).1["sessions"][0]["problems"][0]["code"], "stranger");
    fs::remove_file(at("9-camera-2.webm")).unwrap();
    assert_eq!(verify(&node).0, Some(0), "all of it was undone");
}

#[test]
fn whoever_has_another_key_is_not_believed() {
    let (node, _recorder, start) = recorded();
    let other = node.folder().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.toml"), "").unwrap();
    assert_eq!(tool(&other, &["key"]).0, Some(0));
    let archive = node.archive(&start).to_str().unwrap().to_owned();
    let key = other.join("archive-key.pem").to_str().unwrap().to_owned();
    let (code, said) = tool(node.folder(), &["verify", &archive, "--key", &key]);
    assert_eq!(code, Some(65));
    assert!(said.contains("signed by another key"), "{said}");
}

#[test]
fn other_programs_can_check_an_archive() {
    let (node, _recorder, start) = recorded();
    let folder = node.archive(&start);
    let key = node.folder().join("key.pem");
    fs::write(&key, tool(node.folder(), &["key"]).1).unwrap();
    let checked = Command::new("openssl")
        .args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"])
        .arg(&key)
        .arg("-in")
        .arg(folder.join("session.json"))
        .arg("-sigfile")
        .arg(folder.join("session.json.sig"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let manifest = json(&folder.join("session.json"));
    let sum = Command::new("sha256sum").arg(folder.join("9-camera-1.webm")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(manifest["files"][0]["sha256"].as_str(), sum.split(' ').next());
}

#[test]
fn events_tell_who_spoke_what_is_missing_and_what_the_wall_clock_showed() {
    let (node, _recorder, start) = recorded();
    let folder = node.archive(&start);
    let events = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let near = |value: &Value, expected: u64| value.as_u64().unwrap().abs_diff(expected) <= 40;

    let [speech] = all("speech")[..] else { panic!("{:?}", all("speech")) };
    assert!(near(&speech["fromMs"], 1000) && near(&speech["toMs"], 2500), "{speech}");
    let captions = fs::read_to_string(folder.join("speakers.vtt")).unwrap();
    assert!(captions.starts_with("WEBVTT\n") && captions.ends_with("\n<v Ann>Ann\n"), "{captions}");
    let [gap] = all("gap")[..] else { panic!("{:?}", all("gap")) };
    assert_eq!((&gap["reason"], &gap["packets"]), (&"overload".into(), &10.into()));
    assert!(near(&gap["fromMs"], 2980) && near(&gap["toMs"], 3200), "{gap}");
    assert_eq!(all("wall").len(), 1);
    assert!(all("wall")[0]["atUs"].as_u64().unwrap() > 1_700_000_000_000_000);

    let (code, said) = tool(node.folder(), &["info", folder.to_str().unwrap(), "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let info: Value = serde_json::from_str(&said).unwrap();
    assert!(near(&info["speech"]["Ann"], 1500), "{said}");
    assert!(near(&info["gaps"][0]["totalMs"], 220), "{said}");
    let (_, said) = tool(node.folder(), &["info", folder.to_str().unwrap()]);
    assert!(said.contains("9-camera-1.webm") && said.contains("sealed and signed"), "{said}");
    let (_, said) = tool(node.folder(), &["list", "--json"]);
    let list: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&list[0]["session"], &list[0]["end"]), (&"s1".into(), &"stopped".into()), "{said}");
}

#[test]
fn what_a_killed_recorder_left_is_mended_and_sealed_without_a_recorder() {
    let (mut node, mut recorder) = Node::with_recorder();
    let start = session("s1");
    let clip = Clip::sound(2);
    node.begin(&start, &[track(&start, 1, Source::Microphone, Codec::Opus)]);
    let mut sender = Sender::new(1, &clip);
    node.play(&mut [&mut sender], u64::MAX);
    node.expect_ack(sender.track, sender.ssrc, sender.seq);
    let (code, found) = verify(&node);
    assert_eq!((code, &found["recording"]), (Some(0), &1.into()), "what is being written is no damage: {found}");
    recorder.kill();

    let (code, found) = verify(&node);
    assert_eq!((code, &found["sessions"][0]["problems"][0]["code"]), (Some(65), &"left-open".into()), "{found}");
    let (code, said) = tool(node.folder(), &["repair", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["files"][0]["outcome"]), (Some(0), &"mended".into()), "{said}");
    assert_eq!(report["sealed"].as_array().unwrap().len(), 1, "{said}");
    let (code, found) = verify(&node);
    assert_eq!((code, &found["good"]), (Some(0), &1.into()), "{found}");
    assert!(tool(node.folder(), &["repair"]).1.contains("nothing was left open"));
}

#[test]
fn a_session_that_goes_on_is_sealed_anew() {
    let (mut node, mut recorder, start) = recorded();
    let folder = node.archive(&start);
    let sealed = fs::read(folder.join("session.json.sig")).unwrap();
    recorder.terminate();
    let _next = Recorder::start(node.folder());
    node.attach();
    let clip = Clip::sound(1);
    node.begin(&start, &[track(&start, 7, Source::Microphone, Codec::Opus)]);
    let mut sender = Sender::new(7, &clip);
    sender.from_us = 10_000_000;
    node.play(&mut [&mut sender], u64::MAX);
    node.expect_ack(sender.track, sender.ssrc, sender.seq);
    assert!(!folder.join("session.json.sig").exists(), "what changes is not sealed");
    node.stop(&start);
    until_sealed(&folder);
    assert_ne!(fs::read(folder.join("session.json.sig")).unwrap(), sealed);
    let (code, found) = verify(&node);
    assert_eq!((code, &found["sessions"][0]["files"]), (Some(0), &2.into()), "{found}");
}

#[test]
fn tools_say_what_is_wrong_with_what_they_are_told() {
    let (node, _recorder) = Node::with_recorder();
    let nowhere: PathBuf = node.folder().join("nowhere");
    let (code, said) = tool(node.folder(), &["verify", nowhere.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("no session is there"), "{code:?} {said}");
    assert_eq!(tool(node.folder(), &["verify", "--what"]).0, Some(2));
    let config = node.folder().join("config.toml");
    fs::write(&config, "[recording]\ndirectory = 1\n").unwrap();
    let (code, said) = tool(node.folder(), &["list"]);
    assert!(code == Some(64) && said.contains("config.toml:2:13: recording.directory"), "{code:?} {said}");
}
