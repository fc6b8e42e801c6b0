//! What is known of sessions from the last time that something was done for them.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::store::Trouble;
use crate::archive::{MANIFEST, now_micros};

/// Of each session's folder. Only of those that are there.
#[derive(Default)]
pub(super) struct Known(HashMap<PathBuf, State>);

/// What came of a session the last time.
enum State {
    /// There is nothing to do as long as its manifest is this one, until this moment, in microseconds since 1970 (UTC).
    Settled { manifest: Option<Version>, until_us: u64 },
    /// It is not tried before this moment.
    Failed { again: Instant, backoff: Backoff, said: String },
}

impl Known {
    /// Forgets those that are no more.
    pub(super) fn keep(&mut self, folders: &[PathBuf]) {
        let here: HashSet<_> = folders.iter().collect();
        self.0.retain(|folder, _| here.contains(folder) || folder.exists());
    }

    /// Whether there may be something to do.
    pub(super) fn is_due(&self, folder: &Path) -> bool {
        match self.0.get(folder) {
            None => true,
            Some(State::Settled { manifest, until_us }) => version(folder) != *manifest || now_micros() >= *until_us,
            Some(State::Failed { again, .. }) => Instant::now() >= *again,
        }
    }

    /// It worked, with the manifest as it was before; until this moment, in microseconds since 1970 (UTC), nothing is to be done.
    pub(super) fn settle(&mut self, folder: PathBuf, manifest: Option<Version>, until_us: u64) {
        self.0.insert(folder, State::Settled { manifest, until_us });
    }

    /// It did not. Says what is wrong, once and not each time.
    pub(super) fn fail(&mut self, folder: &Path, trouble: &Trouble) {
        let (mut backoff, before) = match self.0.remove(folder) {
            Some(State::Failed { backoff, said, .. }) => (backoff, said),
            _ => (Backoff::default(), String::new()),
        };
        let said = trouble.gist();
        if said != before {
            tracing::warn!(folder = %folder.display(), "not uploaded or removed, and tried again: {trouble}");
        }
        let again = Instant::now() + backoff.failed();
        self.0.insert(folder.to_owned(), State::Failed { again, backoff, said });
    }
}

/// What tells one state of a manifest from the next: each is a file of its own.
pub(super) type Version = (u64, SystemTime);

/// None: there is no manifest.
pub(super) fn version(folder: &Path) -> Option<Version> {
    let found = folder.join(MANIFEST).metadata().ok()?;
    Some((found.ino(), found.modified().ok()?))
}
