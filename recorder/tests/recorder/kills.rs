//! Recorders that are killed while media flows: the next one goes on in the same file, and nothing is missing or there twice.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use lockgate_model::carrier::{AddTrack, Frame, NodeTime, StartSession, TrackNumber};
use lockgate_model::{Codec, Source};

use crate::support::{
    Clip, Node, Probe, Recorder, Sender, decodes, is_well_formed, session, tool, track, until_sealed,
};

/// A node that keeps what was not acknowledged, as the real one does.
struct Keeper {
    node: Node,
    recorder: Recorder,
    start: StartSession,
    tracks: [AddTrack; 2],
    kept: Vec<(TrackNumber, u64, Vec<u8>)>,
    acked: BTreeMap<TrackNumber, u64>,
}

impl Keeper {
    fn begin() -> Self {
        let (mut node, recorder) = Node::with_recorder();
        let start = session("s1");
        let tracks = [track(&start, 1, Source::Microphone, Codec::Opus), track(&start, 2, Source::Camera, Codec::Vp8)];
        node.begin(&start, &tracks);
        Self { node, recorder, start, tracks, kept: Vec::new(), acked: BTreeMap::new() }
    }

    /// Sends the next frame of whichever clip is due.
    fn send(&mut self, senders: &mut [Sender; 2]) -> bool {
        let due = senders.iter_mut().filter(|sender| sender.next_at().is_some());
        let Some(sender) = due.min_by_key(|sender| sender.next_at()) else { return false };
        for sent in sender.packets() {
            let frame = Frame::Rtp { track: sender.track, seq: sent.seq, arrival: sent.arrival, packet: &sent.bytes };
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            self.node.bytes(&bytes);
            self.kept.push((sender.track, sent.seq, bytes));
        }
        true
    }

    /// Kills the recorder, and gives the next one what the one before had not acknowledged.
    fn kill(&mut self) {
        self.recorder.kill();
        for (track, seq) in self.node.last_acks() {
            self.acked.insert(track, seq);
        }
        let acked = &self.acked;
        self.kept.retain(|(track, seq, _)| acked.get(track).is_none_or(|acked| seq > acked));
        self.recorder = Recorder::start(self.node.folder());
        self.node.attach_again(&self.start, &self.tracks);
        self.kept.iter().for_each(|(_, _, bytes)| self.node.bytes(bytes));
    }
}

/// The longest that a round waits before it kills.
const LONGEST: u64 = 400;

/// Each round sends a tenth of a second of media or more, waits for some time, and kills.
fn rounds(count: u64) {
    let seconds = u32::try_from(count / 8 + 3).unwrap();
    let clips = [Clip::sound(seconds), Clip::picture(Codec::Vp8, "320x240", seconds)];
    let mut senders = [Sender::new(1, &clips[0]), Sender::new(2, &clips[1])];
    let mut keeper = Keeper::begin();
    let random = RandomState::new();
    let mut slowest = Duration::ZERO;
    for round in 0..count {
        for _ in 0..7 + random.hash_one((round, 0)) % 4 {
            keeper.send(&mut senders);
        }
        std::thread::sleep(Duration::from_millis(random.hash_one((round, 1)) % LONGEST));
        let killed = Instant::now();
        keeper.kill();
        slowest = slowest.max(killed.elapsed());
    }
    while keeper.send(&mut senders) {}
    let Keeper { mut node, start, .. } = keeper;
    for track in [1, 2] {
        node.frame(&Frame::End { track: TrackNumber(track), at: NodeTime(0) });
    }
    let files = node.stop_at_once(&start);
    eprintln!("{count} rounds; back after at most {slowest:?}");
    assert_eq!(files.len(), 1, "{files:?}");
    let archive = node.archive(&start);
    let file = archive.join(&files[0].path);
    let probe = Probe::read(&file);
    for (codec, clip) in ["opus", "vp8"].into_iter().zip(&clips) {
        probe.stream(codec).expect_frames(&clip.hashes());
        assert!(probe.stream(codec).is_monotonic());
    }
    decodes(&file);
    is_well_formed(&file);
    until_sealed(&archive);
    let (code, said) = tool(node.folder(), &["verify", archive.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("not sealed, 1"), "{said}");
    let events = std::fs::read_to_string(archive.join("events.jsonl")).unwrap();
    assert!(!events.contains("\"gap\""), "{events}");
}

#[test]
fn recorders_that_are_killed_again_and_again_lose_and_double_nothing() {
    rounds(6);
}

#[test]
#[ignore = "100 rounds take more than half a minute"]
fn recorders_that_are_killed_a_hundred_times_lose_and_double_nothing() {
    rounds(100);
}
