//! `cargo xtask wit`: whether the contract in `wit/` still is what was released under its version.
//!
//! Reading WIT is the duty of `plugins/wit-tool`, a program of the guests' workspace, which says why it is there.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::cargo::{self, cargo, root};
use crate::console::note;

/// Runs the command.
pub(crate) fn wit() -> Result<ExitCode> {
    check().map(|()| ExitCode::SUCCESS)
}

/// Compares the contract with its last release.
///
/// # Errors
/// If something was changed that plugins rely on; the message names each item, what changed, and the remedy.
pub(crate) fn check() -> Result<()> {
    note(tool(&["check".as_ref(), &root().join("wit")])?.trim_end());
    Ok(())
}

/// Runs the tool that reads WIT, built if need be, and returns what it says.
///
/// # Errors
/// If it cannot be built, or fails; the message is its own.
pub(crate) fn tool(arguments: &[&Path]) -> Result<String> {
    let plugins = root().join("plugins");
    // Where the guests' tests are built, too: what both need is compiled once.
    let target = plugins.join("target/host");
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", TOOL]).arg("--manifest-path").arg(plugins.join("Cargo.toml"));
    let artifacts = cargo::build(build.arg("--target-dir").arg(target))?;
    let mut built = artifacts.into_iter().filter(|artifact| artifact.target.name == TOOL);
    let program = built.find_map(|artifact| artifact.executable).context("cargo built no wit-tool")?;
    let output = Command::new(program).args(arguments).output().context("cannot start wit-tool")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    String::from_utf8(output.stdout).context("wit-tool did not write UTF-8")
}

const TOOL: &str = "wit-tool";
