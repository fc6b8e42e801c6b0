//! Which sessions are meant by a path.

use std::path::{Path, PathBuf};

use super::ToolError;
use crate::archive::{EVENTS, MANIFEST, is_deleting, sessions};

/// The folders of the sessions at these paths: a session itself, those of a room, or all.
pub(super) fn sessions_at(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ToolError> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        match is_session(path) {
            true => found.push(path.clone()),
            false => found.extend(below(path)),
        }
        // An empty folder of archives is no mistake; one that is not there is.
        if found.len() == before && !path.is_dir() {
            return Err(ToolError::NoSession(path.clone()));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Whether this is the folder of a session that is not being deleted.
pub(super) fn is_session(path: &Path) -> bool {
    !is_deleting(path) && [MANIFEST, EVENTS].iter().any(|name| path.join(name).is_file())
}

fn below(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| is_session(path)).chain(sessions(path).filter(|path| is_session(path))).collect()
}
