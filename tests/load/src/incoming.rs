//! One RTP stream at a viewer: numbers, loss and jitter for its reports, what is missing, what its payloads say.

use std::time::Instant;

use lockgate_model::Codec;
use lockgate_rtp::{Header, ReportBlock, SenderInfo, Unwrapper, ntp_middle};
use lockgate_transport::nack::Missing;

use crate::delivery::{Seen, Tally};
use crate::report::Delivery;
use crate::stamp::Stamp;

/// An incoming stream.
pub(crate) struct Incoming {
    pub(crate) ssrc: u32,
    pub(crate) codec: Codec,
    /// Whether what is missing may be asked for.
    pub(crate) asks: bool,
    pub(crate) missing: Missing,
    pub(crate) tally: Tally,
    /// Whether payloads say who sent them; without that the stream's own numbers are counted.
    stamped: bool,
    numbers: Unwrapper,
    seen: Seen,
    first: Option<u64>,
    received: u64,
    duplicates: u64,
    reordered: u64,
    expected_before: u64,
    received_before: u64,
    jitter: f64,
    last_transit: Option<f64>,
    sender: Option<(SenderInfo, Instant)>,
}

/// What a packet's number says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Whether it is the first copy.
    pub(crate) new: bool,
    /// Whether it had been asked for.
    pub(crate) asked: bool,
}

impl Incoming {
    pub(crate) fn new(ssrc: u32, codec: Codec, asks: bool) -> Self {
        Self {
            ssrc,
            codec,
            asks,
            missing: Missing::default(),
            tally: Tally::default(),
            stamped: false,
            numbers: Unwrapper::default(),
            seen: Seen::default(),
            first: None,
            received: 0,
            duplicates: 0,
            reordered: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0.0,
            last_transit: None,
            sender: None,
        }
    }

    /// Notes a packet's number.
    pub(crate) fn note(&mut self, now: Instant, sequence: u16) -> Noted {
        let highest = self.numbers.highest();
        let number = self.numbers.extend(sequence);
        let new = self.seen.note(number, highest);
        let mut noted = Noted { new, asked: false };
        if !new {
            self.duplicates += 1;
            return noted;
        }
        self.received += 1;
        self.first = Some(self.first.map_or(number, |first| first.min(number)));
        self.reordered += u64::from(highest.is_some_and(|highest| number < highest));
        if self.asks {
            noted.asked = self.missing.was_asked_for(number);
            // A gap against which only a key frame helps is told with what is lost, which is due at once.
            self.missing.note(now, number, highest);
        }
        noted
    }

    /// Whether a packet came already: if it is repeated though, that is a probe.
    pub(crate) fn has(&self, sequence: u16) -> bool {
        let number = self.numbers.peek(sequence);
        self.numbers.highest().is_some_and(|highest| number <= highest) && self.seen.has(number)
    }

    /// Takes the packet's time into the jitter (RFC 3550 §6.4.1).
    pub(crate) fn note_time(&mut self, arrived_us: u64, header: &Header) {
        let clock = f64::from(self.codec.clock_rate());
        let transit = arrived_us as f64 * clock / 1e6 - f64::from(header.timestamp);
        if let Some(last) = self.last_transit {
            let difference = (transit - last).abs();
            if difference < clock * 10.0 {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.last_transit = Some(transit);
    }

    /// Takes what the payload says of itself. None without a mark, else whether it is the first copy and when it was sent.
    pub(crate) fn note_payload(&mut self, payload: &[u8]) -> Option<(bool, u64)> {
        let stamp = Stamp::read(self.codec, payload)?;
        self.stamped = true;
        Some((self.tally.note(stamp.source, stamp.number), stamp.sent_us))
    }

    pub(crate) fn note_sender(&mut self, now: Instant, info: SenderInfo) {
        self.sender = Some((info, now));
    }

    /// The report on what came since the last one.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (highest, first) = (self.numbers.highest()?, self.first?);
        let expected = highest + 1 - first;
        let (new, came) = (expected - self.expected_before, self.received - self.received_before);
        (self.expected_before, self.received_before) = (expected, self.received);
        let fraction = (new.saturating_sub(came) * 256).checked_div(new).unwrap_or(0).min(255);
        let (last_sr, delay) = self.sender.map_or((0, 0), |(info, at)| {
            (ntp_middle(info.ntp), (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32)
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction as u8,
            lost: expected.saturating_sub(self.received).min(0x7f_ffff) as u32,
            // Numbers begin one cycle up: servers count from 0.
            highest: highest.saturating_sub(1 << 16) as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay,
        })
    }

    /// Adds the counts to a report's: of marked packets by their marks, else by the stream's own numbers.
    pub(crate) fn add_to(&self, delivery: &mut Delivery) {
        if self.stamped {
            self.tally.add_to(delivery);
        } else if let (Some(highest), Some(first)) = (self.numbers.highest(), self.first) {
            delivery.expected += highest + 1 - first;
            delivery.delivered += self.received;
            delivery.duplicates += self.duplicates;
            delivery.reordered += self.reordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_reported_and_asked_for_and_a_late_packet_is_not_loss() {
        let now = Instant::now();
        let mut stream = Incoming::new(9, Codec::Vp8, true);
        for sequence in [100, 101, 104, 102] {
            assert!(stream.note(now, sequence).new);
        }
        assert!(!stream.note(now, 104).new);
        assert!(stream.has(104) && !stream.has(103) && !stream.has(105));
        let report = stream.report(now).unwrap();
        assert_eq!((report.lost, report.fraction_lost, report.highest), (1, 51, 104));
        assert_eq!(stream.missing.poll(now + std::time::Duration::from_secs(1)).ask, [103]);
        assert!(stream.note(now, 103).asked);
        let mut delivery = Delivery::default();
        stream.add_to(&mut delivery);
        assert_eq!((delivery.expected, delivery.delivered, delivery.duplicates, delivery.reordered), (5, 5, 1, 2));
    }
}
