//! The packets of one probe: at which rate they left, and at which they arrived.
//!
//! libwebrtc's `BitrateProber` (pacing of a cluster) and `ProbeBitrateEstimator` (its result) with their constants.

use std::cmp::Ordering;

use super::Micros;

/// A probe's packets.
#[derive(Clone, Copy)]
pub(super) struct Cluster {
    id: u8,
    /// What is tried, in bits per second.
    rate: f64,
    started: Micros,
    /// When it was last asked what is due.
    asked: Micros,
    sent: Span,
    came: Span,
    lost: u32,
}

/// Packets in time. A rate from the first to the last moment lacks what one of them has: when sending, what left in the last
/// one is not counted, when receiving, what came in the first.
#[derive(Clone, Copy, Default)]
struct Span {
    first: Micros,
    last: Micros,
    first_bytes: u32,
    last_bytes: u32,
    bytes: u64,
    packets: u32,
}

impl Cluster {
    pub(super) fn new(id: u8, rate: f64, started: Micros) -> Self {
        Self { id, rate, started, asked: started - PAUSE, sent: Span::default(), came: Span::default(), lost: 0 }
    }

    pub(super) fn id(&self) -> u8 {
        self.id
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn send(&mut self, now: Micros, bytes: usize) {
        self.sent.add(now, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// One of its packets came, or was lost.
    pub(super) fn told(&mut self, arrival: Option<(Micros, u32)>) {
        match arrival {
            Some((at, bytes)) => self.came.add(at, bytes),
            None => self.lost += 1,
        }
    }

    /// Whether enough was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.packets >= MIN_PACKETS && self.sent.bytes >= self.min_bytes()
    }

    /// Whether every packet is accounted for.
    pub(super) fn is_told(&self) -> bool {
        self.came.packets + self.lost >= self.sent.packets
    }

    /// Whether nothing can be sent for it.
    pub(super) fn is_stuck(&self, now: Micros) -> bool {
        now >= self.gives_up()
    }

    /// What is behind the probe's rate, and whole packets at least.
    pub(super) fn due_bytes(&mut self, now: Micros) -> usize {
        self.asked = now;
        if self.is_sent() || self.is_stuck(now) || now < self.due() {
            return 0;
        }
        let behind = self.rate * (now - self.started) as f64 / 8e6 - self.sent.bytes as f64;
        (behind as usize).clamp(MIN_BYTES, self.min_bytes() as usize + MIN_BYTES)
    }

    /// When more is to be sent, or the probe given up. Who had nothing to send is not asked at once again.
    pub(super) fn next_due(&self) -> Micros {
        self.due().max(self.asked + PAUSE).min(self.gives_up())
    }

    /// What the link carries, as far as this shows.
    pub(super) fn result(&self) -> Option<f64> {
        let enough = self.sent.packets >= MIN_PACKETS && f64::from(self.came.packets) >= 3.0_f64.max(self.needed());
        if !enough {
            return None;
        }
        let sent = self.sent.rate(self.sent.last_bytes)?;
        // What is lost took its place on the way, too.
        let came = self.came.rate(self.came.first_bytes)? * f64::from(self.sent.packets) / f64::from(self.came.packets);
        if came > MAX_RATIO * sent {
            return None;
        }
        Some(if came < UNSATURATED * sent { TARGET * came } else { sent.min(came) })
    }

    fn needed(&self) -> f64 {
        MIN_CAME * f64::from(self.sent.packets)
    }

    fn min_bytes(&self) -> u64 {
        (self.rate * DURATION / 8.0) as u64
    }

    /// As if it had been sent evenly so far.
    fn due(&self) -> Micros {
        self.started + (self.sent.bytes as f64 * 8e6 / self.rate.max(1.0)) as Micros
    }

    fn gives_up(&self) -> Micros {
        let packets = f64::from(MIN_PACKETS) * MIN_BYTES as f64 * 8e6 / self.rate.max(1.0);
        self.started + 2 * (packets.max(DURATION * 1e6) as Micros) + PATIENCE
    }
}

impl Span {
    fn add(&mut self, at: Micros, bytes: u32) {
        if self.packets == 0 {
            (self.first, self.last) = (at, at);
        }
        match at.cmp(&self.first) {
            Ordering::Less => (self.first, self.first_bytes) = (at, bytes),
            Ordering::Equal => self.first_bytes += bytes,
            Ordering::Greater => {}
        }
        match at.cmp(&self.last) {
            Ordering::Less => {}
            Ordering::Equal => self.last_bytes += bytes,
            Ordering::Greater => (self.last, self.last_bytes) = (at, bytes),
        }
        self.bytes += u64::from(bytes);
        self.packets += 1;
    }

    fn rate(&self, without: u32) -> Option<f64> {
        let span = Some(self.last - self.first).filter(|span| (1..=MAX_SPAN).contains(span))?;
        Some(self.bytes.saturating_sub(without.into()) as f64 * 8e6 / span as f64)
    }
}

/// In s. libwebrtc's `min_probe_duration` is 15 ms, which a jitter of as much makes worthless.
const DURATION: f64 = 0.045;
/// `min_probe_packets_sent`.
const MIN_PACKETS: u32 = 5;
/// A probe's packets are large ones.
const MIN_BYTES: usize = 1200;
const PAUSE: Micros = 1_000;
/// How much later than it should a probe may be sent.
const PATIENCE: Micros = 50_000;
/// `kMinReceivedProbesRatio` is 0.8; on a link that loses a quarter something can be found out, too.
const MIN_CAME: f64 = 0.6;
/// `kMaxValidRatio`.
const MAX_RATIO: f64 = 2.0;
/// `kMinRatioForUnsaturatedLink`, below which the link was full, and `kTargetUtilizationFraction` of what it carries.
const UNSATURATED: f64 = 0.9;
const TARGET: f64 = 0.95;
/// `kMaxProbeInterval`.
const MAX_SPAN: Micros = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen packets of 1,000 bytes, sent 1 ms and come `apart` µs apart; each eighth may be lost.
    fn cluster(apart: Micros, loses: bool) -> Cluster {
        let mut cluster = Cluster::new(1, 8e6, 0);
        (0..16).for_each(|packet| cluster.send(packet * 1000, 1000));
        (0..16).for_each(|packet| {
            cluster.told((!loses || packet % 8 != 3).then_some((50_000 + packet * apart, 1000)));
        });
        cluster
    }

    #[test]
    fn the_lower_rate_counts() {
        assert_eq!(cluster(1000, false).result(), Some(8e6));
        assert_eq!(cluster(800, false).result(), Some(8e6));
        assert_eq!(cluster(2000, false).result(), Some(0.95 * 4e6));
    }

    /// A sender that wakes up every 5 ms only.
    #[test]
    fn packets_that_leave_at_once_count_for_the_time_until_the_next_ones() {
        let mut cluster = Cluster::new(1, 8e6, 0);
        for packet in 0..40 {
            cluster.send(packet / 5 * 5000, 1000);
            cluster.told(Some((50_000 + packet / 5 * 5000, 1000)));
        }
        assert_eq!(cluster.result(), Some(8e6));
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        assert_eq!(cluster(100, false).result(), None);
        assert_eq!(cluster(0, false).result(), None);
        assert_eq!(cluster(-1000, false).result(), Some(8e6), "only the order is off");
        assert_eq!(Cluster::new(1, 8e6, 0).result(), None);
    }

    #[test]
    fn loss_is_not_taken_for_narrowness() {
        let cluster = cluster(1000, true);
        assert!(cluster.is_told());
        assert!(cluster.result().unwrap() > 7e6, "{:?}", cluster.result());
    }
}
