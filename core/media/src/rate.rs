//! How many bits a second something has.

use std::time::{Duration, Instant};

use lockgate_model::Bitrate;

/// A rate over the last whole window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateMeter {
    since: Instant,
    bytes: u64,
    last: Bitrate,
}

impl RateMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0, last: Bitrate(0) }
    }

    pub(crate) fn note(&mut self, now: Instant, bytes: usize) {
        self.roll(now);
        self.bytes += bytes as u64;
    }

    /// The rate; before the first window is over, what came so far as if it went on so.
    pub(crate) fn rate(&mut self, now: Instant) -> Bitrate {
        self.roll(now);
        self.last
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.duration_since(self.since);
        if passed >= WINDOW {
            self.last = Bitrate((self.bytes as f64 * 8.0 / passed.as_secs_f64()) as u64);
            (self.since, self.bytes) = (now, 0);
        }
    }
}

const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_window() {
        let start = Instant::now();
        let mut meter = RateMeter::new(start);
        (0..10).for_each(|tenth| meter.note(start + tenth * WINDOW / 10, 1000));
        assert_eq!(meter.rate(start + WINDOW), Bitrate(80_000));
        assert_eq!(meter.rate(start + 2 * WINDOW), Bitrate(0));
    }
}
