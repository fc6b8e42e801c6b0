//! A child process that is asked to stop before it is made to.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ChildStdout, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::console::{failure, note};

/// A running process, in a process group of its own: a Ctrl-C at the terminal reaches only us, and we decide the order.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: process::Child,
}

impl Child {
    pub(super) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        Self::spawn(name, &mut command)
    }

    /// Like `start`, for a command that will be used again.
    pub(super) fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        let process = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, process })
    }

    /// Its standard output, once, if that was piped.
    pub(super) fn take_output(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// The status it ended with, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Asks it to end, and makes it after a deadline or when `hurry` is raised. Returns whether it ended well.
    pub(super) fn stop(&mut self, hurry: &AtomicBool) -> bool {
        if self.ended().is_some() {
            return true;
        }
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !hurry.swap(false, Ordering::SeqCst) {
            if let Some(status) = self.ended() {
                note(format!("{} has stopped ({status})", self.name));
                return status.success();
            }
            thread::sleep(Duration::from_millis(20));
        }
        failure(format!("{} does not stop: killing it", self.name));
        self.kill();
        false
    }

    /// Ends it, and whatever it has started, at once.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        // It cannot refuse; a failure to wait means that it is gone already.
        let _ = self.process.wait();
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // The only failure is that nobody is left to hear it.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Child {
    /// Nothing of ours outlives us, however we end.
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// The exit code for a process that ended so, as a shell gives it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    // A process that ends by itself and content is still a failure to keep running.
    u8::try_from(code).unwrap_or(1).max(1)
}

/// How long a process may take to close what it has open.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = Child::start("sh", command).unwrap();
        let mut line = String::new();
        BufReader::new(child.take_output().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child
    }

    #[test]
    fn a_process_that_obeys_has_stopped_well() {
        let mut child = shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done");
        assert!(child.stop(&AtomicBool::new(false)));
    }

    #[test]
    fn one_that_does_not_is_killed_at_the_second_request() {
        let mut child = shell("trap '' TERM; echo ready; while :; do sleep 0.02; done");
        assert!(!child.stop(&AtomicBool::new(true)));
        assert_eq!(child.ended().and_then(|status| status.signal()), Some(9));
    }

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(64 << 8)), 64);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 1);
    }
}
