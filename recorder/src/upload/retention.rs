//! How long archives stay: local copies of what is in the store, and archives as a whole. Nothing that is held goes, and nothing local
//! goes because of the store before the store was asked once more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::carrier::FileState;
use serde::Serialize;

use super::hold::is_on_hold;
use super::ledger::{Ledger, Uploaded};
use super::session::ENCRYPTED;
use super::store::{Store, Trouble};
use crate::archive::{DELETING, FileEntry, MANIFEST, Manifest, lock_alone, now_micros, rename_free, rfc3339};

/// When something is to be done, in microseconds since 1970 (UTC).
pub(super) fn due(since_us: u64, after: Duration) -> u64 {
    since_us.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX))
}

/// When a session ended, in microseconds since 1970 (UTC); none: it has not.
pub(super) fn ended_at_us(manifest: &Manifest) -> Option<u64> {
    // A session may go on for long after its last file. Manifests of earlier versions tell of the files only.
    let last_file = manifest.started_at_us.saturating_add(manifest.duration_ms().saturating_mul(1000));
    manifest.end.map(|_| last_file.max(manifest.ended_at_us.unwrap_or_default()))
}

/// The complete files of a session that are here.
pub(super) fn closed_here<'a>(folder: &'a Path, manifest: &'a Manifest) -> impl Iterator<Item = &'a FileEntry> {
    let closed = manifest.files.iter().filter(|entry| entry.state == FileState::Closed);
    closed.filter(|entry| folder.join(&entry.path).symlink_metadata().is_ok())
}

/// Removes the media of a session that is in the store as a whole. How many files.
pub(super) async fn remove_local(
    store: &Store,
    folder: &Path,
    manifest: &Manifest,
    ledger: &mut Ledger,
) -> Result<usize, Trouble> {
    let mut removable = Vec::new();
    for entry in closed_here(folder, manifest) {
        let Some(known) = ledger.files.get(&entry.path).filter(|known| entry.sha256.as_ref() == Some(&known.sha256))
        else {
            continue;
        };
        // What was uploaded to another store cannot be asked for, and stays.
        let Some(name) = store.name_of(&known.url) else { continue };
        if is_there(store, name, known).await? {
            removable.push(entry.path.clone());
        } else {
            tracing::error!(
                url = known.url,
                "what was uploaded is gone or was replaced; it stays here, and is uploaded again"
            );
            ledger.files.remove(&entry.path);
            ledger.save(folder)?;
        }
    }
    // Whoever writes or holds the session has the lock, too.
    let Some(_lock) = lock_alone(folder)? else { return Ok(0) };
    if removable.is_empty() || is_on_hold(folder) || Manifest::load(&folder.join(MANIFEST)).as_ref() != Some(manifest) {
        return Ok(0);
    }
    for name in &removable {
        if let Some(known) = ledger.files.get_mut(name) {
            known.removed = true;
        }
    }
    // First this: a file that is missing without a word would be damage.
    ledger.save(folder)?;
    for name in &removable {
        std::fs::remove_file(folder.join(name))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(removable.len())
}

async fn is_there(store: &Store, name: &str, known: &Uploaded) -> Result<bool, Trouble> {
    match store.head(name).await {
        Ok(meta) => Ok(meta.size == known.stored && (known.etag.is_none() || meta.e_tag == known.etag)),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes a session out of sight, unless it is held or somebody writes it. From here on nothing keeps it from being deleted.
pub(super) fn begin_deleting(folder: &Path) -> io::Result<Option<PathBuf>> {
    let Some(_lock) = lock_alone(folder)? else { return Ok(None) };
    if is_on_hold(folder) {
        return Ok(None);
    }
    let mut deleting = folder.as_os_str().to_owned();
    deleting.push(DELETING);
    let deleting = PathBuf::from(deleting);
    rename_free(folder, &deleting)?;
    Ok(Some(deleting))
}

/// A line of `deleted.jsonl`. It tells that something was deleted and when, not what it was about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tombstone<'a> {
    at: String,
    session: &'a str,
    files: usize,
    bytes: u64,
    /// How many objects were removed from the store, those included of which it was not certain that they had arrived.
    objects: usize,
}

/// Deletes a session that is out of sight: from the store, its manifests first, and what may be there without having been read back; then
/// here.
pub(super) async fn delete(root: &Path, folder: &Path, store: Option<&Store>) -> Result<(), Trouble> {
    let ledger = Ledger::load(folder)?;
    let objects = ledger.pending.keys().chain(ledger.files.values().map(|file| &file.url));
    let mut urls: Vec<_> = objects.map(|url| (!url.trim_end_matches(ENCRYPTED).ends_with(MANIFEST), url)).collect();
    urls.sort();
    urls.dedup();
    for (_, url) in &urls {
        let found = store.and_then(|store| Some((store, store.name_of(url)?)));
        let Some((store, name)) = found else {
            return Err(
                io::Error::other(format!("{url} is in a store that is not configured: it is not deleted")).into()
            );
        };
        if let Some(upload) = ledger.pending.get(*url) {
            store.clear(&store.path(name)?, upload).await?;
        }
        store.delete(name).await?;
    }
    let manifest = Manifest::load(&folder.join(MANIFEST));
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let session = name.trim_end_matches(DELETING);
    let files = manifest.as_ref().map_or(&[][..], |manifest| &manifest.files);
    let bytes = files.iter().map(|file| file.bytes).sum();
    let stone = Tombstone { at: rfc3339(now_micros()), session, files: files.len(), bytes, objects: urls.len() };
    bury(root, &stone)?;
    std::fs::remove_dir_all(folder)?;
    tracing::info!(
        session,
        files = files.len(),
        bytes,
        objects = urls.len(),
        "a session is deleted: recording.delete_after"
    );
    Ok(())
}

/// One line more. After a crash there may be two for one session.
fn bury(root: &Path, stone: &Tombstone<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(stone)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).open(root.join(TOMBSTONES))?;
    file.write_all(&line)?;
    file.sync_all()
}

/// What was deleted, in the folder of all archives.
const TOMBSTONES: &str = "deleted.jsonl";
