//! One session's folder, open for writing.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lockgate_model::carrier::{FileState, StartSession};
use lockgate_model::{PublisherId, RoomName};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, statvfs};
use rustix::io::Errno;

use super::date::now_micros;
use super::digest::open_regular;
use super::durable::Durable;
use super::events::{Event, EventLog};
use super::manifest::{FileEntry, Group, Manifest, SessionEnd};
use super::mark::{self, LeftOpen, MarkFile};
use super::sweep::{Swept, sweep_held};
use crate::webm::{Finished, inspect};

/// A session's folder.
#[derive(Debug)]
pub(crate) struct Archive {
    folder: PathBuf,
    epoch: u32,
    manifest: Manifest,
    events: EventLog,
    /// The manifest has changed since it was written.
    unsaved: bool,
    durable: Durable,
    /// Keeps the folder from being sealed while it is written.
    lock: Option<File>,
}

/// A file that was made and is empty.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// The file, open for writing and locked against being mended by others.
    pub(crate) file: File,
    /// Its name when it is complete.
    pub(crate) name: String,
    /// Which of its group's files it is.
    pub(crate) part: u32,
}

/// A session's folder, and what was found in it.
pub(crate) struct Opened {
    /// The folder.
    pub(crate) archive: Archive,
    /// Files that were left open and go on.
    pub(crate) left: Vec<LeftOpen>,
    /// Files that were left open and were mended.
    pub(crate) swept: Vec<Swept>,
}

impl Archive {
    /// Makes the folder, or opens it when the session goes on. Files that were left open there go on, too, where it is known how far
    /// they had come; the others are mended.
    pub(crate) fn open(root: &Path, start: &StartSession, durable: Durable) -> io::Result<Opened> {
        let folder = root.join(folder_name(&start.room)).join(start.session.as_str());
        std::fs::create_dir_all(&folder)?;
        let lock = lock_folder(&folder, FlockOperation::LockShared)?;
        let path = folder.join(MANIFEST);
        let known = Manifest::load(&path).filter(|manifest| manifest.session == start.session);
        // Another life of the node would mean other tracks by the same numbers.
        let same = known.as_ref().filter(|manifest| manifest.started_at_us == start.started_at_us);
        let left = same.map_or(Ok(Vec::new()), |manifest| mark::take_over(&folder, manifest, start.epoch))?;
        let swept = sweep_held(&folder)?;
        mark::tidy(&folder)?;
        let known = Manifest::load(&path).filter(|_| known.is_some());
        if known.is_none() {
            set_aside(&path)?;
        }
        let mut manifest = known.unwrap_or_else(|| Manifest::new(start));
        manifest.files.iter_mut().for_each(|entry| reconcile(&folder, entry));
        for LeftOpen { entry, .. } in &left {
            if manifest.files.iter().all(|known| known.path != entry.path) {
                manifest.files.push(entry.clone());
            }
        }
        (manifest.end, manifest.ended_at_us, manifest.reason) = (None, None, None);
        manifest.unseal(&path)?;
        manifest.save_for_good(&path)?;
        let events = EventLog::open(&folder.join(EVENTS))?;
        let archive = Self { folder, epoch: start.epoch, manifest, events, unsaved: false, durable, lock };
        Ok(Opened { archive, left, swept })
    }

    /// Notes what happened, at a time in microseconds on the session's timeline.
    pub(crate) fn note(&mut self, at_us: i64, event: Event<'_>) {
        self.events.note(at_us.div_euclid(1000), event);
    }

