//! The rate that loss allows: above 10 % it goes down by half the loss, below 2 % up by 8 % per second, between it holds
//! (draft-ietf-rmcat-gcc-02 §6, libwebrtc's `SendSideBandwidthEstimation`).
//!
//! A radio link loses packets at any rate, and to send less does not help there. So the first step down is a trial: when as
//! much is lost at the lower rate, that share is the link's own and is not counted any more.

use super::{MIN, Micros};

/// What is lost, and the limit that follows; none as long as next to nothing is.
pub(super) struct Loss {
    /// Packets and lost ones of late, of those that left since the rate last fell: a full queue tells late of what it refused.
    expected: f64,
    lost: f64,
    since: Micros,
    counted: Micros,
    /// The share that was last known to be lost.
    known: f64,
    /// What is lost at any rate.
    inherent: f64,
    limit: Option<f64>,
    /// When the limit was moved.
    moved: Micros,
    trial: Option<Trial>,
}

/// Whether less loss follows from less rate: what was sent before, what was lost of it, and what the limit was.
#[derive(Clone, Copy)]
struct Trial {
    sent: f64,
    loss: f64,
    target: f64,
}

/// What the limit is decided by.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    /// What the other limits allow.
    pub(super) target: f64,
    /// What is sent.
    pub(super) sent: f64,
    /// What arrives.
    pub(super) arrives: f64,
    pub(super) rtt: Micros,
}

impl Loss {
    pub(super) fn new() -> Self {
        Self {
            expected: 0.0,
            lost: 0.0,
            since: 0,
            counted: 0,
            known: 0.0,
            inherent: 0.0,
            limit: None,
            moved: 0,
            trial: None,
        }
    }

    /// Since when a packet must have left to be counted.
    pub(super) fn since(&self) -> Micros {
        self.since
    }

    /// Counts what a feedback packet told. `lost` is below zero when packets came late.
    pub(super) fn add(&mut self, now: Micros, expected: u32, lost: i32) {
        let keep = if self.expected > ENOUGH { (-((now - self.counted) as f64) / MEMORY).exp() } else { 1.0 };
        self.counted = now;
        self.expected = self.expected * keep + f64::from(expected);
        self.lost = (self.lost * keep + f64::from(lost)).clamp(0.0, self.expected);
        self.known = self.fraction().unwrap_or(self.known);
    }

    /// Less is sent from now on: what was lost before is no measure for it.
    pub(super) fn forget(&mut self, now: Micros) {
        (self.expected, self.lost, self.since) = (0.0, 0.0, now);
    }

    /// Decides anew; true: the limit went down.
    pub(super) fn update(&mut self, now: Micros, flow: Flow) -> bool {
        let passed = now - std::mem::replace(&mut self.moved, now);
        let Some(loss) = self.fraction() else { return false };
        if self.is_tried(now, flow, loss) {
            return false;
        }
        if loss < self.inherent - 0.05 {
            self.inherent += (loss - self.inherent) * (passed as f64 / FORGET).min(1.0);
        }
        let excess = self.beyond_inherent(loss);
        if self.is_high() {
            return self.decrease(now, flow, loss, excess);
        }
        match self.limit {
            _ if excess >= LOW_LOSS => {
                self.limit = Some(self.limit.unwrap_or(f64::INFINITY).min(flow.target));
            }
            Some(limit) if limit < flow.target => {
                let seconds = (passed as f64 / 1e6).min(1.0);
                self.limit = Some(limit * GROWTH.powf(seconds) + 1000.0 * seconds);
            }
            _ => self.limit = None,
        }
        false
    }

    /// A probe showed what the link carries.
    pub(super) fn raise(&mut self, rate: f64) {
        self.limit = self.limit.map(|limit| limit.max(rate));
    }

    /// The limit; None: there is none.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Whether too much is lost to try for more.
    pub(super) fn is_high(&self) -> bool {
        let Some(loss) = self.fraction() else { return self.trial.is_some() };
        // Of few packets many may be lost by chance.
        let chance = (loss * (1.0 - loss) / self.expected).sqrt();
        self.beyond_inherent(loss - chance) > HIGH_LOSS
    }

    /// The share of what was sent that got past the narrowest link, as far as the loss is one that is put up with.
    pub(super) fn passed(&self) -> f64 {
        1.0 - self.known.min(self.inherent.max(HIGH_LOSS))
    }

    fn fraction(&self) -> Option<f64> {
        (self.expected >= ENOUGH).then(|| self.lost / self.expected)
    }

    fn beyond_inherent(&self, loss: f64) -> f64 {
        ((loss - self.inherent) / (1.0 - self.inherent)).max(0.0)
    }

