//! Where archives go: to a store, file by file, and after a while away from here.
//!
//! One thread, apart from all that records, looks at the folders of the sessions and brings to the store what is complete. What it knows is
//! in those folders: it can be killed at any moment. Nothing is ever written over in the store, and nothing is removed here before it was
//! read back from there.

mod backoff;
mod connect;
mod crypt;
mod hold;
mod jobs;
mod known;
mod ledger;
mod line;
mod pace;
mod pass;
mod put;
mod retention;
mod secret;
mod session;
mod settings;
mod source;
mod store;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::config::Config;
use backoff::Backoff;
use crypt::WrappingKey;
use jobs::Jobs;
use pass::Pass;
use settings::Target;
use store::{Store, Trouble};

pub(crate) use crypt::{CryptProblem, Opener, WrappingKey as EncryptionKey};
pub(crate) use hold::{is_on_hold, set_hold};
pub(crate) use ledger::{Ledger, Place};
pub(crate) use secret::SecretProblem;
pub(crate) use session::ENCRYPTED;
pub use settings::Settings;
pub(crate) use settings::{AGE, age};

/// The running uploader.
pub(crate) struct Uploader {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Uploader {
    /// Starts it, if the configuration says where archives go or how long they stay.
    pub(crate) fn start(config: &Config) -> io::Result<Option<Self>> {
        if config.upload.is_none() && config.delete_after.is_none() {
            return Ok(None);
        }
        let (stop, stopped) = oneshot::channel();
        let work =
            Work { root: config.directory.clone(), upload: config.upload.clone(), delete_after: config.delete_after };
        // One thread, for everything: reading, hashing and encrypting, too.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("upload".into()).spawn(move || {
            be_nice();
            runtime.block_on(async {
                tokio::select! {
                    () = work.run() => {}
                    // What is on its way is given up; the next run goes on.
                    _ = stopped => {}
                }
            });
            // Not after what it waits for in threads of its own: names that nobody resolves, a folder that does not answer.
            runtime.shutdown_background();
        })?;
        Ok(Some(Self { thread, stop }))
    }

    /// Ends it at once.
    pub(crate) fn finish(self) {
        // It may have ended already.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the uploader has failed");
        }
    }
}

/// On Linux this is the calling thread's own: recording goes before uploading.
fn be_nice() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "uploading has the same priority as recording");
    }
}

struct Work {
    root: PathBuf,
    upload: Option<Settings>,
    delete_after: Option<Duration>,
}

impl Work {
    async fn run(self) {
        let _lock = self.alone().await;
        let key = self.upload.as_ref().and_then(|upload| upload.encryption_key.as_deref());
        let key = match key.map(WrappingKey::load).transpose() {
            Ok(key) => key,
            Err(problem) => {
                tracing::error!("upload.encryption_key: {problem}; nothing is uploaded or removed, recording goes on");
                return;
            }
        };
        let store = match &self.upload {
            Some(upload) => Some(reach(upload, &self.root).await),
            None => None,
        };
        let mut pass = Pass::new(Jobs::new(self.root.clone(), store, self.upload.as_ref(), key, self.delete_after));
        let mut backoff = Backoff::default();
        loop {
            let wait = match pass.run().await {
                true => backoff.worked(),
                false => backoff.failed(),
            };
            sleep(wait.max(EACH)).await;
        }
    }

    /// Waits until no other recorder uploads from the same folder.
    async fn alone(&self) -> Option<File> {
        let mut said = String::new();
        loop {
            let problem = match lock(&self.root) {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) => String::from("another recorder uploads from there"),
                Err(error) => error.to_string(),
            };
            if problem != said {
                tracing::warn!(directory = %self.root.display(), "not uploading yet: {problem}");
                said = problem;
            }
            sleep(EACH).await;
        }
    }
}

fn lock(root: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(root)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => Ok(None),
        // Where locks are not supported, only a second recorder on the same folder would do double work.
        _ => Ok(Some(file)),
    }
}

/// Tries the store until it answers as it must. What is wrong is told at once, and again when it is something else.
async fn reach(settings: &Settings, root: &Path) -> Store {
    let (mut backoff, mut said) = (Backoff::default(), String::new());
    loop {
        let trouble = match try_store(settings, root).await {
            Ok(store) => {
                tracing::info!(url = settings.base(), "uploading");
                return store;
            }
            Err(trouble) => trouble,
        };
        if trouble.gist() != said {
            let problem = told(&trouble);
            tracing::error!(
                url = settings.base(),
                "cannot upload: {problem}; recording goes on, and it is tried again"
            );
            said = trouble.gist();
        }
        sleep(backoff.failed()).await;
    }
}

async fn try_store(settings: &Settings, root: &Path) -> Result<Store, Trouble> {
    match &settings.target {
        Target::Bucket { .. } => drop(settings.credentials.load().map_err(io::Error::other)?),
        // A copy of a file must not be that file.
        Target::Folder(folder) if overlap(folder, root) => return Err(io::Error::other(OVERLAP).into()),
        Target::Folder(_) => {}
    }
    let store = Store::open(settings)?;
    store.probe().await?;
    Ok(store)
}

/// Whether one folder is within the other, under whatever names.
fn overlap(folder: &Path, root: &Path) -> bool {
    let same = |a: &Path, b: &Path| {
        a.metadata().ok().zip(b.metadata().ok()).is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
    };
    let within = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| a.ancestors().any(|above| same(above, b)));
    within(folder, root) || within(root, folder)
}

/// What a store says, with what to do about it.
fn told(trouble: &Trouble) -> String {
    use object_store::Error;
    let Trouble::Store(error) = trouble else { return trouble.to_string() };
    let remedy = match error {
        Error::NotFound { .. } => "make the bucket or folder, or correct upload.url",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "check upload.credentials and what they allow (docs/recorder.md, Uploading), upload.region and the clock"
        }
        _ => "check upload.url, upload.endpoint and the network",
    };
    // Answers are XML, on several lines.
    format!("{error}; {remedy}").replace('\n', " ")
}

const OVERLAP: &str = "upload.url and recording.directory are in each other; name another folder";
/// Beside another recorder's: only one uploads.
const LOCK: &str = ".upload.lock";
const NICE: i32 = 10;
/// Folders are looked at this often.
const EACH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
