//! `lockgate-bench record`: what the recorder needs for each participant, and what recording costs the node.
//!
//! The recorder's part is measured twice: fed by this program, which can stand for more participants than clients of one machine could,
//! and in real calls. It judges nothing by itself.

mod call;
mod media;
mod node;
mod program;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub(crate) use self::call::Shape;
use self::media::Crowd;
use self::node::Node;
use self::program::Program;
use self::report::{FedRow, Report};
use crate::cli::RecordOptions;
use crate::machine::{Machine, pin};
use crate::{CLIENTS_CORE, WORKER_CORE, progress};

/// Runs it.
pub(crate) fn run(options: &RecordOptions) -> Result<()> {
    let pinned = pin(CLIENTS_CORE);
    let machine = Machine::here(pinned);
    let output = options.output()?;
    // On the disk of the build folder: a memory disk would cost nothing.
    let folder = std::path::absolute(output.with_extension(format!("{}.tmp", std::process::id())))?;
    let fed = options.participants().into_iter().map(|participants| {
        progress(format!("the recorder alone, {participants} participants"));
        in_folder(&folder, || fed(&folder, participants, options.times()))
    });
    let fed = fed.collect::<Result<_>>()?;
    let calls = options.shapes().into_iter().map(|shape| {
        progress(format!("a call: {} participants, {} who watch all of them", shape.publishers, shape.viewers));
        in_folder(&folder, || call::measure(&folder, options, shape))
    });
    Report::new(machine, fed, calls.collect::<Result<_>>()?)?.finish(&output)
}

/// Removes the recordings afterwards, whatever came of it.
fn in_folder<T>(folder: &Path, measure: impl FnOnce() -> Result<T>) -> Result<T> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let measured = measure();
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    measured
}

/// One recorder, and so many who are recorded for this time.
fn fed(folder: &Path, participants: u32, (settle, time): (Duration, Duration)) -> Result<FedRow> {
    std::fs::create_dir_all(folder.join("run"))?;
    let config = "[recording]\ndirectory = \"recordings\"\n[recorder]\nsocket = \"run/r.sock\"\n";
    std::fs::write(folder.join("config.toml"), config)?;
    let mut node = Node::listen(&folder.join("run/r.sock"))?;
    let recorder = Program::start("lockgate-recorder", folder, &["--config", "config.toml"], WORKER_CORE)?;
    node.attach()?;
    let mut crowd = Crowd::new(participants);
    node.begin(&crowd)?;
    let began = Instant::now();
    play(&mut node, &mut crowd, began, settle)?;
    let (used, sent, resident_before) = (recorder.used()?, crowd.sent(), recorder.resident());
    play(&mut node, &mut crowd, began, settle + time)?;
    let (used, resident) = (recorder.used()?.saturating_sub(used), recorder.resident());
    let payload = crowd.sent().saturating_sub(sent);
    let file_bytes = node.stop(&crowd)?;
    recorder.end()?;
    let each = 1.0 / f64::from(participants) / time.as_secs_f64();
    Ok(FedRow {
        participants,
        seconds: time.as_secs_f64(),
        recorder_us: used.as_secs_f64() * 1e6 * each,
        media_mbit_per_participant: payload as f64 * 8e-6 * each,
        resident_bytes: [resident_before, resident],
        disk_bytes_per_media_byte: file_bytes as f64 / crowd.sent() as f64,
        worst_lag_ms: node.worst_lag().as_secs_f64() * 1e3,
    })
}

/// Sends what is due each 20 ms, until the crowd has been there for so long.
fn play(node: &mut Node, crowd: &mut Crowd, began: Instant, until: Duration) -> Result<()> {
    while crowd.elapsed() < until {
        let due = began + crowd.elapsed();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        node.note_sent(crowd.elapsed(), due);
        node.send(crowd.next_step())?;
        node.listen_for_acks()?;
    }
    Ok(())
}
