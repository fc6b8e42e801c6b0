//! A folder of fixtures: each `.toml` file in it is a case, in the order of their names.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::kit::case::Fixture;
use crate::kit::diff::Difference;
use crate::kit::trial::Trial;

/// How a case went.
#[derive(Debug)]
pub struct Tested {
    /// The file's name without its ending.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: TestOutcome,
}

/// What came of a case.
#[derive(Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// All is as expected.
    Passed,
    /// Something is not.
    Failed(Vec<Difference>),
    /// The file is no case.
    Unreadable(String),
}

/// The cases of a folder.
///
/// # Errors
/// If it cannot be read. One without cases is no error here.
pub fn fixtures(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts the case of a file to a plugin.
pub fn test(trial: &Trial, file: &Path) -> Tested {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let started = Instant::now();
    let outcome = match fs::read_to_string(file).map_err(|error| error.to_string()) {
        Err(error) => TestOutcome::Unreadable(error),
        Ok(text) => match Fixture::read(&text) {
            Err(bad) => TestOutcome::Unreadable(bad.to_string()),
            Ok(fixture) => match trial.check(&fixture).1 {
                found if found.is_empty() => TestOutcome::Passed,
                found => TestOutcome::Failed(found),
            },
        },
    };
    Tested { name, took: started.elapsed(), outcome }
}

impl Tested {
    /// Whether all is as expected.
    pub fn passed(&self) -> bool {
        self.outcome == TestOutcome::Passed
    }

    /// Why not, in lines; empty if it is.
    pub fn complaint(&self) -> String {
        match &self.outcome {
            TestOutcome::Passed => String::new(),
            TestOutcome::Failed(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            TestOutcome::Unreadable(why) => why.trim_end().to_owned(),
        }
    }
}
