//! `lockgate policy …`: plugins and what they decided, looked at without a node.
//!
//! Each command is a file with its arguments and a function that makes a [`Report`]; the work is the policy crate's. Nothing is
//! printed here.

mod inspect;

use clap::Subcommand;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum PolicyAction {
    /// Tell what a plugin is: its hooks and imports, its digest, and what it says of itself.
    Inspect(inspect::Arguments),
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

/// Does it.
pub fn run(action: &PolicyAction) -> Report {
    match action {
        PolicyAction::Inspect(arguments) => inspect::run(arguments),
    }
}

impl Report {
    /// What was looked at is not well.
    pub(crate) fn failed(complaint: impl std::fmt::Display) -> Self {
        Self { text: String::new(), complaint: format!("lockgate: {complaint}\n"), code: 1 }
    }
}
