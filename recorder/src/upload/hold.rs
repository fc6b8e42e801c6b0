//! Legal hold: while a session's folder has a file `hold`, nothing of the session is removed, here or in the store.
//!
//! Whoever sets it holds the folder's lock together with others, and whoever removes something holds it alone: when `set` has returned,
//! nothing is removed any more.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::archive::{lock_shared, now_micros, rfc3339, write_whole};

/// The content of `hold`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// Since when, RFC 3339.
    pub(crate) at: String,
    /// Why; may be empty.
    #[serde(default)]
    pub(crate) reason: String,
}

/// Whether a session is held. Whatever has the file's name counts: what cannot be read may be one.
pub(crate) fn is_on_hold(folder: &Path) -> bool {
    !matches!(folder.join(HOLD).symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Holds a session, or lets it go.
pub(crate) fn set_hold(folder: &Path, reason: Option<&str>) -> io::Result<()> {
    let _lock = lock_shared(folder)?;
    let path = folder.join(HOLD);
    let Some(reason) = reason else {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    // Who waited for the lock may find that the session was deleted meanwhile: then this fails.
    let hold = Hold { at: rfc3339(now_micros()), reason: reason.to_owned() };
    write_whole(&path, &serde_json::to_vec_pretty(&hold)?, File::sync_all)?;
    File::open(folder)?.sync_all()
}

/// While a session has it, nothing of it is removed.
pub(crate) const HOLD: &str = "hold";
