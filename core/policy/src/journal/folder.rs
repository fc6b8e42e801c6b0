//! The files of a log: their names, which one is the last, and where its chain ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::JournalError;
use super::line::Torn;
use super::seal::Head;
use super::tail::{Tail, began_ms};

/// The folder of a log that this process alone writes to.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// Something in the folder cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileProblem {
    /// What.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Where an earlier run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// The last file's number; 0: there is none.
    pub(crate) file: u64,
    /// How long it is.
    pub(crate) length: u64,
    /// Since when it is written to, in ms since 1970.
    pub(crate) since_ms: u64,
    pub(crate) head: Head,
    /// Whether it can be appended to: it ends with a whole line.
    pub(crate) whole: bool,
    pub(crate) torn: Option<Torn>,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        // What is decided about people is nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(problem(path))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = file.map_err(problem(&lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(fs::TryLockError::WouldBlock) => Err(JournalError::Taken(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(FileProblem { path: lock, source }.into()),
        }
    }

    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{PREFIX}{number:06}{SUFFIX}"))
    }

    pub(crate) fn append_to(&self, number: u64, new: bool) -> Result<File, FileProblem> {
        let path = self.file(number);
        let file = OpenOptions::new().append(true).create_new(new).mode(0o600).open(&path).map_err(problem(&path))?;
        if new {
            // Without this a power failure may leave a file without a name. Not every file system can.
            let _ = File::open(&self.path).and_then(|folder| folder.sync_all());
        }
        Ok(file)
    }

    /// Deletes all files but the newest `keep`.
    pub(crate) fn forget(&self, keep: u64) -> Result<(), FileProblem> {
        let files = files_of(&self.path)?;
        let many = files.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        files.iter().take(many).try_for_each(|(_, path)| fs::remove_file(path).map_err(problem(path)))
    }

    /// Finds the end of what an earlier run wrote.
    pub(crate) fn earlier(&self) -> Result<Earlier, FileProblem> {
        let files = files_of(&self.path)?;
        let nothing = Earlier { file: 0, length: 0, since_ms: 0, head: Head::START, whole: false, torn: None };
        let Some((number, path)) = files.last() else { return Ok(nothing) };
        let Tail { length, mut last, torn } = Tail::of(path)?;
        let whole = torn.is_none() && last.is_some_and(|(_, is_last)| is_last);
        for (_, older) in files.iter().rev().skip(1) {
            if last.is_some() {
                break;
            }
            last = Tail::of(older)?.last;
        }
        let head = last.map_or(Head::START, |(head, _)| head);
        Ok(Earlier { file: *number, length, since_ms: began_ms(path)?, head, whole, torn })
    }
}

/// The files of a log in their order, with their numbers.
///
/// # Errors
/// When the folder cannot be read.
pub fn files_of(folder: &Path) -> Result<Vec<(u64, PathBuf)>, FileProblem> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(problem(folder))? {
        let name = entry.map_err(problem(folder))?.file_name();
        if let Some(number) = name.to_str().and_then(number_of) {
            files.push((number, folder.join(name)));
        }
    }
    files.sort();
    Ok(files)
}

/// The number in a file's name, as in `decisions-000007.jsonl`.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

pub(super) fn problem(path: &Path) -> impl FnOnce(io::Error) -> FileProblem {
    let path = path.to_owned();
    move |source| FileProblem { path, source }
}

const PREFIX: &str = "decisions-";
const SUFFIX: &str = ".jsonl";
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_log_are_taken_for_such() {
        assert_eq!(number_of("decisions-000012.jsonl"), Some(12));
        assert_eq!(number_of("decisions-1234567.jsonl"), Some(1_234_567));
        for other in ["lock", "decisions-12.jsonl", "decisions-+00012.jsonl", "decisions-000012.jsonl.gz", "x"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn two_processes_do_not_write_one_log() {
        let place = tempfile::tempdir().unwrap();
        let _held = Folder::open(place.path()).unwrap();
        let error = Folder::open(place.path()).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
    }
}
