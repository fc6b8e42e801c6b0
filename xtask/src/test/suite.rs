//! The workspace's tests: built together, then run one executable after another, each under a deadline.
//!
//! `cargo test` would do the same for all of them at once, but a selection of packages makes it switch other features
//! and build much of the tree again.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::machine::Watch;
use super::metadata::Metadata;
use crate::cargo::{self, Artifact, cargo, shown};
use crate::console::{brief, failure, note};

/// How many tests came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
    /// How many were run again, as the machine had not been there for them.
    pub(super) again: u32,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.again += other.again;
    }

    /// Reads the line that closes a test run: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut numbers = BTreeMap::new();
        for part in rest.split(';') {
            if let Some((number, name)) = part.trim().split_once(' ') {
                numbers.insert(name, number.parse().unwrap_or(0));
            }
        }
        let number = |name| numbers.get(name).copied().unwrap_or(0);
        let (passed, failed, skipped) = (number("passed"), number("failed"), number("ignored"));
        Some(Self { passed, failed, skipped, again: 0 })
    }

    /// Reads the lines that close a run of Node.js's tests, one number each: `ℹ pass 3`.
    fn parse_node(line: &str) -> Option<Self> {
        let (word, number) = line.strip_prefix("ℹ ")?.split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "pass" => Some(Self { passed: number, ..Self::default() }),
            "fail" => Some(Self { failed: number, ..Self::default() }),
            "skipped" => Some(Self { skipped: number, ..Self::default() }),
            _ => None,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        if self.again > 0 {
            write!(f, ", {} run again", self.again)?;
        }
        Ok(())
    }
}

/// Every test executable of the workspace.
pub(super) struct Suite {
    executables: Vec<Executable>,
}

struct Executable {
    package: String,
    target: String,
    program: PathBuf,
    folder: PathBuf,
}

impl Suite {
    /// Builds all programs and all tests of the workspace.
    pub(super) fn build(profile: &str) -> Result<Self> {
        let started = Instant::now();
        note("building the workspace and its tests (the first time takes many minutes)");
        let metadata = Metadata::read()?;
        let artifacts = cargo::build(cargo().args(["build", "--profile", profile, "--workspace", "--all-targets"]))?;
        note(format!("built in {}", brief(started.elapsed())));
        let tests = artifacts.iter().filter(|artifact| is_test(artifact));
        let executables = tests.map(|artifact| executable(artifact, &metadata)).collect::<Result<_>>()?;
        Ok(Self { executables })
    }

    /// Runs the tests of the packages that are `wanted`. Returns the names of those that failed.
    pub(super) fn run(&self, wanted: impl Fn(&str) -> bool, counts: &mut Counts) -> Result<Vec<String>> {
        let mut failed = Vec::new();
        for executable in self.executables.iter().filter(|executable| wanted(&executable.package)) {
            let name = format!("{} {}", executable.package, executable.target);
            note(&name);
            failed.extend(executable.run(&name, counts)?);
        }
        Ok(failed)
    }

    /// Runs those of the tests that others leave out that have these names. Returns the names of programs that failed.
    pub(super) fn run_ignored(&self, tests: &[&str], counts: &mut Counts) -> Result<Vec<String>> {
        let mut failed = Vec::new();
        for executable in &self.executables {
            let name = format!("{} {}", executable.package, executable.target);
            failed.extend(watched(&name, executable.command().arg("--ignored").args(tests), counts)?);
        }
        Ok(failed)
    }
}

impl Executable {
    /// What `cargo test` would run: in the package's folder, which some tests find their files by.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }

    /// Runs its tests. What fails while the machine is away says nothing of what is tested, and is run again, alone. Returns its name
    /// if it failed.
    fn run(&self, name: &str, counts: &mut Counts) -> Result<Option<String>> {
        let (mut failures, mut reruns) = (Vec::new(), 0);
        loop {
            let watch = Watch::begin();
            let outcome = run_for(self.command().args(alone(&failures)), PATIENCE)?.of(&failures);
            let machine = watch.end();
            if reruns == RERUNS || !outcome.says_who_failed() || !machine.was_away() {
                return Ok(outcome.told(name, counts));
            }
            reruns += 1;
            failure(format!("{name}: {machine}. Again: {}", outcome.failures.join(", ")));
            counts.add(Counts { failed: 0, again: outcome.counts.failed, ..outcome.counts });
            failures = outcome.failures;
        }
    }
}

/// What makes a test program run these tests and no others, one after the other; nothing for all of them.
fn alone(tests: &[String]) -> impl Iterator<Item = &str> {
    let options = if tests.is_empty() { &[][..] } else { &["--exact", "--test-threads=1"] };
    options.iter().copied().chain(tests.iter().map(String::as_str))
}

/// How a run ended.
#[derive(Debug, Default)]
struct Outcome {
    passed: bool,
    counts: Counts,
    /// The names of the tests that failed.
    failures: Vec<String>,
}

impl Outcome {
    /// Counts it. Returns the name if it failed.
    fn told(self, name: &str, counts: &mut Counts) -> Option<String> {
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

    /// Whether each that failed is known by its name.
    fn says_who_failed(&self) -> bool {
        self.counts.failed > 0 && usize::try_from(self.counts.failed) == Ok(self.failures.len())
    }

    /// As the outcome of a run of these: a program is content when it has no test of the name that it is told.
    fn of(mut self, tests: &[String]) -> Self {
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

/// Runs the examples in the documentation.
pub(super) fn documentation(profile: &str, counts: &mut Counts) -> Result<Option<String>> {
    note("examples in the documentation");
    watched("documentation", cargo().args(["test", "--profile", profile, "--workspace", "--doc"]), counts)
}

/// Runs one command that prints test results, passing its output on. Returns its name if it failed.
///
/// A command that passes its deadline is killed with everything it has started, and has failed.
pub(super) fn watched(name: &str, command: &mut Command, counts: &mut Counts) -> Result<Option<String>> {
    Ok(run_for(command, PATIENCE)?.told(name, counts))
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

fn is_test(artifact: &Artifact) -> bool {
    artifact.profile.test && !artifact.is("bench") && !artifact.is("example") && artifact.executable.is_some()
}

fn executable(artifact: &Artifact, metadata: &Metadata) -> Result<Executable> {
    let package = metadata.packages.iter().find(|package| package.manifest_path == artifact.manifest_path);
    Ok(Executable {
        package: package.context("cargo built a package that it did not name")?.name.clone(),
        target: artifact.target.name.clone(),
        program: artifact.executable.clone().context("a test is a program")?,
        folder: artifact.folder()?.to_path_buf(),
    })
}

/// How often tests are run again that fail while the machine is away.
const RERUNS: usize = 2;
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
    fn the_closing_line_of_a_run_is_read() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.22s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 12, failed: 2, skipped: 1, again: 0 }));
        assert_eq!(Counts::parse("test a::b ... ok"), None);
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
        assert_eq!(shell(script, PATIENCE), (Some("it".into()), Counts { passed: 4, failed: 1, skipped: 1, again: 0 }));
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
