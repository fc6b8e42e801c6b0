//! What a publisher's link carries, estimated by us who receive: for publishers that take a receiver's estimate (REMB,
//! draft-alvestrand-rmcat-remb-03) and give no transport-wide numbers that they could estimate by themselves.
//!
//! Delay, loss and queue are judged as for viewers. Instead of feedback there are the packets themselves: when they left they say in
//! abs-send-time (the header extension of that draft's §A; libwebrtc's `RemoteBitrateEstimatorAbsSendTime`). Without it loss alone
//! counts. Nobody can be probed from here: the estimate goes ahead of what comes by half of it, and the publisher follows.

use std::time::{Duration, Instant};

use super::acked::Acked;
use super::aimd::{RateControl, Seen};
use super::groups::Groups;
use super::loss::{Flow, Loss};
use super::queue::Queue;
use super::trend::{Trend, Usage};
use super::{MAX, MIN, Micros, RTT, START};

/// The estimate for one publisher's transport.
pub struct ReceiverEstimator {
    start: Instant,
    clock: SenderClock,
    delay: Delay,
    acked: Acked,
    rate: RateControl,
    loss: Loss,
    rtt: Micros,
    decided: Micros,
    /// What the publisher was told last.
    told: Option<f64>,
    /// When it is told next; none while nothing comes.
    next: Option<Micros>,
    /// Packets came since it was told.
    is_heard: bool,
}

/// What packets waited for on their way.
struct Delay {
    groups: Groups,
    trend: Trend,
    queue: Queue,
}

/// A publisher's clock of 24 bits, that begins anew every 64 s. It is read as ours: from when the first packet came.
#[derive(Default)]
struct SenderClock {
    last: Option<Stamp>,
}

/// When the last packet left that says so.
#[derive(Clone, Copy)]
struct Stamp {
    /// As it says.
    told: u32,
    /// When the first one came that this goes on from, and how long after that one it left, in 2^-18 s.
    base: Micros,
    ticks: i64,
    /// When it came.
    arrival: Micros,
}

impl ReceiverEstimator {
    /// For a transport that begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            clock: SenderClock::default(),
            delay: Delay::new(),
            acked: Acked::new(),
            rate: RateControl::new(START),
            loss: Loss::new(),
            rtt: RTT,
            decided: 0,
            told: None,
            next: None,
            is_heard: false,
        }
    }

    /// A datagram of so many bytes came. `left`: when, by the publisher's abs-send-time (24 bits, 2^-18 s), if it says so.
    pub fn note_packet(&mut self, now: Instant, left: Option<u32>, bytes: usize) {
        let now = self.micros(now);
        let bytes = bytes as u32;
        match left.map(|left| self.clock.unwrap(left, now)) {
            // The rate is of all that comes, by one clock.
            None => self.acked.add(self.clock.sent_beside(now), now, bytes),
            Some((sent, is_continuous)) => {
                if !is_continuous {
                    (self.delay, self.acked) = (Delay::new(), Acked::new());
                }
                self.acked.add(sent, now, bytes);
                self.delay.add(sent, now, bytes);
            }
        }
        self.is_heard = true;
        self.next.get_or_insert(now);
        if now - self.decided >= DECIDE_EVERY {
            self.decide(now);
        }
    }

    /// Of the packets that were to come since the last call, so many did not.
    pub fn note_loss(&mut self, now: Instant, expected: u32, lost: u32) {
        let now = self.micros(now);
        // What arrives is not known in the first half second, nor in the one after a clock was set: not known is not nothing, and what is
        // lost then is of no rate that could be lowered.
        let Some(arrives) = self.acked.rate() else { return };
        // What is counted by the second was sent by the rate before, as far as it left before that fell.
        if now - self.loss.since() >= COUNTED + self.rtt {
            self.loss.add(now, expected, lost as i32);
        }
        let kept = 1.0 - f64::from(lost) / f64::from(expected.max(1));
        let flow = Flow { target: self.rate.rate(), sent: arrives / kept.max(0.1), arrives, rtt: self.rtt };
        self.loss.update(now, flow);
        self.hurry(now);
    }

    /// The time there and back, once it is known.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.as_micros().min(MAX_RTT) as Micros;
    }

    /// When [`Self::poll`] has something to tell.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next.map(|next| self.start + Duration::from_micros(next.max(0) as u64))
    }

    /// What the publisher is to be told, in bits per second from 30,000 to 100 million, when that is due: every second while packets
    /// come, and at once when it falls by 3 %. `most`: it may not send more anyway.
    pub fn poll(&mut self, now: Instant, most: Option<u64>) -> Option<u64> {
        let now = self.micros(now);
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.next = std::mem::take(&mut self.is_heard).then_some(now + TOLD_EVERY);
        let estimate = self.estimate();
        self.told = Some(estimate);
        Some((estimate as u64).min(most.unwrap_or(u64::MAX)))
    }

    /// Nothing can be told now: there is no way to the publisher.
    pub fn skip(&mut self) {
        (self.next, self.is_heard) = (None, false);
    }

    fn estimate(&self) -> f64 {
        let limits = [self.loss.limit(), self.delay.queue.limit()];
        limits.into_iter().flatten().fold(self.rate.rate(), f64::min).clamp(MIN, MAX)
    }

    fn decide(&mut self, now: Micros) {
        self.decided = now;
        if self.delay.queue.update(now, self.rtt) {
            self.rate.lower(now, self.delay.queue.limit().unwrap_or(MAX));
        }
        let usage = self.delay.usage();
        let recent = self.delay.queue.capacity().or(self.acked.recent());
        if usage == Usage::Over {
            self.delay.queue.overused(now, self.rtt, recent.unwrap_or(self.rate.rate()));
        }
        if self.rate.update(now, Seen { usage, acked: self.acked.rate(), recent, rtt: self.rtt }) {
            self.loss.forget(now);
        }
        self.hurry(now);
    }

    /// A rate that falls is told at once (`kSendThresholdPercent` of libwebrtc's `RembThrottler`).
    fn hurry(&mut self, now: Micros) {
        if self.told.is_some_and(|told| self.estimate() < FALLS * told) {
            self.next = Some(now);
        }
    }

    fn micros(&self, now: Instant) -> Micros {
        now.saturating_duration_since(self.start).as_micros() as Micros
    }
}

