//! The programs under test: started here, looked at from outside, ended with us.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::CLIENTS_CORE;
use crate::machine::{self, pin};

/// A running program. It is killed when it is dropped.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    /// What it writes, to both of its outputs.
    log: PathBuf,
}

impl Program {
    /// Starts one that was built beside this one, on a core, where there is such a core.
    pub(super) fn start(name: &'static str, folder: &Path, arguments: &[&str], core: usize) -> Result<Self> {
        let log = folder.join(name).with_extension("log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new("setpriv");
        // If we are killed, nobody drops it.
        command.args(["--pdeathsig", "KILL", "--"]).arg(beside_us(name)?).args(arguments);
        command.current_dir(folder).env_clear().envs(std::env::vars_os().filter(|(key, _)| key == "PATH"));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A child inherits the core of the thread that starts it, and so do all threads of the child.
        pin(core);
        let child = command.spawn();
        pin(CLIENTS_CORE);
        let child = child.with_context(|| format!("cannot start {name} by setpriv (package util-linux)"))?;
        Ok(Self { name, child, log })
    }

    /// Waits for something that it writes.
    pub(super) fn says<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.log)?;
            if let Some(found) = text.lines().find_map(&find) {
                return Ok(found);
            }
            let ended = self.child.try_wait()?.is_some();
            ensure!(!ended && began.elapsed() < PATIENCE, "{} does not say {what}, but:\n{}", self.name, last(&text));
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Processor time of all its threads so far, with what the system did for them.
    pub(super) fn used(&self) -> Result<Duration> {
        machine::used_by(self.child.id().try_into()?).with_context(|| format!("{} is gone", self.name))
    }

    /// Bytes of it that are in memory.
    pub(super) fn resident(&self) -> u64 {
        machine::resident_of(&self.child.id().to_string())
    }

    /// Asks it to end, and waits until it has, with success.
    pub(super) fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .with_context(|| format!("{} has ended already", self.name))?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let Some(status) = self.child.try_wait()? else {
                std::thread::sleep(LOOK_EVERY);
                continue;
            };
            let text = std::fs::read_to_string(&self.log)?;
            ensure!(status.success(), "{} ended with {status}:\n{}", self.name, last(&text));
            return Ok(());
        }
        bail!("{} does not end", self.name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of a program to its end; what it says to people is the error.
pub(super) fn run(name: &str, folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(beside_us(name)?).current_dir(folder).args(arguments).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {}: {} {said}", arguments.join(" "), output.status);
    Ok(())
}

fn beside_us(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("a running program has a path")?.with_file_name(name);
    ensure!(program.is_file(), "{} is missing: `cargo xtask bench record` builds it", program.display());
    Ok(program)
}

/// The end of a log, for an error.
fn last(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// The longest that anything may take, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SHOWN: usize = 20;
