//! How well media flows over a connection, as a number that people understand and the figures behind it.
//!
//! The score is the rating of the E-model (ITU-T G.107) in its short form for packet networks (Cole and Rosenbluth, "Voice over IP
//! performance monitoring", 2001), made 0 to 10, and less by what pictures lack because the link is too narrow for them.

use std::time::{Duration, Instant};

use lockgate_model::Quality;

/// What was counted of a connection since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes: u64,
    /// Packets that are known to have come.
    pub(crate) came: u64,
    /// Packets that are known to be lost.
    pub(crate) lost: u64,
}

/// A connection's quality from look to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    at: Instant,
    before: Totals,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, before: Totals::default() }
    }

    /// When to look next.
    pub(crate) fn next_timeout(&self) -> Instant {
        self.at + EVERY
    }

    /// The quality since the last look; none if it is too soon or nothing flowed. `share`: how much of the bitrate that a viewer could
    /// be sent its link has room for.
    pub(crate) fn look(&mut self, now: Instant, totals: Totals, rtt: Option<Duration>, share: f64) -> Option<Quality> {
        let passed = now.saturating_duration_since(self.at);
        if passed < EVERY {
            return None;
        }
        let before = std::mem::replace(&mut self.before, totals);
        self.at = now;
        let bytes = totals.bytes.saturating_sub(before.bytes);
        let (came, lost) = (totals.came.saturating_sub(before.came), totals.lost.saturating_sub(before.lost));
        if bytes == 0 && came + lost == 0 {
            return None;
        }
        let loss = lost as f64 / (came + lost).max(1) as f64;
        Some(Quality {
            score: score(loss, rtt.unwrap_or_default(), share),
            bitrate: (bytes as f64 * 8.0 / passed.as_secs_f64()) as u64,
            loss: (loss * 1000.0).round() as u16,
            rtt: rtt.map(|rtt| u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX)),
        })
    }
}

/// `loss` and `share`: 0 … 1.
fn score(loss: f64, rtt: Duration, share: f64) -> u8 {
    let delay = rtt.as_secs_f64() * 500.0;
    let delayed = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let percent = loss * 100.0;
    let missed = 95.0 * percent / (percent + ROBUSTNESS);
    let rating = (BEST - delayed - missed).max(0.0) / BEST;
    (10.0 * rating * (0.5 + 0.5 * share.clamp(0.0, 1.0))).round() as u8
}

/// The rating without any impairment (G.107 with its defaults).
const BEST: f64 = 93.2;
/// The packet-loss robustness factor Bpl: between a codec without concealment (4.3) and one with it (25.1, both G.113 appendix I), for
/// pictures take loss worse than voices.
const ROBUSTNESS: f64 = 10.0;
const EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn the_score_falls_with_loss_delay_and_with_what_pictures_lack() {
        let score = |loss, rtt, share| score(loss, Duration::from_millis(rtt), share);
        assert_eq!(score(0.0, 20, 1.0), 10);
        assert_eq!([0.01, 0.05, 0.1, 0.2, 1.0].map(|loss| score(loss, 20, 1.0)), [9, 7, 5, 3, 1]);
        assert_eq!([200, 400, 800, 5000].map(|rtt| score(0.0, rtt, 1.0)), [10, 9, 6, 0]);
        assert_eq!([0.7, 0.3, 0.0].map(|share| score(0.0, 20, share)), [8, 6, 5]);
    }

    #[test]
    fn figures_are_those_since_the_last_look() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        let first = Totals { bytes: 100_000, came: 99, lost: 1 };
        assert_eq!(meter.look(now + EVERY / 2, first, None, 1.0), None, "too soon");
        let quality = meter.look(now + EVERY, first, Some(Duration::from_millis(30)), 1.0).unwrap();
        assert_eq!((quality.bitrate, quality.loss, quality.rtt), (400_000, 10, Some(30)));
        let second = Totals { bytes: 150_000, came: 199, lost: 1 };
        let quality = meter.look(now + 2 * EVERY, second, None, 1.0).unwrap();
        assert_eq!((quality.bitrate, quality.loss, quality.rtt, quality.score), (200_000, 0, None, 10));
        assert_eq!(meter.look(now + 3 * EVERY, second, None, 1.0), None, "nothing flows");
    }
}
