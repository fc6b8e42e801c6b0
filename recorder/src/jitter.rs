//! Puts the packets of one encoding back in order and waits, for a bounded time, for those that are missing.
//!
//! It neither looks into payloads nor asks for anything: a hole is either filled by a late packet or given up, with its reason.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockgate_model::carrier::GapReason;

use crate::packet::Packet;

/// Packets of one encoding on their way from the wire to the assembler.
#[derive(Debug)]
pub(crate) struct Jitter {
    next: Option<u64>,
    /// With the moment at which each came.
    held: BTreeMap<u64, (Instant, Packet)>,
    /// Since when the packet `next` has been known to be missing: since the first of those that are here came.
    missing_since: Option<Instant>,
    /// What the node said will not come, first and last.
    gone: Vec<(u64, u64, GapReason)>,
    hold: Duration,
}

/// What comes out, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// The next packet.
    Packet(Packet),
    /// Packets that will not come.
    Lost {
        /// How many.
        count: u64,
        /// Why.
        reason: GapReason,
    },
}

impl Jitter {
    /// Waits at most `hold` for a missing packet.
    pub(crate) fn new(hold: Duration) -> Self {
        Self { next: None, held: BTreeMap::new(), missing_since: None, gone: Vec::new(), hold }
    }

    /// The same, with the first packet known: nothing before it is expected.
    pub(crate) fn starting_at(first: u64, hold: Duration) -> Self {
        Self { next: Some(first.min(LAST)), ..Self::new(hold) }
    }

    /// Takes a packet. `false` if it is a duplicate or too late.
    pub(crate) fn push(&mut self, packet: Packet, now: Instant) -> bool {
        let next = *self.next.get_or_insert(packet.seq.min(LAST));
        if packet.seq < next || packet.seq > LAST || self.held.contains_key(&packet.seq) {
            return false;
        }
        self.held.insert(packet.seq, (now, packet));
        true
    }

    /// The node says that these will not come. The oldest such word is forgotten when there are too many: its hole then only takes longer.
    pub(crate) fn give_up(&mut self, from: u64, to: u64, reason: GapReason) {
        if self.gone.len() >= MAX_GONE {
            self.gone.remove(0);
        }
        if from <= to && to <= LAST {
            self.gone.push((from, to, reason));
        }
    }

    /// The next packet, or the end of the wait for one.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Released> {
        let next = self.next?;
        if let Some((_, packet)) = self.held.remove(&next) {
            self.advance(next + 1);
            return Some(Released::Packet(packet));
        }
        if let Some((to, reason)) =
            self.gone.iter().find(|(from, to, _)| (*from..=*to).contains(&next)).map(|g| (g.1, g.2))
        {
            // Of what the node gives up, some packets may still have come.
            let until = self.held.first_key_value().map_or(to + 1, |(first, _)| (to + 1).min(*first));
            self.advance(until);
            return Some(Released::Lost { count: until - next, reason });
        }
        let first = *self.held.first_key_value()?.0;
        // Packets are pushed in the order of time, so a later one never makes this wait longer.
        let waiting = self.held.values().map(|(came, _)| *came);
        let since = *self.missing_since.get_or_insert_with(|| waiting.min().unwrap_or(now));
        if self.held.len() < MAX_HELD && now.saturating_duration_since(since) < self.hold {
            return None;
        }
        self.advance(first);
        Some(Released::Lost { count: first - next, reason: GapReason::Loss })
    }

    /// Ends every wait: what is missing now is lost.
    pub(crate) fn flush(&mut self) {
        self.hold = Duration::ZERO;
    }

    /// The last packet that is done with: released or given up.
    pub(crate) fn done(&self) -> Option<u64> {
        self.next.and_then(|next| next.checked_sub(1))
    }

    fn advance(&mut self, next: u64) {
        self.next = Some(next);
        self.missing_since = None;
        self.gone.retain(|(_, to, _)| *to >= next);
    }
}

