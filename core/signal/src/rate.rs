//! How fast one client may talk.

use std::time::Instant;

/// A token bucket over messages.
#[derive(Debug)]
pub(crate) struct Rate {
    tokens: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now }
    }

    /// Whether one more message is within the rate.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// A browser that subscribes to a large room sends an answer and some candidates for each publisher.
const PER_SECOND: f64 = 100.0;
const BURST: f64 = 500.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_to_the_rate() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!((0..1000).filter(|_| rate.allows(start)).count(), 500);
        assert_eq!((0..1000).filter(|_| rate.allows(start + Duration::from_secs(1))).count(), 100);
    }
}
