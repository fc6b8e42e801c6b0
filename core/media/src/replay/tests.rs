use lockgate_model::carrier::{Deframer, MAX_FRAME, encode_rtp};

use super::*;

mod model;

const TRACK: TrackNumber = TrackNumber(7);

/// A log in which a track has begun with an encoding.
fn begun(ssrc: u32) -> Replay {
    let mut replay = Replay::default();
    replay.switch(TRACK, 1, ssrc, 0);
    replay
}

fn push(replay: &mut Replay, generation: u32, seq: u64, at_ms: u64) {
    push_to(replay, TRACK, generation, seq, at_ms, 100);
}

fn push_to(replay: &mut Replay, track: TrackNumber, generation: u32, seq: u64, at_ms: u64, len: usize) {
    let at = NodeTime(at_ms * 1000);
    let content = Content::Packet { generation, seq };
    replay.push(at, track, content, |out| assert!(encode_rtp(out, track, seq, at, &[&vec![0; len]])));
}

/// What a recorder that attaches now gets: numbers of packets, and gaps.
fn attach(replay: &mut Replay) -> (Vec<u64>, Vec<(u32, u64, u64)>) {
    let gaps = replay.attach();
    let gaps = read(&gaps, |frame| match frame {
        Frame::Gap { ssrc, from, to, reason: GapReason::Absent, .. } => Some((ssrc, from, to)),
        _ => None,
    });
    (take(replay), gaps)
}

/// What is sent next, all of it.
fn take(replay: &mut Replay) -> Vec<u64> {
    read(&send(replay, usize::MAX), |frame| match frame {
        Frame::Rtp { seq, .. } => Some(seq),
        _ => None,
    })
}

/// Sends so many bytes, or all that there are.
fn send(replay: &mut Replay, most: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    while !replay.unsent().is_empty() && sent.len() < most {
        let count = replay.unsent().len().min(most - sent.len());
        sent.extend_from_slice(&replay.unsent()[..count]);
        replay.sent(count);
    }
    sent
}

