//! What the recorder needs of the node's `config.toml`: where files go, and where the node is found.
//!
//! Everything else in the file is the node's to read and to check.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::{parse_bytes, parse_duration};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::upload::{AGE, Settings, age};

/// The recorder's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `recording.directory`: where archives go.
    pub directory: PathBuf,
    /// `recorder.socket`: where the node listens.
    pub socket: PathBuf,
    /// `recorder.signing_key`: the key that archives are signed with; none: they are not.
    pub signing_key: Option<PathBuf>,
    /// `recording.part_length`: a file of this length ends and the next part begins, 1 minute to 24 hours; none: it goes on.
    pub part_length: Option<Duration>,
    /// `recording.part_size`: the same for its size in bytes, 1 MiB to 1 TiB.
    pub part_size: Option<u64>,
    /// `recording.delete_after`: how long after its end a session is deleted, 1 minute to 100 years; none: never.
    pub delete_after: Option<Duration>,
    /// `[upload]`: where archives go; none: nowhere.
    pub upload: Option<Settings>,
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
        let mut value = |section: &str, key: &str, kind: &Kind| {
            let name = format!("LOCKGATE_{}_{}", section.to_uppercase(), key.to_uppercase());
            let value = match variable(&name) {
                Some(value) => from_variable(&name, &value, kind).map(Some),
                None => from_file(&table, section, key, kind, file, text),
            };
            value.unwrap_or_else(|problem| {
                // What is wrong with a section is found by each of its keys.
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
                None
            })
        };
        let directory = value("recording", "directory", &PATH).unwrap_or_else(|| "recordings".into());
        let socket = value("recorder", "socket", &PATH).unwrap_or_else(|| "run/recorder.sock".into());
        let key = value("recorder", "signing_key", &KEY).unwrap_or_else(|| "archive-key.pem".into());
        let config = Self {
            directory: folder.join(directory),
            socket: folder.join(socket),
            signing_key: Some(key).filter(|path| !path.is_empty()).map(|path| folder.join(path)),
            part_length: value("recording", "part_length", &LENGTH).as_deref().and_then(length),
            part_size: value("recording", "part_size", &SIZE).as_deref().and_then(size),
            delete_after: value("recording", "delete_after", &AGE).as_deref().and_then(age),
            upload: Settings::read(|key, kind| value("upload", key, kind), folder),
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// What a text has to be, and what to say when it is not.
pub(crate) struct Kind {
    /// Whether it is.
    pub(crate) is: fn(&str) -> bool,
    /// What is wrong otherwise, and what to write.
    pub(crate) complaint: &'static str,
    /// Whether it is written as a number, without quotes.
    pub(crate) number: bool,
}

/// The name of a file or folder.
pub(crate) const PATH: Kind =
    Kind { is: |text| !text.is_empty(), complaint: "is no path; write it in quotes", number: false };
const KEY: Kind =
    Kind { is: |_| true, complaint: "is no path; write it in quotes, or \"\" for no signatures", number: false };
const LENGTH: Kind = Kind {
    is: |text| length(text).is_some(),
    complaint: "is no length of a file; write one from \"1m\" to \"24h\"",
    number: false,
};
const SIZE: Kind = Kind {
    is: |text| size(text).is_some(),
    complaint: "is no size of a file; write one from \"1 MiB\" to \"1048576 MiB\"",
    number: false,
};

fn length(text: &str) -> Option<Duration> {
    let (least, most) = (Duration::from_secs(60), Duration::from_secs(86_400));
    parse_duration(text).ok().filter(|length| (least..=most).contains(length))
}

fn size(text: &str) -> Option<u64> {
    parse_bytes(text).ok().filter(|bytes| (1 << 20..=1 << 40).contains(bytes))
}

fn from_file(
    table: &DeTable<'_>,
    section: &str,
    key: &str,
    kind: &Kind,
    file: &str,
    text: &str,
) -> Result<Option<String>, Problem> {
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
            string(node.get_ref(), kind).map(Some).ok_or_else(|| wrong(node, &what, kind.complaint))
        }
    }
}

/// A value in TOML syntax; plain words count as text.
fn from_variable(name: &str, text: &str, kind: &Kind) -> Result<String, Problem> {
    let line = format!("value = {text}");
    let (table, errors) = DeTable::parse_recoverable(&line);
    let value = table.get_ref().get("value").filter(|_| errors.is_empty());
    let value = match value {
        Some(value) => string(value.get_ref(), kind),
        None => Some(text.to_owned()).filter(|text| (kind.is)(text)),
    };
    value.ok_or_else(|| Problem(format!("environment variable {name} = {text}: {}", kind.complaint)))
}

fn string(value: &DeValue<'_>, kind: &Kind) -> Option<String> {
    match value {
        DeValue::String(text) if !kind.number && (kind.is)(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if kind.number && (kind.is)(number.as_str()) => Some(number.as_str().to_owned()),
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
        assert_eq!(config.signing_key.as_deref(), Some(Path::new("/etc/lockgate/archive-key.pem")));
    }

    #[test]
    fn where_files_end_is_read_with_its_units() {
        let config = read("[recording]\npart_length = \"30m\"\npart_size = \"512 MiB\"\n", |_| None).unwrap();
        assert_eq!((config.part_length, config.part_size), (Some(Duration::from_secs(1800)), Some(512 << 20)));
        let problems = read("[recording]\npart_length = \"1s\"\npart_size = 5\n", |_| None).unwrap_err();
        assert!(problems[0].starts_with("c.toml:2:15: recording.part_length: is no length"), "{problems:?}");
        assert!(problems[1].starts_with("c.toml:3:13: recording.part_size: is no size"), "{problems:?}");
    }

    #[test]
    fn only_the_key_may_be_empty() {
        assert_eq!(read("[recorder]\nsigning_key = \"\"", |_| None).unwrap().signing_key, None);
        let problems = read("[recorder]\nsocket = \"\"", |_| None).unwrap_err();
        assert_eq!(problems, ["c.toml:2:10: recorder.socket: is no path; write it in quotes"]);
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
