//! Feedback for a sender's bandwidth estimation: which packets of a connection came, and when.
//!
//! Packets are noted by their transport-wide number; every interval the new ones are reported
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::{Duration, Instant};

use lockgate_rtp::{Header, TwccPacket, Unwrapper, write};

/// The receiving side's notes.
pub struct TwccReceiver {
    start: Instant,
    interval: Duration,
    numbers: Unwrapper,
    /// Not reported yet, in ascending order of number.
    waiting: Vec<TwccPacket>,
    /// The number after the last reported one.
    next: Option<u64>,
    count: u8,
    due: Option<Instant>,
}

impl TwccReceiver {
    /// Notes of arrivals from now on, reported as often as a server does.
    pub fn new(now: Instant) -> Self {
        Self::every(INTERVAL, now)
    }

    /// Notes of arrivals from now on; what came is reported this long after the first of it.
    pub fn every(interval: Duration, now: Instant) -> Self {
        // Not zero: an arrival may be rounded down.
        let start = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        Self { start, interval, numbers: Unwrapper::default(), waiting: Vec::new(), next: None, count: 0, due: None }
    }

    /// Notes a packet by the number in its header, if it has one; `id` is the extension's.
    pub fn note_packet(&mut self, now: Instant, id: u8, header: &Header, bytes: &[u8]) {
        let number = header.extensions(bytes).find(|element| element.id == id);
        if let Some([high, low]) = number.map(|element| element.value) {
            self.note(now, u16::from_be_bytes([*high, *low]));
        }
    }

    /// Notes a packet, whatever is in it: probes and repetitions count too.
    pub fn note(&mut self, now: Instant, number: u16) {
        let number = self.numbers.extend(number);
        let arrival_us = now.duration_since(self.start).as_micros() as u64;
        self.due.get_or_insert(now + self.interval);
        if self.waiting.len() >= MOST_WAITING {
            // Nobody can be told for so long: what is news now is not what came first.
            self.waiting.drain(..MAX_WAITING);
        }
        let Err(place) = self.waiting.binary_search_by_key(&number, |packet| packet.number) else { return };
        self.waiting.insert(place, TwccPacket { number, arrival_us });
    }

    /// When feedback is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        // A burst is reported at once: what waits is bounded, and so is a packet's length.
        self.due.map(|due| if self.waiting.len() >= MAX_WAITING { self.start } else { due })
    }

    /// Passes over what came and is not reported yet: there is no way to whoever sent it.
    pub fn skip(&mut self) {
        self.next = self.waiting.last().map(|last| last.number + 1).or(self.next);
        self.waiting.clear();
        self.due = None;
    }

    /// Appends the feedback packet, when it is due; false: it is not.
    pub fn poll(&mut self, now: Instant, sender: u32, media: u32, out: &mut Vec<u8>) -> bool {
        if self.next_timeout().is_none_or(|due| due > now) {
            return false;
        }
        self.due = None;
        let (Some(first), Some(last)) = (self.waiting.first(), self.waiting.last()) else { return false };
        let (first, last) = (first.number, last.number);
        // Late packets reach back behind what was reported; a gap that is too long to be told is left out.
        let base = self.next.map_or(first, |next| next.min(first)).max(last.saturating_sub(MAX_SPAN));
        self.waiting.retain(|packet| packet.number >= base);
        let written = write::twcc(out, sender, media, self.count, base, &self.waiting);
        self.waiting.clear();
        self.next = Some(last + 1);
        self.count = self.count.wrapping_add(1);
        written
    }
}

/// Short enough for an estimator to see queues build up, long enough that feedback stays under 5 % of a call's traffic.
const INTERVAL: Duration = Duration::from_millis(25);
const MAX_WAITING: usize = 400;
const MOST_WAITING: usize = 5 * MAX_WAITING;
const MAX_SPAN: u64 = 2000;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    fn poll(receiver: &mut TwccReceiver, now: Instant) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        receiver.poll(now, 1, 2, &mut out).then_some(out)
    }

    /// Base and status count of a packet.
    fn span(packet: &[u8]) -> (u16, u16) {
        (u16::from_be_bytes([packet[12], packet[13]]), u16::from_be_bytes([packet[14], packet[15]]))
    }

    #[test]
    fn losses_between_two_reports_are_reported() {
        let now = Instant::now();
        let mut receiver = TwccReceiver::new(now);
        receiver.note(now, 10);
        assert_eq!(poll(&mut receiver, now), None, "not due yet");
        assert_eq!(span(&poll(&mut receiver, now + INTERVAL).unwrap()), (10, 1));
        receiver.note(now + INTERVAL, 14);
        assert_eq!(span(&poll(&mut receiver, now + 2 * INTERVAL).unwrap()), (11, 4));
        assert_eq!(receiver.next_timeout(), None, "nothing came");
    }

    #[test]
    fn whoever_reports_less_often_says_so() {
        let now = Instant::now();
        let mut receiver = TwccReceiver::every(2 * INTERVAL, now);
        receiver.note(now, 10);
        assert_eq!(poll(&mut receiver, now + INTERVAL), None);
        assert!(poll(&mut receiver, now + 2 * INTERVAL).is_some());
    }

    #[test]
    fn a_packet_without_a_number_is_not_noted() {
        let now = Instant::now();
        let mut receiver = TwccReceiver::new(now);
        let mut packet = [0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x51, 0x01, 0x02, 0];
        let header = Header::parse(&packet).unwrap();
        receiver.note_packet(now, 4, &header, &packet);
        assert_eq!(receiver.next_timeout(), None, "another extension's");
        packet[16] = 0x50;
        receiver.note_packet(now, 5, &header, &packet);
        assert_eq!(receiver.next_timeout(), None, "one byte is no number");
        packet[16] = 0x51;
        receiver.note_packet(now, 5, &header, &packet);
        assert_eq!(span(&poll(&mut receiver, now + INTERVAL).unwrap()), (0x0102, 1));
    }

    #[test]
    fn late_packets_reach_back() {
        let now = Instant::now();
        let mut receiver = TwccReceiver::new(now);
        receiver.note(now, 10);
        poll(&mut receiver, now + INTERVAL).unwrap();
        receiver.note(now + INTERVAL, 9);
        receiver.note(now + INTERVAL, 11);
        assert_eq!(span(&poll(&mut receiver, now + 2 * INTERVAL).unwrap()), (9, 3));
    }

    #[test]
    fn what_nobody_can_be_told_is_bounded_and_passed_over() {
        let now = Instant::now();
        let mut receiver = TwccReceiver::new(now);
        (0..60_000_u32).for_each(|number| receiver.note(now, number as u16));
        assert!(receiver.waiting.len() <= MOST_WAITING, "{}", receiver.waiting.len());
        receiver.skip();
        assert_eq!((receiver.next_timeout(), poll(&mut receiver, now + INTERVAL)), (None, None));
        receiver.note(now + INTERVAL, 60_001);
        assert_eq!(span(&poll(&mut receiver, now + 2 * INTERVAL).unwrap()), (60_000, 2), "as if all had been told");
    }

    #[test]
    fn a_burst_does_not_wait_and_a_jump_does_not_break_it() {
        let now = Instant::now();
        let mut receiver = TwccReceiver::new(now);
        (0..MAX_WAITING as u16).for_each(|number| receiver.note(now, number));
        assert!(poll(&mut receiver, now).is_some());
        receiver.note(now, 30_000);
        assert!(poll(&mut receiver, now + INTERVAL).is_some());
    }
}
