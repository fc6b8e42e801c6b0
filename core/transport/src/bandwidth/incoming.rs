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

/// A publisher's clock of 24 bits, that begins anew every 64 s.
#[derive(Default)]
struct SenderClock {
    /// The last time, as it was told and unwrapped, in 2^-18 s; and when it came.
    last: Option<(u32, i64, Micros)>,
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
            None => self.acked.add(now, now, bytes),
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
        // What is counted by the second was sent by the rate before, as far as it left before that fell.
        if now - self.loss.since() >= COUNTED + self.rtt {
            self.loss.add(now, expected, lost as i32);
        }
        let arrives = self.acked.rate().unwrap_or(0.0);
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
    /// When a packet left, in µs since the first one, and whether that goes on from the one before.
    fn unwrap(&mut self, left: u32, arrival: Micros) -> (Micros, bool) {
        let (last, before, came) = self.last.unwrap_or((left, 0, arrival));
        // The shorter way round, of 24 bits.
        let apart = i64::from((left.wrapping_sub(last) << 8).cast_signed() >> 8);
        self.last = Some((left, before + apart, arrival));
        let later = to_micros(apart) - (arrival - came);
        (to_micros(before + apart), later.abs() < CLOCK_JUMP)
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
mod tests {
    use proptest::prelude::*;

    use super::super::sim::link::{GOOD, Link, Way};
    use super::*;

    /// A publisher that sends what it is told, over a virtual link.
    struct Uplink {
        start: Instant,
        now: Micros,
        link: Link,
        estimator: ReceiverEstimator,
        /// When the packets of each number left.
        left: Vec<Micros>,
        is_stamped: bool,
        limit: f64,
        most: f64,
        owed: f64,
        counted: (u32, u32),
        tellings: u32,
    }

    impl Uplink {
        fn new(way: Way, is_stamped: bool) -> Self {
            let start = Instant::now();
            Self {
                start,
                now: 0,
                link: Link::new(way, 1),
                estimator: ReceiverEstimator::new(start),
                left: vec![0; 1 << 16],
                is_stamped,
                // As libwebrtc begins.
                limit: 300_000.0,
                most: 5e6,
                owed: 0.0,
                counted: (0, 0),
                tellings: 0,
            }
        }

        /// What got through in so many seconds, in bits per second, and the mean queue in ms.
        fn run(&mut self, seconds: usize) -> (f64, f64) {
            let (before, mut queue) = (self.link.carried, 0.0);
            for _ in 0..1000 * seconds {
                self.tick();
                queue += self.link.queue() as f64 / 1000.0;
            }
            ((self.link.carried - before) as f64 * 8.0 / seconds as f64, queue / 1000.0 / seconds as f64)
        }

        fn tick(&mut self) {
            self.now += 1000;
            let now = self.start + Duration::from_micros(self.now as u64);
            let Self { link, estimator, left, start, is_stamped, counted, .. } = self;
            link.run(self.now, |at, number| {
                let sent = left[usize::from(number.unwrap())];
                let stamp = (sent << 18) / 1_000_000;
                let at = *start + Duration::from_micros(at as u64);
                estimator.note_packet(at, is_stamped.then_some(stamp as u32 & 0xff_ffff), 1200);
                counted.1 += 1;
            });
            if self.now % 1_000_000 == 0 {
                let (sent, came) = std::mem::take(&mut self.counted);
                self.estimator.note_loss(now, sent, sent.saturating_sub(came));
            }
            if let Some(told) = self.estimator.poll(now, None) {
                (self.limit, self.tellings) = (told as f64, self.tellings + 1);
            }
            self.owed += self.limit.min(self.most) / 8000.0;
            while self.owed >= 1200.0 {
                self.owed -= 1200.0;
                let number = (self.left.len() as Micros + self.now) as u16;
                let number = number.wrapping_mul(7).wrapping_add(self.counted.0 as u16);
                self.left[usize::from(number)] = self.now;
                self.counted.0 += 1;
                self.link.send(self.now, Some(number), 1200);
            }
        }
    }

    fn over(rate: f64, delay: Micros) -> Way {
        Way { rate, delay, ..GOOD }
    }

    #[test]
    fn a_publisher_fills_its_link_and_no_queue() {
        for delay in [10_000, 50_000, 150_000] {
            let mut uplink = Uplink::new(over(1.5e6, delay), true);
            uplink.run(30);
            let (carried, queue) = uplink.run(30);
            assert!(carried > 0.8 * 1.5e6 && queue < 60.0, "delay {delay}: {carried:.0} bit/s, {queue:.0} ms of queue");
        }
    }

    #[test]
    fn a_link_that_gets_narrow_is_relieved_within_eight_seconds() {
        for delay in [10_000, 50_000, 150_000] {
            let mut uplink = Uplink::new(over(3e6, delay), true);
            uplink.run(40);
            uplink.link.way.rate = 3e5;
            uplink.run(8);
            let (carried, queue) = uplink.run(12);
            assert!(carried > 1.5e5 && queue < 100.0, "delay {delay}: {carried:.0} bit/s, {queue:.0} ms of queue");
        }
    }

    #[test]
    fn without_times_loss_is_gone_by() {
        let mut uplink = Uplink::new(Way { queue: 15_000, ..over(1e6, 50_000) }, false);
        uplink.run(30);
        let (carried, _) = uplink.run(20);
        assert!(carried > 0.7e6, "{carried:.0} bit/s");
        assert!(uplink.limit < 1.4e6, "told {:.0}", uplink.limit);
        // Little loss does not stop it; between 2 and 10 % it stays as it is (draft-ietf-rmcat-gcc-02 §6).
        for (loss, least) in [(0.01, 2e6), (0.05, 0.8e6)] {
            let mut lossy = Uplink::new(Way { loss, ..over(3e6, 50_000) }, false);
            lossy.run(30);
            let (carried, _) = lossy.run(10);
            assert!(carried > least, "loss {loss}: {carried:.0} bit/s");
        }
    }

    #[test]
    fn it_is_told_each_second_and_at_once_when_it_falls() {
        let mut uplink = Uplink::new(over(5e6, 30_000), true);
        uplink.most = 400_000.0;
        uplink.run(10);
        assert!((10..=11).contains(&uplink.tellings), "{}", uplink.tellings);
        uplink.link.way.rate = 1e5;
        let before = (uplink.limit, uplink.now);
        while uplink.limit >= before.0 {
            uplink.tick();
            assert!(uplink.now - before.1 < 1_500_000, "it was not told");
        }
        uplink.most = 0.0;
        uplink.run(5);
        assert_eq!(uplink.estimator.next_timeout(), None, "nothing comes");
    }

    #[test]
    fn no_more_is_told_than_may_be_sent() {
        let now = Instant::now();
        let mut estimator = ReceiverEstimator::new(now);
        assert_eq!((estimator.next_timeout(), estimator.poll(now, None)), (None, None));
        estimator.note_packet(now, None, 1200);
        assert_eq!(estimator.poll(now, Some(500_000)), Some(500_000));
        assert_eq!(estimator.poll(now, None), None, "it was told");
    }

    #[test]
    fn a_clock_goes_round() {
        let mut clock = SenderClock::default();
        let step = 1 << 14;
        for tick in 0..3000_u32 {
            let at = i64::from(tick) * 62_500;
            assert_eq!(clock.unwrap((0xff_f000 + tick * step) & 0xff_ffff, at), (at, true));
        }
        let later = 3000 * 62_500 + 40_000_000;
        assert!(!clock.unwrap(0, later).1, "a silence of most of a turn");
    }

    proptest! {
        #[test]
        fn no_times_break_it(
            packets in proptest::collection::vec((any::<Option<u32>>(), 0_u64..5_000_000, 0_usize..3000, any::<u32>()), 1..200),
        ) {
            let mut now = Instant::now();
            let mut estimator = ReceiverEstimator::new(now);
            for (left, passed, bytes, lost) in packets {
                now += Duration::from_micros(passed);
                estimator.note_packet(now, left.map(|left| left & 0xff_ffff), bytes);
                estimator.note_loss(now, lost % 1000, lost % 1000);
                let told = estimator.poll(now, None);
                prop_assert!(told.is_none_or(|told| (30_000..=100_000_000).contains(&told)), "{told:?}");
            }
        }
    }
}
