use lockgate_model::carrier::{Deframer, MAX_FRAME, encode_rtp};

use super::*;

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
    let numbers = read(replay.unsent(), |frame| match frame {
        Frame::Rtp { seq, .. } => Some(seq),
        _ => None,
    });
    replay.sent(replay.unsent().len());
    numbers
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
    assert!(replay.bytes.len() - replay.start <= MAX_KEPT + 2000);
    assert!(replay.bytes.capacity() <= 4 * MAX_KEPT);
    let (numbers, gaps) = attach(&mut replay);
    assert_eq!(gaps, [(5, 0, numbers[0] - 1)]);
    // What was kept from before it came takes no room from what comes now.
    replay.detach();
    replay.attach();
    let backlog = replay.unsent().len();
    assert!(replay.has_room() && backlog > MAX_WAITING);
    // A recorder that is there and does not read costs no more than this.
    let mut seq = 200_000;
    while replay.has_room() {
        push_to(&mut replay, TRACK, 1, seq, 0, 1000);
        seq += 1;
    }
    assert!(replay.unsent().len() < backlog + MAX_WAITING + 2000);
}

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
