//! The workspace's tests: built together, then run one program after another, each under a deadline.
//!
//! `cargo test` would do the same for all of them at once, but a selection of packages makes it switch other features
//! and build much of the tree again.

use std::time::Instant;

use anyhow::{Context, Result};

use super::counts::Counts;
use super::metadata::Metadata;
use super::outcome::watched;
use super::program::{Program, Reruns};
use crate::cargo::{self, Artifact, cargo};
use crate::console::{brief, note};

/// Every test program of the workspace.
pub(super) struct Suite {
    programs: Vec<Program>,
}

impl Suite {
    /// Builds all programs and all tests of the workspace.
    pub(super) fn build(profile: &str) -> Result<Self> {
        let started = Instant::now();
        note("building the workspace and its tests (the first time takes many minutes)");
        let metadata = Metadata::read()?;
        let artifacts = cargo::build(cargo().args(["build", "--profile", profile, "--workspace", "--all-targets"]))?;
        note(format!("built in {}", brief(started.elapsed())));
        let mut programs = Vec::new();
        for artifact in artifacts.iter().filter(|artifact| is_test(artifact)) {
            let program = program(artifact, &metadata)?;
            programs.extend(if program.target == OF_MODULES { program.modules()? } else { vec![program] });
        }
        Ok(Self { programs })
    }

    /// Runs the tests of the packages that are `wanted`. Returns the names of programs that failed.
    pub(super) fn run(&self, wanted: impl Fn(&str) -> bool, counts: &mut Counts) -> Result<Vec<String>> {
        self.run_those(|program| wanted(&program.package), counts)
    }

    /// Runs the tests of one module. Returns its name if it failed.
    pub(super) fn run_module(&self, module: &str, counts: &mut Counts) -> Result<Vec<String>> {
        self.run_those(|program| program.target == module, counts)
    }

    /// Runs those of the tests that others leave out that have these names. Returns the names of programs that failed.
    pub(super) fn run_ignored(&self, tests: &[&str], counts: &mut Counts) -> Result<Vec<String>> {
        let (mut failed, mut reruns) = (Vec::new(), Reruns::default());
        for program in &self.programs {
            let ignored = program.ignored(tests)?;
            if !ignored.is_empty() {
                note(program.name());
                failed.extend(program.run_only(&ignored, counts, &mut reruns)?);
            }
        }
        Ok(failed)
    }

    fn run_those(&self, wanted: impl Fn(&Program) -> bool, counts: &mut Counts) -> Result<Vec<String>> {
        let (mut failed, mut reruns) = (Vec::new(), Reruns::default());
        for program in self.programs.iter().filter(|program| wanted(program)) {
            note(program.name());
            failed.extend(program.run(counts, &mut reruns)?);
        }
        Ok(failed)
    }
}

/// Runs the examples in the documentation.
pub(super) fn documentation(profile: &str, counts: &mut Counts) -> Result<Option<String>> {
    note("examples in the documentation");
    watched("documentation", cargo().args(["test", "--profile", profile, "--workspace", "--doc"]), counts)
}

fn is_test(artifact: &Artifact) -> bool {
    artifact.profile.test && !artifact.is("bench") && !artifact.is("example") && artifact.executable.is_some()
}

fn program(artifact: &Artifact, metadata: &Metadata) -> Result<Program> {
    let package = metadata.packages.iter().find(|package| package.manifest_path == artifact.manifest_path);
    Ok(Program {
        package: package.context("cargo built a package that it did not name")?.name.clone(),
        target: artifact.target.name.clone(),
        executable: artifact.executable.clone().context("a test is a program")?,
        folder: artifact.folder()?.to_path_buf(),
        tests: Vec::new(),
    })
}

/// The target whose modules are run one after the other, as programs of their own would be: each module has its own deadline, and asks the
/// machine for what it needs.
const OF_MODULES: &str = "system";
