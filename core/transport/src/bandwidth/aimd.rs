//! The rate that the delay allows: up while no queue grows, down to 85 % of what arrives when one does.
//!
//! libwebrtc's `AimdRateControl` and `LinkCapacityEstimator`, which are draft-ietf-rmcat-gcc-02 §5.5 grown older.

use super::trend::Usage;
use super::{MAX, MIN, Micros};

/// What the rate is decided by.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) usage: Usage,
    /// What arrives, smoothed.
    pub(super) acked: Option<f64>,
    /// What arrived of late, at most; what the link carries, if packets waited for it.
    pub(super) recent: Option<f64>,
    pub(super) rtt: Micros,
}

/// The rate and what is known of the link.
pub(super) struct RateControl {
    rate: f64,
    state: State,
    capacity: Capacity,
    changed: Option<Micros>,
    /// The last known throughput: at first as much as the rate, so that the start is not held back.
    throughput: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Increase,
    /// A queue drains: wait.
    Hold,
}

impl RateControl {
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, state: State::Hold, capacity: Capacity::default(), changed: None, throughput: rate }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes what was seen; true: the rate went down.
    pub(super) fn update(&mut self, now: Micros, seen: Seen) -> bool {
        self.throughput = seen.acked.unwrap_or(self.throughput);
        match seen.usage {
            Usage::Over => return self.may_decrease(now, seen) && self.decrease(now, seen),
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => {
                // Growth begins now, not when the queue was found.
                (self.state, self.changed) = (State::Increase, Some(now));
            }
            Usage::Normal => self.increase(now, seen),
        }
        false
    }

    /// A probe showed what the link carries.
    pub(super) fn raise(&mut self, now: Micros, rate: f64) {
        if rate > self.rate {
            self.rate = rate.clamp(MIN, MAX);
            self.changed = Some(now);
        }
    }

    /// A queue showed that this is the most that can be sent.
    pub(super) fn lower(&mut self, now: Micros, rate: f64) {
        if rate < self.rate {
            self.rate = rate.max(MIN);
            self.capacity = Capacity::default();
            (self.state, self.changed) = (State::Hold, Some(now));
        }
    }

    /// Nothing is heard of the receiver: less is sent until there is.
    pub(super) fn back_off(&mut self) {
        self.rate = (self.rate * SILENCE).max(MIN);
    }

    /// `TimeToReduceFurther`: a decrease is given a response time to show, unless the rate is far too high.
    fn may_decrease(&self, now: Micros, seen: Seen) -> bool {
        let waited = self.changed.is_none_or(|changed| now - changed >= seen.rtt.clamp(10_000, 200_000));
        waited || self.throughput_now(seen) < 0.5 * self.rate
    }

    fn decrease(&mut self, now: Micros, seen: Seen) -> bool {
        let throughput = self.throughput_now(seen);
        let mut target = if seen.recent.is_none() { self.rate / 2.0 } else { BETA * throughput };
        if target > self.rate
            && let Some(capacity) = self.capacity.estimate
        {
            target = BETA * capacity;
        }
        if throughput < self.capacity.lower() {
            self.capacity = Capacity::default();
        }
        if seen.recent.is_some() {
            self.capacity.overused(throughput);
        }
        let before = self.rate;
        self.rate = self.rate.min(target).clamp(MIN, MAX);
        (self.state, self.changed) = (State::Hold, Some(now));
        self.rate < before
    }

    fn increase(&mut self, now: Micros, seen: Seen) {
        if self.throughput > self.capacity.upper() {
            self.capacity = Capacity::default();
        }
        let passed = now - self.changed.replace(now).unwrap_or(now);
        // What nobody sends cannot be seen to arrive: the rate does not outrun what does.
        let limit = AHEAD * self.throughput + SLACK;
        if self.rate < limit {
            let step = match self.capacity.estimate {
                Some(_) => self.additive(passed, seen.rtt),
                None => self.multiplicative(passed),
            };
            self.rate = (self.rate + step).min(limit).clamp(MIN, MAX);
        }
    }

    /// `MultiplicativeRateIncrease`: eight percent per second.
    fn multiplicative(&self, passed: Micros) -> f64 {
        let seconds = (passed as f64 / 1e6).min(1.0);
        (self.rate * (GROWTH.powf(seconds) - 1.0)).max(1000.0 * seconds)
    }

    /// `GetNearMaxIncreaseRateBpsPerSecond`: about a packet per response time, near what the link carries.
    fn additive(&self, passed: Micros, rtt: Micros) -> f64 {
        let frame = self.rate / FRAMES_PER_SECOND;
        let packet = frame / (frame / PACKET_BITS).ceil().max(1.0);
        let response = (rtt + DETECTION) as f64 / 1e6 * 2.0;
        (packet / response).max(4000.0) * (passed as f64 / 1e6).min(1.0)
    }

    fn throughput_now(&self, seen: Seen) -> f64 {
        seen.recent.unwrap_or(self.throughput)
    }
}

