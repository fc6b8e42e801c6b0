//! `cargo xtask test`: everything that checks the project, in order, with a summary.
//!
//! All Rust code is built in one profile (`ci`) with one selection of packages, so that cargo switches the same features
//! everywhere and the WebAssembly compiler, the largest piece, is built once.

mod arrows;
mod client;
mod counts;
mod licences;
mod machine;
mod metadata;
mod outcome;
mod program;
mod report;
mod stacks;
mod suite;
mod thorough;
mod tools;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, bail};

use self::counts::Counts;
use self::metadata::Metadata;
use self::outcome::watched;
use self::report::Report;
use self::suite::Suite;
use crate::cargo::{cargo, root, run};
use crate::cli::{Step, TestOptions};
use crate::console::{failure, heading, note};
use crate::plugins::{self, Wanted};
use crate::schema;
use crate::wit;

/// Runs the command.
pub(crate) fn test(options: &TestOptions) -> Result<ExitCode> {
    let mut report = Report::default();
    for step in chosen(options) {
        heading(format!("test: {}", step.name()));
        let started = Instant::now();
        let mut counts = Counts::default();
        let outcome = step.run(&mut counts);
        if let Err(error) = &outcome {
            failure(format!("{error:#}"));
        }
        report.add(step.name(), started.elapsed(), counts, outcome.err().map(|error| format!("{error:#}")));
    }
    print!("{report}");
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The steps to run, in their own order whatever the order on the command line.
fn chosen(options: &TestOptions) -> Vec<Step> {
    let wanted = |step: &Step| match options.only.as_slice() {
        [] => !(ON_DEMAND.contains(step) || options.fast && *step == Step::System),
        only => only.contains(step),
    };
    ALL.iter().copied().filter(wanted).collect()
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Arrows => "arrows",
            Self::Wit => "wit",
            Self::Schema => "schema",
            Self::Plugins => "plugins",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Client => "client",
            Self::Unit => "unit",
            Self::System => "system",
            Self::Thorough => "thorough",
            Self::Languages => "languages",
        }
    }

    fn run(self, counts: &mut Counts) -> Result<()> {
        match self {
            Self::Fmt => fmt(),
            Self::Arrows => arrows(),
            Self::Wit => wit::check(),
            Self::Schema => schema::check(),
            Self::Plugins => plugins::build(Wanted::Compiled).map(drop),
            Self::Clippy => clippy(),
            Self::Doc => doc(),
            Self::Client => client::check(counts),
            Self::Unit => unit(counts),
            Self::System => system(counts),
            Self::Thorough => thorough(counts),
            Self::Languages => languages(counts),
        }
    }
}

fn fmt() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(in_guests(cargo().args(["fmt", "--all", "--check"])))
}