    /// Makes the next file of a group, under a name that no file there has.
    pub(crate) fn create(&self, publisher: PublisherId, group: Group, extension: &str) -> io::Result<NewFile> {
        let entries = self.manifest.files.iter();
        let known = entries.filter(|file| file.publisher_id == publisher && file.group == group).map(|file| file.part);
        let first = known.max().unwrap_or(0).saturating_add(1);
        for part in first..=first.saturating_add(MAX_TAKEN) {
            let stem = format!("{publisher}-{}-{part}", group.as_str());
            let taken = ["webm", "mkv", "webm.part", "mkv.part"].iter();
            if taken.map(|end| self.folder.join(format!("{stem}.{end}"))).any(|path| path.symlink_metadata().is_ok()) {
                continue;
            }
            let name = format!("{stem}.{extension}");
            let path = self.folder.join(open_name(&name));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => match lock_new(&file) {
                    // Somebody who mends the folder was quicker, and took it for one of which nothing came.
                    Ok(()) if path.symlink_metadata().is_err() => {}
                    Ok(()) => return Ok(NewFile { file, name, part }),
                    Err(error) => {
                        self.discard(&name);
                        return Err(error);
                    }
                },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "no free name for a file"))
    }

    /// Where it is told how far the file of this name has come.
    pub(crate) fn create_mark(&self, name: &str) -> io::Result<MarkFile> {
        MarkFile::create(&self.folder, name, self.epoch)
    }

    /// Removes a file that was made and of which nothing came.
    pub(crate) fn discard(&self, name: &str) {
        let path = self.folder.join(open_name(name));
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "a file with nothing in it stays");
        }
    }

    /// Enters a new file and says so.
    pub(crate) fn opened(&mut self, entry: FileEntry, at_us: i64) {
        self.note(at_us, Event::Open { file: entry.path.trim_end_matches(OPEN) });
        self.manifest.files.push(entry);
        self.unsaved = true;
    }

    /// Takes a file's final name and enters what it became. `update` completes its entry.
    pub(crate) fn closed(
        &mut self,
        name: &str,
        finished: Finished,
        at_us: i64,
        update: impl FnOnce(&mut FileEntry),
    ) -> io::Result<()> {
        let path = self.folder.join(name);
        rename_free(&self.folder.join(open_name(name)), &path)?;
        mark::remove(&self.folder, name);
        self.durable.soon(path);
        let open = open_name(name);
        if let Some(entry) = self.manifest.files.iter_mut().find(|entry| entry.path == open) {
            entry.path = name.to_owned();
            close_entry(entry, finished);
            update(entry);
        }
        self.note(at_us, Event::Close { file: name, duration_ms: finished.duration_ms, bytes: finished.bytes });
        self.unsaved = true;
        Ok(())
    }

    /// Frames and key frames of the tracks of a file that is whole but not closed yet, by reading it.
    pub(crate) fn count_frames(&self, name: &str) -> io::Result<Vec<(u64, u64)>> {
        let found = inspect(&open_regular(&self.folder.join(open_name(name)))?)?;
        Ok(found.tracks.values().map(|track| (track.frames, track.keyframes)).collect())
    }

    /// Says how large an open file is by now.
    pub(crate) fn grown(&mut self, name: &str, bytes: u64, duration_ms: u64) {
        let open = open_name(name);
        if let Some(entry) = self.manifest.files.iter_mut().rev().find(|entry| entry.path == open) {
            (entry.bytes, entry.duration_ms) = (bytes, duration_ms);
        }
    }

    /// Ends the session. What is said of it then outlives a power failure, and is sealed soon.
    pub(crate) fn end(&mut self, end: SessionEnd, reason: Option<&str>, at_us: i64) -> io::Result<()> {
        self.note(at_us, Event::End { state: end.as_str(), reason });
        (self.manifest.end, self.manifest.reason) = (Some(end), reason.map(str::to_owned));
        self.manifest.ended_at_us = Some(now_micros());
        let path = self.folder.join(MANIFEST);
        let written = self.events.flush().and_then(|()| self.manifest.save_for_good(&path));
        // Whatever came of it, this one writes no more.
        self.lock = None;
        written?;
        self.durable.soon(path);
        self.unsaved = false;
        self.durable.seal(self.folder.clone());
        Ok(())
    }

    /// Writes what has changed: when many files begin or end at once, that is one write and not one for each.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.unsaved { self.save() } else { self.events.flush() }
    }

    /// How much the disk can still take, in bytes.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// What is known of the session.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn save(&mut self) -> io::Result<()> {
        self.events.flush()?;
        let path = self.folder.join(MANIFEST);
        self.manifest.save(&path)?;
        self.durable.soon(path);
        self.unsaved = false;
        Ok(())
    }
}

/// Keeps a manifest that cannot be understood: a new one knows nothing of the files that it names.
fn set_aside(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let names = (1..=MAX_TAKEN).map(|number| path.with_extension(format!("json.bad-{number}")));
    let Some(free) = names.into_iter().find(|name| name.symlink_metadata().is_err()) else {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "too many manifests that cannot be read"));
    };
    rename_free(path, &free)?;
    tracing::error!(manifest = %free.display(), "a manifest cannot be read and was set aside");
    Ok(())
}

