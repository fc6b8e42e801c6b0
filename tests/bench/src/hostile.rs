//! What attacks cost those who do nothing wrong: the same call with each of them, beside the call without.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::host::Host;
use crate::pest::{Attack, Insider, Pest};
use crate::progress;
use crate::protocol::Sending;
use crate::publisher::Publisher;
use crate::room::Room;
use crate::row::Latency;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::viewer::Viewer;

/// What was seen during one attack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HostileRow {
    pub(crate) attack: Attack,
    pub(crate) viewers: usize,
    /// Hostile datagrams in a second.
    pub(crate) hostile_per_second: f64,
    /// Of the others.
    pub(crate) latency: Latency,
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    /// Of the worker's core, all in all.
    pub(crate) busy_percent: f64,
    /// What a hostile datagram cost the worker; the difference to the call without.
    pub(crate) ns_per_hostile: f64,
    pub(crate) heap_before: u64,
    pub(crate) heap_after: u64,
    /// Pictures that the publisher was made to begin anew, in a second.
    pub(crate) key_frames_per_second: f64,
    /// Dropped packets by reason.
    pub(crate) drops: Vec<(String, u64)>,
}

/// Measures all of them in a room of its own.
pub(crate) fn measure(viewers: usize, length: Duration) -> Result<Vec<HostileRow>> {
    let (mut host, trace) = (Host::start()?, Trace::recorded()?);
    let mut room = Room::open(&mut host, Sending::Runs)?;
    room.fill(&mut host, viewers)?;
    let schedule = Scenario::VideoReal.schedule(viewers, 0, length, &trace);
    room.warm_up(&schedule)?;
    let mut rows: Vec<HostileRow> = Vec::new();
    for attack in Attack::ALL {
        let (insider, viewer) = insider(attack, &mut host, room.worker)?;
        room.invite(&mut host)?;
        // A viewer that attacks sees something then.
        room.publisher.start_over();
        let pest = Pest::new(attack, room.port()?, insider)?;
        let (before, keys) = (host.usage(room.worker)?, room.publisher.key_frames);
        let (flow, pest) = room.run_attacked(&schedule, pest)?;
        let after = host.usage(room.worker)?;
        let (seconds, used) = (flow.lasted.as_secs_f64(), (after.thread - before.thread).as_secs_f64());
        let idle = rows.first().map_or(0.0, |clean| clean.busy_percent / 100.0 * seconds);
        let new = after.drops.iter().map(|(reason, count)| (reason, count - before.drops.get(reason).unwrap_or(&0)));
        let drops = new.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.clone(), count)).collect();
        let row = HostileRow {
            attack,
            viewers,
            hostile_per_second: pest.sent as f64 / seconds,
            packets: flow.expected,
            lost: flow.lost(),
            latency: Latency::of(flow.delays),
            busy_percent: used / seconds * 100.0,
            ns_per_hostile: if pest.sent == 0 { 0.0 } else { (used - idle).max(0.0) * 1e9 / pest.sent as f64 },
            key_frames_per_second: (room.publisher.key_frames - keys) as f64 / seconds,
            heap_before: before.heap,
            heap_after: after.heap,
            drops,
        };
        progress(line(&row));
        rows.push(row);
        // Publishers are let go of by silence.
        viewer.map(|viewer| host.leave(room.worker, viewer)).transpose()?;
    }
    Ok(rows)
}

/// Somebody in the room who attacks, and the number of a viewer.
fn insider(attack: Attack, host: &mut Host, worker: usize) -> Result<(Insider, Option<u64>)> {
    if attack.watches() {
        let viewer = Viewer::join(host, worker, true)?;
        let number = viewer.number;
        return Ok((Insider::Viewer(Box::new(viewer)), Some(number)));
    }
    let publisher = Publisher::connect(host, worker, &format!("-{}", attack as usize))?;
    Ok((Insider::Publisher(Box::new(publisher)), None))
}

/// A row of the table.
pub(crate) fn line(row: &HostileRow) -> String {
    let drops: Vec<_> = row.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    format!(
        "{:<18} {:>7.0} {:>6.0} {:>6.0} {:>5} {:>5.1} {:>6.0} {:>7.0} {:>7.0} {:>4.1}  {}",
        row.attack.name(),
        row.hostile_per_second,
        row.latency.p50,
        row.latency.p99,
        row.lost,
        row.busy_percent,
        row.ns_per_hostile,
        row.heap_before as f64 / 1024.0,
        row.heap_after as f64 / 1024.0,
        row.key_frames_per_second,
        drops.join(", "),
    )
}

/// What stands above the rows.
pub(crate) const HEAD: &str = "                   hostile  latency µs         busy  ns per    heap KiB       keys
attack               a sec    p50    p99  lost     % hostile  before   after  /s  dropped
";