/// What the link carried when queues grew, in kbit/s, and how much that varies.
#[derive(Default)]
struct Capacity {
    estimate: Option<f64>,
    deviation: Option<f64>,
}

impl Capacity {
    /// `LinkCapacityEstimator::Update`, with the variance normalised by the estimate.
    fn overused(&mut self, throughput: f64) {
        let before = self.estimate.unwrap_or(throughput);
        let estimate = (1.0 - CAPACITY_ALPHA) * before + CAPACITY_ALPHA * throughput;
        let (error, norm) = ((estimate - throughput) / 1000.0, (estimate / 1000.0).max(1.0));
        let deviation = self.deviation.unwrap_or(0.4);
        let deviation = (1.0 - CAPACITY_ALPHA) * deviation + CAPACITY_ALPHA * error.powi(2) / norm;
        (self.estimate, self.deviation) = (Some(estimate), Some(deviation.clamp(0.4, 2.5)));
    }

    fn upper(&self) -> f64 {
        self.estimate.map_or(f64::INFINITY, |estimate| estimate + 3.0 * self.deviation_of(estimate))
    }

    fn lower(&self) -> f64 {
        self.estimate.map_or(0.0, |estimate| (estimate - 3.0 * self.deviation_of(estimate)).max(0.0))
    }

    fn deviation_of(&self, estimate: f64) -> f64 {
        (self.deviation.unwrap_or(0.4) * estimate / 1000.0).sqrt() * 1000.0
    }
}

/// β in draft-ietf-rmcat-gcc-02 §5.5, `kDefaultBackoffFactor`.
const BETA: f64 = 0.85;
/// η in draft-ietf-rmcat-gcc-02 §5.5, per second.
const GROWTH: f64 = 1.08;
/// `increase_limit`: 1.5 times what arrives and 10 kbit/s (draft-ietf-rmcat-gcc-02 §5.5 has 1.5, too).
const AHEAD: f64 = 1.5;
const SLACK: f64 = 10_000.0;
/// A response time is a round trip and what the detection takes.
const DETECTION: Micros = 100_000;
const FRAMES_PER_SECOND: f64 = 30.0;
const PACKET_BITS: f64 = 1200.0 * 8.0;
/// `LinkCapacityEstimator::OnOveruseDetected`.
const CAPACITY_ALPHA: f64 = 0.05;
/// `RttBasedBackoff`'s `drop_fraction`.
const SILENCE: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(usage: Usage, acked: f64) -> Seen {
        Seen { usage, acked: Some(acked), recent: Some(acked), rtt: 100_000 }
    }

    fn run(control: &mut RateControl, from: Micros, to: Micros, usage: Usage, acked: impl Fn(f64) -> f64) {
        for now in (from * 20..to * 20).map(|tick| tick * 50_000) {
            let acked = acked(control.rate());
            control.update(now, seen(usage, acked));
        }
    }

    #[test]
    fn it_grows_by_eight_percent_per_second() {
        let mut control = RateControl::new(1e6);
        run(&mut control, 0, 10, Usage::Normal, |rate| rate);
        let grown = control.rate() / 1e6;
        assert!((2.1..2.2).contains(&grown), "{grown}");
    }

    #[test]
    fn it_does_not_outrun_what_arrives() {
        let mut control = RateControl::new(1e6);
        run(&mut control, 0, 60, Usage::Normal, |_| 800_000.0);
        assert_eq!(control.rate(), 1_210_000.0);
        control.raise(61_000_000, 4e6);
        run(&mut control, 61, 70, Usage::Normal, |_| 800_000.0);
        assert_eq!(control.rate(), 4e6, "what a probe showed stays");
    }

    #[test]
    fn near_the_links_capacity_it_grows_slowly() {
        let mut control = RateControl::new(2e6);
        assert!(control.update(0, seen(Usage::Over, 1e6)));
        assert_eq!(control.rate(), 850_000.0);
        run(&mut control, 1, 4, Usage::Normal, |rate| rate);
        let grown = control.rate() - 850_000.0;
        assert!((50_000.0..90_000.0).contains(&grown), "{grown}");
    }

    #[test]
    fn overuse_below_what_arrives_never_raises_it() {
        let mut control = RateControl::new(1e6);
        assert!(!control.update(0, seen(Usage::Over, 5e6)));
        assert_eq!(control.rate(), 1e6);
    }
}
