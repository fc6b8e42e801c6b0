//! What feedback changes: the delay, the loss and the probes that it tells of, each moves its own limit.

use super::acked::Acked;
use super::aimd::Seen;
use super::clock::Arrival;
use super::groups::Groups;
use super::history::{Sent, Told};
use super::loss::Flow;
use super::queue::Queue;
use super::trend::{Trend, Usage};
use super::{Estimator, MAX, Micros};

/// What a feedback packet told.
#[derive(Default)]
pub(super) struct Tally {
    expected: u32,
    lost: i32,
    pub(super) refused: usize,
    /// Whether anything was told that was not known.
    pub(super) is_news: bool,
    /// When the newest packet that came had left.
    newest: Option<Micros>,
    /// Whether a delay was measured.
    is_measured: bool,
}

impl Tally {
    pub(super) fn new(refused: usize) -> Self {
        Self { refused, ..Self::default() }
    }

    fn count(&mut self, expected: u32, lost: i32) {
        self.is_news = true;
        self.expected += expected;
        self.lost += lost;
    }
}

impl Estimator {
    /// Takes what is told of a packet.
    pub(super) fn take(&mut self, told: Told, arrival: Micros, tally: &mut Tally) {
        match told {
            Told::Came(sent) => {
                self.told.came += 1;
                tally.count(u32::from(sent.at >= self.loss.since()), 0);
                self.arrived(sent, arrival, tally);
            }
            Told::CameLate(sent) => {
                self.told.came += 1;
                self.told.lost = self.told.lost.saturating_sub(1);
                tally.count(0, -i32::from(sent.at >= self.loss.since()));
                self.arrived(sent, arrival, tally);
            }
            Told::Lost(sent) => {
                self.told.lost += 1;
                let counts = sent.at >= self.loss.since();
                tally.count(counts.into(), counts.into());
                self.prober.told(sent.probe, None);
            }
            Told::Known => {}
            Told::Refused => tally.refused += 1,
        }
    }

    fn arrived(&mut self, sent: Sent, arrival: Micros, tally: &mut Tally) {
        match self.clock.judge(sent.at, arrival) {
            Arrival::Fits => {}
            Arrival::Refused => {
                tally.refused += 1;
                return;
            }
            Arrival::Anew => {
                (self.groups, self.trend) = (Groups::default(), Trend::new());
                (self.acked, self.queue) = (Acked::new(), Queue::new());
            }
        }
        tally.newest = tally.newest.max(Some(sent.at));
        self.acked.add(sent.at, arrival, sent.bytes);
        self.queue.add(sent.at, arrival, sent.bytes);
        self.prober.told(sent.probe, Some((arrival, sent.bytes)));
        // A probe overshoots on purpose: what its packets wait is the probe's to judge.
        if sent.probe == 0
            && let Some(apart) = self.groups.add(sent.at, arrival)
        {
            self.trend.add(apart);
            tally.is_measured = true;
        }
    }

    /// Moves the limits after feedback.
    pub(super) fn decide(&mut self, now: Micros, tally: &Tally) {
        self.is_heard = true;
        self.unanswered = None;
        if let Some(sent) = tally.newest {
            let sample = now - sent;
            self.rtt = Some(self.rtt.map_or(sample, |rtt| (7 * rtt + sample) / 8));
        }
        let rtt = self.rtt_or_guess();
        if self.queue.update(now, rtt) {
            self.rate.lower(now, self.queue.limit().unwrap_or(MAX));
        }
        self.loss.add(now, tally.expected, tally.lost);
        if tally.is_measured || self.is_flooded() {
            self.follow_delay(now, rtt);
        }
        self.follow_loss(now, rtt);
        self.end_probe(now);
        self.settle(now);
        self.probe(now);
    }

    fn follow_delay(&mut self, now: Micros, rtt: Micros) {
        let (usage, passed) = (self.usage(now), self.loss.passed());
        let recent = self.queue.capacity().or(self.acked.recent());
        let [acked, recent] = [self.acked.rate(), recent].map(|rate| rate.map(|rate| rate / passed));
        if usage == Usage::Over {
            self.queue.overused(now, rtt, recent.unwrap_or(self.rate.rate()));
        }
        let before = self.rate.rate();
        if self.rate.update(now, Seen { usage, acked, recent, rtt }) {
            self.prober.disprove(now, self.rate.rate());
            self.loss.forget(now);
            // What was sent went through: the little of it was not the cause.
            if self.rate.rate() < LARGE_DROP * before && self.sent.rate() < LITTLE * self.rate.rate() {
                self.prober.recover(now, before);
            }
        }
    }

    /// What the delay says, as far as there is a queue to show for it, and not only that of a probe.
    fn usage(&self, now: Micros) -> Usage {
        if self.is_flooded() {
            return Usage::Over;
        }
        let is_probes = now < self.prober.lasts_until() && !self.queue.is_long();
        match self.trend.usage() {
            Usage::Over if is_probes || !self.queue.is_there() => Usage::Normal,
            usage => usage,
        }
    }

    fn is_flooded(&self) -> bool {
        // Who has just begun to send less floods nothing.
        self.queue.is_flooded(self.sent.rate().min(self.sent.latest()))
    }

    fn follow_loss(&mut self, now: Micros, rtt: Micros) {
        let flow = Flow {
            target: self.rate.rate(),
            sent: self.sent.rate(),
            arrives: self.acked.recent().unwrap_or(f64::INFINITY),
            rtt,
        };
        if self.loss.update(now, flow) {
            self.prober.disprove(now, self.loss.limit().unwrap_or(flow.target));
        }
    }

    /// Believes what a probe showed.
    pub(super) fn end_probe(&mut self, now: Micros) {
        if let Some(result) = self.prober.result(now) {
            self.rate.raise(now, result);
            self.loss.raise(result);
        }
    }
}

/// `kBitrateDropThreshold`, and how much above 85 % of what arrives less is sent than is said to be too much.
const LARGE_DROP: f64 = 0.66;
const LITTLE: f64 = 1.2;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_has_just_begun_to_send_less_floods_nothing() {
        let mut estimator = Estimator::new(Instant::now());
        // 5 Mbit/s for a second.
        (0..100).for_each(|packet| estimator.sent.add(packet * 10_000, 6250));
        estimator.sent.roll(1_000_000);
        // 0.8 of them come through, 200 ms later than the first packet did.
        estimator.queue.add(0, 50_000, 1000);
        estimator.queue.update(50_000, 100_000);
        for arrival in (0..20).map(|packet| 900_000 + packet * 10_000) {
            estimator.queue.add(arrival - 250_000, arrival, 1000);
            estimator.queue.update(arrival, 100_000);
        }
        assert!(estimator.is_flooded());
        // A quarter of a second without a packet: the whole second is still far more than what comes through.
        estimator.sent.roll(1_250_000);
        assert!(estimator.queue.is_flooded(estimator.sent.rate()));
        assert!(!estimator.is_flooded());
    }
}
