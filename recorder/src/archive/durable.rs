//! Brings complete files to the disk, so that they outlive a power failure. That takes long, so a thread of its own does it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// The way to that thread. It ends when all of these are gone and everything is on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Durable(SyncSender<PathBuf>);

impl Durable {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, paths) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name("durable".into()).spawn(move || write_out(&paths))?;
        Ok((Self(sender), thread))
    }

    /// Brings a file and its name to the disk soon. When too many wait, the operating system's own pace must do.
    pub(super) fn soon(&self, path: PathBuf) {
        if self.0.try_send(path).is_err() {
            tracing::debug!("too many complete files wait to be brought to the disk");
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

const MAX_WAITING: usize = 4096;
