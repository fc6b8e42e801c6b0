//! What is printed and written.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::forward::Saturated;
use crate::hostile::{self, HostileRow};
use crate::machine::Machine;
use crate::progress;
use crate::row::Row;

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) scenarios: Vec<Row>,
    pub(crate) saturated: Option<Saturated>,
    pub(crate) hostile: Vec<HostileRow>,
    pub(crate) gates: Vec<Gate>,
}

/// A budget, and whether it was kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Gate {
    pub(crate) what: String,
    pub(crate) limit: f64,
    pub(crate) value: f64,
    pub(crate) met: bool,
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, scenarios: Vec::new(), saturated: None, hostile: Vec::new(), gates: Vec::new() }
    }

    /// Judges, prints, writes.
    pub(crate) fn finish(mut self, file: &Path) -> Result<()> {
        self.gates = self.scenarios.iter().flat_map(gates).collect();
        println!("{}", self.table());
        write(&self, file)
    }

    fn table(&self) -> String {
        let Machine { processor, cores, kernel, pinned, load } = &self.machine;
        let mut text = format!("{processor}, {cores} cores, Linux {kernel}, load {load} before the run");
        if !pinned {
            text += "; NOT pinned: worker and clients share cores";
        }
        text += "\n\nnanoseconds of thread time for each packet that reached a viewer\n\n";
        text += HEAD;
        for row in &self.scenarios {
            text += &line(row);
            text += "\n";
        }
        if let Some(full) = &self.saturated {
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "\na full core, {} viewers, bursts of 8: {:.0} ns, {:.0} packets/s, runs of {:.1}, {} lost; floor {:.0} ns, {:.0} packets/s",
                full.viewers,
                full.ours_ns,
                full.ours_packets_per_second,
                full.gso_run_mean,
                full.lost,
                full.floor_ns,
                full.floor_packets_per_second,
            );
        }
        if !self.hostile.is_empty() {
            text += "\nunder attack: what others see, and what it costs\n\n";
            text += hostile::HEAD;
            for row in &self.hostile {
                text += &hostile::line(row);
                text += "\n";
            }
        }
        text += "\nbudgets\n";
        for gate in &self.gates {
            let verdict = if gate.met { "met   " } else { "MISSED" };
            let _ = writeln!(text, "  {verdict} {}: {:.5} (at most {})", gate.what, gate.value, gate.limit);
        }
        text
    }
}

/// Writes a report as JSON, and says where.
pub(crate) fn write(report: &impl Serialize, file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    progress(format!("written to {}", file.display()));
    Ok(())
}

/// A row of the table.
pub(crate) fn line(row: &Row) -> String {
    let known = |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    format!(
        "{:<13} {:>4} {:>8.0} {:>6.0} {:>6.0} {:>6} {:>7.0} {:>6.0} {:>6.2} {:>6.2} {:>6} {:>6} {:>5.1} {:>7.5} {:>6.0} {:>6.0} {:>6.0} {:>6.0} {:>6.0} {:>6.0} {:>6.1} {:>5} {:>5}",
        row.scenario,
        row.viewers,
        row.packets_per_second,
        row.floor_ns,
        row.ours_ns,
        known(row.estimated_ns, 0),
        row.ours_nogso_ns,
        row.sendto_ns,
        row.ratio_to_floor,
        row.ratio_to_sendto,
        known(row.estimated_ratio_to_floor, 2),
        known(row.estimated_ratio_to_sendto, 2),
        row.gso_run_mean,
        row.allocs_per_packet,
        row.floor_latency_p50_us,
        row.floor_latency_p99_us,
        row.latency_p50_us,
        row.latency_p99_us,
        row.loaded_latency_p50_us,
        row.loaded_latency_p99_us,
        row.heap_per_viewer_bytes as f64 / 1024.0,
        row.lost,
        row.estimated_lost,
    )
}

/// The budgets that a row is held against.
fn gates(row: &Row) -> Vec<Gate> {
    let mut all = Vec::new();
    let mut hold = |name: &str, value: f64, limit: f64| {
        let what = format!("{} with {} viewers: {name}", row.scenario, row.viewers);
        all.push(Gate { what, limit, value, met: value <= limit });
    };
    let video = row.scenario.starts_with("video");
    let (floors, sendtos) = (row.estimated_ratio_to_floor, row.estimated_ratio_to_sendto);
    if video && row.viewers >= 100 {
        hold("cost, in floors", row.ratio_to_floor, 1.5);
        floors.iter().for_each(|ratio| hold("cost with estimates, in floors", *ratio, 1.5));
    }
    if row.scenario == "video-real" && row.viewers >= 100 {
        hold("cost, in that of one sendto for each packet", row.ratio_to_sendto, 0.7);
        let what = "cost with estimates, in that of one sendto for each packet";
        sendtos.iter().for_each(|ratio| hold(what, *ratio, 0.7));
    }
    if video && row.viewers >= 10 {
        hold("heap bytes per viewer", row.heap_per_viewer_bytes as f64, 65_536.0);
    }
    hold("allocations per packet", row.allocs_per_packet, 0.0);
    hold("median latency in µs, unloaded", row.latency_p50_us, 300.0);
    hold("99th percentile of latency in µs, unloaded", row.latency_p99_us, 2_000.0);
    // Where one thread cannot send one packet to all viewers in that time by any means, it is held to the floor's time, too.
    if row.floor_latency_p50_us > 300.0 {
        hold("median latency, in floors", row.latency_p50_us / row.floor_latency_p50_us, 1.5);
    }
    if row.floor_latency_p99_us > 2_000.0 {
        hold("99th percentile of latency, in floors", row.latency_p99_us / row.floor_latency_p99_us, 1.5);
    }
    hold("packets lost", row.lost as f64, 0.0);
    hold("packets that an estimate held back", row.estimated_lost as f64, 0.0);
    all
}

const HEAD: &str = "                      packets  floor   ours  estim  no GSO sendto     ours in      estim in    run  allocs     least µs      alone µs     loaded µs    heap        held
scenario   viewers   out/s     ns     ns     ns     ns      ns  floors sendto floors sendto   len /packet    p50    p99    p50    p99    p50    p99  KiB/v  lost  back
";
