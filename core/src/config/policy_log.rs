//! `[policy.log]`: whether, where and for how long decisions are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_policy::journal::Omit;

use super::section::{Bytes, FromValue, Section};
use super::tree::Value;

/// `[policy.log]`
#[derive(Clone, Debug)]
pub struct PolicyLog {
    /// The folder of the log; it has nothing else in it.
    pub directory: PathBuf,
    /// How long a file may be, in bytes.
    pub max_size: usize,
    /// How long a file is written to.
    pub max_age: Duration,
    /// How many files are kept.
    pub keep: u64,
    /// What is left out of lines.
    pub omit: Vec<Omit>,
}

impl FromValue for Omit {
    const REMEDY: &'static str = "choose of \"claims\", \"username\", \"peer\", \"metadata\", \"payload\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is nothing that can be left out".into()) };
        let known = Self::ALL.into_iter().find(|omit| omit.as_str() == text);
        known.ok_or_else(|| "is nothing that can be left out".into())
    }
}

impl PolicyLog {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let log = Self {
            directory: folder.join(section.get("directory", String::from("decisions"))),
            max_size: section.within("max_size", Bytes(64 << 20), Bytes(64 << 10), Bytes(16 << 30)).0,
            max_age: section.within(
                "max_age",
                Duration::from_secs(24 * 3600),
                Duration::from_secs(60),
                Duration::from_secs(366 * 24 * 3600),
            ),
            keep: section.within("keep", 30, 1, 100_000),
            omit: section.get("omit", vec![Omit::Metadata, Omit::Payload]),
        };
        section.finish();
        log
    }
}
