//! `session.json`: what the session and its files are. Written anew, whole, at every change.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use lockgate_model::carrier::{FileState, RecordedFile, StartSession, TrackNumber};
use lockgate_model::{Codec, MediaKind, PublisherId, RecordingId, RoomName, Source, TrackId, UserId};
use serde::{Deserialize, Serialize};

use super::date::rfc3339;

/// The content of `session.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// The version of this format, [`Manifest::SCHEMA`].
    pub(crate) schema: u32,
    /// The session.
    pub(crate) session: RecordingId,
    /// The room that is recorded.
    pub(crate) room: RoomName,
    /// Time 0 of the session by the wall clock, RFC 3339.
    pub(crate) started_at: String,
    /// The same in microseconds since 1970 (UTC).
    pub(crate) started_at_us: u64,
    /// How the session ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<SessionEnd>,
    /// When that was written, in microseconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at_us: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Name and version of the program that wrote this.
    pub(crate) software: String,
    /// Its files in the order in which they were begun.
    pub(crate) files: Vec<FileEntry>,
    /// What makes later changes show; only in sessions that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<Seal>,
}

/// Says what an archive was when its session had ended. The files' hashes stand in their entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seal {
    /// When it was set, RFC 3339.
    pub(crate) at: String,
    /// The files that are not media, as they were then.
    pub(crate) logs: Vec<LogEntry>,
    /// The public key (Ed25519, hex) whose signature over this manifest is in `session.json.sig`; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// A file that is not media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogEntry {
    /// Its name in the folder.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// SHA-256 in hex.
    pub(crate) sha256: String,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionEnd {
    /// As it was asked to.
    Stopped,
    /// Node or recorder went away; it may go on.
    Interrupted,
    /// It could not be written any further.
    Failed,
}

impl SessionEnd {
    /// The name in archives.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// What of a publisher goes into one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// Camera and microphone.
    Camera,
    /// A shared screen's picture and sound.
    Screen,
}

impl Group {
    /// The group of a source.
    pub(crate) fn of(source: Source) -> Self {
        if source.is_screen() { Self::Screen } else { Self::Camera }
    }

    /// The name in file names.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Screen => "screen",
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileEntry {
    /// Its name in the folder; it ends in `.part` while the file grows.
    pub(crate) path: String,
    /// Whether it is complete.
    pub(crate) state: FileState,
    /// Whose media it holds.
    pub(crate) publisher_id: PublisherId,
    /// The person, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<UserId>,
    /// Their name for people; may be empty.
    #[serde(default)]
    pub(crate) username: String,
    /// What of the publisher's it holds.
    pub(crate) group: Group,
    /// Which of the group's files it is, from 1.
    pub(crate) part: u32,
    /// Its time 0 on the session's timeline, in microseconds.
    pub(crate) start_us: u64,
    /// Its length in milliseconds.
    #[serde(default)]
    pub(crate) duration_ms: u64,
    /// Its size in bytes.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// Its tracks, in the order of their numbers in the file, from 1.
    pub(crate) tracks: Vec<TrackEntry>,
    /// SHA-256 in hex, known some time after it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Whether it was left open by a recorder that was killed, and mended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mended: bool,
}

impl FileEntry {
    /// Whose it is, for people.
    pub(crate) fn who(&self) -> String {
        match self.username.trim() {
            "" => format!("participant {}", self.publisher_id),
            name => name.to_owned(),
        }
    }
}

/// A track of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrackEntry {
    /// What the node called it.
    pub(crate) track: TrackNumber,
    /// Its name in the room.
    pub(crate) track_id: TrackId,
    /// Audio or video.
    pub(crate) kind: MediaKind,
    /// Where it comes from.
    pub(crate) source: Source,
    /// How it is coded.
    pub(crate) codec: Codec,
    /// Size of the first picture, in pixels; 0 for sound.
    pub(crate) width: u32,
    /// Size of the first picture, in pixels; 0 for sound.
    pub(crate) height: u32,
    /// Frames in the file, known when it is complete.
    #[serde(default)]
    pub(crate) frames: u64,
    /// Key frames among them.
    #[serde(default)]
    pub(crate) keyframes: u64,
}

impl Manifest {
    /// The version of this format.
    pub(crate) const SCHEMA: u32 = 1;

    /// Of a session that begins.
    pub(super) fn new(start: &StartSession) -> Self {
        Self {
            schema: Self::SCHEMA,
            session: start.session.clone(),
            room: start.room.clone(),
            started_at: rfc3339(start.started_at_us),
            started_at_us: start.started_at_us,
            end: None,
            ended_at_us: None,
            reason: None,
            software: concat!("lockgate-recorder ", env!("CARGO_PKG_VERSION")).into(),
            files: Vec::new(),
            seal: None,
        }
    }

    /// Reads one; none if there is none, if it cannot be understood, or if it names files that are not in its folder.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let logs = manifest.seal.iter().flat_map(|seal| &seal.logs).map(|log| &log.path);
        let inside = manifest.files.iter().map(|entry| &entry.path).chain(logs).all(|name| is_plain(name));
        (manifest.schema == Self::SCHEMA && inside).then_some(manifest)
    }

    /// Takes the seal off: something is about to change. The signature goes first, so that none is ever beside a manifest that it
    /// does not fit.
    pub(super) fn unseal(&mut self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(signature_of(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.seal = None,
        }
        Ok(())
    }

    /// Writes it: readers see the old one or this one, never half of it.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        self.replace(path, |_| Ok(()))
    }

    /// The same, and after a power failure there is the old one or this one, too. That takes as long as the disk does.
    pub(super) fn save_for_good(&self, path: &Path) -> io::Result<()> {
        self.replace(path, File::sync_all)
    }

    fn replace(&self, path: &Path, bring: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
        write_whole(path, &self.to_bytes()?, bring)
    }

    /// What stands in the file.
    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Up to the end of its last file.
    pub(crate) fn duration_ms(&self) -> u64 {
        self.files.iter().map(|file| (file.start_us / 1000).saturating_add(file.duration_ms)).max().unwrap_or(0)
    }

    /// Its files as the node is told of them.
    pub(crate) fn recorded_files(&self) -> Vec<RecordedFile> {
        let files = self.files.iter().map(|file| RecordedFile {
            path: file.path.clone(),
            publisher_id: file.publisher_id,
            state: file.state,
            bytes: file.bytes,
            duration_ms: file.duration_ms,
        });
        files.collect()
    }
}

/// Replaces a file: readers see the old one or the new one. `bring` may bring it to the disk before it has its name.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], bring: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    bring(&file)?;
    std::fs::rename(&aside, path)
}

/// Whether this is the name of a file in a folder, and leads nowhere else.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

/// Where a manifest's signature is.
pub(crate) fn signature_of(manifest: &Path) -> PathBuf {
    manifest.with_extension("json.sig")
}
