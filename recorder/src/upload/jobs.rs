//! What is done for one session: it goes to the store, it goes away here after a while, and it is deleted when it is too old.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::crypt::WrappingKey;
use super::hold::is_on_hold;
use super::ledger::Ledger;
use super::retention::{begin_deleting, delete, due, ended_at_us, remove_local};
use super::session::{SessionUpload, Way};
use super::settings::Settings;
use super::store::{Store, Trouble};
use crate::archive::{MANIFEST, Manifest, now_micros};

/// What it is done with.
pub(super) struct Jobs {
    /// The folder of all archives.
    pub(super) root: PathBuf,
    store: Option<Store>,
    key: Option<WrappingKey>,
    /// How many files may be on their way at once.
    pub(super) parallel: usize,
    places: Semaphore,
    keep_local: Option<Duration>,
    delete_after: Option<Duration>,
}

impl Jobs {
    pub(super) fn new(
        root: PathBuf,
        store: Option<Store>,
        upload: Option<&Settings>,
        key: Option<WrappingKey>,
        delete_after: Option<Duration>,
    ) -> Self {
        let parallel = upload.map_or(1, |upload| upload.parallel);
        let places = Semaphore::new(parallel);
        let keep_local = upload.and_then(|upload| upload.keep_local);
        Self { root, store, key, parallel, places, keep_local, delete_after }
    }

    /// Takes a session out of sight if it is too old, so that it is deleted. None: it is; otherwise when it will be too old, in
    /// microseconds since 1970 (UTC).
    pub(super) fn retire(&self, folder: &Path) -> Result<Option<u64>, Trouble> {
        if self.delete_after.is_none() {
            return Ok(Some(u64::MAX));
        }
        let Some(manifest) = Manifest::load(&folder.join(MANIFEST)) else { return Ok(Some(u64::MAX)) };
        let too_old = self.too_old_at(&manifest);
        let gone = now_micros() >= too_old && !is_on_hold(folder) && begin_deleting(folder)?.is_some();
        Ok((!gone).then_some(too_old))
    }

    fn too_old_at(&self, manifest: &Manifest) -> u64 {
        self.delete_after.and_then(|after| Some(due(ended_at_us(manifest)?, after))).unwrap_or(u64::MAX)
    }

    /// Deletes a session that is out of sight.
    pub(super) async fn delete(&self, folder: &Path) -> Result<(), Trouble> {
        delete(&self.root, folder, self.store.as_ref()).await
    }

    /// Uploads a session, and removes here what has been there long enough. Until when nothing more is to be done, as long as its
    /// manifest stays, in microseconds since 1970 (UTC).
    pub(super) async fn upload(&self, folder: &Path) -> Result<u64, Trouble> {
        let Some(manifest) = Manifest::load(&folder.join(MANIFEST)) else { return Ok(u64::MAX) };
        let ledger = Ledger::load(folder)?;
        let next = match &self.store {
            Some(store) => self.upload_to(store, folder, &manifest, ledger).await?,
            None => u64::MAX,
        };
        // What is due and could not be done is tried again, but not all the time.
        Ok(self.too_old_at(&manifest).min(next).max(now_micros().saturating_add(LOOKED_AT_AGAIN_US)))
    }

    async fn upload_to(
        &self,
        store: &Store,
        folder: &Path,
        manifest: &Manifest,
        ledger: Ledger,
    ) -> Result<u64, Trouble> {
        let way = Way { store, key: self.key.as_ref(), parallel: self.parallel, places: &self.places };
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

/// What is due and could not be done is tried again after this, in microseconds.
const LOOKED_AT_AGAIN_US: u64 = 10_000_000;
