//! What takes long and nobody waits for: brings complete files to the disk, so that they outlive a power failure, and seals the
//! archives of sessions that have ended. A thread does each.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::digest::Budget;
use super::key::SigningKey;
use super::seal::{Sealing, seal};
use super::sweep::{report_swept, sessions, sweep_session};

/// The way to those threads. They end when all of these are gone and everything is done.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    files: SyncSender<PathBuf>,
    ended: SyncSender<Task>,
}

/// What the sealing thread is to do.
#[derive(Debug)]
enum Task {
    /// Mend and seal what earlier runs left.
    Sweep,
    /// Seal the archive in this folder.
    Seal(PathBuf),
}

/// The threads themselves.
#[derive(Debug)]
pub(crate) struct Background {
    threads: [JoinHandle<()>; 2],
    budget: Arc<Budget>,
}

impl Durable {
    /// Starts the threads. With a key, seals are signed. `root` is where [`Self::sweep`] looks.
    pub(crate) fn start(root: Option<PathBuf>, key: Option<SigningKey>) -> std::io::Result<(Self, Background)> {
        let (files, complete) = sync_channel(MAX_WAITING);
        let (ended, tasks) = sync_channel(MAX_WAITING);
        let budget = Arc::new(Budget::new());
        let own = Arc::clone(&budget);
        let threads = [
            thread::Builder::new().name("durable".into()).spawn(move || write_out(&complete))?,
            thread::Builder::new().name("sealing".into()).spawn(move || {
                for task in tasks {
                    match task {
                        Task::Sweep => root.iter().for_each(|root| sweep(root, key.as_ref(), &own)),
                        Task::Seal(folder) => seal_one(&folder, key.as_ref(), &own),
                    }
                }
            })?,
        ];
        Ok((Self { files, ended }, Background { threads, budget }))
    }

    /// Leads nowhere: nothing is done.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Self { files: sync_channel(0).0, ended: sync_channel(0).0 }
    }

    /// Brings a file and its name to the disk soon. When too many wait, the operating system's own pace must do.
    pub(super) fn soon(&self, path: PathBuf) {
        if self.files.try_send(path).is_err() {
            tracing::debug!("too many complete files wait to be brought to the disk");
        }
    }

    /// Mends and seals soon what earlier runs left, but for what goes on: that is open, and locked.
    pub(crate) fn sweep(&self) {
        if self.ended.try_send(Task::Sweep).is_err() {
            tracing::warn!("too many archives wait to be sealed; what was left open is mended at the next start");
        }
    }

    /// Seals the archive in a folder soon. When too many wait, the next start does it.
    pub(super) fn seal(&self, folder: PathBuf) {
        if self.ended.try_send(Task::Seal(folder)).is_err() {
            tracing::warn!("too many archives wait to be sealed; some will be at the next start");
        }
    }
}

impl Background {
    /// Waits until everything is done, when nothing more comes. Of what is to be hashed then, only some is: the next start goes on.
    pub(crate) fn finish(self) -> std::io::Result<()> {
        self.budget.limit(HASHED_AT_END);
        let ended = self.threads.map(JoinHandle::join);
        match ended.iter().all(Result::is_ok) {
            true => Ok(()),
            false => Err(std::io::Error::other("files may not have reached the disk")),
        }
    }
}

fn write_out(paths: &Receiver<PathBuf>) {
    for path in paths {
        let folder = path.parent().unwrap_or(Path::new("."));
        let synced = File::open(&path).and_then(|file| file.sync_all());
        let synced = synced.and_then(|()| File::open(folder)?.sync_all());
        if let Err(error) = synced {
            tracing::warn!(file = %path.display(), %error, "a complete file may not outlive a power failure");
        }
    }
}

fn sweep(root: &Path, key: Option<&SigningKey>, budget: &Budget) {
    for folder in sessions(root) {
        match sweep_session(&folder) {
            Ok(swept) => report_swept(&swept),
            Err(error) => tracing::error!(folder = %folder.display(), %error, "an archive cannot be mended"),
        }
        seal_one(&folder, key, budget);
    }
}

fn seal_one(folder: &Path, key: Option<&SigningKey>, budget: &Budget) {
    match seal(folder, key, budget) {
        Ok(Sealing::Sealed) => tracing::info!(folder = %folder.display(), "an archive is sealed"),
        Ok(_) => {}
        Err(error) => tracing::error!(folder = %folder.display(), %error, "an archive cannot be sealed"),
    }
}

const MAX_WAITING: usize = 4096;
/// What is still hashed when the process ends, in bytes: about a second's work.
const HASHED_AT_END: u64 = 1 << 30;