/// Locks a session's folder. None: somebody else has locked it in a way that this one has no place beside. Where locks are not
/// supported, only a second recorder on the same session could do harm.
fn lock_folder(folder: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    let open = File::open(folder)?;
    match flock(&open, how) {
        Err(Errno::AGAIN) => Ok(None),
        _ => Ok(Some(open)),
    }
}

/// Locks a session's folder for this one alone; who only looks whether it is locked is waited for. None: somebody writes it.
pub(crate) fn lock_alone(folder: &Path) -> io::Result<Option<File>> {
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = lock_folder(folder, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(Some(lock));
        }
        thread::sleep(LOCK_PAUSE);
    }
    Ok(None)
}

/// Locks a session's folder together with others, against being removed from; who has it alone is waited for.
pub(crate) fn lock_shared(folder: &Path) -> io::Result<Option<File>> {
    lock_folder(folder, FlockOperation::LockShared)
}

/// Whether somebody holds the lock on a session's folder, as who writes it does.
pub(crate) fn is_held(folder: &Path) -> bool {
    matches!(lock_folder(folder, FlockOperation::NonBlockingLockExclusive), Ok(None))
}

/// Locks a file that was just made; who only looks whether it is locked is waited for. Where locks are not supported, only a second
/// recorder on the same folder could do harm.
pub(super) fn lock_new(file: &File) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) if tries < LOCK_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
        thread::sleep(LOCK_PAUSE);
    }
}

/// A recorder that was killed, or whose disk was full, may have completed a file and not entered that any more.
pub(super) fn reconcile(folder: &Path, entry: &mut FileEntry) {
    let Some(name) = entry.path.strip_suffix(OPEN).map(str::to_owned) else { return };
    let gone = folder.join(&entry.path).symlink_metadata().is_err();
    if let (true, Ok(file)) = (gone, folder.join(&name).symlink_metadata()) {
        (entry.path, entry.state, entry.bytes) = (name, FileState::Closed, file.len());
        count(folder, entry);
    }
}

/// Reads a complete file to know how long it is and what is in it.
pub(super) fn count(folder: &Path, entry: &mut FileEntry) {
    match open_regular(&folder.join(&entry.path)).and_then(|file| inspect(&file)) {
        Ok(found) => {
            entry.duration_ms = found.duration_ms;
            for (track, content) in entry.tracks.iter_mut().zip(found.tracks.values()) {
                (track.frames, track.keyframes) = (content.frames, content.keyframes);
            }
        }
        Err(error) => tracing::warn!(?folder, file = entry.path, %error, "a file cannot be read"),
    }
}

/// The name of a file that grows.
pub(super) fn open_name(name: &str) -> String {
    format!("{name}{OPEN}")
}

pub(super) fn close_entry(entry: &mut FileEntry, finished: Finished) {
    entry.state = FileState::Closed;
    (entry.bytes, entry.duration_ms) = (finished.bytes, finished.duration_ms);
}

/// Renames, but never over another file.
pub(crate) fn rename_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it; names are given out once, so looking is as good.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_err() => std::fs::rename(from, to),
        result => Ok(result?),
    }
}

/// A room's folder. Long names, which file systems do not take, are cut; sessions keep rooms with the same cut name apart.
fn folder_name(room: &RoomName) -> String {
    let mut segment = room.to_segment();
    if segment.len() > LONGEST_NAME {
        let mut cut = LONGEST_NAME - 1;
        // Not within a %XX.
        while segment.as_bytes()[cut - 2..cut].contains(&b'%') {
            cut -= 1;
        }
        segment.truncate(cut);
        segment.push('~');
    }
    segment
}

pub(crate) const MANIFEST: &str = "session.json";
pub(crate) const EVENTS: &str = "events.jsonl";
/// Behind the name of a file that grows.
pub(crate) const OPEN: &str = ".part";
/// File systems take 255 bytes.
const LONGEST_NAME: usize = 240;
/// How many names may be taken by files that the manifest does not know, or by manifests that cannot be read.
const MAX_TAKEN: u32 = 10_000;
/// How often a lock is tried, and how long is waited between.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
