//! `cargo xtask bench`: builds the benchmark as it would be shipped, and runs it.
//!
//! What it measures and how is `tests/bench`'s own; docs/performance.md explains it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cargo::{self, cargo, root, run};
use crate::cli::{Bench, BenchOptions, Profile};
use crate::console::{brief, heading, note};

/// Runs the command.
pub(crate) fn bench(options: &BenchOptions) -> Result<ExitCode> {
    let program = build(options.profile)?;
    heading("measuring: leave the machine alone for as long");
    run(Command::new(program).current_dir(root()).args(arguments(&options.bench)))?;
    Ok(ExitCode::SUCCESS)
}

fn build(profile: Profile) -> Result<PathBuf> {
    heading(format!("building the benchmark (profile {}; the first time takes minutes)", profile.name()));
    let started = Instant::now();
    let mut command = cargo();
    command.args(["build", "--profile", profile.name()]);
    match profile {
        Profile::Release => command.args(PROGRAMS.iter().flat_map(|one| ["--package", one])),
        // The same selection as in `cargo xtask test`: another would switch other features and build all anew.
        Profile::Ci => command.args(["--workspace", "--all-targets"]),
    };
    let artifacts = cargo::build(&mut command)?;
    note(format!("built in {}", brief(started.elapsed())));
    let program = artifacts.into_iter().find(|one| one.target.name == PACKAGE && one.is("bin") && !one.profile.test);
    program.and_then(|one| one.executable).context("cargo built no benchmark")
}

fn arguments(bench: &Bench) -> Vec<String> {
    let mut all = Vec::new();
    match bench {
        Bench::Forward(options) => {
            all.push("forward".to_owned());
            all.extend(options.quick.then(|| "--quick".to_owned()));
            all.extend(options.hostile.then(|| "--hostile".to_owned()));
            all.extend(options.scenario.iter().flat_map(|one| ["--scenario".to_owned(), one.clone()]));
            all.extend(options.viewers.iter().flat_map(|count| ["--viewers".to_owned(), count.to_string()]));
        }
        Bench::Policy { quick } => {
            all.push("policy".to_owned());
            all.extend(quick.then(|| "--quick".to_owned()));
        }
        Bench::Record { quick } => {
            all.push("record".to_owned());
            all.extend(quick.then(|| "--quick".to_owned()));
        }
        Bench::Data { quick } => {
            all.push("data".to_owned());
            all.extend(quick.then(|| "--quick".to_owned()));
        }
        Bench::Dtls => all.push("dtls".to_owned()),
        Bench::Soak { joins } => all.extend(["soak".to_owned(), "--joins".to_owned(), joins.to_string()]),
    }
    all
}

const PACKAGE: &str = "lockgate-bench";
/// The benchmark, and those that it starts.
const PROGRAMS: [&str; 4] = [PACKAGE, "lockgate", "lockgate-recorder", "lockgate-load"];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Task};

    fn passed_on(line: &str) -> String {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Task::Bench(options) = cli.task else { panic!("not bench") };
        arguments(&options.bench).join(" ")
    }

    #[test]
    fn options_are_passed_on() {
        let line = "forward --quick --scenario video-real --viewers 10 --viewers 100";
        assert_eq!(passed_on(&format!("xtask bench {line}")), line);
        assert_eq!(passed_on("xtask bench --profile ci forward --hostile"), "forward --hostile");
        assert_eq!(passed_on("xtask bench data --quick"), "data --quick");
        assert_eq!(passed_on("xtask bench soak"), "soak --joins 10000");
        assert_eq!(passed_on("xtask bench policy"), "policy");
        assert_eq!(passed_on("xtask bench policy --quick"), "policy --quick");
        assert_eq!(passed_on("xtask bench record --quick"), "record --quick");
    }
}
