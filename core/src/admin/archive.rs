//! What was recorded, as the archive's own manifests say (docs/archive.md): no recorder needs to run, and the node remembers none of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lockgate_model::policy::{Denial, Grant, Identity};
use lockgate_model::{ErrorCode, PublisherId, RecordingId, RoomName};
use lockgate_signal::{PageRequest, RecordedRequest};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allowed_in;
use super::timeline::Timeline;
use crate::node::{Node, wall_clock_ms};

/// What is shown of a session's `session.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    session: RecordingId,
    room: RoomName,
    started_at_us: u64,
    end: Option<String>,
    reason: Option<String>,
    seal: Option<IgnoredAny>,
    files: Vec<RecordedPart>,
}

/// A file of a session.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordedPart {
    path: String,
    state: String,
    publisher_id: PublisherId,
    #[serde(default)]
    username: String,
    group: String,
    part: u32,
    #[serde(default)]
    start_us: u64,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    bytes: u64,
    /// Where it can be fetched for a while; absent: it is not complete, or not on this disk any more.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// A session in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    session_id: RecordingId,
    room_name: RoomName,
    /// In ms since 1970.
    started_at_ms: u64,
    /// Absent: it is being recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    sealed: bool,
    /// Up to the end of its last file.
    duration_ms: u64,
    bytes: u64,
    files: Vec<RecordedPart>,
}

/// The sessions that the operator may see, the last ones first.
pub(super) async fn list_recordings(
    node: &Node,
    operator: &Identity,
    page: PageRequest<RecordingId>,
) -> Result<Value, Denial> {
    let (directory, grant) = (node.config.recording.directory.clone(), operator.grant.clone());
    aside(move || list(&directory, &grant, &page)).await
}

/// A session with its timeline: when something is missing, and who spoke when.
pub(super) async fn show_recording(
    node: &Node,
    operator: &Identity,
    room: RoomName,
    session: RecordingId,
) -> Result<Value, Denial> {
    allowed_in(operator, &room)?;
    let (directory, tickets) = (node.config.recording.directory.clone(), node.tickets.clone());
    let show = move || {
        let link = |file: &str| tickets.link(wall_clock_ms(), &room, &session, file);
        show(&directory, &room, &session, link)
    };
    let (shown, timeline) = aside(show).await?.ok_or_else(no_such_recording)?;
    let mut shown = json!(shown);
    shown["timeline"] = json!(timeline);
    Ok(shown)
}

/// Where a recorded file lies, for those who have a link.
pub(super) async fn find_recorded(node: &Node, request: RecordedRequest) -> Result<PathBuf, Denial> {
    let RecordedRequest { room, session, file, ticket } = request;
    if !node.tickets.allows(ticket.expose(), wall_clock_ms(), &room, &session, &file) {
        let denial = "the link is not for this file, or is over: the operator's interface has a new one";
        return Err(Denial::new(ErrorCode::UNAUTHENTICATED, denial));
    }
    let directory = node.config.recording.directory.clone();
    let found = aside(move || {
        let found = find(&directory, &room, &session)?;
        Ok(found.and_then(|(folder, manifest)| file_in(&folder, manifest.files.iter().find(|one| one.path == file)?)))
    });
    found.await?.ok_or_else(no_such_recording)
}

fn no_such_recording() -> Denial {
    Denial::new(ErrorCode::NOT_FOUND, "there is no such recording on this node's disk")
}

/// Reads where a slow disk holds nobody up.
async fn aside<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Denial> {
    let failed = |problem: &dyn std::fmt::Display| {
        tracing::warn!(%problem, "the archive cannot be read");
        Denial::new(ErrorCode::INTERNAL, "the archive cannot be read; the node's log says why")
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| failed(&error))?;
    read.map_err(|error| failed(&error))
}

/// None: there is no such session. What is complete and on this disk has a link.
fn show(
    directory: &Path,
    room: &RoomName,
    session: &RecordingId,
    link: impl Fn(&str) -> String,
) -> io::Result<Option<(Listed, Timeline)>> {
    let Some((folder, mut manifest)) = find(directory, room, session)? else { return Ok(None) };
    for file in &mut manifest.files {
        file.url = file_in(&folder, file).map(|_| link(&file.path));
    }
    Ok(Some((Listed::from(manifest), Timeline::read(&folder.join(EVENTS))?)))
}

/// A session's folder, and what it says of itself.
fn find(directory: &Path, room: &RoomName, session: &RecordingId) -> io::Result<Option<(PathBuf, Manifest)>> {
    for folder in folders_in(directory)? {
        let folder = folder.join(session.as_str());
        // A link leads elsewhere.
        if !std::fs::symlink_metadata(&folder).is_ok_and(|facts| facts.is_dir()) {
            continue;
        }
        let is_it = |of: &Manifest| of.session == *session && of.room == *room;
        if let Some(manifest) = manifest(&folder).filter(is_it) {
            return Ok(Some((folder, manifest)));
        }
    }
    Ok(None)
}

