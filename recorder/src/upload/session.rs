//! One session on its way to the store: its complete files as soon as they are, and when it is sealed what was written of it, the manifest
//! last. Whoever lists the store sees a session with its manifest, which is whole, or one without.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::StreamExt;
use futures_util::stream;
use object_store::ObjectMeta;
use tokio::sync::Semaphore;

use super::crypt::WrappingKey;
use super::ledger::{Held, Ledger, Uploaded};
use super::retention::closed_here;
use super::source::Source;
use super::store::{AWAY_AFTER, Store, Trouble};
use crate::archive::{Digest, MANIFEST, Manifest, hex, now_micros, signature_of};

/// What uploading needs beside the session itself.
pub(super) struct Way<'a> {
    pub(super) store: &'a Store,
    pub(super) key: Option<&'a WrappingKey>,
    /// How many files may be on their way at once.
    pub(super) parallel: usize,
    /// As many places; all sessions share them. Those who wait get them in the order in which they came.
    pub(super) places: &'a Semaphore,
}

/// How far a session came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Files that are in the store since.
    pub(super) uploaded: usize,
    /// Whether all of it is there, with its manifest.
    pub(super) complete: bool,
}

/// A session of which something may have to be uploaded.
pub(super) struct SessionUpload<'a> {
    way: &'a Way<'a>,
    folder: &'a Path,
    /// `room/session`.
    remote: String,
    ledger: RefCell<Ledger>,
}

/// A file that is to be in the store.
struct Wanted {
    /// Its name in the store, below the session's.
    name: String,
    /// What is in it: a file of the folder, or these bytes.
    content: Content,
}

enum Content {
    File { name: String, sha256: Option<String> },
    Bytes(Vec<u8>),
}

impl<'a> SessionUpload<'a> {
    /// The session in a folder `…/room/session`.
    pub(super) fn of(way: &'a Way<'a>, folder: &'a Path, ledger: Ledger) -> Option<Self> {
        let name = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
        let remote = format!("{}/{}", name(folder.parent()?)?, name(folder)?);
        Some(Self { way, folder, remote, ledger: RefCell::new(ledger) })
    }

    /// What is known after it.
    pub(super) fn into_ledger(self) -> Ledger {
        self.ledger.into_inner()
    }

    /// Uploads what is complete and not there yet.
    pub(super) async fn run(&self, manifest: &Manifest) -> Result<Progress, Trouble> {
        self.clear_left().await?;
        let media = self.upload_all(self.media(manifest)).await?;
        let (mut uploaded, whole) = media;
        if manifest.seal.is_none() || !whole {
            return Ok(Progress { uploaded, complete: false });
        }
        let Some((sha256, logs, last)) = self.sealed(manifest)? else {
            return Ok(Progress { uploaded, complete: false });
        };
        for wanted in [logs, vec![last]] {
            let (more, whole) = self.upload_all(wanted).await?;
            uploaded += more;
            if !whole {
                return Ok(Progress { uploaded, complete: false });
            }
        }
        self.change(|ledger| {
            if let Some(seal) = ledger.seals.last_mut().filter(|seal| seal.sha256 == sha256) {
                seal.complete_at_us.get_or_insert_with(now_micros);
            }
        })?;
        Ok(Progress { uploaded, complete: true })
    }

    /// Clears away what was left half uploaded. What may be there as a whole stays noted until it was read back.
    async fn clear_left(&self) -> Result<(), Trouble> {
        let (left, store) = (self.ledger.borrow().pending.clone(), self.way.store);
        for (url, upload) in left {
            // What is left in another store stays noted, too.
            let Some(name) = store.name_of(&url) else { continue };
            store.clear(&store.path(name)?, &upload).await?;
            self.change(|ledger| ledger.pending.insert(url, String::new()))?;
        }
        Ok(())
    }

    /// The complete files that are here.
    fn media(&self, manifest: &Manifest) -> Vec<Wanted> {
        let wanted = closed_here(self.folder, manifest).map(|entry| Wanted {
            name: entry.path.clone(),
            content: Content::File { name: entry.path.clone(), sha256: entry.sha256.clone() },
        });
        wanted.collect()
    }

