//! `verify`: whether archives are what they were when their sessions ended, and whether every file is whole.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lockgate_model::carrier::FileState;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{Outcome, ToolError, size_text, write_json};
use crate::archive::{
    Budget, Digest, EVENTS, FileEntry, MANIFEST, Manifest, OPEN, PublicKey, Seal, digest, is_held, open_regular,
    printable, signature_of,
};
use crate::upload::Ledger;
use crate::webm::inspect;

/// What was found of all.
#[derive(Serialize)]
struct Report {
    good: usize,
    unsealed: usize,
    recording: usize,
    damaged: usize,
    sessions: Vec<SessionReport>,
}

/// What was found of one session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionReport {
    folder: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    pub(super) verdict: Verdict,
    signature: Signature,
    /// The key that signed it, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    files: usize,
    /// Of these, how many are only in the store, as `upload.json` says, which is not signed: they were not read.
    pub(super) in_store: usize,
    bytes: u64,
    pub(super) problems: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Everything is as it was.
    Good,
    /// Every file is whole, but there are no hashes yet that could tell of changes.
    Unsealed,
    /// It is being written; what is complete is whole.
    Recording,
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Signature {
    /// By the key that was given.
    Good,
    /// Right, but there was no key to compare its key with.
    Unknown,
    /// There is none.
    Absent,
    /// Not the signature of this manifest, or by another key than was given.
    Bad,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// The name in the folder; absent: the session as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// For programs.
    pub(super) code: &'static str,
    /// For people.
    message: String,
}

/// Checks sessions and tells what was found. `sealed`: those without a seal are damaged.
pub(super) fn verify(
    sessions: &[PathBuf],
    key: Option<PublicKey>,
    sealed: bool,
    json: bool,
    out: &mut impl Write,
) -> Result<Outcome, ToolError> {
    let sessions: Vec<_> = sessions.iter().map(|folder| verify_one(folder, key, sealed)).collect();
    let count = |verdict| sessions.iter().filter(|session| session.verdict == verdict).count();
    let damaged = count(Verdict::Damaged);
    let report = Report {
        good: count(Verdict::Good),
        unsealed: count(Verdict::Unsealed),
        recording: count(Verdict::Recording),
        damaged,
        sessions,
    };
    match json {
        true => write_json(&report, out)?,
        false => print(&report, out)?,
    }
    Ok(if damaged == 0 { Outcome::Good } else { Outcome::Damaged })
}

/// Checks one session. A recorder may write it meanwhile: what does not fit then is looked at again.
pub(super) fn verify_one(folder: &Path, key: Option<PublicKey>, sealed: bool) -> SessionReport {
    let (mut report, mut used) = look(folder, key, sealed);
    for _ in 0..MAX_ANEW {
        if report.problems.is_empty() {
            break;
        }
        if is_held(folder) {
            thread::sleep(ENTERED);
        }
        if Manifest::load(&folder.join(MANIFEST)) == used {
            break;
        }
        (report, used) = look(folder, key, sealed);
    }
    report
}

/// Checks one session as it is now; also the manifest that it was held against.
fn look(folder: &Path, key: Option<PublicKey>, sealed: bool) -> (SessionReport, Option<Manifest>) {
    let mut check = Check { folder, key, sealed, findings: Vec::new(), signature: Signature::Absent, in_store: 0 };
    let manifest = check.manifest();
    if let Some(manifest) = &manifest {
        check.files(manifest);
        check.seal(manifest);
        check.strangers(manifest);
    }
    check.events(manifest.as_ref().is_some_and(|manifest| manifest.seal.is_some()));
    let verdict = match &manifest {
        _ if !check.findings.is_empty() => Verdict::Damaged,
        Some(manifest) if manifest.end.is_none() && is_held(folder) => Verdict::Recording,
        Some(Manifest { seal: None, .. }) | None => Verdict::Unsealed,
        Some(_) => Verdict::Good,
    };
    let files = manifest.as_ref().map_or(&[][..], |manifest| &manifest.files);
    let report = SessionReport {
        folder: folder.to_owned(),
        session: manifest.as_ref().map(|manifest| manifest.session.to_string()),
        verdict,
        signature: check.signature,
        key: manifest.as_ref().and_then(|manifest| manifest.seal.as_ref()?.key.clone()),
        files: files.len(),
        in_store: check.in_store,
        bytes: files.iter().map(|file| file.bytes).sum(),
        problems: check.findings,
    };
    (report, manifest)
}

