//! A publisher's bitrate limit, enforced: what goes beyond it is not forwarded.

use std::time::Instant;

use lockgate_model::Bitrate;

/// A token bucket of a second's worth.
#[derive(Debug)]
pub(crate) struct Policer {
    limit: Bitrate,
    bytes_per_second: f64,
    tokens: f64,
    last: Instant,
}

impl Policer {
    /// A limit on media; headers, retransmissions and the bursts of key frames have half as much again.
    pub(crate) fn new(now: Instant, limit: Bitrate) -> Self {
        let bytes_per_second = limit.0 as f64 / 8.0 * HEADROOM;
        Self { limit, bytes_per_second, tokens: bytes_per_second, last: now }
    }

    /// What it was made for.
    pub(crate) fn limit(&self) -> Bitrate {
        self.limit
    }

    /// Whether a packet of this many bytes is still within the limit.
    pub(crate) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.tokens = (self.tokens + passed * self.bytes_per_second).min(self.bytes_per_second);
        let fits = self.tokens >= bytes as f64;
        if fits {
            self.tokens -= bytes as f64;
        }
        fits
    }
}

const HEADROOM: f64 = 1.5;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_goes_beyond_the_limit_is_refused_and_the_rest_is_not() {
        let mut now = Instant::now();
        let mut policer = Policer::new(now, Bitrate(80_000));
        let mut admitted = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            admitted += usize::from(policer.admits(now, 1000)) * 1000;
        }
        // Ten seconds of 15,000 bytes, and the bucket that was full.
        assert!((150_000..=165_000).contains(&admitted), "{admitted}");
        let mut within = Policer::new(now, Bitrate(80_000));
        assert!((0..100).all(|step| within.admits(now + step * Duration::from_millis(100), 1000)));
    }
}
