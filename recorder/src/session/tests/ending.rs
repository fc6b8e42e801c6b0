//! How tracks end, and sessions that break off: what came last is kept, and what is missing is told.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lockgate_model::carrier::{FileState, Frame, NodeTime, TrackNumber};
use lockgate_model::{Codec, Source};

use super::{BEGAN, Step, acks, events, key_frame, packet, run, start};
use crate::archive::{Durable, SessionEnd};
use crate::session::{Left, Outbox, PartLimits, Session};

#[test]
fn a_file_whose_tracks_are_over_is_completed_when_the_node_has_told_all() {
    let root = tempfile::tempdir().unwrap();
    let mut first = run(root.path());
    (1..=40).for_each(|seq| first.step(&key_frame(seq)));
    (0..3).for_each(|_| first.wait(300));
    drop(first);
    let (now, mut out, durable) = (Instant::now(), Outbox::default(), Durable::idle());
    let mut session =
        Session::open(root.path(), start(), durable, PartLimits::default(), Left::new(), now, &mut out).unwrap();
    assert_eq!(session.archive.manifest().files[0].state, FileState::Open);
    session.all_told(now, &mut out);
    let file = &session.archive.manifest().files[0];
    assert_eq!((file.state, file.tracks[0].frames), (FileState::Closed, 40));
}

#[test]
fn what_a_track_brought_last_is_acknowledged_before_it_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let mut first = run(root.path());
    let microphone = TrackNumber(3);
    let join = Step::Add { track: 3, source: Source::Microphone, codec: Codec::Opus };
    first.step(&join);
    for seq in 1..=40 {
        first.step(&key_frame(seq));
        [2 * seq - 1, 2 * seq].iter().for_each(|seq| first.step(&sound(*seq)));
        first.wait(40);
    }
    first.media(Frame::End { track: microphone, at: NodeTime(BEGAN + 1_600_000) });
    // Its last sounds wait for the pictures that are to stand before them.
    let mut last = None;
    for seq in 41..=60 {
        first.wait(40);
        let acked = acks(&mut first.out).into_iter().filter(|(track, _)| *track == microphone).map(|(_, seq)| seq);
        last = last.max(acked.max());
        assert!(first.session.has_track(microphone) || last == Some(80), "acknowledged up to {last:?}");
        first.step(&key_frame(seq));
    }
    first.wait(500);
    assert!(!first.session.has_track(microphone));
    let ends = events(&first, "track-end");
    assert_eq!((ends.len(), &ends[0]["packets"]), (1, &80.into()), "{ends:?}");
    drop(first);
    // The acknowledgements were lost on their way: the node tells of the track again, and sends what it kept.
    let mut second = run(root.path());
    second.step(&join);
    (60..=80).for_each(|seq| second.step(&sound(seq)));
    second.media(Frame::End { track: microphone, at: NodeTime(BEGAN + 1_600_000) });
    (55..=70).for_each(|seq| second.step(&key_frame(seq)));
    second.session.stop(second.now);
    (0..4).for_each(|_| second.wait(6_000));
    let files = &second.session.archive.manifest().files;
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].tracks.iter().map(|track| track.frames).collect::<Vec<_>>(), [70, 80]);
}

/// A packet of sound, 20 ms after that of the number before.
fn sound(seq: u64) -> Step {
    let (timestamp, late_us) = ((seq as u32 - 1) * 960, (seq as i64 - 1) * (20_000 - 960 * 11));
    Step::Packet { track: 3, ssrc: 11, seq, timestamp, late_us, start: true, key: true, length: 20 }
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
            false => drop(run.session.interrupt(now, &mut out)),
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