/// Half of what a 16-bit sequence number spans would be far too much memory: this is some ten seconds of a 5 Mbit/s stream.
const MAX_HELD: usize = 4096;
const MAX_GONE: usize = 64;
/// No stream counts so far; beyond it sums could overflow.
const LAST: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lockgate_model::carrier::NodeTime;
    use lockgate_model::testing::cases;
    use proptest::prelude::*;

    fn packet(seq: u64) -> Packet {
        let payload = Bytes::from_static(b"x");
        Packet { seq, arrival: NodeTime(0), ssrc: 1, timestamp: 0, marker: false, payload_type: 96, payload }
    }

    fn released(jitter: &mut Jitter, now: Instant) -> Vec<Result<u64, u64>> {
        std::iter::from_fn(|| jitter.poll(now))
            .map(|released| match released {
                Released::Packet(packet) => Ok(packet.seq),
                Released::Lost { count, .. } => Err(count),
            })
            .collect()
    }

    #[test]
    fn a_hole_is_waited_for_and_then_given_up() {
        let (start, mut jitter) = (Instant::now(), Jitter::new(Duration::from_millis(400)));
        for seq in [65_534, 65_535, 65_538] {
            assert!(jitter.push(packet(seq), start));
        }
        assert_eq!(released(&mut jitter, start), [Ok(65_534), Ok(65_535)]);
        assert_eq!(released(&mut jitter, start + Duration::from_millis(399)), []);
        assert!(jitter.push(packet(65_537), start + Duration::from_millis(399)));
        assert_eq!(released(&mut jitter, start + Duration::from_millis(400)), [Err(1), Ok(65_537), Ok(65_538)]);
        assert!(!jitter.push(packet(65_536), start + Duration::from_millis(400)), "too late");
        assert_eq!(jitter.done(), Some(65_538));
    }

    #[test]
    fn holes_that_were_made_together_are_given_up_together() {
        let (start, mut jitter) = (Instant::now(), Jitter::new(Duration::from_secs(1)));
        let after = |ms| start + Duration::from_millis(ms);
        for seq in [1, 3, 5] {
            jitter.push(packet(seq), start);
        }
        jitter.push(packet(8), after(600));
        assert_eq!(released(&mut jitter, after(999)), [Ok(1)]);
        assert_eq!(released(&mut jitter, after(1000)), [Err(1), Ok(3), Err(1), Ok(5)]);
        assert_eq!(released(&mut jitter, after(1599)), []);
        assert_eq!(released(&mut jitter, after(1600)), [Err(2), Ok(8)], "each hole has its own second");
    }

    #[test]
    fn a_late_packet_between_two_holes_makes_neither_wait_longer() {
        let (start, mut jitter) = (Instant::now(), Jitter::new(Duration::from_secs(1)));
        let after = |ms| start + Duration::from_millis(ms);
        jitter.push(packet(1), start);
        jitter.push(packet(5), start);
        assert_eq!(released(&mut jitter, start), [Ok(1)]);
        jitter.push(packet(3), after(900));
        assert_eq!(released(&mut jitter, after(1000)), [Err(1), Ok(3), Err(1), Ok(5)]);
    }

    #[test]
    fn what_the_node_gives_up_is_not_waited_for() {
        let (now, mut jitter) = (Instant::now(), Jitter::new(Duration::from_secs(1)));
        jitter.push(packet(1), now);
        jitter.give_up(2, 9, GapReason::Overload);
        jitter.push(packet(5), now);
        jitter.push(packet(10), now);
        assert_eq!(released(&mut jitter, now), [Ok(1), Err(3), Ok(5), Err(4), Ok(10)]);
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn packets_come_out_once_in_order_and_every_number_is_accounted_for(
            seqs in prop::collection::vec(65_500_u64..65_600, 1..120),
        ) {
            let (now, mut jitter) = (Instant::now(), Jitter::new(Duration::from_millis(400)));
            let mut out = Vec::new();
            for (step, seq) in seqs.iter().enumerate() {
                let now = now + Duration::from_millis(step as u64 * 20);
                jitter.push(packet(*seq), now);
                out.extend(released(&mut jitter, now));
            }
            jitter.flush();
            out.extend(released(&mut jitter, now));
            let mut next = seqs[0];
            for step in out {
                match step {
                    Ok(seq) => { prop_assert_eq!(seq, next); next += 1; }
                    Err(count) => { prop_assert!(count > 0); next += count; }
                }
            }
            prop_assert_eq!(jitter.done(), Some(next - 1));
            prop_assert!(jitter.held.is_empty());
        }
    }
}
