//! What a driver has counted.

use std::time::Duration;

/// Packets of publishers at viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Delivery {
    /// Packets that should have come, from the first one that each viewer got of each track.
    pub expected: u64,
    /// Packets that came, each counted once, retransmissions included.
    pub delivered: u64,
    /// Copies of packets that had come.
    pub duplicates: u64,
    /// Packets that came behind a later one.
    pub reordered: u64,
    /// Packets that came after they had been asked for again.
    pub recovered: u64,
    /// Packets repeated as retransmissions though they had come: the server finds out what the connection carries.
    pub probes: u64,
    /// Payload bytes that came, with all copies.
    pub bytes: u64,
    /// Packets that came before the handshake had given us keys, and were of no use.
    pub early: u64,
    /// Packets that could not be opened, or of which nobody knows what they are.
    pub unreadable: u64,
    /// Transport-wide feedback packets that told the server what came, and when.
    pub feedback_sent: u64,
}

/// Packets of publishers, on their way to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Uplink {
    /// Packets sent, retransmissions not counted.
    pub packets: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
    /// What the server's reports say is missing.
    pub lost: u64,
    /// Packets that the server asked for again.
    pub asked_again: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Requests for key frames.
    pub key_frames_asked: u64,
    /// Frames that were due too long ago when the thread got to them: the generator is too slow.
    pub frames_left_out: u64,
    /// Datagrams that the system did not take.
    pub not_sent: u64,
}

/// Times in µs, from 1 to 60 seconds, with three digits.
#[derive(Clone, Debug)]
pub struct Histogram {
    inner: hdrhistogram::Histogram<u64>,
}

/// What all threads of a driver have counted so far.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Of all viewers there are and were.
    pub delivery: Delivery,
    /// Of all publishers there are and were.
    pub uplink: Uplink,
    /// From the send call of the publisher to the kernel's receipt for the viewer, of packets that carry a time.
    pub latency: Histogram,
    /// Processor time of the threads that carry media.
    pub cpu: Duration,
    /// The most that one of those threads used.
    pub busiest: Duration,
    /// Connections that were closed by the server or lost.
    pub closed: u64,
}

impl Delivery {
    /// Packets that should have come and did not.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// The same as a part of what should have come, 0 to 1.
    pub fn loss(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { self.lost() as f64 / self.expected as f64 }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.recovered += other.recovered;
        self.probes += other.probes;
        self.bytes += other.bytes;
        self.early += other.early;
        self.unreadable += other.unreadable;
        self.feedback_sent += other.feedback_sent;
    }
}

impl Uplink {
    pub(crate) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.asked_again += other.asked_again;
        self.retransmitted += other.retransmitted;
        self.key_frames_asked += other.key_frames_asked;
        self.frames_left_out += other.frames_left_out;
        self.not_sent += other.not_sent;
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let inner = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST_US, 3);
        Self { inner: inner.expect("the bounds are in order and three digits are allowed") }
    }
}

impl Histogram {
    /// Notes a time; beyond the bounds, the bound.
    pub fn note_us(&mut self, us: u64) {
        self.inner.saturating_record(us.max(1));
    }

    /// Takes another one's times in.
    pub fn add(&mut self, other: &Self) {
        // The bounds are the same, so that every value has its place.
        let added = self.inner.add(&other.inner);
        debug_assert!(added.is_ok());
    }

    /// The time that this part of the times (0 to 1) does not exceed, in µs; 0 without any.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.inner.value_at_quantile(quantile)
    }

    /// The longest time, in µs.
    pub fn max_us(&self) -> u64 {
        self.inner.max()
    }

    /// How many times were noted.
    pub fn count(&self) -> u64 {
        self.inner.len()
    }

    /// Forgets all times.
    pub fn clear(&mut self) {
        self.inner.clear();
    }
}

impl Snapshot {
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivery.add(&other.delivery);
        self.uplink.add(&other.uplink);
        self.latency.add(&other.latency);
        self.cpu += other.cpu;
        self.busiest = self.busiest.max(other.busiest);
        self.closed += other.closed;
    }
}

const HIGHEST_US: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_a_part_of_what_was_expected() {
        assert_eq!(Delivery::default().loss(), 0.0);
        let delivery = Delivery { expected: 200, delivered: 199, ..Delivery::default() };
        assert_eq!((delivery.lost(), delivery.loss()), (1, 0.005));
    }

    #[test]
    fn times_of_two_histograms_add_up() {
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        (0..99).for_each(|_| left.note_us(100));
        right.note_us(u64::MAX);
        left.add(&right);
        assert_eq!((left.count(), left.quantile_us(0.5)), (100, 100));
        assert!(left.max_us() >= HIGHEST_US);
    }
}
