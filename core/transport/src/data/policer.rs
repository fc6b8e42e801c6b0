//! How much SCTP a connection may send us: a bucket that fills with time. What does not fit is lost, as on a slower link, and the
//! sender's congestion control takes it for one.

use std::time::Instant;

use lockgate_model::Bitrate;

pub(super) struct Policer {
    bytes_per_second: f64,
    left: f64,
    since: Instant,
}

impl Policer {
    pub(super) fn new(now: Instant, rate: Bitrate) -> Self {
        Self { bytes_per_second: rate.0 as f64 / 8.0, left: BURST, since: now }
    }

    /// Whether a packet of so many bytes, in which so many messages begin, may come in.
    pub(super) fn admits(&mut self, now: Instant, bytes: usize, messages: usize) -> bool {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * self.bytes_per_second;
        (self.left, self.since) = ((self.left + gained).min(BURST), now);
        // Small packets cost us as much as longer ones, and each message costs us as much again for every viewer.
        let cost = (bytes + PER_PACKET + messages * PER_MESSAGE) as f64;
        let admitted = cost <= self.left;
        if admitted {
            self.left -= cost;
        }
        admitted
    }
}

/// A longest message, twice.
const BURST: f64 = 512.0 * 1024.0;
const PER_PACKET: usize = 100;
const PER_MESSAGE: usize = 200;
