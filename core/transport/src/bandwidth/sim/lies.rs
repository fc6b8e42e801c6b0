//! Receivers that say what is not so: the estimate is theirs to spoil, nobody else's, and it stays within bounds.

use std::time::{Duration, Instant};

use lockgate_rtp::{Feedback, TwccPacket, parse_rtcp, write};
use proptest::prelude::*;

use super::super::{Estimator, MAX, MIN};
use super::call::epoch;

/// Feedback as it is read from a packet; how many entries were refused.
fn tell(estimator: &mut Estimator, now: Instant, base: u64, packets: &[TwccPacket]) -> usize {
    let mut packet = Vec::new();
    assert!(write::twcc(&mut packet, 1, 2, 0, base, packets));
    give(estimator, now, &packet)
}

fn give(estimator: &mut Estimator, now: Instant, packet: &[u8]) -> usize {
    let mut refused = 0;
    parse_rtcp(packet, |feedback| {
        if let Feedback::Twcc(feedback) = feedback {
            refused += estimator.handle_feedback(now, &feedback);
        }
    });
    refused
}

fn send(estimator: &mut Estimator, now: Instant, packets: u64) {
    for _ in 0..packets {
        estimator.send(now, 1000);
    }
}

fn at(number: u64, arrival_us: u64) -> TwccPacket {
    TwccPacket { number, arrival_us }
}

#[test]
fn numbers_that_were_never_sent_change_nothing() {
    let now = epoch();
    let mut estimator = Estimator::new(now);
    assert_eq!(tell(&mut estimator, now, 5, &[at(5, 1_000_000), at(6, 1_000_500)]), 2);
    send(&mut estimator, now, 3);
    assert_eq!(tell(&mut estimator, now, 3, &[at(3, 1_000_000)]), 1);
    assert_eq!(tell(&mut estimator, now, 60_000, &[at(60_000, 1_000_000)]), 1);
    assert_eq!(estimator.estimate(), None);
    assert_eq!(tell(&mut estimator, now, 0, &[at(2, 1_000_000), at(5, 1_000_500)]), 3, "what lies behind the last one");
    assert!(estimator.estimate().is_some());
}

#[test]
fn what_was_told_is_not_told_again() {
    let now = epoch();
    let mut estimator = Estimator::new(now);
    send(&mut estimator, now, 3);
    let packets = [at(0, 1_000_000), at(1, 1_000_000), at(2, 1_000_000)];
    assert_eq!(tell(&mut estimator, now, 0, &packets), 0);
    assert_eq!(tell(&mut estimator, now, 0, &packets), 3);
}

/// Every packet is told to have come at once: no delay, no loss, no end to what the link carries.
#[test]
fn a_perfect_link_is_believed_no_further_than_what_is_sent() {
    let start = epoch();
    let mut estimator = Estimator::new(start);
    for step in 0..6000_u64 {
        let now = start + Duration::from_millis(10 * step);
        let number = u64::from(estimator.send(now, 1250));
        tell(&mut estimator, now, number, &[at(number, 1_000_000 + 10 * step)]);
        estimator.handle_timeout(now);
    }
    let estimate = estimator.estimate().unwrap();
    assert!(estimate <= 1_600_000, "{estimate} for 1 Mbit/s sent");
}

/// Whatever is claimed, probes are made for no more than there is to send.
#[test]
fn probes_that_are_lied_about_end_at_what_is_wanted() {
    let start = epoch();
    let mut estimator = Estimator::new(start);
    for step in 0..20_000_u64 {
        let now = start + Duration::from_millis(step);
        let bytes = estimator.probe_bytes(now).max(if step % 10 == 0 { 1250 } else { 0 });
        for _ in 0..bytes.div_ceil(1250) {
            let number = u64::from(estimator.send(now, 1250));
            tell(&mut estimator, now, number, &[at(number, 1_000_000 + 1000 * step)]);
        }
        estimator.set_wanted(now, 3_000_000);
        estimator.handle_timeout(now);
    }
    let estimate = estimator.estimate().unwrap();
    assert!(estimate <= 8_000_000, "{estimate} for 4 Mbit/s wanted");
}

/// A run-length chunk of two bytes tells of up to 8,191 packets, an estimator reads no more than it has sent.
#[test]
fn feedback_that_tells_of_many_packets_costs_little() {
    let now = epoch();
    let mut estimator = Estimator::new(now);
    send(&mut estimator, now, 100);
    let mut packet = vec![0x8f, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 1, 0];
    packet.extend([0x1f, 0xff].repeat(9));
    packet.extend([0, 0]);
    assert_eq!(give(&mut estimator, now, &packet), 65_535 - 100);
}

#[test]
fn an_estimator_is_small() {
    assert!(size_of::<Estimator>() <= 1536, "{}", size_of::<Estimator>());
}

proptest! {
    #[test]
    fn no_feedback_breaks_the_bounds(
        lies in proptest::collection::vec((any::<u16>(), 1_u64..300, 0_u64..3_000_000_000, steps()), 1..60),
        bitrate in any::<u64>(),
    ) {
        let start = epoch();
        let mut estimator = Estimator::new(start);
        for (step, (base, span, arrival, steps)) in (0_u64..).zip(lies) {
            let now = start + Duration::from_millis(300 * step + span);
            send(&mut estimator, now, span);
            let base = if step % 3 == 0 { u64::from(base) } else { u64::from(base) % (300 * step + span) };
            let mut packet = Vec::new();
            if write::twcc(&mut packet, 1, 2, 0, base, &walk(base, arrival, &steps)) {
                give(&mut estimator, now, &packet);
            }
            estimator.set_wanted(now, bitrate);
            estimator.handle_timeout(now);
            prop_assert!(estimator.probe_bytes(now) <= 1_000_000);
            if step % 7 == 6 {
                estimator.handle_remb(now, bitrate);
            }
            let estimate = estimator.estimate().unwrap_or(MIN as u64) as f64;
            prop_assert!((MIN..=MAX).contains(&estimate), "{estimate}");
            prop_assert!(estimator.rtt().is_none_or(|rtt| rtt < Duration::from_secs(20)));
        }
    }
}

/// How far ahead the next number is, and how much later its arrival.
fn steps() -> impl Strategy<Value = Vec<(u64, i64)>> {
    proptest::collection::vec((1_u64..9, -8_000_000_i64..8_000_000), 1..20)
}

fn walk(mut number: u64, mut arrival: u64, steps: &[(u64, i64)]) -> Vec<TwccPacket> {
    let step = |(ahead, later): &(u64, i64)| {
        number += ahead;
        arrival = arrival.saturating_add_signed(*later);
        at(number, arrival)
    };
    steps.iter().map(step).collect()
}
