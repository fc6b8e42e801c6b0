//! A program of tests: run under a deadline, and again where the machine was away.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::counts::Counts;
use super::machine::Watch;
use super::outcome::follow;
use crate::cargo::capture;
use crate::console::failure;

/// A test executable, or those of its tests that lie in one module.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) package: String,
    /// The target's name, or the module's.
    pub(super) target: String,
    pub(super) executable: PathBuf,
    pub(super) folder: PathBuf,
    /// Of a module: the names of its tests. Nothing: all that the executable has.
    pub(super) tests: Vec<String>,
}

/// How often, and for how long in all, tests are run again that failed while the machine was away: if it is away for most of an hour,
/// asking it more does not help.
pub(super) struct Reruns {
    each: usize,
    time: Duration,
}

impl Default for Reruns {
    fn default() -> Self {
        Self { each: 2, time: Duration::from_secs(8 * 60) }
    }
}

impl Program {
    /// One program for each of its modules, with the module's name.
    ///
    /// # Errors
    /// If it does not list its tests.
    pub(super) fn modules(&self) -> Result<Vec<Self>> {
        let tests = self.list(&[])?;
        let of = |test: &str| test.split("::").next().unwrap_or_default().to_owned();
        let modules = tests.chunk_by(|one, other| of(one) == of(other));
        Ok(modules.map(|tests| Self { target: of(&tests[0]), tests: tests.to_vec(), ..self.clone() }).collect())
    }

    /// Those of its tests that others leave out and that are `wanted`, by their names without modules.
    ///
    /// # Errors
    /// If it does not list its tests.
    pub(super) fn ignored(&self, wanted: &[&str]) -> Result<Vec<String>> {
        let is_ours = |test: &String| self.tests.is_empty() || self.tests.contains(test);
        let is_wanted = |test: &String| wanted.contains(&test.rsplit("::").next().unwrap_or_default());
        Ok(self.list(&["--ignored"])?.into_iter().filter(|test| is_ours(test) && is_wanted(test)).collect())
    }

    /// Runs its tests, but for those that are left out. Returns its name if it failed.
    pub(super) fn run(&self, counts: &mut Counts, reruns: &mut Reruns) -> Result<Option<String>> {
        let exact = ["--exact".to_owned()].into_iter().chain(self.tests.iter().cloned());
        let options = if self.tests.is_empty() { Vec::new() } else { exact.collect() };
        self.attempts(options, counts, reruns)
    }

    /// Runs these tests, whether others leave them out or not. Returns its name if it failed.
    pub(super) fn run_only(
        &self,
        tests: &[String],
        counts: &mut Counts,
        reruns: &mut Reruns,
    ) -> Result<Option<String>> {
        self.attempts(alone(tests), counts, reruns)
    }

    /// What it is told as.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.package, self.target)
    }

    /// What fails while the machine is away says nothing of what is tested, and is run again, alone. Where the machine was gone each time,
    /// nothing can be said of media in real time; whatever else fails has failed.
    fn attempts(&self, mut options: Vec<String>, counts: &mut Counts, reruns: &mut Reruns) -> Result<Option<String>> {
        let (name, mut failures, mut was_gone) = (self.name(), Vec::new(), true);
        for left in (0..=reruns.each).rev() {
            let (begun, watch) = (Instant::now(), Watch::begin());
            let outcome = follow(self.command().args(&options))?.of(&failures);
            let machine = watch.end();
            was_gone &= machine.was_gone();
            if !failures.is_empty() {
                reruns.time = reruns.time.saturating_sub(begun.elapsed());
            }
            if !outcome.says_who_failed() || !machine.was_away() {
                return Ok(outcome.told(&name, counts));
            }
            if left > 0 && !reruns.time.is_zero() {
                failure(format!("{name}: {machine}. Again: {}", outcome.failures.join(", ")));
                counts.add(Counts { failed: 0, again: outcome.counts.failed, ..outcome.counts });
                options = alone(&outcome.failures);
                failures = outcome.failures;
                continue;
            }
            if !(was_gone && self.in_real_time()) {
                return Ok(outcome.told(&name, counts));
            }
            failure(format!("{name}: {machine}. Not judged: {}", outcome.unjudged(counts).join(", ")));
            break;
        }
        Ok(None)
    }

    fn in_real_time(&self) -> bool {
        REAL_TIME.contains(&self.target.as_str())
    }

    fn list(&self, options: &[&str]) -> Result<Vec<String>> {
        let listed = capture(self.command().args(options).arg("--list"))?;
        Ok(listed.lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect())
    }

    /// What `cargo test` would run: in the package's folder, which some tests find their files by.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// What makes a test program run these tests and no others, one after the other.
fn alone(tests: &[String]) -> Vec<String> {
    let options = ["--exact", "--include-ignored", "--test-threads=1"].map(str::to_owned);
    options.into_iter().chain(tests.iter().cloned()).collect()
}

/// Modules of the system tests that make, carry and show media in real time, most of them in a browser: without processors packets are
/// late or lost, and these can only fail. What is promised of policy, and of recorders that are killed, is not among them: it holds on any
/// machine.
const REAL_TIME: [&str; 19] = [
    "app",
    "calls",
    "connectivity",
    "data",
    "encrypted",
    "interop",
    "layers",
    "load",
    "networks",
    "recording",
    "rheomesh",
    "sdk",
    "speakers",
    "spread",
    "swapping",
    "tcp",
    "turn",
    "unwatched",
    "whip",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn what_is_said_to_be_in_real_time_is_there() {
        let tests = root().join("tests/tests/system");
        for module in REAL_TIME {
            let [file, folder] = [format!("{module}.rs"), format!("{module}/mod.rs")].map(|path| tests.join(path));
            assert!(file.is_file() || folder.is_file(), "{module}");
        }
    }

    #[test]
    fn modules_have_their_own_tests_and_those_that_are_left_out_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let executable = folder.path().join("tests");
        let script = "#!/bin/sh\ncase $1 in --ignored) ;; *) printf 'a::x: test\\na::y::x: test\\n' ;; esac\nprintf 'b::slow: test\\n\\n3 tests, 0 benchmarks\\n'\n";
        std::fs::write(&executable, script).unwrap();
        std::fs::set_permissions(&executable, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (package, target, place) = ("tests".to_owned(), "all".to_owned(), folder.path().to_path_buf());
        let whole = Program { package, target, executable, folder: place, tests: Vec::new() };
        let modules = whole.modules().unwrap();
        let found: Vec<_> = modules.iter().map(|module| (module.name(), module.tests.join(" "))).collect();
        assert_eq!(found, [("tests a".into(), "a::x a::y::x".into()), ("tests b".into(), "b::slow".to_owned())]);
        let slow: Vec<_> = modules.iter().map(|module| module.ignored(&["slow", "other"]).unwrap()).collect();
        assert_eq!(slow, [vec![], vec!["b::slow".to_owned()]]);
    }
}
