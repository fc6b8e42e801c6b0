//! `list`: all sessions.

use std::io::Write;
use std::path::PathBuf;

use lockgate_model::RoomName;
use serde::Serialize;

use super::{Outcome, ToolError, clock_text, find, size_text, write_json};
use crate::archive::{MANIFEST, Manifest, SessionEnd, printable};
use crate::upload::{Ledger, Place, is_on_hold};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    folder: PathBuf,
    session: String,
    room: RoomName,
    started_at: String,
    /// Up to the end of its last file.
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<SessionEnd>,
    sealed: bool,
    files: usize,
    bytes: u64,
    /// Of the files, how many are in the store, and of those how many are not here any more.
    uploaded: usize,
    /// See `uploaded`.
    removed: usize,
    /// Whether nothing of it may be deleted.
    held: bool,
    participants: Vec<String>,
}

/// Lists the sessions below some folders.
pub(super) fn list(paths: &[PathBuf], json: bool, out: &mut impl Write) -> Result<Outcome, ToolError> {
    let mut entries = Vec::new();
    for folder in find::sessions_at(paths)? {
        match Manifest::load(&folder.join(MANIFEST)) {
            Some(manifest) => entries.push(entry(folder, manifest)),
            None => tracing::warn!(folder = %folder.display(), "a session whose manifest cannot be read is left out"),
        }
    }
    entries.sort_by(|a, b| (&a.started_at, &a.session).cmp(&(&b.started_at, &b.session)));
    match json {
        true => write_json(&entries, out)?,
        false => print(&entries, out)?,
    }
    Ok(Outcome::Good)
}

fn entry(folder: PathBuf, manifest: Manifest) -> Entry {
    let mut participants: Vec<_> = manifest.files.iter().map(|file| file.who()).collect();
    participants.sort();
    participants.dedup();
    let ledger = Ledger::look(&folder);
    let places: Vec<_> = manifest.files.iter().map(|file| ledger.place(&folder, &file.path)).collect();
    Entry {
        uploaded: places.iter().filter(|place| **place != Place::Local).count(),
        removed: places.iter().filter(|place| **place == Place::Store).count(),
        held: is_on_hold(&folder),
        folder,
        session: manifest.session.to_string(),
        duration_ms: manifest.duration_ms(),
        files: manifest.files.len(),
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        participants,
        room: manifest.room,
        started_at: manifest.started_at,
        end: manifest.end,
        sealed: manifest.seal.is_some(),
    }
}

fn print(entries: &[Entry], out: &mut impl Write) -> Result<(), ToolError> {
    for entry in entries {
        let state = entry.end.map_or("recording", SessionEnd::as_str);
        let (length, size) = (clock_text(entry.duration_ms), size_text(entry.bytes));
        let Entry { started_at, room, session, participants, .. } = entry;
        let (started_at, who) = (printable(started_at), printable(&participants.join(", ")));
        write!(out, "{started_at}  {length}  {size:>9}  {state:<11}  {:?}  {session}  {who}", room.as_str())?;
        writeln!(out, "{}", remarks(entry))?;
    }
    Ok(())
}

/// What there is to say of where it is; mostly nothing.
fn remarks(entry: &Entry) -> String {
    let Entry { files, uploaded, removed, held, .. } = entry;
    let place = match (uploaded, removed) {
        (0, _) => String::new(),
        (_, 0) => format!("  {uploaded}/{files} uploaded"),
        _ => format!("  {uploaded}/{files} uploaded, {removed} of them not here any more"),
    };
    if *held { format!("{place}  held") } else { place }
}
