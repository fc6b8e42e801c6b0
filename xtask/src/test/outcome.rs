//! A program that runs tests: followed to its end or its deadline, and how it came out.

use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::counts::Counts;
use crate::cargo::shown;
use crate::console::{brief, failure};

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: bool,
    pub(super) counts: Counts,
    /// The names of the tests that failed.
    pub(super) failures: Vec<String>,
}

impl Outcome {
    /// Counts it. Returns the name if it failed.
    pub(super) fn told(self, name: &str, counts: &mut Counts) -> Option<String> {
        counts.add(self.counts);
        if self.passed {
            return None;
        }
        if self.counts.failed == 0 {
            // It crashed, hung or failed before its tests could say so.
            counts.add(Counts { failed: 1, ..Counts::default() });
        }
        Some(name.to_string())
    }

    /// Counts it, but not what failed: of those nothing can be said. Returns their names.
    pub(super) fn unjudged(self, counts: &mut Counts) -> Vec<String> {
        counts.add(Counts { failed: 0, unjudged: self.counts.failed, ..self.counts });
        self.failures
    }

    /// Whether each that failed is known by its name.
    pub(super) fn says_who_failed(&self) -> bool {
        self.counts.failed > 0 && usize::try_from(self.counts.failed) == Ok(self.failures.len())
    }

    /// As the outcome of a run of these: a program is content when it has no test of the name that it is told.
    pub(super) fn of(mut self, tests: &[String]) -> Self {
        let ran = self.counts.passed + self.counts.failed;
        self.passed &= tests.is_empty() || usize::try_from(ran) == Ok(tests.len());
        self
    }

    fn read(&mut self, line: &str) {
        self.counts.add(Counts::parse(line).or_else(|| Counts::parse_node(line)).unwrap_or_default());
        let failed = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
        self.failures.extend(failed.map(str::to_owned));
    }
}

/// Runs one command that prints test results, passing its output on. Returns its name if it failed.
///
/// A command that passes its deadline is killed with everything it has started, and has failed.
pub(super) fn watched(name: &str, command: &mut Command, counts: &mut Counts) -> Result<Option<String>> {
    Ok(follow(command)?.told(name, counts))
}

/// Runs one command that prints test results, passing its output on, for as long as one may take.
pub(super) fn follow(command: &mut Command) -> Result<Outcome> {
    run_for(command, PATIENCE)
}

fn run_for(command: &mut Command, patience: Duration) -> Result<Outcome> {
    let (output, writer) = std::io::pipe()?;
    command.stdout(writer).process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    // Ours keeps the pipe open: without this, its end would never be seen.
    command.stdout(std::process::Stdio::null());
    attend(child, lines(output), patience)
}

/// Follows a run to its end or its deadline.
fn attend(mut child: Child, lines: Receiver<String>, patience: Duration) -> Result<Outcome> {
    let deadline = Instant::now() + patience;
    let mut outcome = Outcome::default();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                println!("{line}");
                outcome.read(&line);
            }
            Err(RecvTimeoutError::Disconnected) => {
                outcome.passed = child.wait()?.success();
                return Ok(outcome);
            }
            Err(RecvTimeoutError::Timeout) => {
                failure(format!("no end after {}: killed", brief(patience)));
                kill(&mut child)?;
                return Ok(outcome);
            }
        }
    }
}

fn kill(child: &mut Child) -> Result<()> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process_group(group, Signal::KILL)?;
    }
    child.wait()?;
    Ok(())
}

/// Lines as they come; the channel closes with the pipe.
fn lines(output: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(64);
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The longest that one executable's tests may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> (Option<String>, Counts) {
        let mut counts = Counts::default();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let failed = run_for(&mut command, patience).unwrap().told("it", &mut counts);
        (failed, counts)
    }

    #[test]
    fn the_names_of_tests_that_fail_are_read() {
        let mut outcome = Outcome::default();
        for line in ["test a::b ... ok", "test a::c ... FAILED", "test d ... FAILED", "contest ... FAILED"] {
            outcome.read(line);
        }
        assert_eq!(outcome.failures, ["a::c", "d"]);
    }

    #[test]
    fn who_failed_may_run_again_if_all_are_known_and_must_run_then() {
        let outcome = |passed, counts: Counts, failures: &[&str]| {
            let failures = failures.iter().map(|name| (*name).to_owned()).collect();
            Outcome { passed, counts, failures }
        };
        let failed = |failed| Counts { passed: 3, failed, ..Counts::default() };
        assert!(outcome(false, failed(2), &["a", "b"]).says_who_failed());
        // One crashed before it could be named; all passed and the program failed.
        assert!(!outcome(false, failed(2), &["a"]).says_who_failed());
        assert!(!outcome(false, failed(0), &[]).says_who_failed());
        let of = |passed| outcome(true, Counts { passed, ..Counts::default() }, &[]).of(&["a".into()]).passed;
        assert_eq!((of(1), of(0)), (true, false));
    }

    #[test]
    fn of_what_is_not_judged_only_what_passed_is_counted() {
        let (mut counts, mut outcome) = (Counts::default(), Outcome::default());
        for line in ["test a ... FAILED", "test result: FAILED. 3 passed; 1 failed; 0 ignored"] {
            outcome.read(line);
        }
        assert_eq!(outcome.unjudged(&mut counts), ["a"]);
        assert_eq!(counts, Counts { passed: 3, unjudged: 1, ..Counts::default() });
    }

    #[test]
    fn results_of_a_run_are_added_up() {
        let script =
            "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; echo 'test result: ok. 3 passed; 0 failed'";
        assert_eq!(shell(script, PATIENCE), (None, Counts { passed: 5, ..Counts::default() }));
    }

    #[test]
    fn results_of_node_are_added_up_too() {
        let script =
            "echo 'ℹ tests 6'; echo 'ℹ pass 4'; echo 'ℹ fail 1'; echo 'ℹ skipped 1'; echo 'ℹ duration_ms 9.5'; exit 1";
        assert_eq!(
            shell(script, PATIENCE),
            (Some("it".into()), Counts { passed: 4, failed: 1, skipped: 1, ..Counts::default() })
        );
    }

    #[test]
    fn a_run_that_crashes_counts_as_a_failed_test() {
        assert_eq!(shell("kill -9 $$", PATIENCE), (Some("it".into()), Counts { failed: 1, ..Counts::default() }));
    }

    #[test]
    fn a_run_that_hangs_is_killed_with_what_it_started() {
        let started = Instant::now();
        let (failed, counts) = shell("sleep 600 & echo hanging; wait", Duration::from_millis(300));
        assert_eq!(failed.as_deref(), Some("it"));
        assert_eq!(counts.failed, 1);
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
