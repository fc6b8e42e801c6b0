//! `[recorder] spawn`: the node starts the recorder itself, and again when it dies.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::node::Ending;

/// Keeps one recorder running.
pub(crate) struct Supervisor {
    program: PathBuf,
    config: PathBuf,
}

impl Supervisor {
    /// The recorder beside this program, with the same configuration.
    pub(crate) fn new(config: PathBuf) -> std::io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?.with_file_name("lockgate-recorder"), config })
    }

    /// Runs until the node ends, then lets the recorder close its files.
    pub(crate) async fn run(self, mut ending: Ending) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let started = Instant::now();
            match self.start() {
                Ok(mut child) => {
                    tokio::select! {
                        status = child.wait() => tracing::warn!(?status, "the recorder ended"),
                        () = ending.comes() => return stop(child).await,
                    }
                }
                Err(error) => {
                    tracing::error!(%error, program = %self.program.display(), "the recorder cannot be started");
                }
            }
            pause = if started.elapsed() > SETTLED { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::select! {
                () = sleep(pause) => {}
                () = ending.comes() => return,
            }
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        Command::new(&self.program).arg("--config").arg(&self.config).stdin(Stdio::null()).kill_on_drop(true).spawn()
    }
}

async fn stop(mut child: Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::warn!(%error, "the recorder could not be asked to end");
    }
    if timeout(END_WITHIN, child.wait()).await.is_err() {
        tracing::warn!("the recorder did not end in time and is killed");
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// A recorder is back within a second, however often it dies.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// Who lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);
const END_WITHIN: Duration = Duration::from_secs(5);
