//! `lockgate-bench data`: what a message on a data channel costs for each viewer, how long it takes, what a channel holds, and what a viewer
//! that does not read costs the others.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::cli::DataOptions;
use crate::data_room::Room;
use crate::machine::{self, Machine};
use crate::protocol::Usage;
use crate::row::Latency;
use crate::{CLIENTS_CORE, progress, report};

/// All figures of one run.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
    memory: Memory,
    behind: Behind,
}

/// One channel with so many viewers.
#[derive(Debug, Serialize)]
struct Row {
    ordered: bool,
    viewers: usize,
    message_bytes: usize,
    sent: u64,
    delivered: u64,
    /// That reached viewers in a second, with what was still under way at the end.
    messages_per_second: f64,
    /// Time of the media thread for each message that reached a viewer.
    ns_per_message: f64,
    latency_us: Latency,
}

/// Bytes on the worker's heap.
#[derive(Debug, Serialize)]
struct Memory {
    /// For each viewer of one channel.
    viewer_bytes: u64,
    /// For each further channel of a viewer.
    channel_bytes: u64,
}

/// One viewer of several does not read.
#[derive(Debug, Serialize)]
struct Behind {
    viewers: usize,
    message_bytes: usize,
    sent: u64,
    /// By each of the others, together.
    delivered: u64,
    /// Channels that were closed for it, as too much waited for their viewer (`data-behind`): that of who does not read.
    closed: u64,
    /// Of the others.
    latency_us: Latency,
}

/// What a room was asked to carry, and what came of it.
struct Flow {
    sent: u64,
    delays: Vec<Duration>,
    lasted: Duration,
    used: Duration,
    after: Usage,
}

/// Runs it, prints it and writes it.
pub(crate) fn run(options: &DataOptions) -> Result<()> {
    let machine = Machine::here(machine::pin(CLIENTS_CORE));
    let mut rows = Vec::new();
    for viewers in options.viewers().iter().copied() {
        for ordered in [true, false] {
            let row = row(viewers, ordered, options.length())?;
            progress(line(&row));
            rows.push(row);
        }
    }
    let (memory, behind) = (memory(options.held_by())?, behind(options.length())?);
    let report = Report { machine, rows, memory, behind };
    print(&report);
    report::write(&report, &options.output()?)
}

fn row(viewers: usize, ordered: bool, length: Duration) -> Result<Row> {
    let mut room = Room::open(1, ordered)?;
    room.fill(viewers)?;
    flow(&mut room, SMALL, EVERY, length / 4, None)?;
    let flow = flow(&mut room, SMALL, EVERY, length, None)?;
    let delivered = flow.delays.len() as u64;
    Ok(Row {
        ordered,
        viewers,
        message_bytes: SMALL,
        sent: flow.sent,
        delivered,
        messages_per_second: delivered as f64 / flow.lasted.as_secs_f64(),
        ns_per_message: flow.used.as_nanos() as f64 / delivered.max(1) as f64,
        latency_us: Latency::of(flow.delays),
    })
}

fn memory(viewers: usize) -> Result<Memory> {
    let held = |channels: usize| {
        let mut room = Room::open(channels, true)?;
        // What is made once, with the first viewer, is not a viewer's.
        room.fill(1)?;
        let before = room.usage()?.heap;
        room.fill(viewers + 1)?;
        anyhow::Ok(room.usage()?.heap.saturating_sub(before) / viewers as u64)
    };
    let (one, many) = (held(1)?, held(MANY)?);
    Ok(Memory { viewer_bytes: one, channel_bytes: many.saturating_sub(one) / (MANY as u64 - 1) })
}

fn behind(length: Duration) -> Result<Behind> {
    let mut room = Room::open(1, true)?;
    room.fill(WATCHING)?;
    let flow = flow(&mut room, LARGE, SELDOM, length.max(FILLS), Some(0))?;
    Ok(Behind {
        viewers: WATCHING,
        message_bytes: LARGE,
        sent: flow.sent,
        delivered: flow.delays.len() as u64,
        closed: flow.after.drops.get("data-behind").copied().unwrap_or(0),
        latency_us: Latency::of(flow.delays),
    })
}

/// Sends messages at this pace for so long, and waits until all are there. One viewer may be deaf.
fn flow(room: &mut Room, bytes: usize, every: Duration, length: Duration, deaf: Option<usize>) -> Result<Flow> {
    let before = room.usage()?;
    let begun = Instant::now();
    let listening = room.viewers() - usize::from(deaf.is_some());
    let (mut sent, mut delays, mut kept) = (0_u64, Vec::new(), begun);
    loop {
        let passed = begun.elapsed();
        if passed < length && passed >= every * sent as u32 {
            let mut message = vec![0; bytes];
            message[..STAMP].copy_from_slice(&(passed.as_nanos() as u64).to_be_bytes());
            room.send(message)?;
            sent += 1;
        }
        room.receive(deaf, |message| {
            if let Some(stamp) = message.first_chunk::<STAMP>() {
                delays.push(begun.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(*stamp))));
            }
        })?;
        if kept.elapsed() > CONSENT {
            kept = Instant::now();
            room.keep();
        }
        let done = delays.len() as u64 >= sent * listening as u64;
        if passed >= length && done {
            break;
        }
        ensure!(passed < length + PATIENCE, "{} messages of {} came", delays.len(), sent * listening as u64);
    }
    let after = room.usage()?;
    Ok(Flow { sent, delays, lasted: begun.elapsed(), used: after.thread.saturating_sub(before.thread), after })
}

fn line(row: &Row) -> String {
    let Row { ordered, viewers, sent, delivered, messages_per_second, ns_per_message, latency_us, .. } = row;
    let order = if *ordered { "ordered" } else { "unordered" };
    let Latency { p50, p99 } = latency_us;
    format!(
        "{order:<9} {viewers:>4} {sent:>6} {delivered:>8} {messages_per_second:>9.0} {ns_per_message:>8.0} {p50:>8.0} {p99:>8.0}"
    )
}

fn print(report: &Report) {
    let Report { machine, rows, memory, behind } = report;
    println!("{}, {} cores, load {} before the run", machine.processor, machine.cores, machine.load);
    if !machine.pinned {
        println!("NOT pinned: worker and clients share cores");
    }
    println!("\norder  viewers   sent  reached  per sec.  ns each  p50 µs   p99 µs");
    rows.iter().for_each(|row| println!("{}", line(row)));
    let Memory { viewer_bytes, channel_bytes } = memory;
    println!("\na viewer of one channel holds {viewer_bytes} bytes, each further channel {channel_bytes}");
    let Behind { viewers, sent, delivered, closed, latency_us, .. } = behind;
    println!(
        "one of {viewers} does not read: {sent} messages of {LARGE} bytes sent, {delivered} reached the others (p50 {:.0} µs, p99 {:.0} µs), {closed} channel closed for it",
        latency_us.p50, latency_us.p99
    );
}

/// As a cursor's place or a line of chat.
const SMALL: usize = 100;
/// As a part of a file.
const LARGE: usize = 8 << 10;
/// 200 messages a second.
const EVERY: Duration = Duration::from_millis(5);
/// 100 a second, of which a megabyte waits after less than two seconds.
const SELDOM: Duration = Duration::from_millis(10);
const FILLS: Duration = Duration::from_secs(4);
/// Viewers of whom one does not read.
const WATCHING: usize = 10;
/// Channels of those who have several.
const MANY: usize = 9;
/// When it was sent stands at the beginning of a message.
const STAMP: usize = 8;
const CONSENT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);
