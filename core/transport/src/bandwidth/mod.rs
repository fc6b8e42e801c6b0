//! What a viewer's link carries, estimated by the sender from transport-wide feedback: packets are numbered as they leave,
//! the viewer tells when each one came.
//!
//! Google congestion control (draft-ietf-rmcat-gcc-02) with the constants that libwebrtc runs with today. Delay, loss and
//! the queue that stands each give a limit, and the least one is the estimate; probes lift it. No clock and no packet is
//! here: time and lengths are arguments, who sends probes and paces is told how much.

mod acked;
mod aimd;
mod busy;
mod clock;
mod cluster;
mod follow;
mod groups;
mod history;
mod incoming;
mod loss;
mod probe;
mod queue;
mod sent;
#[cfg(test)]
mod sim;
mod trend;

use std::time::{Duration, Instant};

use lockgate_rtp::TwccFeedback;

pub use self::incoming::ReceiverEstimator;

use self::acked::Acked;
use self::aimd::RateControl;
use self::clock::ReceiverClock;
use self::follow::Tally;
use self::groups::Groups;
use self::history::History;
use self::loss::Loss;
use self::probe::{ENOUGH, Need, Prober};
use self::queue::Queue;
use self::sent::SentMeter;
use self::trend::{Trend, Usage};

/// µs since the estimator began, or on the receiver's clock.
type Micros = i64;

/// The estimate for one viewer's transport.
pub struct Estimator {
    start: Instant,
    history: History,
    clock: ReceiverClock,
    groups: Groups,
    trend: Trend,
    acked: Acked,
    queue: Queue,
    rate: RateControl,
    loss: Loss,
    prober: Prober,
    sent: SentMeter,
    /// More that there is to send, in bits per second.
    wanted: f64,
    /// The receiver's own limit, and when it came.
    remb: Option<(f64, Micros)>,
    rtt: Option<Micros>,
    told: ToldOf,
    /// Whether there was feedback ever, and since when packets wait for it.
    is_heard: bool,
    unanswered: Option<Micros>,
    estimate: Option<f64>,
}

/// Packets of which feedback told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToldOf {
    /// They came.
    pub came: u64,
    /// They did not, or have not yet.
    pub lost: u64,
}

impl Estimator {
    /// For a transport that begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            history: History::new(),
            clock: ReceiverClock::default(),
            groups: Groups::default(),
            trend: Trend::new(),
            acked: Acked::new(),
            queue: Queue::new(),
            rate: RateControl::new(START),
            loss: Loss::new(),
            prober: Prober::new(),
            sent: SentMeter::new(),
            wanted: 0.0,
            remb: None,
            rtt: None,
            told: ToldOf::default(),
            is_heard: false,
            unanswered: None,
            estimate: None,
        }
    }

    /// A packet is about to leave: the transport-wide number to write into it comes back. `bytes` is the whole datagram.
    /// What is sent while a probe runs is part of it, whatever it is.
    pub fn send(&mut self, now: Instant, bytes: usize) -> u16 {
        let now = self.micros(now);
        self.sent.add(now, bytes);
        self.unanswered.get_or_insert(now);
        let probe = self.prober.send(now, bytes, self.rtt_or_guess());
        self.history.push(now, bytes, probe)
    }

    /// A packet leaves again as it was, under the number that it had: whether and when it comes is no news then. `bytes` is the whole
    /// datagram.
    pub fn send_again(&mut self, now: Instant, bytes: usize, number: u16) {
        let now = self.micros(now);
        self.sent.add(now, bytes);
        self.history.repeat(number);
    }

    /// Transport-wide feedback came. What it says of numbers that were never sent, again of ones that were told of, or of
    /// times that cannot be, changes nothing; how many such entries there were comes back.
    pub fn handle_feedback(&mut self, now: Instant, feedback: &TwccFeedback<'_>) -> usize {
        let now = self.micros(now);
        let behind = self.history.behind(feedback.base);
        let known = if behind <= self.history.reach() { behind.min(feedback.len()) } else { 0 };
        let mut tally = Tally::new(feedback.len() - known);
        if known == 0 {
            return tally.refused;
        }
        let reference = self.clock.reference(feedback.reference);
        for (number, arrival) in feedback.iter().take(known) {
            let told = self.history.tell(now, number, arrival.is_some());
            self.take(told, reference + arrival.unwrap_or(0), &mut tally);
        }
        self.history.forget(now);
        if tally.is_news {
            self.decide(now, &tally);
        }
        tally.refused
    }

    /// The receiver's own estimate came: a limit for as long as it is fresh, and all there is to go by without
    /// transport-wide feedback.
    pub fn handle_remb(&mut self, now: Instant, bitrate: u64) {
        let now = self.micros(now);
        self.remb = Some(((bitrate as f64).clamp(MIN, MAX), now));
        self.settle(now);
    }

    /// What the viewer could be sent beyond what it is sent now, in bits per second; 0: nothing. Probes are made for no more.
    pub fn set_wanted(&mut self, now: Instant, bitrate: u64) {
        self.wanted = (bitrate as f64).min(MAX);
        self.probe(self.micros(now));
    }

    /// Bytes of padding or repetition to send now because a probe runs; 0: none.
    pub fn probe_bytes(&mut self, now: Instant) -> usize {
        let now = self.micros(now);
        self.prober.due_bytes(now)
    }

    /// Does what was due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        if self.silence().is_some_and(|due| due <= now) {
            // From the next packet on: where nothing is sent, nothing can be heard.
            self.unanswered = None;
            self.rate.back_off();
        }
        self.sent.roll(now);
        self.end_probe(now);
        self.settle(now);
        self.probe(now);
    }

    /// What the link is believed to carry, in bits per second, from 30,000 to 100 million. None until there was feedback.
    pub fn estimate(&self) -> Option<u64> {
        self.estimate.map(|estimate| estimate as u64)
    }

    /// How fast packets may leave, in bits per second: 2.5 times the estimate (libwebrtc's `kDefaultPaceMultiplier`), or the
    /// probe's rate while one runs. None until there was feedback: do not pace.
    pub fn pacing_rate(&self) -> Option<u64> {
        let estimate = self.estimate?;
        Some(self.prober.rate().unwrap_or(PACE * estimate) as u64)
    }

    /// When [`Self::handle_timeout`] is due, and [`Self::probe_bytes`] to be asked.
    pub fn next_timeout(&self) -> Option<Instant> {
        let probe = self.need().and_then(|need| self.prober.next_timeout(need));
        let next = probe.into_iter().chain(self.silence()).min()?;
        Some(self.start + Duration::from_micros(next.max(0) as u64))
    }

    /// The smoothed time from a packet to the feedback that tells of it. None until there was feedback.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| Duration::from_micros(rtt as u64))
    }

    /// Of how many packets it was told what became of them, since it began.
    pub fn told(&self) -> ToldOf {
        self.told
    }

    /// The least limit is the estimate.
    fn settle(&mut self, now: Micros) {
        let remb = self.remb.filter(|(_, at)| !self.is_heard || now - at <= REMB_FRESH).map(|(bitrate, _)| bitrate);
        let heard = self.is_heard.then(|| self.rate.rate());
        let limits = [heard, remb, heard.and(self.loss.limit()), heard.and(self.queue.limit())];
        self.estimate = limits.into_iter().flatten().reduce(f64::min).map(|least| least.clamp(MIN, MAX));
    }

    fn probe(&mut self, now: Micros) {
        if let Some(need) = self.need() {
            self.prober.begin(now, need);
        }
    }

    /// What probes are for; None: nobody would tell what became of them.
    fn need(&self) -> Option<Need> {
        let estimate = self.estimate.filter(|_| self.is_heard)?;
        // Who is sent all that there is needs no room above it; but what is sent is to fit, or it is paced for nothing.
        let most = if self.wanted > 0.0 { self.sent.rate() + self.wanted } else { self.sent.rate() / ENOUGH };
        let is_calm = self.trend.usage() == Usage::Normal && !self.queue.is_draining() && !self.loss.is_high();
        Some(Need { estimate, most, is_calm })
    }

    /// When it is too long that nothing was heard.
    fn silence(&self) -> Option<Micros> {
        self.unanswered.filter(|_| self.is_heard).map(|since| since + SILENCE + 2 * self.rtt_or_guess())
    }

    fn rtt_or_guess(&self) -> Micros {
        self.rtt.unwrap_or(RTT)
    }

    fn micros(&self, now: Instant) -> Micros {
        now.saturating_duration_since(self.start).as_micros() as Micros
    }
}

