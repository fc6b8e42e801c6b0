//! `lockgate-bench forward`: all rows, one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::cli::ForwardOptions;
use crate::host::Host;
use crate::machine::{self, Machine};
use crate::protocol::{Sending, Usage};
use crate::receive::stamps_begin;
use crate::report::{self, Report};
use crate::room::{Flow, Room};
use crate::row::{Cost, Latency, Row, Turn, floor_for, median};
use crate::scenario::{BURST, Outgoing, Scenario, drops, flood};
use crate::sinks::Sinks;
use crate::trace::Trace;
use crate::{CLIENTS_CORE, hostile, progress};

/// Runs what was asked for, prints it and writes it.
pub(crate) fn run(options: &ForwardOptions) -> Result<()> {
    let pinned = machine::pin(CLIENTS_CORE);
    let mut report = Report::new(Machine::here(pinned));
    if !options.scenarios().is_empty() {
        rows(options, &mut report)?;
    }
    if options.attacks() {
        let (viewers, length) = options.attacked();
        progress(format!("{viewers} viewers while the worker is attacked"));
        report.hostile = hostile::measure(viewers, length)?;
    }
    report.finish(&options.output()?)
}

fn rows(options: &ForwardOptions, report: &mut Report) -> Result<()> {
    let mut bench = Bench::begin(options)?;
    for viewers in options.viewers() {
        bench.fill(viewers)?;
        for scenario in options.scenarios() {
            let row = bench.row(scenario, viewers)?;
            progress(report::line(&row));
            report.scenarios.push(row);
        }
        if viewers == SATURATED {
            progress("as much as a core does");
            report.saturated = Some(bench.saturate(viewers)?);
        }
    }
    Ok(())
}

/// One core of work: how much it is, and what a packet costs then.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Saturated {
    pub(crate) viewers: usize,
    pub(crate) ours_ns: f64,
    pub(crate) ours_packets_per_second: f64,
    pub(crate) floor_ns: f64,
    pub(crate) floor_packets_per_second: f64,
    pub(crate) gso_run_mean: f64,
    pub(crate) lost: u64,
}

struct Bench {
    host: Host,
    rooms: BTreeMap<Sending, Room>,
    sinks: Sinks,
    trace: Trace,
    rounds: u32,
    length: Duration,
    /// Questions about usage cost allocations themselves.
    own_allocations: u64,
    /// What the viewers of the room that sends runs brought the heap.
    heap: u64,
}

impl Bench {
    fn begin(options: &ForwardOptions) -> Result<Self> {
        let mut host = Host::start()?;
        let mut rooms = BTreeMap::new();
        for sending in Sending::ALL {
            rooms.insert(sending, Room::open(&mut host, sending)?);
        }
        let (rounds, length) = options.turns();
        let (sinks, trace) = (Sinks::new()?, Trace::recorded()?);
        let mut bench = Self { host, rooms, sinks, trace, rounds, length, own_allocations: 0, heap: 0 };
        let asked: Vec<_> = (0..5).map(|_| bench.usage(Sending::Runs)).collect::<Result<_>>()?;
        let between = asked.windows(2).map(|pair| pair[1].allocations - pair[0].allocations);
        bench.own_allocations = between.min().unwrap_or(0);
        Ok(bench)
    }

    fn room(&mut self, sending: Sending) -> Result<&mut Room> {
        self.rooms.get_mut(&sending).context("there is a room for every way")
    }

    fn usage(&mut self, sending: Sending) -> Result<Usage> {
        let worker = self.rooms.get(&sending).context("there is a room for every way")?.worker;
        self.host.usage(worker)
    }

