//! What is printed and written of recording.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::call::CallRow;
use crate::machine::Machine;
use crate::report::{Gate, write};

/// Everything of one run. A participant has a camera of 1 Mbit/s and a microphone; times are µs of processor time.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    /// Of the recorder's process, in the call with most participants.
    cpu_us_per_participant_second: f64,
    participants_per_core: f64,
    /// What recording adds to the node's time for a call of four, as a part of it: three others receive each participant.
    core_overhead_ratio: f64,
    fed: Vec<FedRow>,
    calls: Vec<CallRow>,
    gates: Vec<Gate>,
}

/// What so many participants cost a recorder that is fed by the benchmark.
#[derive(Debug, Serialize)]
pub(super) struct FedRow {
    pub(super) participants: u32,
    /// How long it was measured.
    pub(super) seconds: f64,
    /// Of the recorder's process, with the system's time for it, for each participant and second.
    pub(super) recorder_us: f64,
    pub(super) media_mbit_per_participant: f64,
    /// Before it was measured, and after.
    pub(super) resident_bytes: [u64; 2],
    /// Bytes of the files for each byte of media, headers of packets not counted.
    pub(super) disk_bytes_per_media_byte: f64,
    /// From when a packet was due to its acknowledgement, at worst.
    pub(super) worst_lag_ms: f64,
}

impl Report {
    pub(super) fn new(machine: Machine, fed: Vec<FedRow>, calls: Vec<CallRow>) -> Result<Self> {
        let largest = calls.iter().max_by_key(|row| row.participants).context("a call was measured")?;
        let of_four = calls.iter().find(|row| row.viewers == OTHERS).context("a call of four was measured")?;
        let cpu = largest.recorder_us;
        let mut report = Self {
            machine,
            cpu_us_per_participant_second: cpu,
            participants_per_core: 1e6 / cpu,
            core_overhead_ratio: of_four.core_overhead_ratio,
            gates: Vec::new(),
            fed,
            calls,
        };
        report.gates = report.gates();
        Ok(report)
    }

    fn gates(&self) -> Vec<Gate> {
        let mut all = Vec::new();
        let mut hold = |what: String, value: f64, limit: f64| {
            all.push(Gate { what, limit, value, met: value <= limit });
        };
        for row in &self.fed {
            let what = |name: &str| format!("the recorder alone, {} participants: {name}", row.participants);
            hold(what("µs for each and second"), row.recorder_us, MOST_CPU_US);
            hold(what("bytes on the disk per byte of media"), row.disk_bytes_per_media_byte, MOST_DISK);
            let [before, after] = row.resident_bytes.map(|bytes| bytes as f64);
            hold(what("memory at the end, in that before"), after / before, MOST_GROWTH);
        }
        for row in &self.calls {
            let what = |name: &str| format!("{} participants, {} viewers: {name}", row.participants, row.viewers);
            hold(what("µs of the recorder for each and second"), row.recorder_us, MOST_CPU_US);
            hold(what("what recording adds to the node, in it"), row.core_overhead_ratio, MOST_OVERHEAD);
            hold(what("packets that viewers missed"), row.lost as f64, 0.0);
        }
        all
    }

    /// Prints and writes.
    pub(super) fn finish(self, file: &Path) -> Result<()> {
        println!("{}", self.table());
        write(&self, file)
    }

    fn table(&self) -> String {
        let Machine { processor, cores, kernel, pinned, load } = &self.machine;
        let mut text = format!("{processor}, {cores} cores, Linux {kernel}, load {load} before the run");
        if !pinned {
            text += "; NOT pinned: all share cores";
        }
        text += "\n\nprocessor time in µs for each participant and second (camera of 1 Mbit/s and microphone)\n";
        text += "\nthe recorder alone, fed by the benchmark\n";
        text += "participants  recorder  a core takes  memory MB  then  disk/media  worst lag ms\n";
        // Writing to a text cannot fail.
        for row in &self.fed {
            let [before, after] = row.resident_bytes.map(|bytes| bytes as f64 / 1e6);
            let _ = writeln!(
                text,
                "{:>12} {:>9.0} {:>13.0} {before:>10.1} {after:>5.1} {:>11.3} {:>13.0}",
                row.participants,
                row.recorder_us,
                1e6 / row.recorder_us,
                row.disk_bytes_per_media_byte,
                row.worst_lag_ms
            );
        }
        text += "\ncalls on a node\n";
        text += "participants  viewers  node  recorded  adds %   recorder  with ends  a core takes  memory MB  then  lost\n";
        for row in &self.calls {
            let [first, last] = row.resident_bytes.map(|bytes| bytes as f64 / 1e6);
            let _ = writeln!(
                text,
                "{:>12} {:>8} {:>5.0} {:>9.0} {:>7.1} {:>10.0} {:>10.0} {:>13.0} {first:>10.1} {last:>5.1} {:>5}",
                row.participants,
                row.viewers,
                row.core_us_without,
                row.core_us_with,
                row.core_overhead_ratio * 100.0,
                row.recorder_us,
                row.recorder_us_with_ends,
                1e6 / row.recorder_us,
                row.lost,
            );
        }
        text += "\nbudgets\n";
        for gate in &self.gates {
            let verdict = if gate.met { "met   " } else { "MISSED" };
            let _ = writeln!(text, "  {verdict} {}: {:.3} (at most {})", gate.what, gate.value, gate.limit);
        }
        text
    }
}

/// A thousand participants a core.
const MOST_CPU_US: f64 = 1000.0;
const MOST_DISK: f64 = 1.02;
/// Flat, but for what an allocator does.
const MOST_GROWTH: f64 = 1.1;
const MOST_OVERHEAD: f64 = 0.05;
/// The others in a call of four.
const OTHERS: u32 = 3;
