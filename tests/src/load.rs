//! The load generator, run against a node.

use std::process::{ExitStatus, Stdio};

use serde_json::Value;

use crate::config::SECRET_FILE;
use crate::node::Node;
use crate::programs::program;
use crate::within;

/// What came of a run.
#[derive(Debug)]
pub struct Load {
    /// How it ended.
    pub status: ExitStatus,
    /// The result for machines.
    pub result: Value,
    /// What it said to people.
    pub said: String,
}

impl Load {
    /// Runs `lockgate-load` with these arguments, and tokens that the node accepts if none is among them.
    ///
    /// # Panics
    /// When it does not end, or leaves no result.
    pub async fn run(node: &Node, arguments: &[&str]) -> Self {
        let mut command = tokio::process::Command::new(program("lockgate-load"));
        command.env_remove("JWT_SECRET").env_remove("LOCKGATE_LOAD_TOKEN").kill_on_drop(true).stdin(Stdio::null());
        command.arg(format!("ws://{}/ws", node.address())).args(["--json", "-"]).args(arguments);
        if !arguments.contains(&"--token") {
            command.arg("--secret-file").arg(node.folder().join(SECRET_FILE));
        }
        let output = within("lockgate-load to end", command.output()).await;
        let output = output.unwrap_or_else(|error| panic!("lockgate-load cannot be started: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let result = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        Self { status: output.status, result, said }
    }
}
