//! Seals the archive of a session that has ended: a hash of every file in the manifest, and a signature over that.
//!
//! Hashing takes as long as reading the files does, so it is done aside and without a lock; only what comes of it is written under
//! one. A session that goes on meanwhile stays as it is, and is sealed when it ends again.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind};
use std::path::Path;

use lockgate_model::carrier::FileState;

use super::date::{now_micros, rfc3339};
use super::digest::{Budget, Digest, digest, open_regular};
use super::events::mend_log;
use super::folder::{EVENTS, MANIFEST, lock_alone};
use super::key::SigningKey;
use super::manifest::{FileEntry, LogEntry, Manifest, Seal, signature_of, write_whole};
use super::speakers::{speeches, web_vtt};
use crate::upload::Ledger;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// It is sealed now.
    Sealed,
    /// It was before.
    Already,
    /// The session runs, or goes on.
    Running,
    /// There was no time to hash it.
    Later,
    /// There is no manifest that could be understood.
    Unknown,
}

/// Seals the session in this folder, with a signature if there is a key.
pub(crate) fn seal(folder: &Path, key: Option<&SigningKey>, budget: &Budget) -> io::Result<Sealing> {
    let path = folder.join(MANIFEST);
    let Some(mut manifest) = Manifest::load(&path) else { return Ok(Sealing::Unknown) };
    if let Some(state) = settled(&manifest, &path) {
        return Ok(state);
    }
    if manifest.seal.is_some() {
        // No signature covers the hashes that stand there. Of what was removed when it was in the store nothing else is left.
        let ledger = Ledger::look(folder);
        let gone = |entry: &FileEntry| ledger.removed(&entry.path).map(|known| known.sha256.clone());
        manifest.files.iter_mut().for_each(|entry| entry.sha256 = gone(entry));
    }
    if !add_hashes(&mut manifest, folder, budget)? {
        return Ok(Sealing::Later);
    }
    let Some(_lock) = lock_alone(folder)? else { return Ok(Sealing::Running) };
    let hashed = manifest.files;
    let Some(mut manifest) = Manifest::load(&path) else { return Ok(Sealing::Unknown) };
    if let Some(state) = settled(&manifest, &path) {
        return Ok(state);
    }
    for entry in &mut manifest.files {
        let same = hashed.iter().find(|hashed| hashed.path == entry.path && hashed.bytes == entry.bytes);
        entry.sha256 = same.and_then(|hashed| hashed.sha256.clone());
    }
    mend_log(&folder.join(EVENTS))?;
    let Some(logs) = write_logs(folder, budget)? else { return Ok(Sealing::Later) };
    let at = rfc3339(now_micros());
    manifest.seal = Some(Seal { at, logs, key: key.map(|key| key.public().to_string()) });
    sign(&manifest, &path, key)?;
    Ok(Sealing::Sealed)
}

/// Why there is nothing to do. A seal whose signature was not written any more is made anew.
fn settled(manifest: &Manifest, path: &Path) -> Option<Sealing> {
    match &manifest.seal {
        _ if manifest.end.is_none() => Some(Sealing::Running),
        Some(Seal { key, .. }) if key.is_none() || signature_of(path).exists() => Some(Sealing::Already),
        _ => None,
    }
}

/// Hashes the complete files. `false` when there is no time for that. A file that cannot be read stays without a hash.
fn add_hashes(manifest: &mut Manifest, folder: &Path, budget: &Budget) -> io::Result<bool> {
    for entry in manifest.files.iter_mut().filter(|entry| entry.state == FileState::Closed && entry.sha256.is_none()) {
        match digest(&folder.join(&entry.path), budget) {
            // One that was changed since it was complete gets no hash that would say all is well.
            Ok(Some(Digest { bytes, sha256 })) if bytes == entry.bytes => entry.sha256 = Some(sha256),
            Ok(Some(_)) => tracing::error!(?folder, file = entry.path, "a file has another size than it was given"),
            Ok(None) => return Ok(false),
            Err(error) => tracing::error!(?folder, file = entry.path, %error, "a file cannot be hashed"),
        }
    }
    Ok(true)
}

/// Writes who spoke, and hashes everything that is not media. None: there is no time for that.
fn write_logs(folder: &Path, budget: &Budget) -> io::Result<Option<Vec<LogEntry>>> {
    let speeches = match open_regular(&folder.join(EVENTS)) {
        Ok(events) => speeches(BufReader::new(events))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    write_whole(&folder.join(SPEAKERS), web_vtt(&speeches).as_bytes(), File::sync_all)?;
    let mut logs = Vec::new();
    for name in [EVENTS, SPEAKERS] {
        match digest(&folder.join(name), budget) {
            Ok(Some(Digest { bytes, sha256 })) => logs.push(LogEntry { path: name.to_owned(), bytes, sha256 }),
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(logs))
}

/// Writes the manifest, and behind it the signature: none ever stands beside a manifest that it does not fit.
fn sign(manifest: &Manifest, path: &Path, key: Option<&SigningKey>) -> io::Result<()> {
    let bytes = manifest.to_bytes()?;
    write_whole(path, &bytes, File::sync_all)?;
    if let Some(key) = key {
        write_whole(&signature_of(path), &key.sign(&bytes), File::sync_all)?;
    }
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Who spoke when.
pub(crate) const SPEAKERS: &str = "speakers.vtt";
