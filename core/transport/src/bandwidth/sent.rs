//! How much is sent, in bits per second.

use super::Micros;

/// The rate over the last second, in quarters.
pub(super) struct SentMeter {
    /// Bytes of the last whole quarters, the newest first.
    quarters: [u64; QUARTERS],
    bytes: u64,
    since: Micros,
}

impl SentMeter {
    pub(super) fn new() -> Self {
        Self { quarters: [0; QUARTERS], bytes: 0, since: 0 }
    }

    pub(super) fn add(&mut self, now: Micros, bytes: usize) {
        self.roll(now);
        self.bytes += bytes as u64;
    }

    pub(super) fn roll(&mut self, now: Micros) {
        let passed = ((now - self.since) / QUARTER).max(0);
        for _ in 0..passed.min(QUARTERS as Micros) {
            self.quarters.rotate_right(1);
            self.quarters[0] = std::mem::take(&mut self.bytes);
        }
        self.since += passed * QUARTER;
    }

    /// As of the last packet, or the last time that it was asked to roll on.
    pub(super) fn rate(&self) -> f64 {
        self.quarters.iter().sum::<u64>() as f64 * 8e6 / (QUARTER * QUARTERS as Micros) as f64
    }

    /// That of the last whole quarter.
    pub(super) fn latest(&self) -> f64 {
        self.quarters[0] as f64 * 8e6 / QUARTER as f64
    }
}

const QUARTERS: usize = 4;
const QUARTER: Micros = 250_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut meter = SentMeter::new();
        (0..100).for_each(|packet| meter.add(packet * 10_000, 1250));
        meter.roll(1_000_000);
        assert_eq!(meter.rate(), 1e6);
        meter.roll(1_500_000);
        assert_eq!((meter.rate(), meter.latest()), (5e5, 0.0));
        meter.roll(60_000_000);
        assert_eq!(meter.rate(), 0.0);
    }
}