struct Check<'a> {
    folder: &'a Path,
    key: Option<PublicKey>,
    /// Whether it must have a seal.
    sealed: bool,
    findings: Vec<Finding>,
    signature: Signature,
    /// Files that are only in the store.
    in_store: usize,
}

impl Check<'_> {
    fn tell(&mut self, file: Option<&str>, code: &'static str, message: impl Into<String>) {
        self.findings.push(Finding { file: file.map(str::to_owned), code, message: message.into() });
    }

    fn manifest(&mut self) -> Option<Manifest> {
        let found = Manifest::load(&self.folder.join(MANIFEST));
        if found.is_none() {
            self.tell(Some(MANIFEST), "manifest", "it is missing, or cannot be understood by this version");
        }
        found
    }

    fn files(&mut self, manifest: &Manifest) {
        for entry in &manifest.files {
            match entry.state {
                FileState::Closed => self.file(entry),
                FileState::Open if manifest.end.is_none() && is_being_written(&self.folder.join(&entry.path)) => {}
                FileState::Open => {
                    self.tell(
                        Some(&entry.path),
                        "left-open",
                        "it was never completed: `lockgate-recorder repair` does that",
                    );
                }
            }
        }
    }

    /// Holds a complete file against its entry, and against itself.
    fn file(&mut self, entry: &FileEntry) {
        let (name, path) = (Some(&*entry.path), self.folder.join(&entry.path));
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && self.is_in_store(entry) => return self.in_store += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.tell(name, "missing", "it is not there"),
            Err(error) => return self.tell(name, "unreadable", error.to_string()),
        };
        let bytes = file.metadata().map_or(0, |found| found.len());
        if bytes != entry.bytes {
            self.tell(name, "size", format!("it has {bytes} bytes; it had {}", entry.bytes));
        }
        if let Some(sha256) = &entry.sha256 {
            self.hash(&entry.path, sha256);
        }
        match inspect(&file) {
            Err(error) => self.tell(name, "unreadable", error.to_string()),
            Ok(found) => {
                found.problems.into_iter().for_each(|problem| self.tell(name, "structure", problem));
                if found.duration_ms != entry.duration_ms {
                    let (is, was) = (found.duration_ms, entry.duration_ms);
                    self.tell(name, "duration", format!("it lasts {is} ms; the manifest says {was} ms"));
                }
                let frames: Vec<_> = found.tracks.values().map(|track| (track.frames, track.keyframes)).collect();
                let said: Vec<_> = entry.tracks.iter().map(|track| (track.frames, track.keyframes)).collect();
                if frames != said {
                    self.tell(
                        name,
                        "frames",
                        format!("it holds {frames:?} frames and key frames; the manifest says {said:?}"),
                    );
                }
            }
        }
    }

    /// Whether a file was removed here because it is in the store, with this hash.
    fn is_in_store(&self, entry: &FileEntry) -> bool {
        let ledger = Ledger::look(self.folder);
        ledger.removed(&entry.path).is_some_and(|known| entry.sha256.as_ref() == Some(&known.sha256))
    }

    /// Checks what makes changes show.
    fn seal(&mut self, manifest: &Manifest) {
        let Some(Seal { logs, key, .. }) = &manifest.seal else {
            if self.sealed {
                self.tell(Some(MANIFEST), "no-seal", "it is not sealed");
            }
            return;
        };
        for log in logs {
            self.hash(&log.path, &log.sha256);
        }
        for entry in manifest.files.iter().filter(|entry| entry.sha256.is_none() && entry.state == FileState::Closed) {
            self.tell(Some(&entry.path), "no-hash", "it could not be hashed when the session ended");
        }
        let Some(key) = key else {
            if self.key.is_some() {
                self.signature = Signature::Bad;
                self.tell(Some(MANIFEST), "signature", "it was not signed");
            }
            return;
        };
        let path = self.folder.join(MANIFEST);
        let parts = std::fs::read(&path).and_then(|bytes| Ok((bytes, std::fs::read(signature_of(&path))?)));
        let valid = PublicKey::from_hex(key)
            .zip(parts.ok())
            .is_some_and(|(key, (bytes, signature))| key.verifies(&bytes, &signature));
        self.signature = match self.key {
            _ if !valid => Signature::Bad,
            Some(expected) if expected.to_string() != *key => Signature::Bad,
            Some(_) => Signature::Good,
            None => Signature::Unknown,
        };
        if !valid {
            self.tell(Some(MANIFEST), "signature", "it is not what was signed, or its signature is missing");
        } else if self.signature == Signature::Bad {
            self.tell(Some(MANIFEST), "signature", format!("it is signed by another key: {key}"));
        }
    }

    fn hash(&mut self, name: &str, expected: &str) {
        match digest(&self.folder.join(name), &Budget::new()) {
            Ok(Some(Digest { sha256, .. })) if sha256 == expected => {}
            Ok(_) => self.tell(Some(name), "hash", "its content was changed since the session ended"),
            Err(error) if error.kind() == ErrorKind::NotFound => self.tell(Some(name), "missing", "it is not there"),
            Err(error) => self.tell(Some(name), "unreadable", error.to_string()),
        }
    }

    /// Looks for media that the manifest does not name.
    fn strangers(&mut self, manifest: &Manifest) {
        let named: BTreeSet<_> = manifest.files.iter().map(|entry| entry.path.clone()).collect();
        let entries = std::fs::read_dir(self.folder).into_iter().flatten().flatten();
        let mut strange: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        strange.retain(|name| !named.contains(name) && is_media(name));
        strange.retain(|name| manifest.end.is_some() || !is_being_written(&self.folder.join(name)));
        strange.sort();
        for name in strange {
            self.tell(Some(&name), "stranger", "session.json does not name it");
        }
    }

    /// Every line of the events is whole, but perhaps the last one: it may be being written, and who seals them cuts what is torn.
    fn events(&mut self, sealed: bool) {
        let file = match open_regular(&self.folder.join(EVENTS)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.tell(Some(EVENTS), "missing", "it is not there");
            }
            Err(error) => return self.tell(Some(EVENTS), "unreadable", error.to_string()),
        };
        let is_object = |line: &[u8]| serde_json::from_slice::<serde_json::Map<_, _>>(line).is_ok();
        let (mut reader, mut line) = (BufReader::new(file), Vec::new());
        for number in 1_u64.. {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) if is_object(&line) || !sealed && !line.ends_with(b"\n") => {}
                Ok(_) => return self.tell(Some(EVENTS), "events", format!("line {number} is no JSON object")),
                Err(error) => return self.tell(Some(EVENTS), "unreadable", error.to_string()),
            }
        }
    }
}

