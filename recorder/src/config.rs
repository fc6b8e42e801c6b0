//! What the recorder needs of the node's `config.toml`: where files go, and where the node is found.
//!
//! Everything else in the file is the node's to read and to check.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The recorder's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `recording.directory`: where archives go.
    pub directory: PathBuf,
    /// `recorder.socket`: where the node listens.
    pub socket: PathBuf,
}

/// Something that is wrong with the configuration: where it is, what it is, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config {
    /// Reads a file; variables of the environment go before what it says. All problems at once.
    pub fn load(file: &Path) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| vec![Problem(format!("{}: {error}; give the file with --config", file.display()))])?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::read(&file.display().to_string(), &text, folder, |name| std::env::var(name).ok())
    }

    /// Reads a text as if it stood in `file`.
    pub fn read(
        file: &str,
        text: &str,
        folder: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut problems = Vec::new();
        for error in errors {
            let place = place(file, text, error.span().map_or(0, |span| span.start));
            problems.push(Problem(format!("{place}: {}; write it as TOML", error.message())));
        }
        let table = table.into_inner();
        let mut path = |section: &str, key: &str, default: &str| {
            let name = format!("LOCKGATE_{}_{}", section.to_uppercase(), key.to_uppercase());
            let value = match variable(&name) {
                Some(value) => from_variable(&name, &value).map(Some),
                None => from_file(&table, section, key, file, text),
            };
            let value = value.unwrap_or_else(|problem| {
                problems.push(problem);
                None
            });
            folder.join(value.as_deref().unwrap_or(default))
        };
        let config = Self {
            directory: path("recording", "directory", "recordings"),
            socket: path("recorder", "socket", "run/recorder.sock"),
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

fn from_file(table: &DeTable<'_>, section: &str, key: &str, file: &str, text: &str) -> Result<Option<String>, Problem> {
    let Some(node) = table.get(section) else { return Ok(None) };
    let wrong = |node: &Spanned<DeValue<'_>>, what: &str, problem: &str| {
        Problem(format!("{}: {what}: {problem}", place(file, text, node.span().start)))
    };
    let DeValue::Table(keys) = node.get_ref() else {
        return Err(wrong(node, section, &format!("is a section; write [{section}]")));
    };
    match keys.get(key) {
        None => Ok(None),
        Some(node) => {
            let what = format!("{section}.{key}");
            string(node.get_ref()).map(Some).ok_or_else(|| wrong(node, &what, "is no path; write it in quotes"))
        }
    }
}

/// A value in TOML syntax; plain words count as text.
fn from_variable(name: &str, text: &str) -> Result<String, Problem> {
    let line = format!("value = {text}");
    let (table, errors) = DeTable::parse_recoverable(&line);
    let value = table.get_ref().get("value").filter(|_| errors.is_empty());
    let value = value.map_or_else(|| Some(text.to_owned()), |value| string(value.get_ref()));
    value.ok_or_else(|| Problem(format!("environment variable {name} = {text}: is no path; write it in quotes")))
}

fn string(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Some(text.clone().into_owned()),
        _ => None,
    }
}

/// `file:line:column`, both from 1, columns in characters.
fn place(file: &str, text: &str, offset: usize) -> String {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{file}:{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Config, Vec<String>> {
        let config = Config::read("c.toml", text, Path::new("/etc/lockgate"), variable);
        config.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn paths_are_relative_to_the_file_and_other_sections_are_not_looked_at() {
        let text = "[http]\nport = \"x\"\n[recording]\nauto = true\ndirectory = \"/srv/a\"\n";
        let config = read(text, |_| None).unwrap();
        assert_eq!(config.directory, Path::new("/srv/a"));
        assert_eq!(config.socket, Path::new("/etc/lockgate/run/recorder.sock"));
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let variable = |name: &str| match name {
            "LOCKGATE_RECORDER_SOCKET" => Some("\"s/1\"".to_owned()),
            "LOCKGATE_RECORDING_DIRECTORY" => Some("/plain/words".to_owned()),
            _ => None,
        };
        let config = read("[recorder]\nsocket = \"no\"", variable).unwrap();
        assert_eq!(config.socket, Path::new("/etc/lockgate/s/1"));
        assert_eq!(config.directory, Path::new("/plain/words"));
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        let problems = read("recording = 1\n[recorder]\n  socket = 7\n", |_| None).unwrap_err();
        assert_eq!(
            problems,
            [
                "c.toml:1:13: recording: is a section; write [recording]",
                "c.toml:3:12: recorder.socket: is no path; write it in quotes",
            ]
        );
        let problems = read("[recorder\n", |_| None).unwrap_err();
        assert!(problems[0].starts_with("c.toml:1:"), "{problems:?}");
        let problems = read("", |_| Some("[1]".to_owned())).unwrap_err();
        assert!(problems[0].contains("LOCKGATE_RECORDING_DIRECTORY"), "{problems:?}");
    }
}