    /// Viewers join every room.
    fn fill(&mut self, viewers: usize) -> Result<()> {
        progress(format!("{viewers} viewers join"));
        let schedule = Scenario::VideoReal.schedule(viewers, 0, self.length * 2, &self.trace);
        for sending in Sending::ALL {
            // What a publisher's packets are kept in is the room's, not the viewers': it is full before and after.
            self.room(sending)?.run(&schedule)?;
            let before = self.usage(sending)?.heap;
            self.join(sending, viewers)?;
            if sending != Sending::Estimated {
                self.check(sending, viewers, &schedule)?;
            }
            if sending == Sending::Runs {
                self.heap += self.usage(sending)?.heap.saturating_sub(before);
            }
            self.keep_all()?;
        }
        self.sinks.fill(viewers)
    }

    /// Everybody gets everything, and what was sent.
    fn check(&mut self, sending: Sending, viewers: usize, schedule: &[Outgoing]) -> Result<()> {
        let room = self.room(sending)?;
        if let Err(error) = room.warm_up(schedule) {
            return Err(error.context(format!("the worker counted {:?}", self.usage(sending)?)));
        }
        room.check(viewers - 1)
    }

    /// Some at a time, so that nobody in another room is forgotten meanwhile.
    fn join(&mut self, sending: Sending, viewers: usize) -> Result<()> {
        let mut there = self.room(sending)?.viewers();
        while there < viewers {
            there = (there + TOGETHER).min(viewers);
            let room = self.rooms.get_mut(&sending).context("there is a room for every way")?;
            room.fill(&mut self.host, there)?;
            self.keep_all()?;
        }
        Ok(())
    }

    fn keep_all(&mut self) -> Result<()> {
        self.rooms.values_mut().try_for_each(Room::keep)
    }

    fn row(&mut self, scenario: Scenario, viewers: usize) -> Result<Row> {
        let schedule = scenario.schedule(viewers, 0, self.length / 4, &self.trace);
        for (sending, room) in &mut self.rooms {
            match sending {
                Sending::Estimated if room.is_estimated() => room.ramp_up(&schedule, RAMPS * self.length)?,
                Sending::Estimated => {}
                _ => room.warm_up(&schedule)?,
            }
        }
        let turns: Vec<_> = (0..self.rounds).map(|round| self.turn(scenario, viewers, round)).collect::<Result<_>>()?;
        let schedule = scenario.schedule(viewers, 0, self.length, &self.trace);
        let heap = self.heap / viewers as u64;
        let silent = self.silent_cost(&schedule)?;
        let alone = drops(scenario, viewers, LATENCY);
        let least = self.floor_latency(scenario, viewers, &alone)?;
        let ours = self.room(Sending::Runs)?;
        let alone = ours.run_timed(&alone)?;
        let loaded = ours.run_timed(&schedule)?;
        let rate = loaded.received as f64 / loaded.lasted.as_secs_f64();
        let row = summed(scenario, viewers, &turns, &[alone, loaded], rate);
        Ok(Row {
            heap_per_viewer_bytes: heap,
            allocs_per_packet: silent.allocations,
            floor_latency_p50_us: least.p50,
            floor_latency_p99_us: least.p99,
            ..row
        })
    }

    /// Everything once, with the same packets.
    fn turn(&mut self, scenario: Scenario, viewers: usize, round: u32) -> Result<Turn> {
        let schedule = scenario.schedule(viewers, round, self.length, &self.trace);
        let ours = self.cost(Sending::Runs, &schedule)?;
        let bursts = floor_for(scenario, &schedule, ours.run);
        let (floor, _) = self.floor(viewers, bursts)?;
        let is_estimated = self.room(Sending::Estimated)?.is_estimated();
        let estimated = is_estimated.then(|| self.cost(Sending::Estimated, &schedule)).transpose()?;
        let batched = self.cost(Sending::Batched, &schedule)?;
        let single = self.cost(Sending::Single, &schedule)?;
        self.keep_all()?;
        Ok(Turn { floor, ours, estimated, batched, single })
    }

    fn cost(&mut self, sending: Sending, schedule: &[Outgoing]) -> Result<Cost> {
        let before = self.usage(sending)?;
        let flow = self.room(sending)?.run(schedule)?;
        let after = self.usage(sending)?;
        Ok(self.cost_of(&before, &after, &flow))
    }

