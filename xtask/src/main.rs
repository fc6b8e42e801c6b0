//! The project's own commands: `cargo xtask run`, `test`, `bench` and `plugins`.
//!
//! Each is complete in itself: it builds what it needs, installs what it can, and otherwise says exactly what is
//! missing and how to get it. Nothing here is part of the product.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user")]

mod apt;
mod bench;
mod cargo;
mod cli;
mod console;
mod language;
mod new_plugin;
mod plugins;
mod run;
mod schema;
mod test;
mod wit;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Task};

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Bench(options) => bench::bench(&options),
        Task::NewPlugin(options) => new_plugin::new_plugin(&options),
        Task::Plugins(options) => plugins::plugins(&options),
        Task::Run(options) => run::run(&options),
        Task::Schema(options) => schema::schema(&options),
        Task::Test(options) => test::test(&options),
        Task::Wit => wit::wit(),
    };
    outcome.unwrap_or_else(|error| {
        console::failure(format!("{error:#}"));
        ExitCode::FAILURE
    })
}