/// Who may depend on whom, by our own rules; `cargo deny` adds advisories for those who have it.
fn arrows() -> Result<()> {
    let metadata = Metadata::read()?;
    let mut broken = arrows::broken(&metadata);
    broken.extend(licences::refused(&metadata));
    for rule in &broken {
        failure(rule);
    }
    if !broken.is_empty() {
        bail!("{} rules about dependencies are broken", broken.len());
    }
    note(format!("{} packages", metadata.packages.len()));
    if tools::on_path("cargo-deny") {
        run(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    run(cargo().args(["clippy", "--profile", PROFILE, "--workspace", "--all-targets"]).args(deny))?;
    run(in_guests(cargo().args(["clippy", "--workspace", "--all-targets", "--target-dir", GUESTS_ON_HOST]).args(deny)))
}

fn doc() -> Result<()> {
    // Comments inside a crate may point at its private items; only links that lead nowhere are wrong.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    run(cargo().env("RUSTDOCFLAGS", flags).args(["doc", "--profile", PROFILE, "--workspace", "--no-deps"]))
}

fn unit(counts: &mut Counts) -> Result<()> {
    tools::for_unit_tests()?;
    let suite = Suite::build(PROFILE)?;
    let mut failed = suite.run(|package| package != SYSTEM_TESTS, counts)?;
    failed.extend(suite::documentation(PROFILE, counts)?);
    failed.extend(watched(
        "plugins",
        in_guests(cargo().args(["test", "--workspace", "--target-dir", GUESTS_ON_HOST])),
        counts,
    )?);
    none_of(&failed)
}

fn system(counts: &mut Counts) -> Result<()> {
    tools::for_system_tests()?;
    plugins::build(Wanted::Compiled)?;
    note(
        "left to --only thorough: tests that need minutes of a quiet machine, faults of accessibility, and stacks that must be fetched",
    );
    let suite = Suite::build(PROFILE)?;
    none_of(&suite.run(|package| package == SYSTEM_TESTS, counts)?)
}

/// What system tests leave out, as it needs minutes of a machine that does nothing else, and other stacks.
fn thorough(counts: &mut Counts) -> Result<()> {
    tools::for_system_tests()?;
    stacks::provide();
    plugins::build(Wanted::Compiled)?;
    if !client::has_tools() {
        bail!("what looks for faults of accessibility needs Node.js with npm, and npm's registry");
    }
    let suite = Suite::build(PROFILE)?;
    let marked = thorough::marked()?;
    let marked: Vec<_> = marked.iter().map(String::as_str).collect();
    let mut failed = suite.run_ignored(&marked, counts)?;
    all_ran(&marked, *counts)?;
    failed.extend(suite.run_module(OF_STACKS, counts)?);
    none_of(&failed)
}

/// What other tests leave out, as it needs npm and PyPI, and minutes.
fn languages(counts: &mut Counts) -> Result<()> {
    plugins::build(Wanted::All)?;
    let suite = Suite::build(PROFILE)?;
    none_of(&suite.run_ignored(&OF_LANGUAGES, counts)?)?;
    all_ran(&OF_LANGUAGES, *counts)
}

/// A test executable is content when no test has the name that it is told: one that was renamed would be missed by nobody.
fn all_ran(names: &[&str], counts: Counts) -> Result<()> {
    let ran = counts.passed + counts.failed + counts.unjudged;
    if (ran as usize) < names.len() {
        let names = names.join(", ");
        bail!(
            "tests that ran: {ran}; those that had to: {names}. If one has another name now, say so in xtask/src/test.rs"
        );
    }
    Ok(())
}

fn none_of(failed: &[String]) -> Result<()> {
    if !failed.is_empty() {
        bail!("{} failed", failed.join(", "));
    }
    Ok(())
}

/// Cargo in the guests' own workspace.
fn in_guests(command: &mut Command) -> &mut Command {
    command.current_dir(root().join("plugins"))
}

/// Everything, cheap and telling things first.
const ALL: [Step; 12] = [
    Step::Fmt,
    Step::Arrows,
    Step::Wit,
    Step::Schema,
    Step::Client,
    Step::Plugins,
    Step::Clippy,
    Step::Doc,
    Step::Unit,
    Step::System,
    Step::Thorough,
    Step::Languages,
];

/// Those that run only when they are asked for.
const ON_DEMAND: [Step; 2] = [Step::Thorough, Step::Languages];

/// The cargo profile that everything is tested in.
const PROFILE: &str = "ci";

const SYSTEM_TESTS: &str = "lockgate-tests";

/// Tests of guests in JavaScript and Python, which are left out otherwise: in tests/tests/system/guide.rs, and in
/// core/policy/tests/plugins/kit.rs.
const OF_LANGUAGES: [&str; 2] =
    ["the_guide_leads_to_plugins_in_javascript_and_python", "the_worked_example_is_the_same_in_javascript_and_python"];

/// The tests of other stacks, of which those are tried that are there.
const OF_STACKS: &str = "interop";

/// Where the guests are built for the host, to be linted and unit-tested, relative to plugins/.
const GUESTS_ON_HOST: &str = "target/host";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(fast: bool, only: &[Step]) -> TestOptions {
        TestOptions { fast, only: only.to_vec() }
    }

    #[test]
    fn everything_runs_by_default() {
        assert_eq!(chosen(&options(false, &[])), ALL[..ALL.len() - ON_DEMAND.len()], "but for what is to be asked for");
        assert_eq!(chosen(&options(false, &[Step::Languages])), [Step::Languages]);
    }

    #[test]
    fn fast_leaves_out_the_system_tests_only() {
        let steps = chosen(&options(true, &[]));
        assert_eq!(steps.len(), ALL.len() - ON_DEMAND.len() - 1);
        assert!(!steps.contains(&Step::System));
    }

    #[test]
    fn a_test_that_did_not_run_is_told() {
        let counts = |passed, failed| Counts { passed, failed, skipped: 7, ..Counts::default() };
        all_ran(&OF_LANGUAGES, counts(1, 1)).unwrap();
        let told = all_ran(&OF_LANGUAGES, counts(1, 0)).unwrap_err().to_string();
        assert!(told.contains("tests that ran: 1;") && OF_LANGUAGES.iter().all(|name| told.contains(name)), "{told}");
    }

    #[test]
    fn chosen_steps_keep_their_order() {
        assert_eq!(chosen(&options(false, &[Step::Unit, Step::Fmt])), [Step::Fmt, Step::Unit]);
    }
}