/// Where a complete file lies; none: it is not complete, or not here (any more), or its name leads elsewhere.
fn file_in(folder: &Path, file: &RecordedPart) -> Option<PathBuf> {
    let is_name = Path::new(&file.path).file_name() == Some(OsStr::new(&file.path));
    let path = folder.join(&file.path);
    let is_here = || std::fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file());
    (file.state == "closed" && is_name && is_here()).then_some(path)
}

fn list(directory: &Path, grant: &Grant, page: &PageRequest<RecordingId>) -> io::Result<Value> {
    let mut sessions = sessions_below(directory)?;
    // An id begins with the time: the last sessions come first.
    sessions.retain(|(id, _)| page.after.as_ref().is_none_or(|after| id < after));
    sessions.sort_unstable_by(|one, other| other.cmp(one));
    let (mut recordings, mut files) = (Vec::new(), 0);
    let mut sessions = sessions.into_iter().peekable();
    let mut read = 0;
    while let Some((id, folder)) = sessions.next() {
        read += 1;
        let is_shown = |of: &Manifest| of.session == id && grant.allows_room(of.room.as_str());
        if let Some(manifest) = manifest(&folder).filter(is_shown) {
            files += manifest.files.len();
            recordings.push(Listed::from(manifest));
        }
        let is_full = recordings.len() >= page.limit || files >= MAX_FILES || read >= MAX_READ;
        // Two rooms may have sessions of one name: `after` is for both.
        if is_full && sessions.peek().is_some_and(|(next, _)| *next != id) {
            return Ok(json!({ "recordings": recordings, "next": id }));
        }
    }
    Ok(json!({ "recordings": recordings }))
}

