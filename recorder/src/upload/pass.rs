//! One look at all sessions: what is complete goes to the store, what has been there long enough goes away here, what is too old is deleted.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::crypt::WrappingKey;
use super::hold::is_on_hold;
use super::ledger::Ledger;
use super::retention::{begin_deleting, delete, due, ended_at_us, remove_local};
use super::session::{SessionUpload, Way};
use super::settings::Settings;
use super::store::{Store, Trouble};
use crate::archive::{MANIFEST, Manifest, deleting, now_micros, sessions};

/// What is looked at, and what is known of it from the last time.
pub(super) struct Pass {
    root: PathBuf,
    store: Option<Store>,
    key: Option<WrappingKey>,
    parallel: usize,
    places: Semaphore,
    keep_local: Option<Duration>,
    delete_after: Option<Duration>,
    known: HashMap<PathBuf, Known>,
}

/// What came of a session the last time.
enum Known {
    /// There is nothing to do as long as its manifest is this one, until this moment, in microseconds since 1970 (UTC).
    Settled { manifest: Option<Version>, until_us: u64 },
    /// It is not tried before this moment.
    Failed { again: Instant, backoff: Backoff, said: String },
}

impl Pass {
    pub(super) fn new(
        root: PathBuf,
        store: Option<Store>,
        upload: Option<&Settings>,
        key: Option<WrappingKey>,
        delete_after: Option<Duration>,
    ) -> Self {
        let parallel = upload.map_or(1, |upload| upload.parallel);
        let keep_local = upload.and_then(|upload| upload.keep_local);
        let places = Semaphore::new(parallel);
        Self { root, store, key, parallel, places, keep_local, delete_after, known: HashMap::new() }
    }

    /// Looks at all sessions once. `false`: something failed and nothing worked, as when the store is away.
    pub(super) async fn run(&mut self) -> bool {
        let folders: Vec<_> = sessions(&self.root).collect();
        let here: HashSet<_> = folders.iter().collect();
        self.known.retain(|folder, _| here.contains(folder) || folder.exists());
        let to_do: Vec<_> = folders.into_iter().filter(|folder| self.is_due(folder)).collect();
        let (mut worked, mut failed) = (0, 0);
        // Each has its own troubles, but where many have them the rest need not be tried.
        for some in to_do.chunks(self.parallel) {
            let this = &*self;
            let tasks = some.iter().map(|folder| async move { (folder, version(folder), this.session(folder).await) });
            let done: Vec<_> = stream::iter(tasks).buffer_unordered(this.parallel).collect().await;
            for (folder, manifest, result) in done {
                match result {
                    Ok(until_us) => {
                        worked += 1;
                        self.known.insert(folder.clone(), Known::Settled { manifest, until_us });
                    }
                    Err(trouble) => {
                        failed += 1;
                        self.note_failure(folder, &trouble);
                    }
                }
            }
            if failed >= ENOUGH && worked == 0 {
                break;
            }
        }
        for folder in deleting(&self.root).collect::<Vec<_>>() {
            if !self.is_due(&folder) {
                continue;
            }
            match delete(&self.root, &folder, self.store.as_ref()).await {
                Ok(()) => drop(self.known.remove(&folder)),
                Err(trouble) => self.note_failure(&folder, &trouble),
            }
        }
        failed == 0 || worked > 0
    }

    fn is_due(&self, folder: &Path) -> bool {
        match self.known.get(folder) {
            None => true,
            Some(Known::Settled { manifest, until_us }) => version(folder) != *manifest || now_micros() >= *until_us,
            Some(Known::Failed { again, .. }) => Instant::now() >= *again,
        }
    }

    /// Says what is wrong, once and not each time.
    fn note_failure(&mut self, folder: &Path, trouble: &Trouble) {
        let (mut backoff, before) = match self.known.remove(folder) {
            Some(Known::Failed { backoff, said, .. }) => (backoff, said),
            _ => (Backoff::default(), String::new()),
        };
        let said = trouble.gist();
        if said != before {
            tracing::warn!(folder = %folder.display(), "not uploaded or removed, and tried again: {trouble}");
        }
        let again = Instant::now() + backoff.failed();
        self.known.insert(folder.to_owned(), Known::Failed { again, backoff, said });
    }

    /// Does for a session what is to be done. Until when nothing more is, as long as its manifest stays.
    async fn session(&self, folder: &Path) -> Result<u64, Trouble> {
        let Some(manifest) = Manifest::load(&folder.join(MANIFEST)) else { return Ok(u64::MAX) };
        let deleted = self.delete_after.and_then(|after| Some(due(ended_at_us(&manifest)?, after))).unwrap_or(u64::MAX);
        if now_micros() >= deleted && !is_on_hold(folder) && begin_deleting(folder)?.is_some() {
            return Ok(u64::MAX);
        }
        let ledger = Ledger::load(folder)?;
        let removed = match &self.store {
            Some(store) => self.upload(store, folder, &manifest, ledger).await?,
            None => u64::MAX,
        };
        // What is due and could not be done is tried again, but not all the time.
        Ok(deleted.min(removed).max(now_micros().saturating_add(LOOKED_AT_AGAIN_US)))
    }

    /// Uploads, and removes what has been there long enough. When to look again.
    async fn upload(&self, store: &Store, folder: &Path, manifest: &Manifest, ledger: Ledger) -> Result<u64, Trouble> {
        let way = Way { store, key: self.key.as_ref(), places: &self.places };
        let Some(upload) = SessionUpload::of(&way, folder, ledger) else { return Ok(u64::MAX) };
        let progress = upload.run(manifest).await?;
        let mut ledger = upload.into_ledger();
        if progress.uploaded > 0 && progress.complete {
            tracing::info!(folder = %folder.display(), "a session is in the store as a whole");
        }
        if !progress.complete {
            // A seal may lack its signature for a moment, and a problem may be mended.
            let unfinished = manifest.seal.is_some() || !ledger.problems.is_empty();
            return Ok(if unfinished { 0 } else { u64::MAX });
        }
        let complete = ledger.seals.last().and_then(|seal| seal.complete_at_us);
        let Some(due) = complete.zip(self.keep_local).map(|(since, after)| due(since, after)) else {
            return Ok(u64::MAX);
        };
        if now_micros() < due || is_on_hold(folder) {
            return Ok(due);
        }
        let removed = remove_local(store, folder, manifest, &mut ledger).await?;
        if removed > 0 {
            tracing::info!(folder = %folder.display(), files = removed, "local copies are removed: upload.keep_local");
        }
        let here = manifest.files.iter().any(|entry| folder.join(&entry.path).symlink_metadata().is_ok());
        Ok(if here { due } else { u64::MAX })
    }
}

/// What tells one state of a manifest from the next: each is a file of its own.
type Version = (u64, SystemTime);

fn version(folder: &Path) -> Option<Version> {
    let found = folder.join(MANIFEST).metadata().ok()?;
    Some((found.ino(), found.modified().ok()?))
}

/// When so many sessions failed and none worked, the rest are not tried.
const ENOUGH: usize = 3;
/// What is due and could not be done is tried again after this, in microseconds.
const LOOKED_AT_AGAIN_US: u64 = 10_000_000;
