//! `lockgate-bench`: what forwarding costs, measured beside the floor on the same machine, what deciding costs, and what recording costs.
//!
//! Forwarding takes two processes, each on a core of its own: one with the worker under test, or the floor, and one with everybody else.
//! Decisions are made in this process, by the host's own threads, on whichever core is free.
//! `docs/performance.md` explains the method. It judges nothing by itself: it prints figures and which budgets they keep.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user")]

mod cli;
mod client;
mod data;
mod data_room;
mod dtls;
mod floor;
mod forward;
mod heap;
mod host;
mod hostile;
mod machine;
mod pest;
mod policy;
mod protocol;
mod publisher;
mod receive;
mod record;
mod report;
mod role;
mod room;
mod row;
mod scenario;
mod sdp;
mod sinks;
mod soak;
mod trace;
mod viewer;

use std::fmt::Display;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Task};

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Forward(options) => forward::run(&options),
        Task::Data(options) => data::run(&options),
        Task::Dtls => dtls::run(),
        Task::Policy(options) => policy::run(&options),
        Task::Record(options) => record::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Worker => role::serve(),
    }
}

/// A line for whoever waits.
fn progress(text: impl Display) {
    eprintln!("    {text}");
}

/// Where the worker runs.
const WORKER_CORE: usize = 0;
/// Where everything else runs.
const CLIENTS_CORE: usize = 1;
