//! One row: a scenario with so many viewers, the floor and the worker measured in turns.

use std::time::Duration;

use serde::Serialize;

use crate::floor::{Burst, Run};
use crate::scenario::{BURST, Outgoing, Scenario};

/// What one run of a schedule cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Nanoseconds of the sending thread for each packet that a viewer received.
    pub(crate) nanos: f64,
    /// Packets that should have come.
    pub(crate) expected: u64,
    /// Those that did not, or came twice.
    pub(crate) lost: u64,
    /// How often the media thread asked for memory, for each packet.
    pub(crate) allocations: f64,
    /// Datagrams in a message to the system; 0 if that was not counted.
    pub(crate) run: f64,
    /// Repetitions to find out what links carry, for each packet.
    pub(crate) probes: f64,
}

/// All that was measured in one turn, with the same packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) floor: Cost,
    pub(crate) ours: Cost,
    /// None where the worker estimates nothing.
    pub(crate) estimated: Option<Cost>,
    pub(crate) batched: Cost,
    pub(crate) single: Cost,
}

/// What is reported of a scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) viewers: usize,
    pub(crate) floor_ns: f64,
    pub(crate) ours_ns: f64,
    /// To viewers that report every arrival, by which the worker estimates what they can be sent; none if it does not.
    pub(crate) estimated_ns: Option<f64>,
    pub(crate) estimated_ratio_to_floor: Option<f64>,
    pub(crate) estimated_ratio_to_sendto: Option<f64>,
    pub(crate) estimated_run_mean: Option<f64>,
    pub(crate) estimated_probes_per_packet: Option<f64>,
    /// Packets that were not sent to these, as the estimate was lower.
    pub(crate) estimated_lost: u64,
    pub(crate) ours_nogso_ns: f64,
    pub(crate) sendto_ns: f64,
    /// The median of the turns' own ratios, as is the next.
    pub(crate) ratio_to_floor: f64,
    pub(crate) ratio_to_sendto: f64,
    /// Of each turn: how far they are apart tells how quiet the machine was.
    pub(crate) ratios_to_floor: Vec<f64>,
    /// While clients send nothing but media.
    pub(crate) allocs_per_packet: f64,
    /// With their reports and checks, for each packet all the same.
    pub(crate) allocs_with_feedback: f64,
    /// One packet at a time, sent by the floor: from the moment at which it has the packet.
    pub(crate) floor_latency_p50_us: f64,
    pub(crate) floor_latency_p99_us: f64,
    /// One packet at a time.
    pub(crate) latency_p50_us: f64,
    pub(crate) latency_p99_us: f64,
    /// Under the row's own load.
    pub(crate) loaded_latency_p50_us: f64,
    pub(crate) loaded_latency_p99_us: f64,
    pub(crate) heap_per_viewer_bytes: u64,
    pub(crate) gso_run_mean: f64,
    /// That left in a second.
    pub(crate) packets_per_second: f64,
    /// Of ours, in all turns.
    pub(crate) packets: u64,
    pub(crate) lost: u64,
}

/// Middle and nearly worst of how long packets were under way, in µs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Latency {
    pub(crate) fn of(mut delays: Vec<Duration>) -> Self {
        delays.sort_unstable();
        let at = |part: f64| {
            let index = (delays.len() as f64 * part) as usize;
            delays.get(index.min(delays.len().saturating_sub(1))).map_or(0.0, |delay| delay.as_nanos() as f64 / 1e3)
        };
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

/// The middle value; of none, 0.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// What the floor is to send for the packets of a schedule, in runs of this mean length within each frame.
///
/// Bursts are sent as the runs that they are, whatever the worker makes of them.
pub(crate) fn floor_for(scenario: Scenario, schedule: &[Outgoing], mean: f64) -> Vec<Burst> {
    let mean = match scenario {
        Scenario::Audio => 1.0,
        Scenario::VideoBurst8 => BURST as f64,
        Scenario::VideoReal => mean.max(1.0),
    };
    let (mut bursts, mut packets, mut runs) = (Vec::new(), 0.0, 0.0);
    for frame in schedule.split_inclusive(|packet| packet.ends_frame) {
        packets += frame.len() as f64;
        let wanted = ((packets / mean - runs).round() as usize).clamp(1, frame.len());
        runs += wanted as f64;
        bursts.extend((0..wanted).map(|index| {
            let run = &frame[frame.len() * index / wanted..frame.len() * (index + 1) / wanted];
            let longest = run.iter().map(|packet| packet.payload).max().unwrap_or(0);
            let at = run.last().map_or(Duration::ZERO, |packet| packet.at);
            Burst { at: at.as_micros() as u64, runs: vec![Run { packets: run.len(), size: HEADER + longest }] }
        }));
    }
    bursts
}

/// A viewer's header: RTP's own, and 8 bytes of extensions.
const HEADER: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at: u64, payloads: &[usize]) -> Vec<Outgoing> {
        let packet = |(index, payload): (usize, &usize)| Outgoing {
            at: Duration::from_micros(at + index as u64),
            video: true,
            payload: *payload,
            ends_frame: index + 1 == payloads.len(),
        };
        payloads.iter().enumerate().map(packet).collect()
    }

    #[test]
    fn the_floors_runs_are_as_long_as_the_workers() {
        let schedule: Vec<_> = (0..100).flat_map(|index| frame(index * 33_000, &[1000; 9])).collect();
        let mean = |wanted| {
            let bursts = floor_for(Scenario::VideoReal, &schedule, wanted);
            let runs: Vec<_> = bursts.iter().flat_map(|burst| &burst.runs).collect();
            assert_eq!(runs.iter().map(|run| run.packets).sum::<usize>(), 900);
            900.0 / runs.len() as f64
        };
        for wanted in [1.0, 2.5, 4.0, 7.0, 9.0] {
            assert!((mean(wanted) / wanted - 1.0).abs() < 0.05, "{wanted}: {}", mean(wanted));
        }
    }

    #[test]
    fn a_run_is_as_wide_as_its_longest_packet_and_leaves_when_all_are_there() {
        let bursts = floor_for(Scenario::VideoReal, &frame(50, &[1000, 1000, 1001, 1001]), 4.0);
        assert_eq!(bursts.len(), 1);
        assert_eq!((bursts[0].at, bursts[0].runs[0]), (53, Run { packets: 4, size: 1021 }));
    }

    #[test]
    fn percentiles_are_of_all_delays() {
        let latency = Latency::of((1..=1000).map(Duration::from_micros).collect());
        assert_eq!((latency.p50, latency.p99), (501.0, 991.0));
        assert_eq!(Latency::of(Vec::new()).p99, 0.0);
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