    fn decrease(&mut self, now: Micros, flow: Flow, loss: f64, excess: f64) -> bool {
        if now - self.since < INTERVAL + flow.rtt {
            return false;
        }
        // What is allowed beyond what is sent has nothing to do with it.
        let target = flow.target.min(self.limit.unwrap_or(f64::INFINITY)).min(flow.sent / USED);
        self.trial = Some(Trial { sent: flow.sent, loss, target });
        self.forget(now);
        // Where a third is lost, what arrives is what the link carries.
        let heavy = if excess > HEAVY_LOSS { flow.arrives } else { f64::INFINITY };
        self.limit = Some((target * (1.0 - excess / 2.0).min(TRIAL)).min(heavy).max(MIN));
        true
    }

    /// Looks after a trial; true: it goes on, or has just told that the loss is the link's own.
    fn is_tried(&mut self, now: Micros, flow: Flow, loss: f64) -> bool {
        let Some(trial) = self.trial else { return false };
        let age = now - self.since - flow.rtt;
        if age < TRIAL_TIME || self.expected < TRIAL_PACKETS && age < 2 * TRIAL_TIME {
            return true;
        }
        self.trial = None;
        let less = flow.sent / trial.sent.max(1.0);
        // What a link that is too narrow would still lose.
        let narrow = (1.0 - (1.0 - trial.loss) / less).max(0.0);
        let is_no_less = less < TRIAL_LESS && loss > (trial.loss + narrow) / 2.0;
        // A voice does not get smaller: if it is all that is sent, to wait for less loss would be in vain.
        let is_least = less >= TRIAL_LESS && self.limit.is_some_and(|limit| limit < flow.sent);
        let is_inherent = is_no_less || is_least;
        if is_inherent {
            self.inherent = loss.min(trial.loss).min(MAX_INHERENT);
            self.limit = Some(trial.target);
        }
        is_inherent
    }
}

/// draft-ietf-rmcat-gcc-02 §6.
const HIGH_LOSS: f64 = 0.10;
const LOW_LOSS: f64 = 0.02;
const GROWTH: f64 = 1.08;
/// `kBweDecreaseInterval`, to which the round trip is added.
const INTERVAL: Micros = 300_000;
/// `kLimitNumPackets`.
const ENOUGH: f64 = 20.0;
/// Losses count for about this long.
const MEMORY: f64 = 800_000.0;
const HEAVY_LOSS: f64 = 0.3;
/// The first step is long enough to tell a narrow link from a bad one.
const TRIAL: f64 = 0.8;
const TRIAL_LESS: f64 = 0.92;
const TRIAL_PACKETS: f64 = 60.0;
const TRIAL_TIME: Micros = 600_000;
/// `bandwidth_usage_ratio` of an application that limits itself.
const USED: f64 = 0.65;
/// Nobody sees anything through more than that.
const MAX_INHERENT: f64 = 0.25;
const FORGET: f64 = 3_000_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at the limit, at most 1 Mbit/s, over a link that loses this share of it; the limit after 10 s, in kbit/s.
    fn run(loss: &mut Loss, from: Micros, share: impl Fn(f64) -> f64) -> f64 {
        let (mut lost, mut sent) = (0.0, 1e6);
        for now in (from * 20..(from + 10) * 20).map(|tick| tick * 50_000) {
            let packets = (sent / 8000.0 / 20.0_f64).round().max(1.0);
            lost += packets * share(sent);
            loss.add(now, packets as u32, lost as i32);
            lost = lost.fract();
            loss.update(now, Flow { target: 1e6, sent, arrives: sent * (1.0 - share(sent)), rtt: 100_000 });
            sent = loss.limit().unwrap_or(1e6).min(1e6);
        }
        sent / 1000.0
    }

    #[test]
    fn little_loss_is_no_limit() {
        let mut loss = Loss::new();
        assert_eq!(run(&mut loss, 0, |_| 0.01), 1000.0);
        assert_eq!(loss.limit(), None);
        assert_eq!(run(&mut loss, 10, |_| 0.05), 1000.0, "it holds");
    }

    #[test]
    fn a_link_that_is_too_narrow_is_not_overrun() {
        let mut loss = Loss::new();
        let narrow = |sent: f64| (1.0 - 300_000.0 / sent).max(0.0);
        let kbits = run(&mut loss, 0, narrow);
        assert!((200.0..340.0).contains(&kbits), "{kbits}");
        assert!(loss.inherent < 0.05, "{}", loss.inherent);
    }

    #[test]
    fn what_a_link_loses_at_any_rate_is_put_up_with() {
        let mut loss = Loss::new();
        let kbits = run(&mut loss, 0, |_| 0.2);
        assert!(kbits > 950.0, "{kbits}");
        assert!(run(&mut loss, 10, |_| 0.0) > 990.0);
        assert!(loss.inherent < 0.06, "{}", loss.inherent);
    }
}
