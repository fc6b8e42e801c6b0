mod ending;

use std::fs::OpenOptions;
use std::time::Duration;

use lockgate_model::carrier::{Deframer, FileState, GapReason, SenderReport};
use lockgate_model::{Codec, RecordingId, RoomName, Source, TrackId};
use proptest::prelude::*;

use super::*;
use crate::webm::{Repair, repair};

const BEGAN: u64 = 50_000_000;

/// What a node may do to a session, sensible or not.
#[derive(Clone, Debug)]
enum Step {
    Add { track: u32, source: Source, codec: Codec },
    Packet { track: u32, ssrc: u32, seq: u64, timestamp: u32, late_us: i64, start: bool, key: bool, length: usize },
    Report { track: u32, ssrc: u32, ntp: u64, rtp: u32 },
    Layer { track: u32, old: u32, new: u32, seq: u64, report: bool },
    Gap { track: u32, ssrc: u32, from: u64, to: u64 },
    End { track: u32 },
    Remove { track: u32 },
    Wait { ms: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let track = || 1_u32..5;
    let ssrc = || 10_u32..13;
    let seq = || 65_530_u64..65_560;
    let source = prop::sample::select(vec![Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio]);
    let codec = prop::sample::select(vec![Codec::Vp8, Codec::H264, Codec::Opus, Codec::Vp9, Codec::Av1]);
    let packet =
        (track(), ssrc(), seq(), 0_u32..400_000, -9_000_000_i64..9_000_000, any::<(bool, bool)>(), 0_usize..80);
    prop_oneof![
        3 => (track(), source, codec).prop_map(|(track, source, codec)| Step::Add { track, source, codec }),
        30 => packet.prop_map(|(track, ssrc, seq, timestamp, late_us, (start, key), length)| {
            Step::Packet { track, ssrc, seq, timestamp, late_us, start, key, length }
        }),
        3 => (track(), ssrc(), any::<(u64, u32)>()).prop_map(|(track, ssrc, (ntp, rtp))| Step::Report { track, ssrc, ntp, rtp }),
        1 => (track(), ssrc(), ssrc(), seq(), any::<bool>())
            .prop_map(|(track, old, new, seq, report)| Step::Layer { track, old, new, seq, report }),
        2 => (track(), ssrc(), seq(), prop_oneof![seq(), any::<u64>()]).prop_map(|(track, ssrc, from, to)| Step::Gap { track, ssrc, from, to }),
        1 => track().prop_map(|track| Step::End { track }),
        1 => track().prop_map(|track| Step::Remove { track }),
        6 => (0_u64..2_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn start() -> StartSession {
    StartSession {
        session: RecordingId::new("s").unwrap(),
        room: RoomName::new("r").unwrap(),
        started_at_us: 1_790_000_000_000_000,
        started: NodeTime(BEGAN),
        epoch: 0,
    }
}

fn add(track: u32, source: Source, codec: Codec) -> AddTrack {
    AddTrack {
        number: TrackNumber(track),
        session: start().session,
        worker: 0,
        publisher_id: PublisherId(u64::from(track % 2)),
        user_id: None,
        username: String::new(),
        track_id: TrackId::new(format!("t{track}")).unwrap(),
        kind: codec.kind(),
        source,
        codec,
        clock_rate: codec.clock_rate(),
        payload_type: 96,
        fmtp: String::new(),
        level_id: None,
    }
}

/// A VP8 packet; what it is to other codecs is their business.
fn packet(ssrc: u32, seq: u64, timestamp: u32, start: bool, key: bool, length: usize) -> Bytes {
    let mut bytes = vec![0x80, 0xE0];
    bytes.extend_from_slice(&(seq as u16).to_be_bytes());
    bytes.extend_from_slice(&timestamp.to_be_bytes());
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.push(if start { 0x10 } else { 0 });
    bytes.extend_from_slice(if key { &[0x50, 1, 0, 0x9D, 1, 0x2A, 0x40, 1, 0xF0, 0] } else { &[0x51, 1, 0] });
    bytes.resize(bytes.len() + length, 3);
    bytes.into()
}

struct Run {
    session: Session,
    now: Instant,
    out: Outbox,
}

impl Run {
    fn step(&mut self, step: &Step) {
        let at = NodeTime(BEGAN + 1_000_000);
        match *step {
            Step::Add { track, source, codec } if !self.session.has_track(TrackNumber(track)) => {
                self.session.add_track(add(track, source, codec), self.now);
            }
            Step::Add { .. } => {}
            Step::Packet { track, ssrc, seq, timestamp, late_us, start, key, length } => {
                let bytes = packet(ssrc, seq, timestamp, start, key, length);
                let arrival = NodeTime((BEGAN + u64::from(timestamp) * 11).saturating_add_signed(late_us));
                let frame = Frame::Rtp { track: TrackNumber(track), seq, arrival, packet: &bytes };
                self.session.media(frame, &bytes, self.now, &mut self.out);
            }
            Step::Report { track, ssrc, ntp, rtp } => {
                let report = SenderReport { ntp, rtp };
                self.media(Frame::SenderReport { track: TrackNumber(track), ssrc, report, arrival: at });
            }
            Step::Layer { track, old, new, seq, report } => {
                let report = report.then_some(SenderReport { ntp: 5 << 32, rtp: 7 });
                self.media(Frame::Layer {
                    track: TrackNumber(track),
                    old_ssrc: old,
                    new_ssrc: new,
                    first_seq: seq,
                    old_report: report,
                    new_report: report,
                });
            }
            Step::Gap { track, ssrc, from, to } => {
                self.media(Frame::Gap { track: TrackNumber(track), ssrc, from, to, reason: GapReason::Policy });
            }
            Step::End { track } => self.media(Frame::End { track: TrackNumber(track), at }),
            Step::Remove { track } => self.session.remove_track(TrackNumber(track), self.now),
            Step::Wait { ms } => self.wait(ms),
        }
    }

    fn media(&mut self, frame: Frame<'_>) {
        self.session.media(frame, &Bytes::new(), self.now, &mut self.out);
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.session.tick(self.now, &mut self.out);
    }
}

/// A session below `root`, one camera in it.
fn run(root: &Path) -> Run {
    run_with(root, Left::new())
}

/// The same, and a recorder of this process was there before.
fn run_with(root: &Path, left: Left) -> Run {
    let (now, mut out, durable) = (Instant::now(), Outbox::default(), Durable::idle());
    let session = Session::open(root, start(), durable, PartLimits::default(), left, now, &mut out).unwrap();
    let mut run = Run { session, now, out };
    run.step(&Step::Add { track: 1, source: Source::Camera, codec: Codec::Vp8 });
    run
}

/// What a node keeps for the next recorder: every step, and of packets up to which number they were acknowledged.
struct Kept {
    steps: Vec<Step>,
    acked: Option<u64>,
}

/// What was acknowledged since this was last asked: track and number.
fn acks(out: &mut Outbox) -> Vec<(TrackNumber, u64)> {
    let mut found = Vec::new();
    for acks in std::mem::take(&mut out.acks).into_values() {
        let mut deframer = Deframer::new(64);
        deframer.extend(&acks);
        while let Some(frame) = deframer.next_frame().unwrap() {
            let Frame::Ack { track, seq, .. } = Frame::decode(frame).unwrap() else { panic!("no acknowledgement") };
            found.push((track, seq));
        }
    }
    found
}

impl Kept {
    fn note(&mut self, out: &mut Outbox) {
        self.acked = self.acked.max(acks(out).into_iter().map(|(_, seq)| seq).max());
    }

    fn missing(&self) -> Vec<Step> {
        let acked = |step: &Step| matches!(step, Step::Packet { seq, .. } if Some(*seq) <= self.acked);
        self.steps.iter().filter(|step| !acked(step)).cloned().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_often_recorders_are_killed_every_frame_is_there_once(
        kills in prop::collection::vec((1_usize..40, 0_u64..400, any::<bool>()), 1..6),
        swapped in prop::collection::btree_set(3_u64..150, 0..10),
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut order: Vec<_> = (1..=160).collect();
        for at in swapped {
            order.swap(at as usize, at as usize + 1);
        }
        let mut rest = order.iter().map(|seq| key_frame(*seq));
        let mut kept = Kept { steps: Vec::new(), acked: None };
        let mut run = run(root.path());
        for (steps, wait, late) in kills {
            for step in rest.by_ref().take(steps) {
                run.step(&step);
                run.wait(20);
                kept.steps.push(step);
            }
            run.wait(wait);
            kept.note(&mut run.out);
            if late {
                // Written, and killed before anybody hears of it.
                run.wait(50);
            }
            drop(run);
            run = self::run(root.path());
            kept.missing().iter().for_each(|step| run.step(step));
        }
        rest.for_each(|step| run.step(&step));
        run.session.stop(run.now);
        (0..4).for_each(|_| run.wait(6_000));
        prop_assert!(run.session.is_over());
        let files = &run.session.archive.manifest().files;
        prop_assert_eq!(files.len(), 1, "{:?}", files);
        prop_assert_eq!((files[0].tracks[0].frames, files[0].mended), (160, false));
        let file = std::fs::File::open(run.session.archive.folder().join(&files[0].path)).unwrap();
        let found = crate::webm::inspect(&file).unwrap();
        prop_assert!(found.problems.is_empty(), "{:?}", found.problems);
        prop_assert_eq!(found.tracks[&1].frames, 160);
        let left = std::fs::read_dir(run.session.archive.folder()).unwrap();
        let marks = left.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "mark"));
        prop_assert_eq!(marks.count(), 0);
    }
}

#[test]
fn a_recorder_that_is_killed_before_it_hears_of_its_tracks_leaves_them_as_it_found_them() {
    let root = tempfile::tempdir().unwrap();
    let delta = |seq: u64| match key_frame(seq) {
        Step::Packet { track, ssrc, seq, timestamp, late_us, start, length, .. } if seq > 1 => {
            Step::Packet { track, ssrc, seq, timestamp, late_us, start, key: false, length }
        }
        key => key,
    };
    let mut first = run(root.path());
    (1..=40).for_each(|seq| first.step(&delta(seq)));
    (0..3).for_each(|_| first.wait(300));
    drop(first);
    let (now, mut out, durable) = (Instant::now(), Outbox::default(), Durable::idle());
    let mut second =
        Session::open(root.path(), start(), durable, PartLimits::default(), Left::new(), now, &mut out).unwrap();
    second.tick(now, &mut out);
    drop(second);
    let mut third = run(root.path());
    (41..=60).for_each(|seq| third.step(&delta(seq)));
    third.session.stop(third.now);
    (0..4).for_each(|_| third.wait(6_000));
    // The last of the forty came 1.54 s after the start: that is known of the first one.
    let moments = |name| events(&third, name).iter().map(|event| event["t"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!((moments("session"), moments("resumed")), (vec![0, 1544, 1544], vec![1544, 1544]));
    let frames: Vec<_> = third.session.archive.manifest().files.iter().map(|file| file.tracks[0].frames).collect();
    assert_eq!(frames, [60]);
}

#[test]
fn a_session_that_its_node_takes_up_again_has_every_frame_once() {
    let root = tempfile::tempdir().unwrap();
    let mut first = run(root.path());
    (1..=40).for_each(|seq| first.step(&key_frame(seq)));
    first.wait(500);
    (41..=60).for_each(|seq| first.step(&key_frame(seq)));
    let left = first.session.interrupt(first.now, &mut first.out);
    let mut next = run_with(root.path(), left);
    // The node had not heard of the last ones.
    (30..=100).for_each(|seq| next.step(&key_frame(seq)));
    next.session.stop(next.now);
    (0..4).for_each(|_| next.wait(6_000));
    let frames: Vec<_> = next.session.archive.manifest().files.iter().map(|file| file.tracks[0].frames).collect();
    assert_eq!(frames, [60, 40]);
    // Its file was complete then, and ended one frame's length behind the sixtieth.
    let moments: Vec<_> = events(&next, "session").iter().map(|event| event["t"].clone()).collect();
    assert_eq!(moments, [0, 2375]);
}

#[test]
fn what_was_missed_before_anything_came_is_told() {
    let root = tempfile::tempdir().unwrap();
    let mut run = run(root.path());
    run.media(Frame::Gap { track: TrackNumber(1), ssrc: 10, from: 5, to: 9, reason: GapReason::Absent });
    run.step(&key_frame(10));
    run.session.stop(run.now);
    (0..4).for_each(|_| run.wait(6_000));
    let gaps = events(&run, "gap");
    assert_eq!((gaps.len(), &gaps[0]["packets"], &gaps[0]["reason"]), (1, &5.into(), &"absent".into()), "{gaps:?}");
}

/// A key frame that is one packet, 40 ms after that of the number before.
fn key_frame(seq: u64) -> Step {
    let timestamp = (seq as u32 - 1) * 3600;
    Step::Packet { track: 1, ssrc: 10, seq, timestamp, late_us: 0, start: true, key: true, length: 20 }
}

#[test]
fn a_packet_that_came_again_at_the_last_moment_is_recorded() {
    let root = tempfile::tempdir().unwrap();
    let mut run = run(root.path());
    run.step(&key_frame(1));
    run.step(&key_frame(3));
    // The node asks for it for the last time after 608 ms, and the publisher is 100 ms away.
    run.wait(608);
    run.wait(100);
    run.step(&key_frame(2));
    run.session.stop(run.now);
    (0..2).for_each(|_| run.wait(6_000));
    assert!(run.session.is_over());
    let frames: Vec<_> = run.session.archive.manifest().files.iter().map(|file| file.tracks[0].frames).collect();
    assert_eq!(frames, [3]);
}

/// The events that a session has written, by their names.
fn events(run: &Run, name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.session.archive.folder().join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.filter(|event| event["event"] == name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_node_sends_every_file_is_complete_in_the_end(
        steps in prop::collection::vec(any_step(), 0..160),
        interrupted in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let (now, mut out) = (Instant::now(), Outbox::default());
        let (durable, background) = Durable::start(None, None).unwrap();
        let session = Session::open(root.path(), start(), durable, PartLimits::default(), Left::new(), now, &mut out).unwrap();
        let folder = session.archive.folder().to_owned();
        let mut run = Run { session, now, out };
        for step in [Step::Add { track: 1, source: Source::Camera, codec: Codec::Vp8 }].iter().chain(&steps) {
            run.step(step);
        }
        if interrupted {
            run.session.interrupt(run.now, &mut run.out);
        } else {
            run.session.stop(run.now);
            for _ in 0..4 {
                run.wait(6_000);
            }
            prop_assert!(run.session.is_over());
            let last = run.out.control.iter().rev().find(|said| matches!(said, FromRecorder::State { .. }));
            let stopped = matches!(last, Some(FromRecorder::State { state: SessionState::Stopped, .. }));
            prop_assert!(stopped);
        }
        let mut frames = 0;
        for file in &run.session.archive.manifest().files {
            prop_assert_eq!(file.state, FileState::Closed);
            let open = OpenOptions::new().read(true).write(true).open(folder.join(&file.path)).unwrap();
            let Ok(Repair::Mended(whole)) = repair(&open) else { panic!("{file:?} holds nothing") };
            prop_assert_eq!((whole.bytes, whole.duration_ms), (file.bytes, file.duration_ms));
            frames += file.tracks.iter().map(|track| track.frames).sum::<u64>();
        }
        prop_assert!(frames <= steps.len() as u64);
        // It goes on to seal in the folder, which is to be gone afterwards.
        drop(run);
        background.finish().unwrap();
    }
}
