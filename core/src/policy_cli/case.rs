//! The question that `run` and `bench` put, from one file or from several.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use lockgate_model::policy::Hook;
use lockgate_policy::kit::{Case, Fixture, Question};
use serde::de::DeserializeOwned;

/// What is asked, and what is known then.
#[derive(Debug, clap::Args)]
pub(super) struct CaseArguments {
    /// Which hook is asked: auth, admission, publishing, subscription, recording or command
    #[arg(long, value_parser = hook, required_unless_present = "fixture")]
    hook: Option<Hook>,
    /// The question, in JSON, or in TOML if the name ends so; "-" reads JSON from standard input. What it leaves out has a plain value
    #[arg(long, value_name = "FILE")]
    question: Option<PathBuf>,
    /// The plugin's settings: an object in JSON or TOML
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// What the plugin remembers: an object of keys and values, each a text or { "hex": "…" }
    #[arg(long, value_name = "FILE")]
    kv: Option<PathBuf>,
    /// Take all of this from a fixture of `lockgate policy test`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hook", "question", "settings", "kv"])]
    fixture: Option<PathBuf>,
}

impl CaseArguments {
    /// Reads the files.
    ///
    /// # Errors
    /// In words, with the name of the file.
    pub(super) fn read(&self) -> Result<Case, String> {
        if let Some(file) = &self.fixture {
            let text = fs::read_to_string(file).map_err(|error| named(file, error))?;
            return Fixture::read(&text).map(|fixture| fixture.case).map_err(|bad| named(file, bad));
        }
        let hook = self.hook.ok_or("name the hook that is asked")?;
        let question = match &self.question {
            Some(file) => {
                let written: serde_json::Value = parsed(file)?;
                Question::read(hook, written).map_err(|error| named(file, error))?
            }
            None => Question::plain(hook),
        };
        let settings = self.settings.as_deref().map(parsed).transpose()?.unwrap_or_default();
        let kv = self.kv.as_deref().map(parsed).transpose()?.unwrap_or_default();
        Ok(Case { question, settings, kv, tokens: Vec::new() })
    }
}

pub(super) fn hook(name: &str) -> Result<Hook, String> {
    Hook::ALL.into_iter().find(|hook| hook.as_str() == name).ok_or_else(|| {
        let all = Hook::ALL.map(Hook::as_str);
        format!("the hooks are {}", all.join(", "))
    })
}

pub(super) fn parsed<T: DeserializeOwned>(file: &Path) -> Result<T, String> {
    let text = text(file).map_err(|error| named(file, error))?;
    if file.extension().is_some_and(|ending| ending == "toml") {
        toml::from_str(&text).map_err(|error| named(file, error))
    } else {
        serde_json::from_str(&text).map_err(|error| named(file, error))
    }
}

fn text(file: &Path) -> io::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn named(file: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {}", file.display(), error.to_string().trim_end())
}
