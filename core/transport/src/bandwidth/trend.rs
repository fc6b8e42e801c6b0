//! Whether a queue on the way grows: the slope of the delay over the last twenty groups of packets, against a threshold that
//! adapts itself so that flows which fill queues cannot starve this one.
//!
//! libwebrtc's `TrendlineEstimator` with its constants; the threshold is that of draft-ietf-rmcat-gcc-02 §5.4.

use super::groups::Apart;

/// What the delay says of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// A queue drains.
    Under,
    /// The delay is steady.
    Normal,
    /// A queue grows.
    Over,
}

/// The last groups' delays.
pub(super) struct Trend {
    /// Arrival and smoothed delay, in ms; a ring.
    window: [(f64, f64); WINDOW],
    deltas: usize,
    /// Arrival of the first group, in ms.
    first: Option<f64>,
    accumulated: f64,
    smoothed: f64,
    slope: f64,
    threshold: f64,
    /// When the threshold was adapted.
    adapted: Option<f64>,
    above: Option<Above>,
    usage: Usage,
}

/// Since when the slope is above the threshold.
#[derive(Clone, Copy)]
struct Above {
    for_ms: f64,
    groups: u32,
}

impl Trend {
    pub(super) fn new() -> Self {
        Self {
            window: [(0.0, 0.0); WINDOW],
            deltas: 0,
            first: None,
            accumulated: 0.0,
            smoothed: 0.0,
            slope: 0.0,
            threshold: THRESHOLD,
            adapted: None,
            above: None,
            usage: Usage::Normal,
        }
    }

    /// Takes how far apart two groups were.
    pub(super) fn add(&mut self, apart: Apart) {
        let (sent, arrived, at) = (to_ms(apart.sent), to_ms(apart.arrived), to_ms(apart.at));
        let first = *self.first.get_or_insert(at);
        self.accumulated += arrived - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        self.window[self.deltas % WINDOW] = (at - first, self.smoothed);
        self.deltas += 1;
        let slope = if self.deltas >= WINDOW { slope(&self.window).unwrap_or(self.slope) } else { self.slope };
        self.detect(slope, sent, at);
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    fn detect(&mut self, slope: f64, sent: f64, at: f64) {
        let trend = self.deltas.min(MIN_DELTAS) as f64 * slope * GAIN;
        if trend > self.threshold {
            // The first one is in the middle of its stretch, on average.
            let above = self.above.map_or(Above { for_ms: sent / 2.0, groups: 1 }, |above| Above {
                for_ms: above.for_ms + sent,
                groups: above.groups + 1,
            });
            let lasts = above.for_ms > OVERUSE_MS && above.groups > 1;
            self.above = Some(above);
            if lasts && slope >= self.slope {
                self.above = None;
                self.usage = Usage::Over;
            }
        } else {
            self.above = None;
            self.usage = if trend < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.slope = slope;
        self.adapt(trend.abs(), at);
    }

    fn adapt(&mut self, trend: f64, at: f64) {
        let since = (at - self.adapted.replace(at).unwrap_or(at)).clamp(0.0, MAX_ADAPTED_MS);
        // A spike, as from a route that changed, is nothing to get used to.
        if trend > self.threshold + MAX_SPIKE {
            return;
        }
        let gain = if trend < self.threshold { K_DOWN } else { K_UP };
        self.threshold = (self.threshold + gain * (trend - self.threshold) * since).clamp(MIN_THRESHOLD, MAX_THRESHOLD);
    }
}

/// Of the line with the least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let len = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / len, y + point.1 / len));
    let rise: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let run: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (run > 0.0).then(|| rise / run)
}

fn to_ms(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

/// `kDefaultTrendlineWindowSize`.
const WINDOW: usize = 20;
/// `kDefaultTrendlineSmoothingCoeff`.
const SMOOTHING: f64 = 0.9;
/// `kDefaultTrendlineThresholdGain`.
const GAIN: f64 = 4.0;
/// `kMinNumDeltas`: a slope counts for more, the more groups there were.
const MIN_DELTAS: usize = 60;
/// `kOverUsingTimeThreshold`; overuse_time_th in draft-ietf-rmcat-gcc-02 §5.4.
const OVERUSE_MS: f64 = 10.0;
/// del_var_th(0) in draft-ietf-rmcat-gcc-02 §5.4.
const THRESHOLD: f64 = 12.5;
/// Bounds of the threshold, in draft-ietf-rmcat-gcc-02 §5.4 and libwebrtc alike.
const MIN_THRESHOLD: f64 = 6.0;
const MAX_THRESHOLD: f64 = 600.0;
/// K_u and K_d, per ms, as libwebrtc has them (the draft: 0.01 and 0.00018).
const K_UP: f64 = 0.0087;
const K_DOWN: f64 = 0.039;
/// `kMaxAdaptOffsetMs`.
const MAX_SPIKE: f64 = 15.0;
/// `kMaxTimeDeltaMs`.
const MAX_ADAPTED_MS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 10 ms that take `later` µs longer each.
    fn run(trend: &mut Trend, from: i64, groups: i64, later: i64) -> Vec<Usage> {
        let each = |group| {
            trend.add(Apart { sent: 10_000, arrived: 10_000 + later, at: (from + group) * (10_000 + later) });
            trend.usage()
        };
        (0..groups).map(each).collect()
    }

    #[test]
    fn a_growing_queue_is_overuse_and_a_draining_one_underuse() {
        let mut trend = Trend::new();
        assert!(run(&mut trend, 0, 100, 0).iter().all(|usage| *usage == Usage::Normal));
        assert!(run(&mut trend, 100, 40, 2_000).contains(&Usage::Over));
        run(&mut trend, 140, 60, 0);
        assert_eq!(trend.usage(), Usage::Normal);
        assert!(run(&mut trend, 300, 40, -2_000).contains(&Usage::Under));
    }

    #[test]
    fn one_late_group_is_no_overuse() {
        let mut trend = Trend::new();
        run(&mut trend, 0, 100, 0);
        trend.add(Apart { sent: 10_000, arrived: 30_000, at: 1_020_000 });
        trend.add(Apart { sent: 10_000, arrived: -10_000, at: 1_020_000 });
        assert!(run(&mut trend, 103, 40, 0).iter().all(|usage| *usage != Usage::Over));
    }
}
