//! A bottleneck: packets queue for it, and it delays, jitters and loses them.

use std::collections::VecDeque;

use super::Micros;
use super::random::Random;

/// What a link is like.
#[derive(Clone, Copy)]
pub(in super::super) struct Way {
    /// Bits per second.
    pub(in super::super) rate: f64,
    /// Bytes that wait at most.
    pub(in super::super) queue: usize,
    /// One way, each way.
    pub(in super::super) delay: Micros,
    /// Up to this much later, in order.
    pub(in super::super) jitter: Micros,
    /// The share that is lost behind the queue.
    pub(in super::super) loss: f64,
}

pub(in super::super) const GOOD: Way = Way { rate: 5e6, queue: 150_000, delay: 30_000, jitter: 0, loss: 0.0 };

pub(in super::super) struct Link {
    pub(in super::super) way: Way,
    /// Number (None: of another flow), bytes, and when it came to the queue.
    waiting: VecDeque<(Option<u16>, usize, Micros)>,
    waiting_bytes: usize,
    /// When the last packet was through.
    free: f64,
    arriving: VecDeque<(Micros, Option<u16>)>,
    random: Random,
    /// Bytes of ours that got through the bottleneck.
    pub(in super::super) carried: u64,
}

impl Link {
    pub(in super::super) fn new(way: Way, seed: u64) -> Self {
        let random = Random(seed);
        Self {
            way,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            free: 0.0,
            arriving: VecDeque::new(),
            random,
            carried: 0,
        }
    }

    /// False: the queue is full.
    pub(in super::super) fn send(&mut self, now: Micros, number: Option<u16>, bytes: usize) -> bool {
        if self.waiting_bytes + bytes > self.way.queue {
            return false;
        }
        self.waiting.push_back((number, bytes, now));
        self.waiting_bytes += bytes;
        true
    }

    /// Moves on, and hands out what arrives.
    pub(in super::super) fn run(&mut self, now: Micros, mut arrives: impl FnMut(Micros, Option<u16>)) {
        while let Some((number, bytes, came)) = self.waiting.front().copied() {
            let end = self.free.max(came as f64) + bytes as f64 * 8e6 / self.way.rate;
            if end > now as f64 {
                break;
            }
            self.free = end;
            self.waiting.pop_front();
            self.waiting_bytes -= bytes;
            self.carried += if number.is_some() { bytes as u64 } else { 0 };
            if self.random.chance(self.way.loss) {
                continue;
            }
            let at = end as Micros + self.way.delay + self.random.up_to(self.way.jitter);
            let at = self.arriving.back().map_or(at, |(last, _)| at.max(*last));
            self.arriving.push_back((at, number));
        }
        while let Some((at, number)) = self.arriving.pop_front_if(|(at, _)| *at <= now) {
            arrives(at, number);
        }
    }

    /// How long what comes now waits.
    pub(in super::super) fn queue(&self) -> Micros {
        (self.waiting_bytes as f64 * 8e6 / self.way.rate) as Micros
    }
}
