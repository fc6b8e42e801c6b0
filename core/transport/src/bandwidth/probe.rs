//! Probes: for an instant more is sent than the link is known to carry, and how it arrives tells whether it carries more.
//!
//! libwebrtc's `ProbeController` (when, how much) with its constants. One probe is under way at a time: the next and larger
//! one only follows when the last one went through, so that a narrow link is not flooded with all of them.

use super::Micros;
use super::cluster::Cluster;

/// When to probe, and the probe that is under way.
pub(super) struct Prober {
    state: State,
    /// Numbers probes; 0 is none.
    last: u8,
    interval: Micros,
    /// When the last result was believed, and what it was.
    believed: Option<(Micros, f64)>,
    /// Until when what the last one left in a queue is there.
    lasts_until: Micros,
    /// The rate to try again after a drop that was not the sender's doing.
    recovery: Option<f64>,
}

enum State {
    /// The next one is sent then, if there is use for it.
    Idle { next: Micros },
    /// Packets are sent at the probe's rate.
    Sending(Cluster),
    /// All are sent; by then what the receiver told has to do.
    Waiting { cluster: Cluster, until: Micros },
}

/// What a probe is decided by, in bits per second.
#[derive(Clone, Copy)]
pub(super) struct Need {
    /// What the link is believed to carry.
    pub(super) estimate: f64,
    /// The most that there is to send.
    pub(super) most: f64,
    /// No queue grows or stands, and not too much is lost.
    pub(super) is_calm: bool,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self {
            state: State::Idle { next: 0 },
            last: 0,
            interval: INTERVAL,
            believed: None,
            lasts_until: 0,
            recovery: None,
        }
    }

    /// Begins a probe if one is due and of use.
    pub(super) fn begin(&mut self, now: Micros, need: Need) {
        let State::Idle { next } = self.state else { return };
        if now < next || !need.is_there() {
            return;
        }
        if !need.is_calm {
            self.state = State::Idle { next: now + LATER };
            return;
        }
        let scale = if self.last == 0 { FIRST_SCALE } else { SCALE };
        let rate = self.recovery.take().unwrap_or(0.0).max(scale * need.estimate).min(SLACK * need.most);
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.state = State::Sending(Cluster::new(self.last, rate, now));
    }

    /// A packet leaves; the probe that it is part of comes back, or 0.
    pub(super) fn send(&mut self, now: Micros, bytes: usize, rtt: Micros) -> u8 {
        let State::Sending(cluster) = &mut self.state else { return 0 };
        cluster.send(now, bytes);
        let (id, cluster) = (cluster.id(), *cluster);
        self.lasts_until = now + rtt + DRAINS;
        if cluster.is_sent() {
            self.state = State::Waiting { cluster, until: now + rtt + MAX_WAIT };
        }
        id
    }

    /// How much more is to be sent now.
    pub(super) fn due_bytes(&mut self, now: Micros) -> usize {
        let State::Sending(cluster) = &mut self.state else { return 0 };
        cluster.due_bytes(now)
    }

    /// The rate of the probe that is being sent.
    pub(super) fn rate(&self) -> Option<f64> {
        let State::Sending(cluster) = &self.state else { return None };
        Some(cluster.rate())
    }

    /// Until when the queue that a probe left is on the way.
    pub(super) fn lasts_until(&self) -> Micros {
        self.lasts_until
    }

    /// The receiver told that a probe's packet came or was lost.
    pub(super) fn told(&mut self, probe: u8, arrival: Option<(Micros, u32)>) {
        if let State::Sending(cluster) | State::Waiting { cluster, .. } = &mut self.state
            && cluster.id() == probe
        {
            cluster.told(arrival);
        }
    }

    /// Ends a probe that is told of or took too long. What it showed comes back, if it showed something.
    pub(super) fn result(&mut self, now: Micros) -> Option<f64> {
        let cluster = match self.state {
            State::Sending(cluster) if cluster.is_stuck(now) => cluster,
            State::Waiting { cluster, until } if cluster.is_told() || now >= until => cluster,
            _ => return None,
        };
        let result = cluster.result();
        let goes_on = result.is_some_and(|result| result >= FURTHER * cluster.rate());
        if goes_on {
            self.interval = INTERVAL;
        }
        self.believed = result.map(|result| (now, result));
        self.state = State::Idle { next: if goes_on { now } else { now + self.interval } };
        result
    }

    /// The estimate went down to this. A probe that is shown to be so wrong so soon was taken in by a buffer: the next ones
    /// wait longer.
    pub(super) fn disprove(&mut self, now: Micros, rate: f64) {
        let is_wrong = |(at, result): (Micros, f64)| now - at < DISPROVED_WITHIN && rate < WRONG * result;
        if self.believed.is_some_and(is_wrong) {
            self.interval = LONG_INTERVAL;
        }
        if let State::Idle { next } = &mut self.state {
            *next = (*next).max(now + self.interval);
        }
    }

    /// A rate that fell far though little was sent is tried again soon (`RequestProbe`).
    pub(super) fn recover(&mut self, now: Micros, rate: f64) {
        self.recovery = Some(rate * RECOVERY);
        if let State::Idle { next } = &mut self.state {
            *next = (*next).min(now + RECOVERY_WAIT);
        }
    }

    /// When something is to be done.
    pub(super) fn next_timeout(&self, need: Need) -> Option<Micros> {
        match &self.state {
            State::Idle { next } => need.is_there().then_some(*next),
            State::Sending(cluster) => Some(cluster.next_due()),
            State::Waiting { until, .. } => Some(*until),
        }
    }
}

