//! The log against a plain one: a list of frames, and how much of them was sent.

use proptest::prelude::*;

use super::*;

/// What happens to a log. Times are in ms, lengths in bytes.
#[derive(Clone, Debug)]
enum Step {
    Push {
        track: u8,
        len: usize,
        after: u64,
    },
    Send(usize),
    /// Up to so many before a track's last packet.
    Acknowledge {
        track: u8,
        behind: u64,
    },
    Attach,
    Detach,
    Expire(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Up to the longest that there is; in the mean one of six crosses the border of two blocks.
    let len = prop_oneof![0_usize..1500, 0_usize..65_000];
    let step = prop_oneof![
        10 => (0_u8..2, len, 0_u64..100).prop_map(|(track, len, after)| Step::Push { track, len, after }),
        4 => (0_usize..600_000).prop_map(Step::Send),
        3 => (0_u8..2, 0_u64..12).prop_map(|(track, behind)| Step::Acknowledge { track, behind }),
        1 => Just(Step::Attach),
        1 => Just(Step::Detach),
        1 => (0_u64..1500).prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 1..120)
}

/// The plain log.
#[derive(Default)]
struct Model {
    frames: Vec<Plain>,
    sent: usize,
    attached: bool,
    acked: [Option<u64>; 2],
    now: u64,
}

struct Plain {
    track: u8,
    seq: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Model {
    fn unsent(&self) -> Vec<u8> {
        let mut bytes: Vec<_> = self.frames.iter().flat_map(|frame| &frame.bytes[..]).copied().collect();
        bytes.drain(..self.sent);
        bytes
    }

    fn release(&mut self) {
        while let Some(Plain { track, seq, at, bytes }) = self.frames.first() {
            let is_done = self.acked[usize::from(*track)] >= Some(*seq) || (self.now - at) * 1000 > KEEP as u64;
            if !is_done || self.attached && self.sent < bytes.len() {
                return;
            }
            self.sent = self.sent.saturating_sub(bytes.len());
            self.frames.remove(0);
        }
    }
}

/// Both of them, to which the same happens.
struct Pair {
    replay: Replay,
    model: Model,
    clock: u64,
    next: [u64; 2],
}

impl Pair {
    fn new() -> Self {
        let mut replay = Replay::default();
        (0..2).for_each(|track| replay.switch(TrackNumber(track), 1, track, 0));
        Self { replay, model: Model::default(), clock: 0, next: [0; 2] }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Push { track, len, after } => self.push(track, len, after),
            Step::Send(most) => {
                let (sent, expected) = (send(&mut self.replay, most), self.model.unsent());
                assert!(sent == expected[..most.min(expected.len())], "other bytes than were pushed");
                self.model.sent += sent.len();
            }
            Step::Acknowledge { track, behind } => {
                let Some(seq) = self.next[usize::from(track)].checked_sub(1 + behind) else { return };
                self.replay.acknowledge(TrackNumber(track.into()), track.into(), seq);
                let acked = &mut self.model.acked[usize::from(track)];
                *acked = (*acked).max(Some(seq));
            }
            Step::Attach => {
                self.take(Step::Detach);
                self.replay.attach();
                (self.model.sent, self.model.attached) = (0, true);
            }
            Step::Detach => {
                self.replay.detach();
                self.model.attached = false;
            }
            Step::Expire(after) => {
                self.clock += after;
                self.replay.expire(NodeTime(self.clock * 1000));
                if !self.model.frames.is_empty() {
                    self.model.now = self.clock;
                }
            }
        }
        self.model.release();
    }

    fn push(&mut self, track: u8, len: usize, after: u64) {
        self.clock += after;
        let (number, at, seq) = (TrackNumber(track.into()), NodeTime(self.clock * 1000), self.next[usize::from(track)]);
        // No two stretches of it are the same.
        let packet: Vec<_> = (0..len as u64).map(|at| ((at * 257 + seq * 31 + u64::from(track)) >> 4) as u8).collect();
        let mut bytes = Vec::new();
        assert!(encode_rtp(&mut bytes, number, seq, at, &[&packet]));
        let content = Content::Packet { generation: 1, seq };
        self.replay.push(at, number, content, |out| out.extend_from_slice(&bytes));
        self.next[usize::from(track)] += 1;
        self.model.now = self.clock;
        self.model.frames.push(Plain { track, seq, at: self.clock, bytes });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_recorder_gets_the_bytes_that_a_plain_log_would_give(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
            let kept: usize = pair.model.frames.iter().map(|frame| frame.bytes.len()).sum();
            prop_assert_eq!((pair.replay.bytes.len(), pair.replay.sent), (kept, pair.model.sent));
            prop_assert_eq!(pair.replay.entries.len(), pair.model.frames.len());
        }
        pair.take(Step::Attach);
        pair.take(Step::Send(usize::MAX));
    }
}