/// 30 kbit/s: a voice goes on whatever the video does.
const MIN: f64 = 30_000.0;
const MAX: f64 = 100e6;
/// More than libwebrtc's 300 kbit/s, whose encoder begins small and grows: a forwarder begins with a key frame of an encoding
/// that is there, 30 to 60 kB. Too high costs a narrow link a queue for a second, too low every other one a blurred picture.
const START: f64 = 1e6;
const PACE: f64 = 2.5;
/// `kDefaultRttMs`.
const RTT: Micros = 200_000;
/// Feedback comes ten times per second at least while packets flow.
const SILENCE: Micros = 1_000_000;
/// Receivers send theirs every second.
const REMB_FRESH: Micros = 10_000_000;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_receivers_own_limit_is_the_estimate_where_there_is_no_other() {
        let now = Instant::now();
        let mut estimator = Estimator::new(now);
        estimator.set_wanted(now, 1_000_000);
        assert_eq!((estimator.estimate(), estimator.pacing_rate(), estimator.next_timeout()), (None, None, None));
        estimator.handle_remb(now, 400_000);
        assert_eq!((estimator.estimate(), estimator.pacing_rate()), (Some(400_000), Some(1_000_000)));
        estimator.handle_remb(now, 0);
        assert_eq!(estimator.estimate(), Some(30_000));
        assert_eq!(estimator.probe_bytes(now), 0, "nobody would tell of it");
    }

    #[test]
    fn a_receivers_own_limit_bounds_the_estimate_while_it_is_fresh() {
        let now = Instant::now();
        let mut estimator = Estimator::new(now);
        estimator.send(now, 1200);
        let mut packet = Vec::new();
        lockgate_rtp::write::twcc(
            &mut packet,
            1,
            2,
            0,
            0,
            &[lockgate_rtp::TwccPacket { number: 0, arrival_us: 90_000 }],
        );
        lockgate_rtp::parse_rtcp(&packet, |feedback| {
            let lockgate_rtp::Feedback::Twcc(feedback) = feedback else { panic!("{feedback:?}") };
            estimator.handle_feedback(now + Duration::from_millis(40), &feedback);
        });
        assert_eq!((estimator.estimate(), estimator.rtt()), (Some(1_000_000), Some(Duration::from_millis(40))));
        estimator.handle_remb(now, 400_000);
        assert_eq!(estimator.estimate(), Some(400_000));
        estimator.handle_timeout(now + Duration::from_secs(11));
        assert_eq!(estimator.estimate(), Some(1_000_000));
    }
}
