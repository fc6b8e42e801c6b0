//! Completes what recorders that were killed have left open.

use std::fs::{Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::date::now_micros;
use super::events::{Event, EventLog};
use super::folder::{EVENTS, MANIFEST, OPEN, close_entry, count, lock_alone, reconcile, rename_free};
use super::manifest::{Manifest, SessionEnd};
use super::mark;
use crate::webm::{Finished, Repair, repair};

/// A file that was left open.
#[derive(Debug)]
pub(crate) struct Swept {
    /// Where it is now.
    pub(crate) path: PathBuf,
    /// What came of it; an error leaves it as it was.
    pub(crate) outcome: io::Result<Repair>,
}

impl Swept {
    /// Whether something is not as it was before.
    fn changed(&self) -> bool {
        matches!(self.outcome, Ok(Repair::Mended(_) | Repair::Empty))
    }
}

/// The folders of all sessions under `root`, but for those that are being deleted.
pub(crate) fn sessions(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    folders(root).into_iter().flat_map(|room| folders(&room)).filter(|folder| !is_deleting(folder))
}

/// The folders of sessions that somebody began to delete.
pub(crate) fn deleting(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    folders(root).into_iter().flat_map(|room| folders(&room)).filter(|folder| is_deleting(folder))
}

/// Whether somebody began to delete the session in this folder.
pub(crate) fn is_deleting(folder: &Path) -> bool {
    folder.as_os_str().as_encoded_bytes().ends_with(DELETING.as_bytes())
}

/// Mends what is open in one session, and ends it if it was left without an end. What somebody else records is entered by them.
pub(crate) fn sweep_session(folder: &Path) -> io::Result<Vec<Swept>> {
    // Whoever writes a session holds a lock on its folder.
    let alone = lock_alone(folder)?;
    let swept = mend_open(folder)?;
    if alone.is_some() {
        mark::tidy(folder)?;
        let abandoned = Manifest::load(&folder.join(MANIFEST)).is_some_and(|found| found.end.is_none());
        if abandoned || swept.iter().any(Swept::changed) {
            enter(folder, &swept)?;
        }
    }
    Ok(swept)
}

/// The same for who holds the lock on the folder and is about to go on with the session.
pub(super) fn sweep_held(folder: &Path) -> io::Result<Vec<Swept>> {
    let swept = mend_open(folder)?;
    if swept.iter().any(Swept::changed) {
        enter(folder, &swept)?;
    }
    Ok(swept)
}

fn mend_open(folder: &Path) -> io::Result<Vec<Swept>> {
    let mut swept = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_open = path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(OPEN.as_bytes()));
        if is_open && let Some(file) = mend(path) {
            swept.push(file);
        }
    }
    Ok(swept)
}

/// Mends one file and gives it its final name; none if it is being written, or no file.
fn mend(path: PathBuf) -> Option<Swept> {
    // Not through links, which may lead anywhere; and opening a pipe would wait for its other end.
    path.symlink_metadata().ok().filter(Metadata::is_file)?;
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) => return Some(Swept { path, outcome: Err(error) }),
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let outcome = repair(&file).and_then(|repair| match repair {
        Repair::Mended(_) => {
            let complete = free_name(&path);
            file.sync_all()?;
            rename_free(&path, &complete)?;
            unmark(&path);
            Ok((repair, complete))
        }
        Repair::Empty => {
            std::fs::remove_file(&path)?;
            unmark(&path);
            Ok((repair, path.clone()))
        }
        Repair::Unknown => Ok((repair, path.clone())),
    });
    Some(match outcome {
        Ok((repair, path)) => Swept { path, outcome: Ok(repair) },
        Err(error) => Swept { path, outcome: Err(error) },
    })
}

/// It goes on no more.
fn unmark(path: &Path) {
    let complete = path.with_extension("");
    if let (Some(folder), Some(name)) = (path.parent(), complete.file_name().and_then(|name| name.to_str())) {
        mark::remove(folder, name);
    }
}

/// The name without `.part`, or, where that is taken, with a number.
fn free_name(path: &Path) -> PathBuf {
    let complete = path.with_extension("");
    let mut free = complete.clone();
    for number in 2..1000 {
        if free.symlink_metadata().is_err() {
            break;
        }
        let extension = complete.extension().unwrap_or_default().to_string_lossy();
        free = complete.with_extension(format!("{number}.{extension}"));
    }
    free
}

/// Brings manifest and events up to date. Whoever calls it holds the lock on the folder.
fn enter(folder: &Path, swept: &[Swept]) -> io::Result<()> {
    let path = folder.join(MANIFEST);
    let Some(mut manifest) = Manifest::load(&path) else { return Ok(()) };
    manifest.unseal(&path)?;
    let mut events = EventLog::open(&folder.join(EVENTS))?;
    let at_ms = now_micros().saturating_sub(manifest.started_at_us) / 1000;
    for Swept { path, outcome } in swept {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        match outcome {
            Ok(Repair::Mended(finished)) => {
                mended(&mut manifest, folder, name, *finished);
                events.note(i64::try_from(at_ms).unwrap_or(i64::MAX), Event::Mended { file: name });
            }
            Ok(Repair::Empty) => manifest.files.retain(|entry| entry.path != name),
            _ => {}
        }
    }
    manifest.files.iter_mut().for_each(|entry| reconcile(folder, entry));
    if manifest.end.is_none() {
        (manifest.end, manifest.ended_at_us) = (Some(SessionEnd::Interrupted), Some(now_micros()));
    }
    events.flush()?;
    manifest.save_for_good(&path)
}

fn mended(manifest: &mut Manifest, folder: &Path, name: &str, finished: Finished) {
    let open = |path: &str| path.strip_suffix(OPEN).is_some_and(|complete| complete == name);
    if let Some(entry) = manifest.files.iter_mut().find(|entry| open(&entry.path)) {
        entry.path = name.to_owned();
        entry.mended = true;
        close_entry(entry, finished);
        count(folder, entry);
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(of) else { return Vec::new() };
    // Not through links: they may lead anywhere.
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Says what was found of earlier runs.
pub(crate) fn report_swept(swept: &[Swept]) {
    for Swept { path, outcome } in swept {
        match outcome {
            Ok(repair) => tracing::info!(file = %path.display(), ?repair, "a file was left open by an earlier run"),
            Err(error) => tracing::error!(file = %path.display(), %error, "a file that was left open cannot be mended"),
        }
    }
}

/// Behind the name of a session's folder while it is deleted.
pub(crate) const DELETING: &str = ".deleting";
