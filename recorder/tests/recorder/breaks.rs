//! Recorders that are killed, nodes that go away, disks and configurations that are wrong: nothing that was written is lost.

use std::path::PathBuf;

use lockgate_model::carrier::{FileState, SessionState, ToRecorder};
use lockgate_model::{Codec, Source};
use serde_json::Value;

use crate::support::{
    Clip, Node, Probe, Recorder, Recording, Sender, decodes, exit_code, is_well_formed, session, tool, track,
    until_sealed,
};

const SECOND: u64 = 1_000_000;

impl Recording {
    /// The file holds exactly what was acknowledged.
    fn check_file(&self, name: &str) -> PathBuf {
        let file = self.node.archive(&self.start).join(name);
        let probe = Probe::read(&file);
        for ((codec, clip), sender) in ["opus", "vp8"].into_iter().zip(&self.clips).zip(&self.senders) {
            let sent = sender.sent();
            assert!(sent > 60);
            probe.stream(codec).expect_frames(&clip.hashes()[..sent]);
            assert!(probe.stream(codec).is_monotonic());
        }
        decodes(&file);
        file
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.node.archive(&self.start).join("session.json")).unwrap()).unwrap()
    }
}

fn begin() -> Recording {
    Recording::begin(Node::with_recorder(), 4)
}

#[test]
fn what_was_acknowledged_before_a_kill_is_readable_and_the_next_run_completes_it() {
    let mut running = begin();
    running.recorder.kill();
    let open = running.check_file("9-camera-1.webm.part");
    // What a kill in the middle of a write leaves.
    let whole = std::fs::read(&open).unwrap();
    std::fs::write(&open, [&whole[..], &[0xA3, 0x44, 0x00, 0x82, 1, 2, 3]].concat()).unwrap();

    running.recorder = Recorder::start(running.node.folder());
    running.node.attach();
    until_sealed(open.parent().unwrap());
    let file = running.check_file("9-camera-1.webm");
    is_well_formed(&file);
    assert!((Probe::read(&file).duration.unwrap() - 2.47).abs() < 0.1);
    assert!(!open.exists());
    let manifest = running.manifest();
    assert_eq!(manifest["files"][0]["path"], "9-camera-1.webm");
    assert_eq!((&manifest["files"][0]["mended"], &manifest["end"]), (&true.into(), &"interrupted".into()));

    // What was mended is counted, too.
    let path = running.node.archive(&running.start).join("session.json");
    let mut counted = manifest;
    for changed in ["frames", "keyframes"] {
        let was = std::mem::replace(&mut counted["files"][0]["tracks"][1][changed], 7.into());
        std::fs::write(&path, counted.to_string()).unwrap();
        let (_, said) = tool(running.node.folder(), &["verify", path.parent().unwrap().to_str().unwrap()]);
        assert!(said.contains("frames and key frames; the manifest says"), "{said}");
        counted["files"][0]["tracks"][1][changed] = was;
    }
    std::fs::write(&path, counted.to_string()).unwrap();

    // The session goes on, in another file.
    let start = running.start.clone();
    running.node.begin(&start, &[track(&start, 3, Source::Microphone, Codec::Opus)]);
    let mut sound = Sender::new(3, &running.clips[0]);
    sound.from_us = 3 * SECOND;
    running.node.play(&mut [&mut sound], u64::MAX);
    let files = running.node.stop(&start);
    let paths: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.state)).collect();
    assert_eq!(paths, [("9-camera-1.webm", FileState::Closed), ("9-camera-2.webm", FileState::Closed)]);
    running.check_file("9-camera-1.webm");
    let second = running.node.archive(&start).join("9-camera-2.webm");
    Probe::read(&second).stream("opus").expect_frames(&running.clips[0].hashes());
    assert_eq!(running.manifest()["files"][1]["startUs"], 3_030_000);
}

#[test]
fn a_recorder_that_is_asked_to_end_completes_its_files_first() {
    let mut running = begin();
    assert_eq!(running.recorder.terminate().code(), Some(0));
    let file = running.check_file("9-camera-1.webm");
    is_well_formed(&file);
    assert_eq!(running.manifest()["end"], "interrupted");
}

#[test]
fn a_recorder_outlives_its_node_and_attaches_to_the_next() {
    let mut running = begin();
    running.node.hang_up();
    running.node.attach();
    let start = running.start.clone();
    running.node.begin(&start, &[]);
    let files = running.node.stop(&start);
    running.check_file("9-camera-1.webm");
    assert_eq!(files.len(), 1);
    assert_eq!(running.manifest()["end"], "stopped");
}

#[test]
fn a_folder_that_cannot_be_written_fails_the_session_and_nothing_else() {
    let (mut node, _recorder) = Node::with_recorder();
    let (bad, good) = (session("bad"), session("good"));
    let room = node.archive(&bad);
    std::fs::create_dir_all(room.parent().unwrap()).unwrap();
    std::fs::write(&room, "no folder").unwrap();
    node.say(&ToRecorder::StartSession(bad.clone()));
    let (reason, files) = node.expect(&bad, SessionState::Failed);
    assert!(reason.unwrap().contains("cannot be written"));
    assert!(files.is_empty());

    let clip = Clip::sound(1);
    node.begin(&good, &[track(&good, 1, Source::Microphone, Codec::Opus)]);
    node.play(&mut [&mut Sender::new(1, &clip)], u64::MAX);
    assert_eq!(node.stop(&good).len(), 1);
    node.say(&ToRecorder::StopSession { session: bad.session.clone() });
    node.expect(&bad, SessionState::Failed);
}

#[test]
fn a_file_that_cannot_be_made_fails_the_session() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    node.begin(&start, &[track(&start, 1, Source::Microphone, Codec::Opus)]);
    node.expect(&start, SessionState::Starting);
    std::fs::remove_dir_all(node.archive(&start)).unwrap();
    node.play(&mut [&mut Sender::new(1, &Clip::sound(1))], u64::MAX);
    let (reason, _) = node.expect(&start, SessionState::Failed);
    assert!(reason.unwrap().contains("No such file"));
}

#[test]
fn a_wrong_configuration_ends_with_64_and_the_place() {
    let (code, said) = exit_code("[recorder]\nsocket = 1\n");
    assert_eq!(code, Some(64));
    assert!(said.contains("config.toml:2:10: recorder.socket: is no path"), "{said}");
}