impl Delay {
    fn new() -> Self {
        Self { groups: Groups::default(), trend: Trend::new(), queue: Queue::new() }
    }

    fn add(&mut self, sent: Micros, arrival: Micros, bytes: u32) {
        self.queue.add(sent, arrival, bytes);
        if let Some(apart) = self.groups.add(sent, arrival) {
            self.trend.add(apart);
        }
    }

    /// What it says of the link. A trend without a queue is jitter.
    fn usage(&self) -> Usage {
        match self.trend.usage() {
            Usage::Over if !self.queue.is_there() => Usage::Normal,
            usage => usage,
        }
    }
}

impl SenderClock {
    /// When a packet left, as if the first one had come at once, and whether that goes on from the one before.
    fn unwrap(&mut self, told: u32, arrival: Micros) -> (Micros, bool) {
        let fresh = Stamp { told, base: arrival, ticks: 0, arrival };
        let last = self.last.unwrap_or(fresh);
        // The shorter way round, of 24 bits.
        let apart = i64::from((told.wrapping_sub(last.told) << 8).cast_signed() >> 8);
        let later = to_micros(apart) - (arrival - last.arrival);
        let goes_on = later.abs() < CLOCK_JUMP;
        let stamp = if goes_on { Stamp { told, ticks: last.ticks + apart, arrival, ..last } } else { fresh };
        self.last = Some(stamp);
        (stamp.sent(), goes_on)
    }

    /// When a packet left that does not say so: as long before it came as the last one that does.
    fn sent_beside(&self, arrival: Micros) -> Micros {
        self.last.map_or(arrival, |last| last.sent() + (arrival - last.arrival))
    }
}

impl Stamp {
    fn sent(&self) -> Micros {
        self.base + to_micros(self.ticks)
    }
}

fn to_micros(ticks: i64) -> Micros {
    (ticks * 1_000_000) >> 18
}

/// libwebrtc decides at once when it finds a queue and each half second otherwise; packets that come tell as often as feedback does.
const DECIDE_EVERY: Micros = 50_000;
/// At least as often as draft-alvestrand-rmcat-remb-03 §2.3 asks for.
const TOLD_EVERY: Micros = 1_000_000;
const FALLS: f64 = 0.97;
/// What [`ReceiverEstimator::note_loss`] counts in one call, as reports go out.
const COUNTED: Micros = 1_000_000;
/// No queue is that long, and nobody is silent for half a turn of the clock without that being seen: it was set, or went round.
const CLOCK_JUMP: Micros = 3_000_000;
const MAX_RTT: u128 = 5_000_000;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests;