    /// What the packets alone cost: the clients report nothing meanwhile.
    fn silent_cost(&mut self, schedule: &[Outgoing]) -> Result<Cost> {
        // A track that begins again after a pause is told of, which is not the packets' doing.
        self.room(Sending::Runs)?.run(schedule)?;
        let before = self.settled()?;
        let flow = self.room(Sending::Runs)?.run_silent(schedule)?;
        let after = self.usage(Sending::Runs)?;
        Ok(self.cost_of(&before, &after, &flow))
    }

    /// What the worker has used once it is done with all that the clients said.
    fn settled(&mut self) -> Result<Usage> {
        let mut before = self.usage(Sending::Runs)?;
        for _ in 0..GLANCES {
            std::thread::sleep(GLANCE);
            let now = self.usage(Sending::Runs)?;
            if now.allocations - before.allocations <= self.own_allocations {
                return Ok(now);
            }
            before = now;
        }
        bail!("the worker goes on allocating, though nobody sends or reports anything")
    }

    fn cost_of(&self, before: &Usage, after: &Usage, flow: &Flow) -> Cost {
        let packets = flow.received.max(1) as f64;
        let allocations = after.allocations.saturating_sub(before.allocations + self.own_allocations);
        let messages = after.messages - before.messages;
        Cost {
            nanos: (after.thread - before.thread).as_nanos() as f64 / packets,
            expected: flow.expected,
            lost: flow.lost(),
            allocations: allocations as f64 / packets,
            probes: (after.probes - before.probes) as f64 / packets,
            run: (after.datagrams - before.datagrams) as f64 / messages.max(1) as f64,
        }
    }

    fn floor(&mut self, viewers: usize, bursts: Vec<crate::floor::Burst>) -> Result<(Cost, Duration)> {
        let packets: usize = bursts.iter().flat_map(|burst| &burst.runs).map(|run| run.packets).sum();
        let expected = (packets * viewers) as u64;
        self.host.start_floor(self.sinks.ports(viewers)?, bursts)?;
        let (received, lasted) = self.sinks.count(expected)?;
        let (used, _) = self.host.end_floor()?;
        let nanos = used.as_nanos() as f64 / received.max(1) as f64;
        Ok((Cost { nanos, expected, lost: expected - received, ..Cost::default() }, lasted))
    }

    /// How long packets are under way at least: from the moment at which the sender has one, one at a time.
    fn floor_latency(&mut self, scenario: Scenario, viewers: usize, schedule: &[Outgoing]) -> Result<Latency> {
        let bursts = floor_for(scenario, schedule, 1.0);
        self.sinks.set_stamped(true)?;
        stamps_begin()?;
        self.host.start_floor(self.sinks.ports(viewers)?, bursts)?;
        let arrivals = self.sinks.note((schedule.len() * viewers) as u64)?;
        let (_, begun) = self.host.end_floor()?;
        self.sinks.set_stamped(false)?;
        let delay = |(number, arrived): (usize, Duration)| Some(arrived.saturating_sub(*begun.get(number)?));
        Ok(Latency::of(arrivals.into_iter().filter_map(delay).collect()))
    }

