//! Disks that become full: what was written stays, and is complete.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use lockgate_model::carrier::{FromRecorder, SessionState};
use lockgate_model::{Codec, Source};

use crate::support::{Clip, Node, Probe, Recording, Sender, decodes, is_well_formed, session, tool, track};

impl Recording {
    /// Leaves so many bytes on the disk.
    fn fill(&self, leave: u64) -> PathBuf {
        let filler = self.recorder.sees(&self.node.folder().join("rec")).join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[7; 65_536]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(leave)).unwrap();
        filler
    }

    /// Sends on until the session fails; why.
    fn until_it_fails(&mut self) -> String {
        let [a, v] = &mut self.senders;
        self.node.play(&mut [a, v], u64::MAX);
        loop {
            if let FromRecorder::State { state: SessionState::Failed, reason, .. } = self.node.hear() {
                return reason.unwrap();
            }
        }
    }

    /// The file is complete and holds at least what was acknowledged before the disk was full.
    fn check_archive(&self) {
        let archive = self.recorder.sees(&self.node.archive(&self.start));
        let file = archive.join("9-camera-1.webm");
        let probe = Probe::read(&file);
        for (codec, clip, least) in [("opus", &self.clips[0], 120), ("vp8", &self.clips[1], 70)] {
            let stream = probe.stream(codec);
            assert!(stream.hashes.len() >= least, "{codec}: {} frames", stream.hashes.len());
            stream.expect_frames(&clip.hashes()[..stream.hashes.len()]);
        }
        decodes(&file);
        is_well_formed(&file);
        // With room again, what a full disk kept from being entered is.
        let archive = archive.to_str().unwrap();
        assert_eq!(tool(self.node.folder(), &["repair", archive]).0, Some(0));
        let (code, said) = tool(self.node.folder(), &["verify", archive]);
        assert_eq!(code, Some(0), "{said}");
    }
}

fn begin(bytes: u64) -> Recording {
    Recording::begin(Node::with_recorder_on(bytes), 20)
}

#[test]
fn a_disk_that_is_full_between_two_looks_costs_nothing_that_was_written() {
    let mut recording = begin(160 << 20);
    let filler = recording.fill(0);
    let reason = recording.until_it_fails();
    assert!(reason.contains("No space left") || reason.contains("nearly full"), "{reason}");
    fs::remove_file(filler).unwrap();
    recording.check_archive();
}

#[test]
fn a_disk_that_is_nearly_full_ends_the_session_in_order() {
    let mut recording = begin(160 << 20);
    // Less than what is kept free, and more than what is still to come.
    let filler = recording.fill(40 << 20);
    let reason = recording.until_it_fails();
    assert!(reason.contains("nearly full: "), "{reason}");
    fs::remove_file(filler).unwrap();
    recording.check_archive();
    let archive = recording.recorder.sees(&recording.node.archive(&recording.start));
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(archive.join("session.json")).unwrap()).unwrap();
    assert_eq!((&manifest["end"], &manifest["files"][0]["state"]), (&"failed".into(), &"closed".into()), "{manifest}");

    // The next session is recorded.
    let (start, clip) = (session("s2"), Clip::sound(1));
    recording.node.begin(&start, &[track(&start, 7, Source::Microphone, Codec::Opus)]);
    recording.node.play(&mut [&mut Sender::new(7, &clip)], u64::MAX);
    assert_eq!(recording.node.stop_at_once(&start).len(), 1);
}
