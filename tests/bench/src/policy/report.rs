//! What is printed and written of decisions.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use lockgate_policy::kit::Times;
use serde::Serialize;

use super::auth::AuthRow;
use super::storm::Storm;
use crate::machine::Machine;
use crate::report::{Gate, write};

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    /// A subscription decision of the Rust guest in a fresh instance, in microseconds.
    fresh_p50_us: f64,
    fresh_p99_us: f64,
    /// The same in an instance that has decided before.
    warm_p50_us: f64,
    warm_p99_us: f64,
    /// From the question to the answer by another thread, three plugins loaded, one of them asked.
    asked_fresh: Times,
    /// The same with `isolation = "reuse"`.
    asked_reuse: Times,
    guests: Vec<Guest>,
    auth: Vec<AuthRow>,
    join_storm: Storm,
    gates: Vec<Gate>,
}

/// What a subscription decision costs in one language.
#[derive(Debug, Serialize)]
pub(super) struct Guest {
    pub(super) language: String,
    pub(super) plugin: String,
    /// What is counted on every machine alike.
    pub(super) cost: u64,
    pub(super) fresh: Times,
    pub(super) warm: Times,
    /// By the thread's own time.
    pub(super) fresh_decisions_per_second: f64,
    pub(super) warm_decisions_per_second: f64,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        guests: Vec<Guest>,
        [asked_fresh, asked_reuse]: [Times; 2],
        auth: Vec<AuthRow>,
        join_storm: Storm,
    ) -> Result<Self> {
        let first = guests.first().context("a guest was measured")?;
        let (fresh, warm) = (first.fresh, first.warm);
        let gate = |what: &str, limit: f64, value: f64| Gate { what: what.into(), limit, value, met: value <= limit };
        let gates = vec![
            gate("fresh decision, p99 µs", FRESH_US, fresh.p99_us),
            gate("decision of a warm instance, p99 µs", WARM_US, warm.p99_us),
            gate("asked to answered, fresh, p99 µs", FRESH_US, asked_fresh.p99_us),
            gate("added to a join of the storm, p99 ms", ADDED_MS, join_storm.added_p99_ms),
        ];
        Ok(Self {
            machine,
            fresh_p50_us: fresh.p50_us,
            fresh_p99_us: fresh.p99_us,
            warm_p50_us: warm.p50_us,
            warm_p99_us: warm.p99_us,
            asked_fresh,
            asked_reuse,
            guests,
            auth,
            join_storm,
            gates,
        })
    }

    /// Prints and writes.
    pub(super) fn finish(self, file: &Path) -> Result<()> {
        println!("{}", self.table());
        write(&self, file)
    }

    fn table(&self) -> String {
        let Machine { processor, cores, kernel, load, .. } = &self.machine;
        let mut text = format!(
            "{processor}, {cores} cores, none of them ours alone, Linux {kernel}, load {load} before the run\n\n"
        );
        text += "microseconds                       p50      p99   decisions/s/core      cost\n";
        // Writing to a text cannot fail.
        let mut row = |what: &str, times: &Times, more: &str| {
            let _ = writeln!(text, "{what:<28} {:>9.1} {:>8.1}   {more}", times.p50_us, times.p99_us);
        };
        for one in &self.guests {
            let more = |rate: f64| format!("{rate:>16.0} {:>9}", one.cost);
            row(&format!("{}, fresh instance", one.language), &one.fresh, &more(one.fresh_decisions_per_second));
            row(&format!("{}, same instance", one.language), &one.warm, &more(one.warm_decisions_per_second));
        }
        row("asked to answered, fresh", &self.asked_fresh, "");
        row("asked to answered, reuse", &self.asked_reuse, "");
        for one in &self.auth {
            row(&format!("token, {}", one.algorithm), &one.times, "");
        }
        let storm = &self.join_storm;
        row("join in a storm, 3 plugins", &storm.with, "");
        row("join in a storm, none", &storm.without, "");
        let _ = writeln!(
            text,
            "\n{} joins within {} ms: {:.2} ms added at p99; all at once: {:.0} ms until the last one is in\n\nbudgets",
            storm.joins, storm.within_ms, storm.added_p99_ms, storm.all_at_once_ms
        );
        for gate in &self.gates {
            let verdict = if gate.met { "met   " } else { "MISSED" };
            let _ = writeln!(text, "  {verdict} {}: {:.2} (at most {})", gate.what, gate.value, gate.limit);
        }
        text
    }
}

const FRESH_US: f64 = 200.0;
const WARM_US: f64 = 20.0;
const ADDED_MS: f64 = 5.0;
