use std::fs::OpenOptions;

use lockgate_model::carrier::{GapReason, SenderReport};
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
    let (now, mut out) = (Instant::now(), Outbox::default());
    let (durable, _) = Durable::start(None, None).unwrap();
    let session = Session::open(root, start(), durable, PartLimits::default(), now, &mut out).unwrap();
    let mut run = Run { session, now, out };
    run.step(&Step::Add { track: 1, source: Source::Camera, codec: Codec::Vp8 });
    run
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

#[test]
fn a_session_that_fails_while_it_is_interrupted_keeps_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let mut run = run(root.path());
    run.step(&key_frame(1));
    // This one is held, as one is missing before it, and comes out with the interruption: then the first file is due.
    run.step(&key_frame(3));
    run.now += Duration::from_millis(600);
    std::fs::remove_dir_all(run.session.archive.folder()).unwrap();
    run.session.interrupt(run.now, &mut run.out);
    assert!(run.session.has_failed());
    let manifest = run.session.archive.manifest();
    assert_eq!(manifest.end, Some(SessionEnd::Failed));
    assert!(manifest.reason.is_some(), "{manifest:?}");
}

/// The events that a session has written, by their names.
fn events(run: &Run, name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.session.archive.folder().join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.filter(|event| event["event"] == name).collect()
}

#[test]
fn a_session_that_breaks_off_says_what_is_missing_and_that_its_tracks_are_over() {
    for fails in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let mut run = run(root.path());
        run.step(&key_frame(1));
        run.step(&Step::Gap { track: 1, ssrc: 10, from: 2, to: 4 });
        let (now, mut out) = (run.now, Outbox::default());
        match fails {
            true => run.session.fail("no reason", now, &mut out),
            false => run.session.interrupt(now, &mut out),
        }
        let gaps = events(&run, "gap");
        assert_eq!((gaps.len(), &gaps[0]["packets"]), (1, &3.into()), "{gaps:?}");
        let ends = events(&run, "track-end");
        assert_eq!((ends.len(), &ends[0]["lost"]), (1, &3.into()), "{ends:?}");
    }
}

#[test]
fn a_size_that_comes_out_with_a_tracks_end_is_told_too() {
    let root = tempfile::tempdir().unwrap();
    let mut run = run(root.path());
    run.step(&key_frame(1));
    run.step(&Step::Remove { track: 1 });
    for seq in 2..=12 {
        run.wait(900);
        run.step(&key_frame(seq));
    }
    // Held, as one is missing before it: the track is over before that is given up.
    let mut bytes = packet(10, 14, 13 * 3600, true, true, 20).to_vec();
    bytes[19] = 0x80;
    let bytes = Bytes::from(bytes);
    let frame = Frame::Rtp { track: TrackNumber(1), seq: 14, arrival: NodeTime(BEGAN + 520_000), packet: &bytes };
    run.session.media(frame, &bytes, run.now, &mut run.out);
    run.wait(200);
    assert!(!run.session.has_track(TrackNumber(1)));
    let widths: Vec<_> = events(&run, "resolution").iter().map(|event| event["width"].clone()).collect();
    assert_eq!(widths, [320, 384]);
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
        let (durable, _) = Durable::start(None, None).unwrap();
        let session = Session::open(root.path(), start(), durable, PartLimits::default(), now, &mut out).unwrap();
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
            prop_assert_eq!(file.state, lockgate_model::carrier::FileState::Closed);
            let open = OpenOptions::new().read(true).write(true).open(folder.join(&file.path)).unwrap();
            let Ok(Repair::Mended(whole)) = repair(&open) else { panic!("{file:?} holds nothing") };
            prop_assert_eq!((whole.bytes, whole.duration_ms), (file.bytes, file.duration_ms));
            frames += file.tracks.iter().map(|track| track.frames).sum::<u64>();
        }
        prop_assert!(frames <= steps.len() as u64);
    }
}