    /// As much as one core does.
    fn saturate(&mut self, viewers: usize) -> Result<Saturated> {
        let schedule = flood(BURSTS);
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let before = self.usage(Sending::Runs)?;
            let flow = self.room(Sending::Runs)?.run_flat_out(&schedule, UNDER_WAY)?;
            let after = self.usage(Sending::Runs)?;
            ours.push((self.cost_of(&before, &after, &flow), flow.received as f64 / flow.lasted.as_secs_f64()));
            let bursts = floor_for(Scenario::VideoBurst8, &schedule, 0.0);
            let (cost, lasted) = self.floor(viewers, bursts)?;
            floors.push((cost, (cost.expected - cost.lost) as f64 / lasted.as_secs_f64()));
            self.keep_all()?;
        }
        Ok(Saturated {
            viewers,
            ours_ns: median(ours.iter().map(|(cost, _)| cost.nanos)),
            ours_packets_per_second: median(ours.iter().map(|(_, rate)| *rate)),
            floor_ns: median(floors.iter().map(|(cost, _)| cost.nanos)),
            floor_packets_per_second: median(floors.iter().map(|(_, rate)| *rate)),
            gso_run_mean: median(ours.iter().map(|(cost, _)| cost.run)),
            lost: ours.iter().map(|(cost, _)| cost.lost).sum(),
        })
    }
}

fn summed(scenario: Scenario, viewers: usize, turns: &[Turn], flows: &[Flow; 2], rate: f64) -> Row {
    let of = |value: fn(&Turn) -> f64| median(turns.iter().map(value));
    let estimated = |value: fn(&Turn, Cost) -> f64| {
        let known: Vec<_> = turns.iter().filter_map(|turn| Some(value(turn, turn.estimated?))).collect();
        (!known.is_empty()).then(|| median(known.into_iter()))
    };
    let [alone, loaded] = flows.each_ref().map(|flow| Latency::of(flow.delays.clone()));
    Row {
        scenario: scenario.name(),
        viewers,
        floor_ns: of(|turn| turn.floor.nanos),
        ours_ns: of(|turn| turn.ours.nanos),
        estimated_ns: estimated(|_, cost| cost.nanos),
        estimated_ratio_to_floor: estimated(|turn, cost| cost.nanos / turn.floor.nanos),
        estimated_ratio_to_sendto: estimated(|turn, cost| cost.nanos / turn.single.nanos),
        estimated_run_mean: estimated(|_, cost| cost.run),
        estimated_probes_per_packet: estimated(|_, cost| cost.probes),
        estimated_lost: turns.iter().filter_map(|turn| turn.estimated).map(|cost| cost.lost).sum(),
        ours_nogso_ns: of(|turn| turn.batched.nanos),
        sendto_ns: of(|turn| turn.single.nanos),
        ratio_to_floor: of(|turn| turn.ours.nanos / turn.floor.nanos),
        ratios_to_floor: turns.iter().map(|turn| turn.ours.nanos / turn.floor.nanos).collect(),
        ratio_to_sendto: of(|turn| turn.ours.nanos / turn.single.nanos),
        allocs_per_packet: 0.0,
        allocs_with_feedback: of(|turn| turn.ours.allocations),
        floor_latency_p50_us: 0.0,
        floor_latency_p99_us: 0.0,
        latency_p50_us: alone.p50,
        latency_p99_us: alone.p99,
        loaded_latency_p50_us: loaded.p50,
        loaded_latency_p99_us: loaded.p99,
        heap_per_viewer_bytes: 0,
        gso_run_mean: of(|turn| turn.ours.run),
        packets_per_second: rate,
        packets: turns.iter().map(|turn| turn.ours.expected).sum(),
        lost: turns.iter().map(|turn| turn.ours.lost + turn.batched.lost + turn.single.lost + turn.floor.lost).sum(),
    }
}

/// For how long packets are sent one at a time: fifty of them to every viewer.
const LATENCY: Duration = Duration::from_secs(1);
/// The row that is also measured with a core's worth of packets.
const SATURATED: usize = 100;
const BURSTS: usize = 200;
/// Viewers that join one after the other.
const TOGETHER: usize = 50;
/// How many times a turn's length an estimate may take to reach what is sent.
const RAMPS: u32 = 10;
/// Between two looks at whether the worker still has something to do.
const GLANCE: Duration = Duration::from_millis(20);
/// Some seconds: reports that are under way are answered long before.
const GLANCES: u32 = 250;
/// A burst is sent, one waits, one is received.
const UNDER_WAY: usize = 3 * BURST;