fn is_media(name: &str) -> bool {
    let name = name.strip_suffix(OPEN).unwrap_or(name);
    name.ends_with(".webm") || name.ends_with(".mkv")
}

/// Whether a recorder holds its lock on a file.
fn is_being_written(path: &Path) -> bool {
    open_regular(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn print(report: &Report, out: &mut impl Write) -> Result<(), ToolError> {
    for session in &report.sessions {
        let verdict = match session.verdict {
            Verdict::Good => "good",
            Verdict::Unsealed => "whole, not sealed",
            Verdict::Recording => "being recorded",
            Verdict::Damaged => "DAMAGED",
        };
        let signature = match session.signature {
            Signature::Good => ", signed by the key",
            Signature::Unknown => ", signed (no key was given to compare with)",
            Signature::Absent => ", not signed",
            Signature::Bad => ", SIGNATURE WRONG",
        };
        let (files, size) = (session.files, size_text(session.bytes));
        let folder = printable(&session.folder.to_string_lossy());
        let in_store = match session.in_store {
            0 => String::new(),
            count => format!(
                ", {count} of them not here and not read: upload.json, which is not signed, has them in the store"
            ),
        };
        writeln!(out, "{folder}: {verdict}{signature}, {files} files, {size}{in_store}")?;
        for Finding { file, message, .. } in &session.problems {
            let file = file.as_deref().unwrap_or("session");
            writeln!(out, "  {}: {}", printable(file), printable(message))?;
        }
    }
    let Report { good, unsealed, recording, damaged, .. } = report;
    Ok(writeln!(out, "{good} good, {unsealed} not sealed, {recording} being recorded, {damaged} damaged")?)
}

/// How often a session that changed while it was checked is checked again.
const MAX_ANEW: u32 = 3;
/// After this time a recorder has entered what it has done with files.
const ENTERED: Duration = Duration::from_millis(300);
