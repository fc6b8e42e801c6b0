//! `lockgate policy …`: plugins and what they decided, looked at without a node.
//!
//! Each command is a file with its arguments and a function that makes a [`Report`]; the work is the policy crate's. Nothing is
//! printed here.

mod bench;
mod case;
mod explain;
mod inspect;
mod log;
mod replay;
mod run;
mod test;
mod verify_log;

use std::path::Path;

use clap::Subcommand;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum PolicyAction {
    /// Tell what a plugin is: its hooks and imports, its digest, and what it says of itself.
    Inspect(inspect::Arguments),
    /// Put one question to a plugin: print the answer, and what the plugin asked of its host.
    Run(run::Arguments),
    /// Put a folder of questions to a plugin and compare the answers with those that are expected.
    Test(test::Arguments),
    /// Put one question many times: print how long that takes, and a cost that is the same on every machine.
    Bench(bench::Arguments),
    /// Put the questions of a decision log to a plugin, and tell what it decides otherwise than the plugin of that name did.
    ///
    /// Nothing is decided anew: it only tells. Exit codes: 0 it says the same everywhere; 1 it does not; 64 the log cannot be read, no node
    /// would load the plugin, or there is no question that could be compared.
    Replay(replay::Arguments),
    /// Tell why somebody may not see somebody, or who might see whom and what was recorded, from a decision log.
    ///
    /// Exit codes: 0 they may see something, or a list was written; 1 they may not; 64 the log cannot be read, or does not know them.
    Explain(explain::Arguments),
    /// Tell whether a decision log is as it was written.
    ///
    /// Exit codes: 0 it is; 1 something was changed, taken out, put in or moved; 64 there is no log, or it cannot be read.
    VerifyLog(verify_log::Arguments),
}

/// What a command has to say, and the exit code.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// For standard output.
    pub text: String,
    /// For standard error.
    pub complaint: String,
    /// 0: all is well, 1: what was looked at is not, 64: the command cannot be carried out as it is written.
    pub code: u8,
}

/// Does it. `config` is the configuration file if one is named; all but one do without.
pub fn run(action: &PolicyAction, config: Option<&Path>) -> Report {
    match action {
        PolicyAction::Inspect(arguments) => inspect::run(arguments),
        PolicyAction::Run(arguments) => run::run(arguments),
        PolicyAction::Test(arguments) => test::run(arguments),
        PolicyAction::Bench(arguments) => bench::run(arguments),
        PolicyAction::Replay(arguments) => replay::run(arguments, config),
        PolicyAction::Explain(arguments) => explain::run(arguments),
        PolicyAction::VerifyLog(arguments) => verify_log::run(arguments),
    }
}

impl Report {
    /// What was looked at is not well.
    pub(crate) fn failed(complaint: impl std::fmt::Display) -> Self {
        Self { text: String::new(), complaint: format!("lockgate: {complaint}\n"), code: 1 }
    }

    /// The command cannot be carried out as it is written.
    pub(crate) fn wrong(complaint: impl std::fmt::Display) -> Self {
        Self { code: 64, ..Self::failed(complaint) }
    }
}