/// The folders of sessions, by their names. Links are not followed: they lead elsewhere.
fn sessions_below(directory: &Path) -> io::Result<Vec<(RecordingId, PathBuf)>> {
    let mut found = Vec::new();
    for room in folders_in(directory)? {
        for folder in folders_in(&room)? {
            let id = folder.file_name().and_then(|name| name.to_str()).and_then(|name| RecordingId::new(name).ok());
            found.extend(id.map(|id| (id, folder)));
            if found.len() >= MAX_SESSIONS {
                tracing::warn!(limit = MAX_SESSIONS, "the archive has more sessions than are listed");
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The folders in a folder; none if there is no such folder, or not any more.
fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}

/// What a session says of itself; none: nothing that can be read, or it is no session.
fn manifest(folder: &Path) -> Option<Manifest> {
    let path = folder.join(MANIFEST);
    let is_file = std::fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file() && facts.len() <= MAX_MANIFEST);
    if !is_file {
        return None;
    }
    let mut text = Vec::new();
    File::open(&path).ok()?.take(MAX_MANIFEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

impl From<Manifest> for Listed {
    fn from(manifest: Manifest) -> Self {
        let Manifest { session, room, started_at_us, end, reason, seal, files } = manifest;
        let ends = files.iter().map(|file| (file.start_us / 1000).saturating_add(file.duration_ms));
        Self {
            session_id: session,
            room_name: room,
            started_at_ms: started_at_us / 1000,
            end,
            reason,
            sealed: seal.is_some(),
            duration_ms: ends.max().unwrap_or(0),
            bytes: files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
            files,
        }
    }
}

const MANIFEST: &str = "session.json";
const EVENTS: &str = "events.jsonl";
/// Folders that are looked at: their names are held for as long as the list is made.
const MAX_SESSIONS: usize = 100_000;
/// Manifests that are read for one page: a token for few rooms may look at many that it is not for.
const MAX_READ: usize = 2000;
/// Files in one answer, but for those of the last session: some megabytes.
const MAX_FILES: usize = 10_000;
/// Longest manifest that is read, in bytes: of some thousand files.
const MAX_MANIFEST: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn session(archive: &Path, room: &str, id: &str) {
        let folder = archive.join(room).join(id);
        std::fs::create_dir_all(&folder).unwrap();
        let file = json!({
            "path": "1-camera-1.webm", "state": "closed", "publisherId": 1, "userId": 7, "username": "<b>Ann</b>",
            "group": "camera", "part": 1, "startUs": 500_000, "durationMs": 2500, "bytes": 1000, "tracks": [],
        });
        let manifest = json!({
            "schema": 1, "session": id, "room": room, "startedAt": "…", "startedAtUs": 1_796_900_000_000_000_u64,
            "end": "stopped", "software": "…", "files": [file], "seal": {"at": "…", "logs": []},
        });
        std::fs::write(folder.join(MANIFEST), manifest.to_string()).unwrap();
    }

    fn ids(listed: &Value) -> Vec<&str> {
        listed["recordings"].as_array().unwrap().iter().map(|one| one["sessionId"].as_str().unwrap()).collect()
    }

    fn page(after: Option<&str>, limit: usize) -> PageRequest<RecordingId> {
        PageRequest { after: after.map(|after| RecordingId::new(after).unwrap()), limit }
    }

    #[test]
    fn only_complete_files_of_the_session_itself_can_be_fetched() {
        let archive = tempfile::tempdir().unwrap();
        session(archive.path(), "den", "1000-a-1");
        let (den, id) = (RoomName::new("den").unwrap(), RecordingId::new("1000-a-1").unwrap());
        let (folder, mut manifest) = find(archive.path(), &den, &id).unwrap().unwrap();
        let file = &mut manifest.files[0];
        assert_eq!(file_in(&folder, file), None, "it is not here");
        std::fs::write(folder.join(&file.path), "media").unwrap();
        assert_eq!(file_in(&folder, file), Some(folder.join("1-camera-1.webm")));
        let (shown, _) = show(archive.path(), &den, &id, |file| format!("to {file}")).unwrap().unwrap();
        assert_eq!(shown.files[0].url.as_deref(), Some("to 1-camera-1.webm"));
        file.state = "open".to_owned();
        assert_eq!(file_in(&folder, file), None, "it is being written");
        std::fs::write(archive.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(archive.path().join("secret"), folder.join("link")).unwrap();
        for name in ["../../secret", "/etc/passwd", "link", ".", "..", ""] {
            (file.path, file.state) = (name.to_owned(), "closed".to_owned());
            assert_eq!(file_in(&folder, file), None, "{name}");
        }
    }

    #[test]
    fn the_last_sessions_come_first_and_pages_leave_none_out() {
        let archive = tempfile::tempdir().unwrap();
        for (room, id) in [("den", "1000-a-1"), ("den", "3000-a-2"), ("attic", "2000-a-1"), ("den", "2000-a-1")] {
            session(archive.path(), room, id);
        }
        let first = list(archive.path(), &Grant::default(), &page(None, 2)).unwrap();
        // Those of one name are on one page.
        assert_eq!((ids(&first), &first["next"]), (vec!["3000-a-2", "2000-a-1", "2000-a-1"], &json!("2000-a-1")));
        let second = list(archive.path(), &Grant::default(), &page(Some("2000-a-1"), 2)).unwrap();
        assert_eq!((ids(&second), second.get("next")), (vec!["1000-a-1"], None));
        let one = &second["recordings"][0];
        assert_eq!((&one["durationMs"], &one["bytes"], &one["sealed"]), (&json!(3000), &json!(1000), &json!(true)));
        assert_eq!(one["startedAtMs"], 1_796_900_000_000_u64);
    }

    #[test]
    fn a_token_for_a_room_shows_its_sessions_only() {
        let archive = tempfile::tempdir().unwrap();
        session(archive.path(), "den", "1000-a-1");
        session(archive.path(), "attic", "2000-a-1");
        let grant = Grant { rooms: Some([String::from("den")].into()), ..Grant::default() };
        assert_eq!(ids(&list(archive.path(), &grant, &page(None, 10)).unwrap()), ["1000-a-1"]);
    }

    #[test]
    fn what_is_no_session_is_passed_over() {
        let archive = tempfile::tempdir().unwrap();
        session(archive.path(), "den", "1000-a-1");
        std::fs::create_dir_all(archive.path().join("den/2000-a-1")).unwrap();
        std::fs::write(archive.path().join("deleted.jsonl"), "").unwrap();
        session(archive.path(), "den", "3000-a-1");
        std::fs::write(archive.path().join("den/3000-a-1").join(MANIFEST), "{").unwrap();
        std::os::unix::fs::symlink(archive.path().join("den/1000-a-1"), archive.path().join("den/4000-a-1")).unwrap();
        assert_eq!(ids(&list(archive.path(), &Grant::default(), &page(None, 10)).unwrap()), ["1000-a-1"]);
        let [den, attic] = ["den", "attic"].map(|room| RoomName::new(room).unwrap());
        let link = |file: &str| format!("to {file}");
        let show = |room, id| show(archive.path(), room, &RecordingId::new(id).unwrap(), link).unwrap();
        let (shown, timeline) = show(&den, "1000-a-1").unwrap();
        assert_eq!((shown.session_id.as_str(), &json!(timeline)["gaps"]), ("1000-a-1", &json!([])));
        assert!(shown.files[0].url.is_none(), "its file is not there");
        assert!(show(&attic, "1000-a-1").is_none(), "of another room");
        assert!(show(&den, "4000-a-1").is_none(), "a link");
        let nowhere = archive.path().join("nowhere");
        assert!(ids(&list(&nowhere, &Grant::default(), &page(None, 10)).unwrap()).is_empty());
    }
}
