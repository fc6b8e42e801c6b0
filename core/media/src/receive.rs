//! What one incoming stream looked like: numbers, copies, loss and jitter (RFC 3550 §6.4 and appendix A).

use std::time::{Duration, Instant};

use lockgate_rtp::{ReportBlock, SenderInfo, Unwrapper, ntp_middle};

/// An incoming stream.
#[derive(Clone, Debug)]
pub(crate) struct Receive {
    numbers: Unwrapper,
    /// Which of the last numbers came: bit `n % BITS`.
    seen: [u64; WORDS],
    first: Option<u64>,
    received: u64,
    expected_before: u64,
    received_before: u64,
    jitter: f64,
    last_transit: Option<f64>,
    sender: Option<(SenderInfo, Instant)>,
}

impl Receive {
    pub(crate) fn new() -> Self {
        Self {
            numbers: Unwrapper::default(),
            seen: [0; WORDS],
            first: None,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0.0,
            last_transit: None,
            sender: None,
        }
    }

    /// Takes note of a packet by its extended number; false if it came before or is too old to tell.
    pub(crate) fn note(&mut self, number: u64) -> bool {
        match self.numbers.highest() {
            None => self.first = Some(number),
            Some(highest) if number + BITS <= highest => return false,
            Some(highest) if number > highest => {
                (highest + 1..number.min(highest + BITS + 1)).for_each(|gone| self.set(gone, false));
            }
            Some(_) if self.has(number) => return false,
            Some(_) => {}
        }
        self.numbers.note(number);
        self.set(number, true);
        self.received += 1;
        true
    }

    /// The extended number that a sequence number would have.
    pub(crate) fn peek(&self, sequence: u16) -> u64 {
        self.numbers.peek(sequence)
    }

    pub(crate) fn highest(&self) -> Option<u64> {
        self.numbers.highest()
    }

    /// Takes the packet's time into the jitter (RFC 3550 §6.4.1). Not for retransmissions: they come late on purpose.
    pub(crate) fn note_time(&mut self, since_start: Duration, timestamp: u32, clock_rate: u32) {
        let arrival = since_start.as_secs_f64() * f64::from(clock_rate);
        let transit = arrival - f64::from(timestamp);
        if let Some(last) = self.last_transit {
            let difference = (transit - last).abs();
            // A wrap of the timestamp, or a jump of the source, is no jitter.
            if difference < f64::from(clock_rate) * 10.0 {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.last_transit = Some(transit);
    }

    pub(crate) fn note_sender(&mut self, now: Instant, info: SenderInfo) {
        self.sender = Some((info, now));
    }

    /// The sender's last report.
    pub(crate) fn sender(&self) -> Option<SenderInfo> {
        self.sender.map(|(info, _)| info)
    }

    /// How many packets were to come so far, and how many did.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let span = self.numbers.highest().zip(self.first);
        (span.map_or(0, |(highest, first)| highest - first.min(highest) + 1), self.received)
    }

    /// The report on what came since the last one.
    pub(crate) fn report(&mut self, now: Instant, ssrc: u32) -> Option<ReportBlock> {
        let (highest, first) = (self.numbers.highest()?, self.first?);
        let expected = highest - first.min(highest) + 1;
        let (new, came) = (expected - self.expected_before, self.received - self.received_before);
        (self.expected_before, self.received_before) = (expected, self.received);
        let fraction = (new.saturating_sub(came) * 256).checked_div(new).unwrap_or(0).min(255);
        let (last_sr, delay) = self.sender.map_or((0, 0), |(info, at)| {
            (ntp_middle(info.ntp), (now.duration_since(at).as_secs_f64() * 65_536.0) as u32)
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction as u8,
            lost: expected.saturating_sub(self.received).min(0x7f_ffff) as u32,
            // Numbers begin one cycle up: peers count from 0.
            highest: (highest - (1 << 16)) as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay,
        })
    }

    fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = ((number / 64) as usize % WORDS, number % 64);
        self.seen[word] = self.seen[word] & !(1 << bit) | u64::from(value) << bit;
    }

    fn has(&self, number: u64) -> bool {
        self.seen[(number / 64) as usize % WORDS] >> (number % 64) & 1 == 1
    }
}

const WORDS: usize = 32;
const BITS: u64 = 64 * WORDS as u64;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const FIRST: u64 = 1 << 16;

    proptest! {
        #[test]
        fn every_number_is_taken_once(steps in proptest::collection::vec(-60_i16..90, 1..300), start in any::<u16>()) {
            let (mut receive, mut seen) = (Receive::new(), HashSet::new());
            let mut sequence = start;
            for step in steps {
                let number = receive.peek(sequence);
                prop_assert_eq!(receive.note(number), seen.insert(number));
                sequence = sequence.wrapping_add_signed(step);
            }
        }
    }

    #[test]
    fn a_jump_forgets_what_was_a_whole_window_ago() {
        let mut receive = Receive::new();
        assert!(receive.note(FIRST + 5));
        assert!(receive.note(FIRST + 5 + 3000));
        assert!(receive.note(FIRST + 5 + 2900), "its bit stood for 852 before");
        assert!(receive.note(FIRST + 5 + BITS), "its bit stood for the very first one");
        assert!(!receive.note(FIRST + 6), "too old");
    }

    #[test]
    fn the_report_counts_loss_since_the_last_one() {
        let now = Instant::now();
        let mut receive = Receive::new();
        [0, 1, 3].into_iter().for_each(|number| assert!(receive.note(FIRST + number)));
        let report = receive.report(now, 9).unwrap();
        assert_eq!((report.lost, report.fraction_lost, report.highest), (1, 64, 3));
        receive.note(FIRST + 4);
        let report = receive.report(now, 9).unwrap();
        assert_eq!((report.lost, report.fraction_lost), (1, 0));
    }
}