    /// What is uploaded when a session is sealed: the manifest's hash, what comes before the manifest, and the manifest. None: it is no
    /// longer what it was.
    fn sealed(&self, manifest: &Manifest) -> Result<Option<(String, Vec<Wanted>, Wanted)>, Trouble> {
        let path = self.folder.join(MANIFEST);
        let bytes = std::fs::read(&path)?;
        let signature = match std::fs::read(signature_of(&path)) {
            Ok(signature) => Some(signature),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let Some(seal) = manifest.seal.as_ref().filter(|seal| seal.key.is_some() == signature.is_some()) else {
            return Ok(None);
        };
        if bytes != manifest.to_bytes()? {
            return Ok(None);
        }
        let sha256 = hex(digest(&SHA256, &bytes).as_ref());
        let prefix = self.change(|ledger| ledger.seal_prefix(&sha256))?;
        let mut before: Vec<_> = seal
            .logs
            .iter()
            .map(|log| Wanted {
                name: format!("{prefix}{}", log.path),
                content: Content::File { name: log.path.clone(), sha256: Some(log.sha256.clone()) },
            })
            .collect();
        if let Some(signature) = signature {
            before.push(Wanted { name: format!("{prefix}{MANIFEST}.sig"), content: Content::Bytes(signature) });
        }
        Ok(Some((sha256, before, Wanted { name: format!("{prefix}{MANIFEST}"), content: Content::Bytes(bytes) })))
    }

    /// Uploads what is not there yet, several at once. How many, and whether all of them are there. One that fails keeps no other from going,
    /// unless the store is away: then nothing new is begun.
    async fn upload_all(&self, wanted: Vec<Wanted>) -> Result<(usize, bool), Trouble> {
        let refused = &Cell::new(0);
        let missing = wanted.into_iter().filter(|wanted| !self.is_known(wanted));
        let tasks = missing.map(|wanted| async move {
            // It is never closed.
            let _place = self.way.places.acquire().await;
            if refused.get() >= AWAY_AFTER {
                return Ok(Outcome::Held);
            }
            let done = self.upload_one(&wanted).await;
            match &done {
                Ok(Outcome::Uploaded) => refused.set(0),
                Err(Trouble::Store(_)) => refused.set(refused.get() + 1),
                _ => {}
            }
            done
        });
        let mut tasks = stream::iter(tasks).buffer_unordered(self.way.parallel);
        let (mut uploaded, mut whole, mut first) = (0, true, None);
        while let Some(done) = tasks.next().await {
            match done {
                Ok(Outcome::Uploaded) => uploaded += 1,
                Ok(Outcome::Held) => whole = false,
                Err(trouble) => first = first.or(Some(trouble)),
            }
        }
        first.map_or(Ok((uploaded, whole)), Err)
    }

    async fn upload_one(&self, wanted: &Wanted) -> Result<Outcome, Trouble> {
        let name = &wanted.name;
        let tried = self.ledger.borrow().problems.get(name).map(|held| held.at_us);
        if tried.is_some_and(|at| now_micros().saturating_sub(at) < TRIED_AGAIN_US) {
            return Ok(Outcome::Held);
        }
        let object = self.object(name);
        let url = self.way.store.url(&object);
        let before = self.ledger.borrow().pending.contains_key(&url);
        let note = |upload: &str| self.change(|ledger| drop(ledger.pending.insert(url.clone(), upload.to_owned())));
        let mut source = self.source(wanted)?;
        match self.way.store.upload(&object, &mut source, self.way.key, &note).await {
            Ok((sent, meta)) => {
                tracing::debug!(object, bytes = sent.bytes, "uploaded and read back");
                self.enter(name, url, sent, meta)?;
                Ok(Outcome::Uploaded)
            }
            Err(trouble @ (Trouble::Taken(_) | Trouble::Damaged(_) | Trouble::Changed)) => {
                let what = trouble.to_string();
                tracing::error!(folder = %self.folder.display(), url, "a file is not uploaded and stays here: {what}");
                self.change(|ledger| {
                    // Somebody was quicker. If it was noted before, it may as well be ours, and damaged; what is
                    // there in pieces is to be cleared away.
                    let half = ledger.pending.get(&url).is_some_and(|upload| !upload.is_empty());
                    if matches!(trouble, Trouble::Taken(_)) && !before && !half {
                        ledger.pending.remove(&url);
                    }
                    ledger.problems.insert(name.clone(), Held { what, at_us: now_micros() });
                })?;
                Ok(Outcome::Held)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn source(&self, wanted: &Wanted) -> Result<Source, Trouble> {
        let key = self.way.key.map(|key| self.change(|ledger| ledger.session_key(key))).transpose()?.transpose()?;
        let source = match &wanted.content {
            Content::File { name, sha256 } => Source::file(&self.folder.join(name), sha256.as_deref(), key.as_ref()),
            Content::Bytes(bytes) => Source::bytes(bytes.clone(), key.as_ref()),
        };
        Ok(source?)
    }

    /// Enters what was read back.
    fn enter(&self, name: &str, url: String, sent: Digest, meta: ObjectMeta) -> io::Result<()> {
        self.change(|ledger| {
            ledger.problems.remove(name);
            ledger.pending.remove(&url);
            let uploaded = Uploaded {
                url,
                bytes: sent.bytes,
                sha256: sent.sha256,
                stored: meta.size,
                etag: meta.e_tag,
                verified_at_us: now_micros(),
                removed: false,
            };
            ledger.files.insert(name.to_owned(), uploaded);
        })
    }

    /// Whether it is in the store as it is here. A file's hash may not be known yet: names are given once, so its size tells.
    fn is_known(&self, wanted: &Wanted) -> bool {
        let ledger = self.ledger.borrow();
        let Some(known) = ledger.files.get(&wanted.name) else { return false };
        match &wanted.content {
            Content::File { sha256: Some(sha256), .. } => known.sha256 == *sha256,
            Content::File { name, .. } => {
                self.folder.join(name).metadata().is_ok_and(|found| found.len() == known.bytes)
            }
            Content::Bytes(bytes) => known.sha256 == hex(digest(&SHA256, bytes).as_ref()),
        }
    }

    /// The name of a file's object. What is encrypted says so.
    fn object(&self, name: &str) -> String {
        let ending = if self.way.key.is_some() { ENCRYPTED } else { "" };
        format!("{}/{name}{ending}", self.remote)
    }

    /// Changes what is known and writes it, so that a crash does not make it forgotten.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> io::Result<T> {
        let mut ledger = self.ledger.borrow_mut();
        let before = ledger.clone();
        let changed = change(&mut ledger);
        if *ledger != before {
            ledger.save(self.folder)?;
        }
        Ok(changed)
    }
}

enum Outcome {
    /// It is in the store now.
    Uploaded,
    /// It cannot be: somebody has to look.
    Held,
}

/// Behind the name of what is encrypted.
pub(crate) const ENCRYPTED: &str = ".enc";
/// How long a file that cannot be uploaded is left alone, in microseconds: an hour.
const TRIED_AGAIN_US: u64 = 3_600_000_000;