impl Need {
    fn is_there(&self) -> bool {
        self.estimate < ENOUGH * self.most
    }
}

/// `first_exponential_probe_scale`. The second one of 6 is the next doubling here.
const FIRST_SCALE: f64 = 3.0;
/// `further_exponential_probe_scale`, `alr_probe_scale`.
const SCALE: f64 = 2.0;
/// `further_probe_threshold`.
const FURTHER: f64 = 0.7;
/// Room above what there is to send: for overhead, frames that are larger than most, and a switch up that is no gamble.
pub(super) const ENOUGH: f64 = 1.2;
/// What a probe may show at most (`libwebrtc: twice `max_total_allocated_bitrate`).
const SLACK: f64 = 1.5;
/// `alr_probing_interval`.
const INTERVAL: Micros = 5_000_000;
const LONG_INTERVAL: Micros = 10_000_000;
const LATER: Micros = 500_000;
/// `kMaxWaitingTimeForProbingResult`.
const MAX_WAIT: Micros = 1_000_000;
/// What a probe leaves behind drains in that time, and the trend forgets it.
const DRAINS: Micros = 400_000;
const DISPROVED_WITHIN: Micros = 2_500_000;
const WRONG: f64 = 0.75;
/// `kProbeFractionAfterDrop`.
const RECOVERY: f64 = 0.85;
const RECOVERY_WAIT: Micros = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Need = Need { estimate: 1e6, most: 8e6, is_calm: true };

    /// Sends a probe that arrives over a link of this rate; when it was sent and what it showed.
    fn run(prober: &mut Prober, mut now: Micros, link: f64) -> (Micros, Option<f64>) {
        let (mut free, mut sent) = (now, Vec::new());
        while prober.rate().is_some() {
            while prober.due_bytes(now) > 0 {
                let id = prober.send(now, 1200, 100_000);
                free = free.max(now) + (9600.0 / link * 1e6) as Micros;
                sent.push((id, free + 50_000));
            }
            now = prober.next_timeout(CALM).unwrap().max(now + 1);
        }
        sent.iter().for_each(|(id, at)| prober.told(*id, Some((*at, 1200))));
        (now, prober.result(now + 100_000))
    }

    #[test]
    fn probes_double_as_long_as_they_go_through() {
        let mut prober = Prober::new();
        prober.begin(0, CALM);
        assert_eq!(prober.rate(), Some(3e6));
        let (now, result) = run(&mut prober, 0, 20e6);
        let result = result.unwrap();
        assert!(result > 2.5e6, "{result}");
        prober.begin(now + 100_000, Need { estimate: result, ..CALM });
        assert_eq!(prober.rate(), Some(2.0 * result));
    }

    #[test]
    fn a_probe_finds_what_a_narrow_link_carries_and_the_next_one_waits() {
        let mut prober = Prober::new();
        prober.begin(0, CALM);
        let (now, result) = run(&mut prober, 0, 1.5e6);
        let result = result.unwrap();
        assert!((1.3e6..1.5e6).contains(&result), "{result}");
        prober.begin(now + 1_000_000, CALM);
        assert_eq!(prober.rate(), None);
        prober.begin(now + 5_200_000, CALM);
        assert_eq!(prober.rate(), Some(2e6));
    }

    #[test]
    fn nothing_is_probed_without_use_or_calm() {
        let mut prober = Prober::new();
        prober.begin(0, Need { most: 0.8e6, ..CALM });
        prober.begin(0, Need { is_calm: false, ..CALM });
        assert_eq!(prober.rate(), None);
        prober.begin(LATER, CALM);
        assert!(prober.rate().is_some());
    }

    #[test]
    fn a_probe_that_cannot_be_sent_ends() {
        let mut prober = Prober::new();
        prober.begin(0, CALM);
        prober.send(10, 1200, 100_000);
        let due = prober.next_timeout(CALM).unwrap();
        assert!(due > 10 && due < 100_000, "{due}");
        assert_eq!(prober.result(1_000_000), None);
        assert_eq!(prober.rate(), None);
    }
}
