//! `lockgate-bench soak`: people come and go for a long time; the memory of those who left must come back.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::cli::SoakOptions;
use crate::host::Host;
use crate::protocol::Sending;
use crate::room::Room;
use crate::scenario::{Scenario, drops};
use crate::{CLIENTS_CORE, machine, progress};

/// What is held after so many have come and gone.
#[derive(Clone, Copy, Debug, Serialize)]
struct Level {
    joins: usize,
    heap: u64,
    resident: u64,
    transports: u64,
}

/// Runs it, and prints one JSON line for each level.
pub(crate) fn run(options: &SoakOptions) -> Result<()> {
    machine::pin(CLIENTS_CORE);
    let mut host = Host::start()?;
    let mut room = Room::open(&mut host, Sending::Runs)?;
    let schedule = drops(Scenario::VideoReal, 1, Duration::from_millis(40));
    let (mut joins, every) = (0, (options.joins / LEVELS).max(TOGETHER));
    while joins < options.joins {
        room.fill(&mut host, TOGETHER)?;
        room.warm_up(&schedule)?;
        while room.viewers() > 0 {
            room.leave(&mut host)?;
        }
        room.keep()?;
        joins += TOGETHER;
        if joins % every < TOGETHER {
            let usage = host.usage(room.worker)?;
            let level = Level { joins, heap: usage.heap, resident: usage.resident, transports: usage.transports };
            println!("{}", serde_json::to_string(&level)?);
            progress(format!(
                "{joins} joins: {} KiB of heap, {} KiB resident",
                usage.heap / 1024,
                usage.resident / 1024
            ));
        }
    }
    Ok(())
}

/// Who comes and goes together.
const TOGETHER: usize = 10;
const LEVELS: usize = 10;
