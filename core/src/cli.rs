//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::operate::Operation;
use crate::policy_cli::PolicyAction;

/// A WebRTC SFU whose doors are programmable.
///
/// Without a sub-command it runs a node with the given configuration until SIGINT or SIGTERM.
/// Exit codes: 0 ended as asked, 1 failed, 64 the configuration is wrong (all problems are listed).
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, about, long_about)]
pub struct Cli {
    /// The configuration file, `config.toml` unless another is named; relative paths in it start in its folder.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Listen on this address instead of `http.host`.
    #[arg(long, value_name = "ADDR")]
    pub host: Option<IpAddr>,

    /// Listen on this port instead of `http.port`; 0 takes a free one.
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,

    /// What to do instead of running.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// The configuration file, unless another is named.
pub const DEFAULT_CONFIG: &str = "config.toml";

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Examine, try, test and explain policy plugins; no node and no configuration is needed.
    #[command(subcommand)]
    Policy(PolicyAction),
    /// What reads the configuration.
    #[command(flatten)]
    Configured(Configured),
    /// What a running node is asked to do.
    #[command(flatten)]
    Operation(Operation),
    /// Print the JSON Schema of what is said on `/ws`, as a node serves it at `/ws/schema.json`; no configuration is needed.
    Schema,
    /// Write a script that completes this program's arguments in a shell.
    ///
    /// For bash: lockgate completions bash > ~/.local/share/bash-completion/completions/lockgate
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// What to do with the configuration instead of running.
#[derive(Debug, Subcommand)]
pub enum Configured {
    /// Read the configuration and load the plugins, say what is wrong, bind nothing.
    Check {
        /// Write the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a token for the configured secret (HS256).
    Token(TokenArguments),
}

/// What a token says.
#[derive(Debug, clap::Args)]
pub struct TokenArguments {
    /// Who: a number below 2^53, or a text.
    #[arg(long)]
    pub subject: String,
    /// Name for people.
    #[arg(long)]
    pub name: Option<String>,
    /// How long it is good for, as in "10m" or "2h".
    #[arg(long, default_value = "1h", value_parser = lockgate_model::parse_duration)]
    pub ttl: std::time::Duration,
    /// A room that it is good for; may be given several times. None: all rooms.
    #[arg(long = "room")]
    pub rooms: Vec<String>,
    /// May not publish.
    #[arg(long)]
    pub no_publish: bool,
    /// May not subscribe.
    #[arg(long)]
    pub no_subscribe: bool,
    /// May start and stop recordings.
    #[arg(long)]
    pub record: bool,
    /// May mute, put out and use the admin interface.
    #[arg(long)]
    pub admin: bool,
    /// Write the result as JSON.
    #[arg(long)]
    pub json: bool,
}
