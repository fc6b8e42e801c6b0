//! How much of what is sent arrives, in bits per second.
//!
//! Samples of 150 ms go through the filter of libwebrtc's `BitrateEstimator`, once by the time of arrival and once by the
//! time of sending; the lower one counts, so that a receiver that squeezes its arrivals together gains nothing.

use super::Micros;

/// The rate that arrives.
pub(super) struct Acked {
    by_arrival: Filter,
    by_sending: Filter,
}

impl Acked {
    pub(super) fn new() -> Self {
        Self { by_arrival: Filter::new(), by_sending: Filter::new() }
    }

    /// A packet came.
    pub(super) fn add(&mut self, sent: Micros, arrival: Micros, bytes: u32) {
        self.by_arrival.add(arrival, bytes);
        self.by_sending.add(sent, bytes);
    }

    /// What it has been, smoothed.
    pub(super) fn rate(&self) -> Option<f64> {
        Some(self.by_arrival.rate?.min(self.by_sending.rate?))
    }

    /// The most of the last half second: when a queue grows, that is what the link carries.
    pub(super) fn recent(&self) -> Option<f64> {
        Some(self.by_arrival.recent()?.min(self.by_sending.recent()?))
    }
}

struct Filter {
    start: Option<Micros>,
    last: Micros,
    bytes: u64,
    /// The last samples.
    windows: [f64; RECENT],
    samples: usize,
    /// In bits per second.
    rate: Option<f64>,
    /// In (kbit/s)².
    variance: f64,
}

impl Filter {
    fn new() -> Self {
        Self { start: None, last: 0, bytes: 0, windows: [0.0; RECENT], samples: 0, rate: None, variance: VARIANCE }
    }

    /// A window ends with the packet that begins the next one: so bursts are whole, and none is counted for half its time.
    fn add(&mut self, at: Micros, bytes: u32) {
        let start = *self.start.get_or_insert(at);
        let (passed, idle) = (at - start, at - self.last);
        self.last = self.last.max(at);
        let window = if self.rate.is_none() { FIRST_WINDOW } else { WINDOW };
        if passed >= window {
            // Nobody sent: that says nothing about what could arrive.
            if idle < IDLE {
                self.sample(self.bytes as f64 * 8.0, passed as f64);
            }
            (self.start, self.bytes) = (Some(at), 0);
        }
        self.bytes += u64::from(bytes);
    }

    fn sample(&mut self, bits: f64, micros: f64) {
        let sample = bits / micros * 1000.0;
        self.windows[self.samples % RECENT] = sample * 1000.0;
        self.samples += 1;
        let Some(rate) = self.rate.map(|rate| rate / 1000.0) else {
            self.rate = Some(sample * 1000.0);
            return;
        };
        // The further a sample is off, the less it is believed.
        let uncertainty = UNCERTAINTY * (rate - sample).abs() / (rate + sample).max(f64::MIN_POSITIVE);
        let (sample_variance, predicted) = (uncertainty.powi(2), self.variance + DRIFT);
        let sum = sample_variance + predicted;
        self.rate = Some((sample_variance * rate + predicted * sample) / sum * 1000.0);
        self.variance = sample_variance * predicted / sum;
    }

    fn recent(&self) -> Option<f64> {
        self.windows[..self.samples.min(RECENT)].iter().copied().reduce(f64::max)
    }
}

/// `kInitialRateWindowMs`.
const FIRST_WINDOW: Micros = 500_000;
/// `kRateWindowMs`.
const WINDOW: Micros = 150_000;
const IDLE: Micros = 500_000;
const RECENT: usize = 3;
/// `bitrate_estimate_var_` at the beginning, and what each step adds.
const VARIANCE: f64 = 50.0;
const DRIFT: f64 = 5.0;
/// `kUncertaintyScale`.
const UNCERTAINTY: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_with_the_pause_behind_them() {
        let mut acked = Acked::new();
        // 30 frames per second of ten packets of 1,000 bytes.
        for packet in 0..600 {
            let at = packet / 10 * 33_333 + packet % 10;
            acked.add(at, at + 50_000, 1000);
        }
        let (rate, recent) = (acked.rate().unwrap(), acked.recent().unwrap());
        assert!((2_380_000.0..2_420_000.0).contains(&rate) && (2_380_000.0..2_420_000.0).contains(&recent));
    }

    #[test]
    fn arrivals_that_are_squeezed_together_are_not_believed() {
        let mut acked = Acked::new();
        (0..1000).for_each(|packet| acked.add(packet * 10_000, packet * 100, 1000));
        assert!(acked.rate().is_none_or(|rate| rate <= 800_001.0), "{:?}", acked.rate());
    }

    #[test]
    fn a_drop_is_seen_within_half_a_second() {
        let mut acked = Acked::new();
        (0..1000).for_each(|packet| acked.add(packet * 2_000, packet * 2_000, 1250));
        (0..20).for_each(|packet| acked.add(2_000_000 + packet * 2_000, 2_000_000 + packet * 33_000, 1250));
        assert!(acked.recent().unwrap() < 500_000.0, "{:?}", acked.recent());
    }
}
