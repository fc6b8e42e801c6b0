//! How fast packets may leave towards one peer: a bucket of bytes that fills at a rate.
//!
//! Whatever fits leaves at once; only the excess waits, and then for so long that a handful of packets leave together: one by one
//! they would cost a walk through the network stack each.

use std::time::{Duration, Instant};

/// One peer's bucket.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    /// Bits a second; none: nothing waits.
    rate: Option<u64>,
    /// What may be sent now, in bits; below 0 after a packet that was larger than what was there.
    balance: i64,
    at: Instant,
}

impl Pacer {
    /// One that lets everything through.
    pub fn new(now: Instant) -> Self {
        Self { rate: None, balance: 0, at: now }
    }

    /// Packets leave at this rate from now on, in bits a second; none: as they come.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u64>) {
        let first = self.rate.is_none();
        self.fill(now);
        self.rate = rate.map(|rate| rate.clamp(LEAST, MOST));
        if first {
            self.balance = self.depth();
        }
    }

    /// Whether a packet may leave now, of whatever length.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.rate.is_none() || self.balance > 0
    }

    /// A packet of so many bytes leaves, paced or not.
    pub fn spend(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.balance -= 8 * bytes as i64;
        }
    }

    /// When enough will be there to be worth a turn.
    pub fn ready_at(&self) -> Instant {
        let Some(rate) = self.rate else { return self.at };
        let lacking = (bits(rate, QUANTUM) - self.balance).max(0);
        self.at + Duration::from_nanos((lacking as u64).saturating_mul(1_000_000_000) / rate)
    }

    fn fill(&mut self, now: Instant) {
        let Some(rate) = self.rate else { return };
        let passed = now.saturating_duration_since(self.at);
        self.balance = (self.balance + bits(rate, passed)).min(self.depth());
        self.at = self.at.max(now);
    }

    fn depth(&self) -> i64 {
        self.rate.map_or(0, |rate| bits(rate, DEPTH))
    }
}

/// At most 10^10 a second: years are far from any overflow.
fn bits(rate: u64, time: Duration) -> i64 {
    (rate as f64 * time.as_secs_f64()) as i64
}

/// A rate at which a packet takes half a second serves nobody.
const LEAST: u64 = 20_000;
const MOST: u64 = 10_000_000_000;
/// What may leave at once: the picture of a camera at the estimated rate, as libwebrtc's pacer lets bursts of 40 ms through.
const DEPTH: Duration = Duration::from_millis(40);
/// As often as libwebrtc's pacer sends.
const QUANTUM: Duration = Duration::from_millis(5);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    /// How many packets of 1000 bytes leave within so many milliseconds, and how many at the very beginning.
    fn sent(rate: u64, millis: u64) -> (usize, usize) {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        pacer.set_rate(start, Some(rate));
        let (mut all, mut first) = (0, 0);
        for millis in 0..millis {
            let now = start + Duration::from_millis(millis);
            while pacer.admits(now) {
                pacer.spend(1000);
                all += 1;
            }
            if millis == 0 {
                first = all;
            }
        }
        (all, first)
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let (all, first) = sent(8_000_000, 1000);
        assert_eq!(first, 40, "40 ms of it");
        assert!((1035..=1045).contains(&all), "{all}");
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        pacer.spend(1 << 20);
        assert!(pacer.admits(now));
        assert_eq!(pacer.ready_at(), now);
    }

    #[test]
    fn what_waits_is_let_go_in_quanta() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        pacer.set_rate(start, Some(8_000_000));
        while pacer.admits(start) {
            pacer.spend(1000);
        }
        let due = pacer.ready_at();
        assert_eq!(due - start, QUANTUM);
        assert!(pacer.admits(due));
        (0..5).for_each(|_| pacer.spend(1000));
        assert!(!pacer.admits(due), "5 ms are five packets of 1 ms");
    }

    #[test]
    fn nothing_breaks_at_the_ends() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        for rate in [0, u64::MAX] {
            pacer.set_rate(start, Some(rate));
            pacer.spend(65_535);
            assert!(!pacer.admits(start) || rate > 0);
            assert!(pacer.admits(pacer.ready_at() + Duration::from_secs(3600)));
        }
    }
}