fn read<T>(bytes: &[u8], pick: impl Fn(Frame<'_>) -> Option<T>) -> Vec<T> {
    let mut deframer = Deframer::new(MAX_FRAME);
    deframer.extend(bytes);
    let mut found = Vec::new();
    while let Some(frame) = deframer.next_frame().unwrap() {
        found.extend(pick(Frame::decode(frame).unwrap()));
    }
    assert_eq!(deframer.pending(), 0, "whole frames");
    found
}

#[test]
fn what_was_not_acknowledged_is_sent_again_and_nothing_else() {
    let mut replay = begun(5);
    replay.attach();
    (0..10).for_each(|seq| push(&mut replay, 1, seq, seq));
    assert_eq!(take(&mut replay), (0..10).collect::<Vec<_>>());
    replay.acknowledge(TRACK, 5, 3);
    replay.acknowledge(TRACK, 5, 2);
    replay.acknowledge(TRACK, 9, 8);
    replay.acknowledge(TrackNumber(1), 5, 8);
    replay.detach();
    push(&mut replay, 1, 10, 20);
    assert_eq!(attach(&mut replay), ((4..11).collect(), vec![]));
}

#[test]
fn a_frame_of_which_a_part_was_sent_is_sent_again_as_a_whole() {
    let mut replay = begun(5);
    replay.attach();
    (0..3).for_each(|seq| push(&mut replay, 1, seq, 0));
    replay.sent(replay.unsent().len() / 2);
    replay.acknowledge(TRACK, 5, 2);
    assert_eq!(replay.entries.len(), 2, "what is being sent stays");
    replay.detach();
    replay.expire(NodeTime(0));
    (3..5).for_each(|seq| push(&mut replay, 1, seq, 0));
    assert_eq!(attach(&mut replay), (vec![3, 4], vec![]));
}

#[test]
fn without_a_recorder_the_last_four_seconds_are_kept_and_the_rest_is_told() {
    let mut replay = begun(5);
    (0..10_000).for_each(|seq| push(&mut replay, 1, seq, seq));
    assert!(replay.bytes.capacity() < 4 << 20, "{}", replay.bytes.capacity());
    assert_eq!(attach(&mut replay), ((5_999..10_000).collect(), vec![(5, 0, 5_998)]));
    // The one that came had some of it in a file.
    replay.acknowledge(TRACK, 5, 4_000);
    replay.detach();
    assert_eq!(attach(&mut replay).1, [(5, 4_001, 5_998)]);
    replay.acknowledge(TRACK, 5, 6_000);
    replay.detach();
    assert_eq!(attach(&mut replay), ((6_001..10_000).collect(), vec![]));
}

#[test]
fn memory_is_bounded_however_much_comes() {
    let mut replay = begun(5);
    (0..200_000).for_each(|seq| push_to(&mut replay, TRACK, 1, seq, 0, 1000));
    assert!(replay.bytes.len() <= MAX_KEPT && replay.bytes.capacity() <= MAX_KEPT + BLOCKS);
    let (numbers, gaps) = attach(&mut replay);
    assert_eq!(gaps, [(5, 0, numbers[0] - 1)]);
    // A recorder that is there and does not read costs no more than this, and what was kept from before it came takes no room from
    // what comes now; nor does the next one, which does as much.
    let mut seq = 200_000;
    for _ in 0..3 {
        replay.attach();
        let backlog = replay.bytes.len();
        assert!(backlog > MAX_KEPT - 2000 && backlog <= MAX_KEPT);
        fill(&mut replay, &mut seq);
        assert!(replay.bytes.len() >= backlog + MAX_WAITING);
    }
    // Nor does what it is sent and does not acknowledge.
    send(&mut replay, usize::MAX);
    fill(&mut replay, &mut seq);
    // What is not needed any more takes a block for the next time.
    send(&mut replay, usize::MAX);
    replay.acknowledge(TRACK, 5, seq);
    // One call does not take as long as all of it would.
    let mut calls = 0;
    while !replay.entries.is_empty() {
        let before = replay.entries.len();
        replay.expire(NodeTime(0));
        calls += 1;
        assert_eq!(before - replay.entries.len(), before.min(MOST_AT_ONCE));
    }
    assert!(calls > 10, "{calls}");
    assert_eq!((replay.bytes.capacity(), replay.entries.capacity()), (BLOCK, ENTRIES));
}

/// Packets for which there is room; their memory is bounded.
fn fill(replay: &mut Replay, seq: &mut u64) {
    while replay.has_room() {
        push_to(replay, TRACK, 1, *seq, 0, 1000);
        *seq += 1;
    }
    assert!(replay.bytes.capacity() <= MAX_KEPT + MAX_WAITING + BLOCKS, "{}", replay.bytes.capacity());
    assert!(replay.entries.capacity() <= (MAX_KEPT + MAX_WAITING) / 1000 + 3 * ENTRIES);
    assert_eq!(size_of::<Entry>(), 40, "docs/recorder.md speaks of it");
}

/// Beside what is full: a block that is begun, one that is not done with, and a spare one.
const BLOCKS: usize = 3 * BLOCK;

#[test]
fn the_acknowledgement_of_an_encoding_is_one_of_those_before_it() {
    let mut replay = begun(5);
    replay.attach();
    (0..3).for_each(|seq| push(&mut replay, 1, seq, 0));
    replay.switch(TRACK, 2, 6, 100);
    (100..103).for_each(|seq| push(&mut replay, 2, seq, 0));
    take(&mut replay);
    replay.acknowledge(TRACK, 5, 1);
    assert_eq!(attach(&mut replay).0, [2, 100, 101, 102]);
    replay.acknowledge(TRACK, 6, 100);
    assert_eq!(attach(&mut replay).0, [101, 102]);
    // Back to the first one: what is said of it now is not meant for its beginning.
    replay.switch(TRACK, 3, 5, 50);
    (50..52).for_each(|seq| push(&mut replay, 3, seq, 0));
    replay.acknowledge(TRACK, 5, 40);
    assert_eq!(attach(&mut replay).0, [101, 102, 50, 51]);
    replay.acknowledge(TRACK, 5, 50);
    assert_eq!(attach(&mut replay).0, [51]);
}

#[test]
fn nothing_is_left_of_tracks_that_are_over() {
    let mut replay = Replay::default();
    for number in 0..100 {
        let track = TrackNumber(number);
        replay.switch(track, 1, number, 0);
        push_to(&mut replay, track, 1, 0, 0, 10);
        let end = Frame::End { track, at: NodeTime(0) };
        replay.push(NodeTime(0), track, Content::End, |out| end.encode(out));
    }
    assert_eq!((replay.tracks.len(), attach(&mut replay).0.len()), (100, 100));
    replay.expire(NodeTime(4_000_001));
    assert_eq!((replay.tracks.len(), replay.bytes.len(), replay.entries.len()), (0, 0, 0));
}

/// How long viewers wait at most for one packet of a recording that fills the log, for one turn of letting go of it, and for a recorder that
/// comes when all of it may go:
/// `cargo test --profile ci -p lockgate-media -- --ignored --nocapture what_a_full_log_costs`
#[test]
#[ignore = "measures"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn what_a_full_log_costs() {
    use std::time::{Duration, Instant};

    const PACKET: [u8; 1000] = [7; 1000];
    let (mut pushes, mut ack, mut next) = (vec![Duration::MAX; 200_000], Duration::MAX, Duration::MAX);
    // What every round has is no accident of the machine.
    for _ in 0..7 {
        let mut replay = begun(5);
        for (seq, best) in (0..).zip(&mut pushes) {
            let begins = Instant::now();
            let content = Content::Packet { generation: 1, seq };
            replay.push(NodeTime(0), TRACK, content, |out| {
                encode_rtp(out, TRACK, seq, NodeTime(0), &[&PACKET]);
            });
            *best = begins.elapsed().min(*best);
        }
        attach(&mut replay);
        let begins = Instant::now();
        replay.acknowledge(TRACK, 5, 200_000);
        ack = begins.elapsed().min(ack);
        let begins = Instant::now();
        replay.attach();
        next = begins.elapsed().min(next);
        assert!(replay.entries.is_empty());
    }
    let (longest, mean) = (pushes.iter().max(), pushes.iter().sum::<Duration>() / 200_000);
    println!(
        "a packet of 1000 bytes takes {mean:?}, at most {longest:?}; what goes at once of an acknowledgement {ack:?}"
    );
    println!("the next recorder, for which the rest of 64 MiB goes: {next:?}");
}
