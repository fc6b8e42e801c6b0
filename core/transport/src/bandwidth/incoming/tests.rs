//! Publishers over virtual links.

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
    /// Every third packet does not say when it left.
    mixes: bool,
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
            mixes: false,
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
        let Self { link, estimator, left, start, is_stamped, mixes, counted, .. } = self;
        link.run(self.now, |at, number| {
            let sent = left[usize::from(number.unwrap())];
            let stamp = (sent << 18) / 1_000_000;
            let at = *start + Duration::from_micros(at as u64);
            let is_stamped = *is_stamped && !(*mixes && counted.1 % 3 == 2);
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
fn what_has_no_times_is_counted_beside_what_has_them_and_not_missed_when_it_ends() {
    let mut uplink = Uplink::new(over(3e6, 50_000), true);
    // The first packet comes long after the estimate began.
    (uplink.mixes, uplink.most) = (true, 0.0);
    uplink.run(20);
    uplink.most = 3e5;
    uplink.run(10);
    (uplink.mixes, uplink.most) = (false, 5e6);
    uplink.run(12);
    let (carried, queue) = uplink.run(6);
    assert!(carried > 2e6 && queue < 60.0, "{carried:.0} bit/s, {queue:.0} ms of queue");
}

#[test]
fn a_loss_before_it_is_known_what_arrives_is_not_held_against_it() {
    let start = Instant::now();
    let mut estimator = ReceiverEstimator::new(start);
    let mut told = None;
    // 960 kbit/s, some time after the estimate began.
    for ms in (0..=5300).step_by(10) {
        let now = start + Duration::from_millis(5000 + ms);
        estimator.note_packet(now, None, 1200);
        match ms {
            300 => estimator.note_loss(now, 40, 12),
            _ if ms % 1000 == 300 => estimator.note_loss(now, 100, 0),
            _ => {}
        }
        told = estimator.poll(now, None).or(told);
    }
    assert!(told.is_some_and(|told| told > 500_000), "{told:?}");
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
fn a_clock_goes_round_and_begins_with_what_comes() {
    let mut clock = SenderClock::default();
    let (begin, step) = (7_000_000, 1 << 14);
    assert_eq!(clock.sent_beside(begin), begin);
    for tick in 0..3000_u32 {
        let at = begin + i64::from(tick) * 62_500;
        assert_eq!(clock.unwrap((0xff_f000 + tick * step) & 0xff_ffff, at), (at, true));
    }
    let later = begin + 3000 * 62_500 + 40_000_000;
    assert_eq!(clock.unwrap(0, later), (later, false), "a silence of most of a turn");
    assert_eq!(clock.unwrap(step, later + 70_000), (later + 62_500, true), "it began again");
    assert_eq!(clock.sent_beside(later + 100_000), later + 92_500, "the last one took 7.5 ms longer");
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
